/** The application that a context belongs to. */
import type { FastifyInstance } from 'fastify'

/** The outermost of the contexts that a context is in: each inherits from the one around it. */
export function rootOf (context: FastifyInstance): FastifyInstance {
  const outer = Object.getPrototypeOf(context) as FastifyInstance | null
  return typeof outer?.addHook === 'function' ? rootOf(outer) : context
}
