/**
 * Loaded into every test's process, by tap.yml: the Set-Cookie lines of every response that an app with the plugin sends are
 * checked, however the request was made and whether or not the test looks at them. A line that breaks a rule is thrown
 * past all handlers, so that the running test fails.
 */
import { subscribe } from 'node:diagnostics_channel'
import type { ServerHttp2Stream } from 'node:http2'
import type { FastifyInstance } from 'fastify'
import { checkSetCookies, type Head } from './set-cookie.js'

subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { fastify: FastifyInstance }
  // After the response left, whatever sent it, hijacked replies included.
  fastify.addHook('onResponse', (request, reply, done) => {
    done()
    if (!request.server.hasPlugin('fastify-live-session')) return
    const head = headOf(reply.raw)
    if (head === undefined) return
    try {
      checkSetCookies(head)
    } catch (error) {
      setImmediate(() => { throw new Error(`${request.method} ${request.url}: ${(error as Error).message}`, { cause: error }) })
    }
  })
})

/** A response as Node keeps it: the head's text in HTTP/1.1, the headers in HTTP/2. */
type Sent = { _header: string | null } | { stream: ServerHttp2Stream }

/** A response's head as it went over the wire; `undefined` where none did. */
function headOf (raw: unknown): Head | undefined {
  const response = raw as Sent
  if ('stream' in response) {
    const { ':status': statusCode, 'set-cookie': setCookie, 'cache-control': cacheControl } = response.stream.sentHeaders ?? {}
    return { statusCode: Number(statusCode), setCookie: [setCookie ?? []].flat(), cacheControl: String(cacheControl) }
  }
  if (response._header === null) return undefined
  const [status = '', ...lines] = response._header.split('\r\n')
  const values = (name: string): string[] => lines.filter((line) => line.toLowerCase().startsWith(`${name}: `)).map((line) => line.slice(name.length + 2))
  return { statusCode: Number(status.split(' ')[1]), setCookie: values('set-cookie'), cacheControl: values('cache-control').join(', ') }
}
