/** fastify-live-session, as it is built for publishing, with its defaults. */
import Fastify from 'fastify'
import { SECRET, TTL, type StartOptions } from '../data.js'
import { listen } from './listen.js'
import { propertyRoutes } from './properties.js'

/** Starts the server. */
export async function start (options: StartOptions): Promise<number> {
  const { default: sessionPlugin } = await import(options.plugin) as typeof import('../../../src/index.js')
  const app = Fastify()
  await app.register(sessionPlugin, {
    secret: SECRET,
    redis: options.redis,
    idleTimeout: TTL,
    cookie: { secure: false }
  })
  propertyRoutes(app)
  return await listen(app)
}
