/** Where the plugin is registered, how often, and in what surroundings. */
import fastifyRedis from '@fastify/redis'
import Fastify, { type FastifyInstance } from 'fastify'
import { test } from 'tap'
import sessionPlugin from '../../src/index.js'
import { makeApp, SECRET, sharedRedis } from '../support/app.js'
import { Browser } from '../support/browser.js'

const options = { secret: SECRET, redis: 'memory:', cookie: { secure: false } }

function routes (app: FastifyInstance): void {
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
  app.get('/', async ({ session }: any) => session?.data() ?? { session: 'none' })
}

test('in a child context it is for that context and what is inside of it', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(async (child) => {
    await child.register(sessionPlugin, options)
    routes(child)
    child.register(async (grandchild) => { routes(grandchild) }, { prefix: '/deep' })
    child.setNotFoundHandler(async ({ session }: any, reply) => reply.code(404).send(session.data()))
  }, { prefix: '/shop' })
  app.register(async (child) => {
    await child.register(sessionPlugin, { ...options, cookie: { secure: false, name: 'other-session-id' } })
    routes(child)
  }, { prefix: '/other' })
  routes(app)
  await app.ready()
  t.notOk(app.hasDecorator('sessions'))
  const browser = new Browser(app)
  await browser.get('/shop/deep/set?a=1')
  await browser.get('/other/set?b=2')
  t.strictSame(await browser.json('/shop/'), { a: '1' })
  t.strictSame((await browser.get('/shop/nowhere')).json(), { a: '1' })
  t.strictSame(await browser.json('/other/'), { b: '2' })
  t.strictSame(await browser.json('/'), { session: 'none' })
})

test('twice under one name in one context, Fastify refuses', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sessionPlugin, options)
  await t.rejects(async () => { await app.register(sessionPlugin, { ...options, cookie: { name: 'other' } }) }, { code: 'FST_ERR_DEC_ALREADY_PRESENT', message: /session/ })
})

test('config of a route is by the name of the decorator', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sessionPlugin, options)
  await app.register(sessionPlugin, { ...options, decoratorName: 'staff', cookie: { secure: false, name: 'staff-session-id' } })
  app.get('/set', async ({ session, staff }: any) => { session.a = 1; staff.b = 2; return {} })
  const handler = async ({ session, staff }: any): Promise<object> => ({ session: session.data(), staff: staff.data() })
  app.get('/both', handler)
  app.get('/no-session', { config: { session: false } }, handler)
  app.get('/no-staff', { config: { staff: false } as object }, handler)
  app.get('/none', { config: { session: false, staff: false } as object }, handler)
  const browser = new Browser(app)
  await browser.get('/set')
  t.strictSame(await browser.json('/both'), { session: { a: 1 }, staff: { b: 2 } })
  t.strictSame(await browser.json('/no-session'), { session: {}, staff: { b: 2 } })
  t.strictSame(await browser.json('/no-staff'), { session: { a: 1 }, staff: {} })
  t.strictSame(await browser.json('/none'), { session: {}, staff: {} })
})

test('routes that were declared first have the session too', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  routes(app)
  app.register(async (child) => { routes(child) }, { prefix: '/child' })
  app.register(sessionPlugin, options)
  const browser = new Browser(app)
  t.strictSame(await browser.json('/child/'), {}, 'also where no cookie came')
  await browser.get('/set?a=1')
  t.strictSame(await browser.json('/child/'), { a: '1' })
})

test('a namespace of fastify.redis, named in the options', async (t) => {
  const redis = await sharedRedis()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyRedis, { url: redis.url, namespace: 'cache' })
  await app.register(fastifyRedis, { url: `${redis.url}/3`, namespace: 'logins' })
  await app.register(sessionPlugin, { ...options, redis: app.redis['logins']!, prefix: 'login:' })
  routes(app)
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  t.strictSame(await browser.json('/'), { a: '1' })
  t.strictSame(await redis.client({ db: 3 }).keys('*'), [`login:${browser.token!.slice(0, 22)}`])
})

test('an error handler may use the session: what it leaves is kept below 500, and dropped from 500 on', async (t) => {
  const app = await makeApp(t, options, (app) => {
    routes(app)
    app.get('/throw/:status', async ({ session }: any) => { session.tried = true; throw new Error('x') })
    app.setErrorHandler(async (error, { session, params }: any, reply) => { session.message = (error as Error).message; return reply.code(Number(params.status)).send({}) })
  })
  const browser = new Browser(app)
  await browser.get('/throw/500')
  t.strictSame(await browser.json('/'), {})
  await browser.get('/throw/422')
  t.strictSame(await browser.json('/'), { tried: true, message: 'x' })
})

test('behind a proxy: headers change nothing about the cookie', async (t) => {
  for (const trustProxy of [false, true]) {
    const app = await makeApp(t, { ...options, cookie: { secure: true }, server: { trustProxy } }, routes)
    const lines = new Set<string>()
    for (const proto of ['http', 'https', undefined]) {
      const response = await app.inject({ url: '/set?a=1', headers: { 'x-forwarded-host': 'evil.example', 'x-forwarded-for': '1.2.3.4', ...(proto !== undefined && { 'x-forwarded-proto': proto }) } })
      lines.add(String(response.headers['set-cookie']).replace(/=[^;]*/, '='))
    }
    t.strictSame([...lines], ['__Host-session-id=; Path=/; HttpOnly; Secure; SameSite=Lax'])
  }
})
