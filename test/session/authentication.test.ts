/** Step-up: when the user was authenticated, elevation, and routes that ask for them. */
import { setTimeout as sleep } from 'node:timers/promises'
import { test, type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import sessionPlugin from '../../src/index.js'
import { makeApp, onEveryStore, SECRET } from '../support/app.js'
import { Browser, setCookies } from '../support/browser.js'
import { startRedis } from '../support/redis-process.js'
import { until } from '../support/until.js'

function actions (app: FastifyInstance): void {
  app.get('/', async ({ session }: any) => ({
    id: session.id, isNew: session.isNew, at: session.authenticatedAt?.getTime() ?? null, until: session.elevatedUntil?.getTime() ?? null
  }))
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); await session.save(); return { at: session.authenticatedAt?.getTime() ?? null } })
  app.get('/login', async ({ session }: any) => { await session.regenerate(); session.user = 'andrew'; return {} })
  app.get('/logout-user', async ({ session }: any) => { await session.live.user.delete(); return { at: session.authenticatedAt ?? null } })
  app.get('/carry', async ({ session }: any) => { await session.regenerate(['user']); return {} })
  app.get('/replace', async ({ session }: any) => { await session.regenerate(['user']); session.user = 'barbara'; return {} })
  app.get('/sudo', async ({ session, query }: any) => {
    await session.elevate(Number(query.seconds))
    await session.save()
    return { left: session.elevatedUntil.getTime() - session.authenticatedAt.getTime() }
  })
  app.get('/sudo-login', async ({ session }: any) => { await session.regenerate(); session.user = 'andrew'; await session.elevate(60); return {} })
  app.get('/login-here', async ({ session }: any) => { session.user = 'andrew'; await session.elevate(60); return {} })
}

function routes (app: FastifyInstance): void {
  actions(app)
  app.get('/elevated', { config: { session: { elevated: true } } }, async () => ({}))
  app.get('/recent', { config: { session: { maxAuthAge: 1 } } }, async () => ({}))
  app.get('/both', { config: { session: { maxAuthAge: 60, elevated: true, touch: false } } }, async () => ({}))
}

async function open (t: Test, redis: string, more = {}): Promise<FastifyInstance> {
  return await makeApp(t, { redis, prefix: `${Math.random()}:`, userField: 'user', ...more }, routes)
}

test('authenticatedAt is set when the session becomes a user\'s, and by nothing but elevate after that', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const browser = new Browser(await open(t, redis))
    t.strictSame(await browser.json('/set?a=1'), { at: null })
    const { at } = await browser.json('/set?user=andrew')
    t.type(at, 'number')
    for (const url of ['/set?user=andrew', '/set?a=2', '/carry', '/']) {
      await browser.json(url)
      t.equal((await browser.json('/')).at, at, url)
    }
    await sleep(5)
    const { at: later } = await browser.json('/set?user=barbara')
    t.ok(later > at, 'another user')
    await sleep(5)
    await browser.json('/login')
    const { at: andrew } = await browser.json('/')
    t.ok(andrew > later, 'a login')
    await browser.json('/replace')
    t.ok((await browser.json('/')).at > andrew, 'another user in the session that takes the place of the first')
    await browser.json('/login')
    const before = (await browser.json('/')).at
    await browser.json('/sudo?seconds=60')
    t.ok((await browser.json('/')).at > before, 'elevate')
    t.strictSame(await browser.json('/logout-user'), { at: null })
    t.match(await browser.json('/'), { at: null, until: null }, 'nobody any more')
  })
})

test('elevate: rotates, lasts as long as it says whatever happens, and gives way to a new user', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const browser = new Browser(await open(t, redis))
    await browser.json('/login')
    const thief = browser.clone()
    t.equal((await browser.get('/elevated')).json().code, 'SESSION_NOT_ELEVATED')
    const { id } = await browser.json('/')
    t.strictSame(await browser.json('/sudo?seconds=1'), { left: 1000 })
    t.equal((await browser.json('/')).id, id, 'the same record')
    t.not(browser.token, thief.token)
    t.match(await thief.json('/'), { isNew: true }, 'the old cookie is dead')
    t.equal((await browser.get('/elevated')).statusCode, 200)
    t.equal((await browser.get('/both')).statusCode, 200)
    await until('the elevation has passed, in spite of all activity', 3000, async () => {
      await browser.json('/set?a=1')
      const response = await browser.get('/elevated')
      return response.statusCode === 403 && response.json().code === 'SESSION_NOT_ELEVATED'
    })
    await browser.json('/sudo?seconds=60')
    await browser.json('/carry')
    t.match(await browser.json('/'), { until: null }, 'a new record begins without')
    await browser.json('/sudo?seconds=60')
    await browser.json('/set?user=barbara')
    t.match(await browser.json('/'), { until: null }, 'so does a new user')
    for (const seconds of ['0', '-1', 'x']) t.equal((await browser.get(`/sudo?seconds=${seconds}`)).json().code, 'SESSION_TIMEOUT_INVALID')
    await browser.json('/sudo-login')
    t.equal((await browser.get('/both')).statusCode, 200, 'in one step with the login')
  })
})

test('routes that ask for it answer who does not fit, before the handler', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await open(t, redis)
    const browser = new Browser(app)
    const codes = async (): Promise<unknown[]> => await Promise.all(['/elevated', '/recent', '/both'].map(async (url) => {
      const response = await browser.get(url)
      t.strictSame(setCookies(response), [])
      return [response.statusCode, response.json().code]
    }))
    const nobody = Array(3).fill([401, 'SESSION_LOGIN_REQUIRED'])
    t.strictSame(await codes(), nobody, 'no cookie')
    await browser.json('/set?a=1')
    t.strictSame(await codes(), nobody, 'a session that is nobody’s')
    await browser.json('/login')
    t.strictSame(await codes(), [[403, 'SESSION_NOT_ELEVATED'], [200, undefined], [403, 'SESSION_NOT_ELEVATED']])
    await until('too long ago', 3000, async () => (await browser.get('/recent')).json().code === 'SESSION_AUTH_TOO_OLD')
    t.equal((await browser.get('/recent')).statusCode, 401)
    await browser.json('/sudo?seconds=60')
    t.strictSame(await codes(), [[200, undefined], [200, undefined], [200, undefined]])
    t.equal((await app.inject({ method: 'HEAD', url: '/elevated' })).statusCode, 401)
  })
})

test('without userField a session can be elevated all the same, and the application looks for itself', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const browser = new Browser(await makeApp(t, { redis, prefix: `${Math.random()}:` }, actions))
    await browser.json('/login')
    t.match(await browser.json('/'), { at: null, until: null })
    t.strictSame(await browser.json('/sudo?seconds=60'), { left: 60_000 })
    t.match(await browser.json('/'), { at: Number, until: Number })
  })
})

test('what a route asks for holds wherever the route was added, for every decorator', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const options = { secret: SECRET, redis: 'memory:', userField: 'user', cookie: { secure: false } }
  // Not awaited: the routes of this function are there before the plugin is loaded.
  app.register(sessionPlugin, options)
  app.register(sessionPlugin, { ...options, decoratorName: 'admin', cookie: { secure: false, name: 'admin' } })
  routes(app)
  app.get('/admin', { config: { admin: { elevated: true } } as object }, async () => ({}))
  app.register(async (child) => { child.get('/child', { config: { session: { maxAuthAge: 60 } } }, async () => ({})) })
  const browser = new Browser(app)
  for (const url of ['/elevated', '/recent', '/both', '/admin', '/child']) {
    const response = await browser.get(url)
    t.strictSame([response.statusCode, response.json().code], [401, 'SESSION_LOGIN_REQUIRED'], url)
  }
  await browser.json('/sudo-login')
  for (const url of ['/elevated', '/recent', '/both', '/child']) t.equal((await browser.get(url)).statusCode, 200, url)
  t.equal((await browser.get('/admin')).statusCode, 401, 'the one session says nothing about the other')
})

test('an answer that depends on the guard says so to caches, whoever asked', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const browser = new Browser(await open(t, redis))
    t.equal((await browser.get('/elevated')).headers.vary, 'Cookie', 'nobody')
    await browser.json('/login')
    t.equal((await browser.get('/elevated')).headers.vary, 'Cookie', 'not elevated')
    await browser.json('/sudo?seconds=60')
    const response = await browser.get('/elevated')
    t.strictSame([response.statusCode, response.headers.vary], [200, 'Cookie'], 'a handler that never looked at the session')
  })
})

test('in an outage a guarded route is neither open nor a login page: 503, also where others go on without', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const browser = new Browser(await open(t, redis.url, { onStoreError: 'anonymous', timeout: 200 }))
  await until('logged in', 5000, async () => (await browser.get('/sudo-login')).statusCode === 200)
  redis.freeze()
  for (const url of ['/elevated', '/recent', '/both']) {
    const response = await browser.get(url)
    t.strictSame([response.statusCode, response.json().code], [503, 'SESSION_DEGRADED'], url)
    t.match(response.headers, { 'cache-control': 'no-store', vary: 'Cookie' }, url)
    t.strictSame(setCookies(response), [], url)
  }
  t.equal((await browser.get('/')).statusCode, 200, 'a route that asks for nothing')
  redis.thaw()
})

test('elevation and a login in one write are both kept, in a session that was there before', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const browser = new Browser(await open(t, redis))
    await browser.json('/set?a=1')
    await browser.json('/login-here')
    t.equal((await browser.get('/both')).statusCode, 200)
    const { at, until } = await browser.json('/')
    t.equal(until - at, 60_000)
  })
})
