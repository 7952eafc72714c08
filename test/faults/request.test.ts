/** The request itself goes wrong, while Redis is fine: what is stored is what the answer said. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { test, type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { idOf, routes, sessions } from './kit.js'
import { makeApp, sharedRedis, type AppOptions, type Lines } from '../support/app.js'
import { Browser, Gate, setCookies } from '../support/browser.js'
import { startProxy } from '../support/tcp-proxy.js'
import { until } from '../support/until.js'

async function open (t: Test, more: (app: FastifyInstance) => void, options: AppOptions = {}): Promise<FastifyInstance> {
  const { url } = await sharedRedis()
  return await makeApp(t, { redis: url, ...options }, (app) => { routes(app); more(app) })
}

/** What Redis holds of a browser's session. */
async function stored (app: FastifyInstance, browser: Browser): Promise<Record<string, string>> {
  return (await app.sessions.inspect(idOf(browser)))!.fields
}

test('the client goes away while the handler runs, or while it is being saved: what it asked for happens as a whole', async (t) => {
  const { port } = await sharedRedis()
  const proxy = await startProxy(port)
  t.teardown(() => proxy.close())
  const gate = new Gate()
  const app = await open(t, (app) => {
    app.get('/slow', async ({ session }: any) => { await gate.pass(); session.a = 1; session.b = 2; return {} })
    app.get('/saving', async ({ session }: any) => { session.c = 3; session.d = 4; proxy.pause('replies'); return {} })
  }, { redis: proxy.url, timeout: 3000 })
  const url = new URL(await app.listen({ port: 0 }))
  const [browser] = await sessions(app, 1)
  await browser!.json('/set?x=1')
  const leave = async (path: string, when: () => Promise<unknown>): Promise<void> => {
    const socket = connect(Number(url.port), '127.0.0.1')
    socket.on('error', () => {})
    await once(socket, 'connect')
    socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\ncookie: ${browser!.cookie}\r\n\r\n`)
    await when()
    socket.resetAndDestroy()
    await once(socket, 'close')
  }
  await leave('/slow', () => gate.arrived(1))
  gate.open()
  await until('it is stored', 5000, async () => (await stored(app, browser!))['b'] === '2')
  t.match(await stored(app, browser!), { user: /0/, a: '1', b: '2' })
  const evals = proxy.seen.names.get('EVALSHA')!
  await leave('/saving', () => until('it is being saved', 5000, () => proxy.seen.names.get('EVALSHA')! >= evals + 2))
  proxy.resume()
  await until('it is stored', 5000, async () => (await stored(app, browser!))['d'] === '4')
  t.match(await stored(app, browser!), { c: '3', d: '4' })
  t.match(await browser!.json('/'), { a: 1, d: 4 }, 'and the session goes on')
})

test('a handler that throws: its changes are dropped, what it saved itself stays, and no cookie is set', async (t) => {
  const app = await open(t, (app) => {
    app.get('/throw', async ({ session }: any) => { session.a = 1; throw new Error('bad') })
    app.get('/saved', async ({ session }: any) => { session.a = 1; await session.save(); session.a = 2; await session.live.n.incr(); throw new Error('bad') })
    app.get('/login', async ({ session }: any) => { await session.regenerate(); session.user = 'thief'; throw new Error('bad') })
  })
  const [browser] = await sessions(app, 1)
  const before = await stored(app, browser!)
  for (const url of ['/throw', '/login']) {
    const response = await browser!.get(url)
    t.strictSame([response.statusCode, setCookies(response)], [500, []])
    t.strictSame(await stored(app, browser!), { ...before, last_accessed_at: (await stored(app, browser!))['last_accessed_at'] }, url)
  }
  const newcomer = new Browser(app)
  t.equal((await newcomer.get('/throw')).statusCode, 500)
  t.equal(newcomer.jar.size, 0)
  await browser!.get('/saved')
  t.match(await stored(app, browser!), { a: '1', n: '1' })
})

test('a handler that takes too long: 503, its changes are dropped, and later ones, too', async (t) => {
  const late: unknown[] = []
  const gate = new Gate()
  const app = await open(t, (app) => {
    app.get('/slow', { handlerTimeout: 50 }, async ({ session }: any) => {
      session.a = 1
      await gate.pass()
      for (const change of [() => { session.a = 2 }, () => session.rotate(), () => session.regenerate(), () => session.clear()]) {
        try { await change() } catch (error) { late.push(error) }
      }
      late.push(await session.save().then(() => 'nothing to save', (error: Error) => error))
      late.push(await session.live.n.incr())
      return {}
    })
  })
  const [browser] = await sessions(app, 1)
  const response = await browser!.get('/slow')
  t.strictSame([response.statusCode, response.json().code, setCookies(response)], [503, 'FST_ERR_HANDLER_TIMEOUT', []])
  gate.open()
  await until('the handler ended', 5000, () => late.length === 2)
  t.equal(late[0], 'nothing to save')
  t.equal(late[1], 1, 'a live write is what may still be done')
  t.strictSame(await browser!.json('/'), { user: '0', n: 1 })
})

test('replies that are written by hand: an explicit save is needed, and the log says where it is missing', async (t) => {
  const lines: Lines = []
  const app = await open(t, (app) => {
    app.get('/lost', async ({ session }: any, reply) => { session.a = 1; reply.hijack(); reply.raw.end('x') })
    app.get('/nested', async ({ session }: any, reply) => { session.list?.push(1); reply.hijack(); reply.raw.end('x') })
    app.get('/ended', async (request: any, reply) => { request.session = null; reply.hijack(); reply.raw.end('x') })
    app.get('/saved', async ({ session }: any, reply) => { session.b = 1; reply.hijack(); await session.save(); reply.raw.end('x') })
    app.get('/read', async ({ session }: any, reply) => { reply.hijack(); reply.raw.end(JSON.stringify([session.list, session.a])) })
    app.get('/unused', async (_request, reply) => { reply.hijack(); reply.raw.end('x') })
    app.get('/list', async ({ session }: any) => { session.list = []; return {} })
    app.get('/half', async ({ session }: any, reply) => { reply.raw.write('begun'); session.half = 1; reply.raw.end() })
    app.get('/half-new', async ({ session }: any, reply) => { reply.raw.write('begun'); session.half = 1; setImmediate(() => { reply.raw.end() }) })
  }, { lines })
  const [browser] = await sessions(app, 1)
  await browser!.json('/list')
  for (const url of ['/lost', '/lost', '/nested', '/ended', '/saved', '/read', '/unused']) t.equal((await browser!.get(url)).statusCode, 200, url)
  const told = (): unknown[] => lines.filter(({ level, msg }) => level === 40 && /not saved/.test(msg)).map(({ route }) => route)
  t.strictSame(told(), ['GET /lost', 'GET /nested', 'GET /ended'], 'once per route')
  t.strictSame(await browser!.json('/'), { user: '0', list: [], b: 1 })
  t.match((await browser!.get('/half')).body, 'begun', 'ended by hand before the handler returned')
  t.equal(told().at(-1), 'GET /half')
  t.equal((await browser!.json('/')).half, undefined)
  const newcomer = new Browser(app)
  t.match((await newcomer.get('/half-new')).body, 'begun', 'no cookie is possible any more')
  t.equal(newcomer.jar.size, 0)
  t.strictSame(await browser!.json('/plain'), { plain: true }, 'and the process goes on')
})

test('streams: saved before the first byte, what is changed while they flow is dropped, and one that breaks changes nothing of that', async (t) => {
  let late: unknown
  const app = await open(t, (app) => {
    app.get('/stream', async ({ session }: any, reply) => {
      session.a = 1
      return reply.send(Readable.from((async function * () {
        yield 'begun '
        try { session.b = 1 } catch (error) { late = error }
        yield String(await session.live.n.incr())
      })()))
    })
    app.get('/broken', async ({ session }: any, reply) => {
      session.c = 1
      return reply.send(Readable.from((async function * () { yield 'begun'; throw new Error('bad') })()))
    })
  })
  const [browser] = await sessions(app, 1)
  t.equal((await browser!.get('/stream')).body, 'begun 1')
  t.equal(late, undefined)
  await browser!.get('/broken').catch(() => {})
  t.strictSame(await browser!.json('/'), { user: '0', a: 1, n: 1, c: 1 })
})
