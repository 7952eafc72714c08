import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fastifyCookie from '@fastify/cookie'
import fastifyRedis from '@fastify/redis'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { test } from 'tap'
import sessionPlugin, { MemoryStore, RedisStore } from '../../src/index.js'
import { makeApp, SECRET, sharedRedis, type Lines } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { setCookiesOf } from '../support/set-cookie.js'

function routes (app: FastifyInstance): void {
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
  app.get('/', async ({ session }: any) => session.data())
}

test('two instances in one app share nothing', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sessionPlugin, { secret: SECRET, redis: 'memory:', cookie: { secure: false } })
  await app.register(sessionPlugin, { secret: SECRET, redis: 'memory:', decoratorName: 'admin', cookie: { secure: false, name: 'admin-session-id' } })
  app.get('/both', async (request: any) => { request.session.a = 1; request.admin.b = 2; return {} })
  app.get('/', async (request: any) => ({ session: request.session.data(), admin: request.admin.data(), ids: request.session.id === request.admin.id }))
  app.get('/logout', async (request: any) => { await request.admin.destroy(); return {} })
  const browser = new Browser(app)
  await browser.get('/both')
  t.strictSame([...browser.jar.keys()].sort(), ['admin-session-id', 'session-id'])
  t.strictSame(await browser.json('/'), { session: { a: 1 }, admin: { b: 2 }, ids: false })
  await browser.get('/logout')
  t.strictSame(await browser.json('/'), { session: { a: 1 }, admin: {}, ids: false })
  t.ok((app as any).sessions !== (app as any).admins)
})

test('@fastify/cookie and @fastify/redis may be registered before, after, or not at all', async (t) => {
  const { url } = await sharedRedis()
  for (const order of ['before', 'after', 'never']) {
    const app = Fastify()
    t.teardown(() => app.close())
    const others = async (): Promise<void> => { await app.register(fastifyCookie, { secret: 'of the app' }); await app.register(fastifyRedis, { url, closeClient: true }) }
    if (order === 'before') await others()
    await app.register(sessionPlugin, { secret: SECRET, ...(order !== 'before' && { redis: url }), cookie: { secure: false } })
    if (order === 'after') await others()
    routes(app)
    app.get('/cookies', async (request: any, reply) => { request.session.a = 2; reply.setCookie?.('mine', '1'); return { cookies: request.cookies ?? null } })
    const browser = new Browser(app)
    await browser.get('/set?a=1')
    t.strictSame(await browser.json('/'), { a: '1' }, order)
    await browser.get('/cookies')
    t.strictSame(await browser.json('/'), { a: 2 }, `${order}, beside the app's own cookie`)
  }
})

test('fastify.redis is the default, and its namespaces have to be named', async (t) => {
  const { url } = await sharedRedis()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyRedis, { url, namespace: 'cache' })
  await t.rejects(async () => { await app.register(sessionPlugin, { secret: SECRET }) }, { code: 'SESSION_OPTION_INVALID', message: /fastify\.redis\.<namespace>/ })
})

test('redis takes ioredis options, a client, a store; an own store is left open', async (t) => {
  const { url, port } = await sharedRedis()
  const client = new Redis(url)
  t.teardown(() => { client.disconnect() })
  for (const redis of [{ host: '127.0.0.1', port }, client, new RedisStore(client, { prefix: 'other:' }), new MemoryStore()]) {
    const app = await makeApp(t, { redis } as any, routes)
    const browser = new Browser(app)
    await browser.get('/set?a=1')
    t.strictSame(await browser.json('/'), { a: '1' })
    await app.close()
  }
  t.equal(await client.ping(), 'PONG')
})

test('a wrong option stops the boot with an error that names it', async (t) => {
  await t.rejects(makeApp(t, { redis: 'http://x' }), { code: 'SESSION_OPTION_INVALID', message: /redis \(SESSION_REDIS\)/ })
  await t.rejects(makeApp(t, { redis: 'redis+sentinel://h1,h2' }), { message: /name of the master/ })
  await t.rejects(makeApp(t, { secret: 'short', redis: 'memory:' }), { message: /secret \(SESSION_SECRET\)/ })
})

test('the session is there in child contexts, 404 and error handlers; before that there is none', async (t) => {
  const app = await makeApp(t, { redis: 'memory:' }, (app) => {
    routes(app)
    app.register(async (child) => { child.get('/child/', async ({ session }: any) => session.data()) })
    app.setNotFoundHandler(async ({ session }: any, reply) => reply.code(404).send(session.data()))
    app.setErrorHandler(async (_, { session }: any, reply) => reply.code(418).send(session.data()))
    app.get('/throw', async () => { throw new Error('x') })
  })
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  for (const url of ['/child/', '/nowhere', '/throw']) t.strictSame((await browser.get(url)).json(), { a: '1' }, url)
  const early = Fastify()
  t.teardown(() => early.close())
  let seen: unknown
  early.addHook('onRequest', async (request: any) => {
    seen = request.session
    if (request.url === '/end') request.session = null
  })
  await early.register(sessionPlugin, { secret: SECRET, redis: 'memory:' })
  early.get('/', async () => 'ok')
  t.equal((await early.inject('/')).body, 'ok')
  t.equal(seen, undefined, 'there is none yet')
  t.match((await early.inject('/end')).json(), { code: 'SESSION_TOO_EARLY' })
})

test('a reply that is written by hand carries the cookie after an explicit save', async (t) => {
  const app = await makeApp(t, { redis: 'memory:' }, (app) => {
    routes(app)
    app.get('/hijack', async (request: any, reply) => {
      request.session.a = 1
      reply.hijack()
      await request.session.save()
      reply.raw.end('by hand')
    })
    app.get('/stream', async (request: any, reply) => {
      reply.hijack()
      reply.raw.write('begun')
      request.session.a = 1
      const error = await request.session.save().catch((error: Error) => error)
      reply.raw.end(error.code)
    })
  })
  const browser = new Browser(app)
  await browser.get('/hijack')
  t.strictSame(await browser.json('/'), { a: 1 })
  t.match((await new Browser(app).get('/stream')).body, 'SESSION_HEADERS_SENT')
})

test('memory: warns in production, and unknown SESSION_ variables are named with what they may have meant', async (t) => {
  const before = { ...process.env }
  t.teardown(() => { process.env = before })
  Object.assign(process.env, { NODE_ENV: 'production', SESSION_MAX_AGE: 'x', SESSION_IDLE_TIMEOUT: '99' })
  const lines: Lines = []
  const app = await makeApp(t, { redis: 'memory:', lines }, (app) => { app.get('/', async ({ session }: any) => ({ idle: session.idleTimeout })) })
  t.ok(lines.some(({ msg }) => /kept in memory in production/.test(msg)))
  t.ok(lines.some(({ msg }) => /SESSION_MAX_AGE is unknown; here that is SESSION_EXPIRE/.test(msg)))
  t.strictSame((await app.inject('/')).json(), { idle: 99 })
})

test('real clients: two processes on one Redis, HTTP with a cookie jar, plain commands', async (t) => {
  const redis = await sharedRedis()
  const { url } = redis
  const source = `
    import Fastify from 'fastify'
    import sessionPlugin from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)}
    const app = Fastify()
    await app.register(sessionPlugin)
    app.get('/count', async ({ session }) => { session.zip = '02134'; return { count: await session.live.count.incr(), pid: process.pid, id: session.id } })
    console.log(await app.listen({ port: 0 }))
    process.once('SIGTERM', () => app.close())`
  const env = { ...process.env, SESSION_SECRET: SECRET, SESSION_REDIS: url, SESSION_COOKIE_SECURE: 'false', NODE_OPTIONS: '' }
  const start = async () => {
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', source], { env, stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => { child.kill('SIGKILL') })
    const [line] = await once(child.stdout, 'data') as [Buffer]
    return { child, address: String(line).trim() }
  }
  const servers = await Promise.all([start(), start()])
  let cookie = ''
  const answers: any[] = []
  for (let i = 0; i < 6; i++) {
    const response = await fetch(`${servers[i % 2]!.address}/count`, { headers: { cookie } })
    for (const { name, value } of setCookiesOf(response)) cookie = `${name}=${value}`
    answers.push(await response.json())
  }
  t.strictSame(answers.map(({ count }) => count), [1, 2, 3, 4, 5, 6])
  t.equal(new Set(answers.map(({ pid }) => pid)).size, 2)
  t.equal(new Set(answers.map(({ id }) => id)).size, 1)
  const flat = await redis.ask('HGETALL', `session:${answers[0].id}`) as string[]
  const record = Object.fromEntries(flat.map((text, i) => [text, flat[i + 1]]).filter((_, i) => i % 2 === 0))
  t.match(record, { count: '6', zip: '02134', session_ttl: '1800', created_at: /^\d{13}$/, last_accessed_at: /^\d{13}$/, '@digest': /^[\w-]{43}$/ })
  const ttl = await redis.ask('TTL', `session:${answers[0].id}`)
  t.ok(Number(ttl) > 1780 && Number(ttl) <= 1830)
  for (const { child } of servers) {
    child.kill('SIGTERM')
    const [code] = await once(child, 'exit')
    t.equal(code, 0, 'the process ends by itself')
  }
})
