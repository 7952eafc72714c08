/** The plugin under HTTP/2 and HTTPS: real connections, with Secure cookies. */
import { once } from 'node:events'
import { connect, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import { request as httpsRequest } from 'node:https'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import sessionPlugin from '../../src/index.js'
import { SECRET } from '../support/app.js'

/** TLS by a key that both sides know needs no certificate (RFC 4279). */
const KEY = Buffer.alloc(32, 7)
const SERVER_TLS = { pskCallback: () => KEY, ciphers: 'PSK', maxVersion: 'TLSv1.2' as const }
const CLIENT_TLS = { pskCallback: () => ({ psk: KEY, identity: 'test' }), ciphers: 'PSK', checkServerIdentity: () => undefined, maxVersion: 'TLSv1.2' as const }

/** An app on a free port, which notes what it logs; the port. */
async function serve (t: Test, options: object): Promise<{ port: number, lines: string[] }> {
  const lines: string[] = []
  const app = Fastify({ ...options, logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(sessionPlugin, { secret: SECRET, redis: 'memory:' })
  app.get('/', async ({ session }: any) => { session.visits = (session.visits ?? 0) + 1; return { visits: session.visits } })
  app.get('/hand', async ({ session }: any, reply) => {
    session.visits++
    reply.hijack()
    await session.rotate()
    await session.save()
    reply.raw.end(JSON.stringify({ visits: session.visits }))
  })
  app.get('/logout', async ({ session }: any) => { await session.destroy(); return {} })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { port: (app.server.address() as AddressInfo).port, lines }
}

interface Answer { headers: IncomingHttpHeaders, body: string }
type Get = (path: string, cookie: string) => Promise<Answer>

async function getByHttp2 (client: ClientHttp2Session, path: string, cookie: string): Promise<Answer> {
  // HTTP/2 lets a client split the header at any pair; the server puts it together again (RFC 9113, section 8.2.3).
  const stream = client.request({ ':path': path, ...(cookie !== '' && { cookie: ['first=1', cookie] }) })
  const [headers] = await once(stream, 'response') as [IncomingHttpHeaders]
  let body = ''
  for await (const chunk of stream) body += String(chunk)
  return { headers, body }
}

async function getByHttps (port: number, path: string, cookie: string): Promise<Answer> {
  const request = httpsRequest({ port, path, headers: { cookie }, agent: false, ...CLIENT_TLS } as object)
  request.end()
  const [response] = await once(request, 'response')
  let body = ''
  for await (const chunk of response) body += String(chunk)
  return { headers: response.headers, body }
}

async function visit (t: Test, get: Get): Promise<void> {
  let cookie = ''
  const ask = async (path: string): Promise<any> => {
    const { headers, body } = await get(path, cookie)
    const [line] = headers['set-cookie'] ?? []
    if (line !== undefined) {
      t.match(line, /^__Host-session-id=.*; Secure/)
      cookie = line.split(';')[0]!
    }
    return JSON.parse(body)
  }
  t.strictSame(await ask('/'), { visits: 1 })
  const first = cookie
  t.strictSame(await ask('/'), { visits: 2 })
  t.equal(cookie, first)
  t.strictSame(await ask('/hand'), { visits: 3 }, 'written by hand')
  t.not(cookie, first)
  t.strictSame(await ask('/'), { visits: 4 })
  await ask('/logout')
  t.match(cookie, /=$/)
}

test('HTTP/2', async (t) => {
  const { port } = await serve(t, { http2: true })
  const client = connect(`http://127.0.0.1:${port}`)
  t.teardown(() => { client.close() })
  await visit(t, async (path, cookie) => await getByHttp2(client, path, cookie))
})

test('HTTP/2 over TLS', async (t) => {
  const { port, lines } = await serve(t, { http2: true, https: SERVER_TLS })
  const client = connect(`https://127.0.0.1:${port}`, CLIENT_TLS as object)
  t.teardown(() => { client.close() })
  await visit(t, async (path, cookie) => await getByHttp2(client, path, cookie))
  t.strictSame(lines, [])
})

test('HTTPS', async (t) => {
  const { port, lines } = await serve(t, { https: SERVER_TLS })
  await visit(t, async (path, cookie) => await getByHttps(port, path, cookie))
  t.strictSame(lines, [], 'no hint that a Secure cookie does not come back')
})
