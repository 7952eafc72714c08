import { test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { makeApp, onEveryStore, SECRET, sharedRedis } from '../support/app.js'
import { Browser, setCookies } from '../support/browser.js'

const sleep = async (ms: number): Promise<void> => { await new Promise((resolve) => setTimeout(resolve, ms)) }

function routes (app: FastifyInstance): void {
  const answer = ({ session }: any) => ({ alive: !session.isNew, id: session.id, ttl: session.expiresAt === undefined ? null : session.expiresAt - session.lastAccessedAt, idle: session.idleTimeout })
  app.get('/', async (request) => answer(request))
  app.get('/peek', { config: { session: { touch: false } } }, async (request) => answer(request))
  app.get('/off', { config: { session: false } }, async ({ session }: any) => ({ alive: !session.isNew, keys: Object.keys(session) }))
  app.get('/offwrite', { config: { session: false } }, async ({ session }: any) => { session.a = 1 })
  app.get('/offlive', { config: { session: false } }, async ({ session }: any) => { await session.live.a.incr() })
  app.get('/set', async ({ session }: any) => { session.a = 1 })
  app.get('/idle', async ({ session, query }: any) => { session.a ??= 1; session.idleTimeout = Number(query.s); await session.save(); return { idle: session.idleTimeout } })
  app.get('/remember', async ({ session, query }: any) => { session.a = 1; session.remember(Object.fromEntries(Object.entries(query).map(([key, value]) => [key, Number(value)]))) })
  app.get('/touch', { config: { session: { touch: false } } }, async ({ session }: any) => { session.touch() })
}

test('the idle timeout slides with use, and looking without touching does not extend it', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis, idleTimeout: 2 }, routes)
    const [busy, watched, idle] = [new Browser(app), new Browser(app), new Browser(app)]
    await Promise.all([busy.get('/set'), watched.get('/set'), idle.get('/set')])
    for (let i = 0; i < 4; i++) {
      await sleep(700)
      t.equal((await busy.json('/')).alive, true, 'in use')
      await watched.get('/peek')
    }
    t.equal((await watched.json('/')).alive, false, 'only looked at')
    t.equal((await idle.json('/')).alive, false, 'not used')
    t.equal((await busy.json('/')).alive, true)
  })
})

test('the lifetime is absolute, however busy the session is', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis, idleTimeout: 2, lifetime: 2.5 }, routes)
    const browser = new Browser(app)
    await browser.get('/set')
    const begin = performance.now()
    let alive = true
    while (alive && performance.now() - begin < 6000) {
      await sleep(50)
      alive = (await browser.json('/')).alive
    }
    const age = performance.now() - begin
    // How much later than that depends on how busy the machine is; without an end, it goes on.
    t.ok(!alive && age > 2400, `ended after ${Math.round(age)} ms`)
  })
})

test('the touch interval spares writes and never shortens the idle timeout', async (t) => {
  const redis = await sharedRedis()
  const look = redis.client()
  const app = await makeApp(t, { redis: redis.url, idleTimeout: 100, touchInterval: 10 }, routes)
  const browser = new Browser(app)
  await browser.get('/set')
  const { id } = await browser.json('/peek')
  const key = `session:${id}`
  t.ok(Math.abs(await look.pttl(key) - 100_000) < 1000, 'creation: the idle timeout')
  await look.pexpire(key, 99_000)
  await browser.get('/')
  t.ok(Math.abs(await look.pttl(key) - 110_000) < 1000, 'a use that finds less than that extends it by the interval more')
  await look.pexpire(key, 101_000)
  await browser.get('/')
  t.ok(await look.pttl(key) <= 101_000, 'a use that finds enough writes nothing')
  await browser.get('/touch')
  t.ok(Math.abs(await look.pttl(key) - 110_000) < 1000, 'touch() always does')
  await browser.get('/idle?s=20')
  t.ok(Math.abs(await look.pttl(key) - 20_000) < 1000, 'a new timeout counts from saving')
  await look.pexpire(key, 15_000)
  await browser.get('/')
  t.ok(Math.abs(await look.pttl(key) - 22_000) < 1000, 'and the interval shrinks with it')
  t.equal(await look.hget(key, 'session_ttl'), '20')
  const exact = await makeApp(t, { redis: redis.url, idleTimeout: 100, touchInterval: 0 }, routes)
  const other = new Browser(exact)
  await other.get('/set')
  await other.get('/')
  t.ok(await look.pttl(`session:${(await other.json('/peek')).id}`) <= 100_000, '0: every use, exactly')
})

test('one session can have timeouts of its own, and reading them back is right at once', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis, idleTimeout: 60 }, routes)
    const browser = new Browser(app)
    t.strictSame(await browser.json('/idle?s=20'), { idle: 20 }, 'in the request that creates the record')
    const { idle, ttl } = await browser.json('/peek')
    t.equal(idle, 20)
    // A load that extends nothing does not ask Redis for the time: expiresAt is as accurate as its replies are fast.
    t.ok(ttl > 19_000 && ttl <= 20_250, `${ttl} ms`)
    t.strictSame(await browser.json('/idle?s=90'), { idle: 90 })
    t.match(await browser.json('/peek'), { idle: 90 })
    for (const bad of ['0', '-1', 'x', 'Infinity']) {
      const response = await browser.get(`/idle?s=${bad}`)
      t.strictSame([response.statusCode, response.json().code], [500, 'SESSION_TIMEOUT_INVALID'], bad)
    }
    const [cookie] = setCookies(await browser.get('/remember?idleTimeout=100000&lifetime=500000'))
    const age = Number(cookie!.attributes.get('max-age'))
    t.ok(age > 99_000 && age <= 101_000, `a persistent cookie for as long as the session lasts: ${age}`)
    t.match(await browser.json('/peek'), { idle: 100_000 })
    const refused = await browser.get('/remember?idleTimeout=600000')
    t.strictSame([refused.statusCode, refused.json().code], [500, 'SESSION_TIMEOUT_INVALID'], 'a lifetime shorter than the idle timeout')
  })
})

test('a persistent cookie is sent again when its session is extended; a session cookie is not', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis, touchInterval: 0, cookie: { persistent: true } }, routes)
    const browser = new Browser(app)
    const [first] = setCookies(await browser.get('/set'))
    t.equal(first!.attributes.get('max-age'), '1800')
    await sleep(10)
    const response = await browser.get('/')
    const [again] = setCookies(response)
    t.strictSame([again!.value, response.headers['cache-control']], [first!.value, 'no-store'])
    t.strictSame(setCookies(await browser.get('/peek')), [])
    const plain = await makeApp(t, { redis, touchInterval: 0 }, routes)
    const other = new Browser(plain)
    t.notOk(setCookies(await other.get('/set'))[0]!.attributes.has('max-age'))
    await sleep(10)
    t.strictSame(setCookies(await other.get('/')), [])
    await other.get('/remember')
    await sleep(10)
    t.ok(setCookies(await other.get('/'))[0]!.attributes.has('max-age'), 'remember() holds for later requests')
  })
})

test('a remembered session keeps its persistent cookie through rotate(), elevate() and a new signing secret', async (t) => {
  const redis = await sharedRedis()
  const more = (app: FastifyInstance): void => {
    routes(app)
    app.get('/rotate', async ({ session }: any) => { await session.rotate() })
    app.get('/elevate', async ({ session }: any) => { await session.elevate(60) })
  }
  const app = await makeApp(t, { redis: redis.url }, more)
  const browser = new Browser(app)
  const week = 604_800
  await browser.get(`/remember?idleTimeout=${week}&lifetime=${week}`)
  const resigning = await makeApp(t, { redis: redis.url, secret: ['the next secret of the tests 3d90', SECRET] }, more)
  for (const [url, at] of [['/rotate', app], ['/elevate', app], ['/peek', resigning]] as const) {
    const [cookie] = setCookies(await browser.clone(at).get(url))
    const age = Number(cookie?.attributes.get('max-age'))
    t.ok(age > week - 60 && age <= week, `${url}: ${age}`)
    browser.jar.set(cookie!.name, cookie!.value)
  }
  const plain = new Browser(app)
  await plain.get('/set')
  t.notOk(setCookies(await plain.get('/rotate'))[0]!.attributes.has('max-age'), 'a session cookie stays one')
})

test('a route with session: false reads no cookie, and writing there is an error', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis }, routes)
    const browser = new Browser(app)
    await browser.get('/set')
    t.strictSame(await browser.json('/off'), { alive: false, keys: [] })
    for (const url of ['/offwrite', '/offlive']) {
      const response = await browser.get(url)
      t.strictSame([response.statusCode, response.json().code], [500, 'SESSION_DISABLED'], url)
    }
    t.equal((await browser.json('/')).alive, true)
  })
})

test('the app\'s clock means nothing: an hour off in either direction changes nothing', async (t) => {
  const redis = await sharedRedis()
  const real = Date.now
  t.teardown(() => { Date.now = real })
  for (const offset of [3_600_000, -3_600_000]) {
    Date.now = () => real() + offset
    const app = await makeApp(t, { redis: redis.url, idleTimeout: 2 }, (app) => {
      routes(app)
      app.get('/times', async ({ session }: any) => ({ created: session.createdAt.getTime(), expires: session.expiresAt.getTime() }))
    })
    const browser = new Browser(app)
    await browser.get('/set')
    const { created, expires } = await browser.json('/times')
    t.ok(Math.abs(created - real()) < 1000, 'createdAt is Redis\' time')
    t.ok(Math.abs(expires - real() - 2000) < 1000, 'expiresAt is Redis\' time')
    t.equal((await browser.json('/')).alive, true)
    await app.close()
  }
})
