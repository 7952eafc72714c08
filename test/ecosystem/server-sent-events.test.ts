/** Server-Sent Events and streams, over a real connection: the session before, while and after bytes flow. */
import { once } from 'node:events'
import { PassThrough, Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { makeApp, sharedRedis, type Lines } from '../support/app.js'
import { parseSetCookie } from '../support/set-cookie.js'
import { until } from '../support/until.js'

interface Client {
  cookie: string
  /** Sends a request and takes over its cookie when the headers are there. */
  request: (path: string) => Promise<Response>
  json: (path: string) => Promise<any>
}

async function serve (t: Test, routes: (app: FastifyInstance) => void, lines?: Lines): Promise<Client> {
  const app = await makeApp(t, { redis: (await sharedRedis()).url, ...(lines !== undefined && { lines }) }, (app) => {
    app.get('/', async ({ session }: any) => session.data())
    app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
    app.get('/logout', async ({ session }: any) => { await session.destroy(); return {} })
    routes(app)
  })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const client: Client = {
    cookie: '',
    async request (path) {
      const response = await fetch(address + path, { headers: { cookie: client.cookie } })
      for (const { name, value, attributes } of response.headers.getSetCookie().map(parseSetCookie)) {
        client.cookie = attributes.get('max-age') === '0' ? '' : `${name}=${value}`
      }
      return response
    },
    json: async (path) => await (await client.request(path)).json()
  }
  return client
}

/** Reads the events of a response one by one. */
async function * eventsOf (response: Response): AsyncGenerator<any> {
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    const events = text.split('\n\n')
    text = events.pop()!
    for (const event of events) yield JSON.parse(event.replace(/^data: /, ''))
  }
}

test('Server-Sent Events on a hijacked reply: the cookie comes first, later changes are live', async (t) => {
  const steps = new PassThrough({ objectMode: true })
  const client = await serve(t, (app) => {
    app.get('/events', async ({ session }: any, reply) => {
      session.visits = 1
      reply.hijack()
      await session.save()
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
      const send = (data: unknown): void => { reply.raw.write(`data: ${JSON.stringify(data)}\n\n`) }
      send({ id: session.id })
      for await (const step of steps) {
        switch (step) {
          case 'incr': send(await session.live.clicks.incr().catch(({ code }: { code: string }) => code)); break
          case 'save': session.visits++; send(await session.save().then(() => session.visits, ({ code }: { code: string }) => code)); break
          case 'reload': send(await session.reload().then(() => session.data(), ({ code }: { code: string }) => code)); break
        }
      }
      reply.raw.end()
    })
  })
  const response = await client.request('/events')
  t.match(response.headers.get('content-type'), 'text/event-stream')
  t.equal(response.headers.get('cache-control'), 'no-store')
  t.not(client.cookie, '', 'the cookie is among the headers')
  const events = eventsOf(response)
  const next = async (step: string): Promise<unknown> => { steps.write(step); return (await events.next()).value }
  t.match((await events.next()).value, { id: client.cookie.split(/[=.]/)[1] })
  t.strictSame(await client.json('/'), { visits: 1 }, 'stored while the response still flows')
  t.equal(await next('incr'), 1)
  t.equal(await next('save'), 2)
  await client.request('/set?a=1')
  t.strictSame(await next('reload'), { visits: 2, clicks: 1, a: '1' })
  await client.request('/logout')
  t.strictSame([await next('incr'), await next('save'), await next('reload')], Array(3).fill('SESSION_GONE'), 'the stream learns that the session ended')
  t.strictSame(await client.json('/'), {})
  steps.end()
  t.equal((await events.next()).done, true)
})

test('a stream that Fastify sends: saved before the first byte, and what is changed while it flows is dropped', async (t) => {
  for (const kind of ['node', 'web']) {
    const source = new PassThrough()
    let late: Promise<unknown> | undefined
    const client = await serve(t, (app) => {
      app.get('/stream', async ({ session }: any, reply) => {
        session.before = 1
        late = once(source, 'resume').then(async () => {
          await session.live.during.set(2)
          // Refused before the first byte, dropped after it.
          try { session.after = 3 } catch ({ code }: any) { t.equal(code, 'SESSION_SEALED') }
        })
        return reply.type('text/plain').send(kind === 'node' ? source : Readable.toWeb(source))
      })
    })
    const response = await Promise.all([client.request('/stream'), source.write('first')]).then(([response]) => response)
    t.not(client.cookie, '', kind)
    t.equal((await client.json('/')).before, 1, 'stored before the first byte')
    source.end(' last')
    t.equal(await response.text(), 'first last')
    await late
    t.strictSame(await client.json('/'), { before: 1, during: 2 })
  }
})

test('a browser that goes away in the middle leaves the session as it is', async (t) => {
  const source = new PassThrough()
  const client = await serve(t, (app) => {
    app.get('/stream', async ({ session }: any, reply) => { session.begun = true; return reply.type('text/plain').send(source) })
  })
  source.write('first')
  const response = await client.request('/stream')
  await response.body!.cancel()
  await once(source, 'close')
  t.strictSame(await client.json('/'), { begun: true })
})

test('a change that nobody saved is reported when the stream ends', async (t) => {
  const lines: Lines = []
  const client = await serve(t, (app) => {
    app.get('/events/:saved', async ({ session, params }: any, reply) => {
      session.visits = 1
      reply.hijack()
      if (params.saved === 'saved') await session.save()
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
      reply.raw.end('data: 1\n\n')
    })
  }, lines)
  const warnings = (): unknown[] => lines.filter(({ level }) => level >= 40).map(({ msg }) => msg)
  await (await client.request('/events/saved')).text()
  t.strictSame(warnings(), [])
  client.cookie = ''
  await (await client.request('/events/unsaved')).text()
  t.match(await until('the warning', 5000, () => warnings()[0]), /changed and not saved/)
  t.equal(client.cookie, '')
})
