import { Readable } from 'node:stream'
import { test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { makeApp, type Lines } from '../support/app.js'
import { Browser, setCookies } from '../support/browser.js'
import { startRedis } from '../support/redis-process.js'
import { until } from '../support/until.js'

function routes (app: FastifyInstance): void {
  app.get('/', async ({ session }: any) => ({ data: session.data(), isNew: session.isNew }))
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
  app.get('/live', async ({ session }: any) => ({ n: await session.live.n.incr() }))
  app.get('/catch', async ({ session }: any) => await session.live.n.int.catch(() => ({ caught: true })))
  app.get('/logout', async ({ session }: any) => { await session.destroy(); return {} })
  app.get('/health', { config: { session: false } }, async () => ({ ok: true }))
  app.get('/plain', async () => ({ ok: true }))
}

test('Redis away: 503 at once with Retry-After, cookie untouched, anonymous requests go on, recovery by itself', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const lines: Lines = []
  const app = await makeApp(t, { redis: redis.url, lines, timeout: 5000 }, routes)
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  await redis.kill()
  await until('the client notices', 2000, () => lines.some(({ msg }) => msg.includes('is not available')))
  for (const url of ['/', '/set?b=1', '/plain', '/live', '/logout', '/nowhere']) {
    const begin = performance.now()
    const response = await browser.get(url)
    const took = performance.now() - begin
    t.equal(response.statusCode, 503, url)
    t.match(response.json(), { code: 'SESSION_STORE_UNAVAILABLE' })
    t.match(response.headers['retry-after'], /^[123]$/)
    t.equal(response.headers['cache-control'], 'no-store')
    t.strictSame(setCookies(response), [], 'the cookie is left alone')
    t.ok(took < 1000, `${url}: at once, not when its time is over: ${Math.round(took)} ms`)
  }
  const anonymous = new Browser(app)
  t.strictSame(await anonymous.json('/'), { data: {}, isNew: true })
  t.strictSame(await anonymous.json('/health'), { ok: true })
  t.equal((await anonymous.get('/set?a=1')).statusCode, 503, 'a first write is a write')
  t.equal(anonymous.jar.size, 0)
  t.strictSame(await browser.json('/health'), { ok: true }, 'session: false needs no Redis')
  await redis.restart()
  await until('the client is back', 5000, async () => (await browser.get('/')).statusCode === 200)
  t.match(await browser.json('/'), { isNew: true }, 'this Redis kept nothing; the session is gone, not an error')
  await browser.get('/set?a=2')
  t.match(await browser.json('/'), { data: { a: '2' } })
  t.equal(lines.filter(({ msg }) => msg.startsWith('the session store is')).length, 2, 'one line when it went, one when it came')
})

test('Redis frozen: 503 within the budget, and what was told to have failed never undoes a later write', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const app = await makeApp(t, { redis: redis.url, timeout: 150 }, routes)
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  const id = browser.token!.split('.')[0]!
  redis.freeze()
  const begin = performance.now()
  const responses = await Promise.all([browser.get('/'), browser.get('/set?a=zombie'), browser.clone().get('/live')])
  const took = performance.now() - begin
  t.strictSame(responses.map(({ statusCode }) => statusCode), [503, 503, 503])
  t.ok(took < 1000, `took ${Math.round(took)} ms`)
  redis.thaw()
  await until('it answers again', 5000, async () => (await browser.get('/')).statusCode === 200)
  t.equal((await browser.get('/set?a=after')).statusCode, 200)
  t.equal((await app.sessions.inspect(id))!.fields.a, 'after')
})

test('a save that fails after a handler error, a stream or a HEAD still ends the request with an answer', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const app = await makeApp(t, { redis: redis.url, timeout: 100 }, (app) => {
    routes(app)
    app.get('/bad', async ({ session }: any) => {
      session.a = 2
      redis.freeze()
      throw Object.assign(new Error('bad form'), { statusCode: 400 })
    })
    app.get('/stream', async ({ session }: any, reply) => {
      session.a = 3
      redis.freeze()
      return reply.send(Readable.from(['never ', 'sent']))
    })
  })
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  for (const [method, url] of [['GET', '/bad'], ['GET', '/stream'], ['HEAD', '/stream']] as const) {
    const response = await browser.get(url, { method })
    t.ok(response.statusCode >= 400, `${method} ${url}: ${response.statusCode}`)
    t.notMatch(response.body, 'never sent')
    t.strictSame(setCookies(response), [])
    redis.thaw()
    await until('it answers again', 5000, async () => (await browser.get('/')).statusCode === 200)
    t.strictSame((await browser.json('/')).data, { a: '1' }, 'what was told to have failed did not happen later')
  }
})

test('Redis full: a write is 503 and changes nothing; reading, extending and logout go on', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const app = await makeApp(t, { redis: redis.url, touchInterval: 0 }, routes)
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  await browser.get('/live')
  const look = redis.client()
  await look.config('SET', 'maxmemory', '1')
  for (const url of ['/set?a=2', '/live']) {
    const response = await browser.get(url)
    t.match(response.json(), { code: 'SESSION_STORE_UNAVAILABLE', message: /OOM/ }, url)
  }
  t.strictSame((await browser.json('/')).data, { a: '1', n: 1 }, 'reading and extending work')
  t.equal((await browser.get('/logout')).statusCode, 200)
  t.equal(await look.dbsize(), 0)
  t.equal(browser.jar.size, 0)
})

test('something else under the key of a session: 500, and it is left alone', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const app = await makeApp(t, { redis: redis.url }, routes)
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  const key = `session:${browser.token!.split('.')[0]!}`
  const look = redis.client()
  await look.set(key, 'a string')
  const response = await browser.get('/')
  t.strictSame([response.statusCode, response.json().code], [500, 'SESSION_RECORD_INVALID'])
  t.equal(await look.get(key), 'a string')
  await look.del(key)
  await look.hset(key, { a: 1 })
  t.match(await browser.json('/'), { isNew: true }, 'a record without its owner\'s digest is nobody\'s')
})

test('Redis that loses its scripts learns them again', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const app = await makeApp(t, { redis: redis.url }, routes)
  const browser = new Browser(app)
  await browser.get('/live')
  await redis.client().script('FLUSH')
  const clones = Array.from({ length: 20 }, () => browser.clone())
  const sums = await Promise.all(clones.map(async (clone) => (await clone.get('/live')).statusCode))
  t.strictSame(sums, Array(20).fill(200))
  await browser.get('/set?b=2')
  t.match((await browser.json('/')).data, { n: 21, b: '2' })
})

test('Redis absent at boot: a clear error within a bound, without the password', async (t) => {
  const begin = performance.now()
  await t.rejects(makeApp(t, { redis: 'redis://user:pa55word@127.0.0.1:1' }), { code: 'SESSION_OPTION_INVALID', message: /redis \(SESSION_REDIS\).*5 s.*ECONNREFUSED/ })
  t.ok(performance.now() - begin < 8000)
})

test('app.close() ends in bounded time, whatever Redis does, and closes only what the plugin opened', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const own = await makeApp(t, { redis: redis.url }, routes)
  await new Browser(own).get('/set?a=1')
  redis.freeze()
  let begin = performance.now()
  await own.close()
  t.ok(performance.now() - begin < 3000, 'own connection, Redis frozen')
  redis.thaw()
  const client = new Redis(redis.url)
  t.teardown(() => { client.disconnect() })
  const given = await makeApp(t, { redis: client }, routes)
  await new Browser(given).get('/set?a=1')
  begin = performance.now()
  await given.close()
  t.equal(await client.ping(), 'PONG', 'a given client stays open')
})
