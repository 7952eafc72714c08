/**
 * Whether Fastify can send a response. It finds out only when it writes the head, and what the head was to bring is lost
 * then: too late for a session whose new secret nobody but that head tells.
 */
import { validateHeaderName, validateHeaderValue } from 'node:http'
import type { FastifyReply } from 'fastify'
import { isWebResponse } from './headers.js'

/**
 * Whether a response can be sent as it is.
 *
 * @param payload as the last hook left it
 */
export function isSendable (reply: FastifyReply, payload: unknown): boolean {
  return isPayload(payload) && Object.entries(reply.getHeaders()).every(([name, value]) => isHeader(name, value)) &&
    (!isWebResponse(payload) || [...payload.headers].every(([name, value]) => isHeader(name, value)))
}

function isHeader (name: string, value: unknown): boolean {
  try {
    validateHeaderName(name)
    for (const one of Array.isArray(value) ? value : [value]) validateHeaderValue(name, one as string)
    return true
  } catch {
    return false
  }
}

/** What Fastify sends: nothing, text, bytes, a stream, a web stream or a web `Response` that nobody reads yet. */
function isPayload (payload: unknown): boolean {
  if (payload === undefined || payload === null || typeof payload === 'string' || Buffer.isBuffer(payload)) return true
  if (isWebResponse(payload)) return !payload.bodyUsed && payload.body?.locked !== true
  const { pipe, getReader, locked } = payload as Partial<ReadableStream & NodeJS.ReadableStream>
  return typeof pipe === 'function' || (typeof getReader === 'function' && locked !== true)
}
