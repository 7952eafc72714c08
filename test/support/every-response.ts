/**
 * Loaded into every test's process, by tap.yml: the Set-Cookie lines of every response that an app with the plugin sends are
 * checked, however the request was made and whether or not the test looks at them. A line that breaks a rule is thrown
 * past all handlers, so that the running test fails.
 */
import { subscribe } from 'node:diagnostics_channel'
import type { FastifyInstance } from 'fastify'
import { checkSetCookies, type Head } from './set-cookie.js'

subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { fastify: FastifyInstance }
  // After the response left, whatever sent it, hijacked replies included.
  fastify.addHook('onResponse', (request, reply, done) => {
    done()
    if (!request.server.hasPlugin('fastify-live-session')) return
    const { _header: sent } = reply.raw as unknown as { _header: string | null }
    if (sent === null) return
    try {
      checkSetCookies(headOf(sent))
    } catch (error) {
      setImmediate(() => { throw new Error(`${request.method} ${request.url}: ${(error as Error).message}`, { cause: error }) })
    }
  })
})

/** A response's head as it went over the wire. */
function headOf (sent: string): Head {
  const [status = '', ...lines] = sent.split('\r\n')
  const values = (name: string): string[] => lines.filter((line) => line.toLowerCase().startsWith(`${name}: `)).map((line) => line.slice(name.length + 2))
  return { statusCode: Number(status.split(' ')[1]), setCookie: values('set-cookie'), cacheControl: values('cache-control').join(', ') }
}
