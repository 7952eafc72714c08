/** Redis answers, and what it answers is no. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { allUnavailable, idOf, routes, sessions, unavailable } from './kit.js'
import { makeApp, type Lines } from '../support/app.js'
import { Browser, setCookies } from '../support/browser.js'
import { startRedis, type RedisProcess, type StartOptions } from '../support/redis-process.js'
import { until } from '../support/until.js'

async function open (t: Test, options: StartOptions = {}, lines: Lines = []): Promise<{ redis: RedisProcess, app: FastifyInstance }> {
  const redis = await startRedis(options)
  t.teardown(() => redis.stop())
  return { redis, app: await makeApp(t, { redis: redis.url, lines }, routes) }
}

test('full: what grows is refused and changes nothing; reading, extending and logging out go on', async (t) => {
  const { redis, app } = await open(t)
  const [browser, leaver] = await sessions(app, 2)
  await browser!.json('/incr')
  await redis.ask('CONFIG', 'SET', 'maxmemory', '1')
  for (const url of ['/set?a=1', '/incr']) unavailable(t, await browser!.get(url), url)
  unavailable(t, await new Browser(app).get('/set?a=1'), 'a new session')
  t.strictSame(await browser!.json('/'), { user: '0', n: 1 })
  t.equal(app.sessions.status(), 'degraded')
  t.equal((await leaver!.get('/logout')).statusCode, 200)
  await redis.ask('CONFIG', 'SET', 'maxmemory', '0')
  t.strictSame(await browser!.json('/incr'), { n: 2 })
  t.equal(await redis.ask('DBSIZE'), 1)
})

test('evicting: a session that Redis threw away is an anonymous visitor, not an error', async (t) => {
  const { redis, app } = await open(t, { config: 'maxmemory-policy allkeys-lru' })
  const [browser] = await sessions(app, 1)
  await redis.ask('CONFIG', 'SET', 'maxmemory', '1')
  await until('it is gone', 5000, async () => { await redis.ask('SET', 'filler', 'x').catch(() => {}); return await redis.ask('EXISTS', `session:${idOf(browser!)}`) === 0 })
  await redis.ask('CONFIG', 'SET', 'maxmemory', '0')
  const response = await browser!.get('/')
  t.strictSame([response.statusCode, response.json(), setCookies(response)], [200, {}, []])
  t.equal(app.sessions.status(), 'ready')
  await browser!.json('/set?a=1')
  t.strictSame(await browser!.json('/'), { a: '1' }, 'and may get a new session')
})

test('a master that became a replica: no stale answer once that is known, and it heals when there is a master again', async (t) => {
  const lines: Lines = []
  const { redis, app } = await open(t, {}, lines)
  const [browser] = await sessions(app, 1)
  await redis.ask('REPLICAOF', '127.0.0.1', '1')
  unavailable(t, await browser!.get('/set?a=1'), 'the write that shows it')
  t.equal(app.sessions.status(), 'down')
  await allUnavailable(t, app, browser!.clone(), 0)
  await redis.ask('REPLICAOF', 'NO', 'ONE')
  await until('it is known', 5000, () => app.sessions.status() === 'ready')
  t.strictSame(await browser!.json('/'), { user: '0' })
  await browser!.json('/set?a=2')
  t.strictSame(await browser!.json('/'), { user: '0', a: '2' })
  t.strictSame(lines.filter(({ msg }) => msg.startsWith('the session store')).map(({ reason }) => reason), ['READONLY', undefined], 'one line when it went, one when it came')
})

test('a replica that lost its master and says so, to reads as well', async (t) => {
  const { redis, app } = await open(t, { config: 'replica-serve-stale-data no' })
  const [browser] = await sessions(app, 1)
  await redis.ask('REPLICAOF', '127.0.0.1', '1')
  unavailable(t, await browser!.get('/'), 'the read that shows it')
  await allUnavailable(t, app, browser!.clone(), 0)
  await redis.ask('REPLICAOF', 'NO', 'ONE')
  await until('it is known', 5000, () => app.sessions.status() === 'ready')
  t.strictSame(await browser!.json('/'), { user: '0' })
})

test('busy with somebody else\'s script: 503 with its code, until that ends', async (t) => {
  const { redis, app } = await open(t, { config: 'lua-time-limit 20' })
  const [browser] = await sessions(app, 1)
  const admin = redis.client()
  const script = admin.eval('while true do end', 0).catch((error: Error) => error)
  await until('it is busy', 5000, async () => await redis.ask('PING').then(() => false, (error: Error) => error.message.startsWith('BUSY')))
  for (let i = 0; i < 10; i++) t.match((await browser!.get('/')).json(), { statusCode: 503, message: /BUSY|no answer|behind/ })
  t.equal(app.sessions.status(), 'down', 'ten failures in a row')
  await redis.ask('SCRIPT', 'KILL')
  t.match(await script, { message: /killed/i })
  await until('it is over', 5000, async () => (await browser!.get('/')).statusCode === 200)
  t.equal(app.sessions.status(), 'degraded', 'that was a moment ago')
})

test('too few replicas, or a disk that takes nothing: 503 on writes, with the code, and reads go on', async (t) => {
  const { redis, app } = await open(t)
  const [browser] = await sessions(app, 1)
  // Its expiry was just extended: what still can be answered without a write is.
  await browser!.json('/')
  const refused = async (code: string): Promise<void> => {
    for (const url of ['/set?a=1', '/incr', '/logout']) {
      const response = await browser!.clone().get(url)
      unavailable(t, response, `${code} ${url}`)
      t.match(response.json().message, code)
    }
    t.strictSame(await browser!.json('/'), { user: '0' }, code)
    t.equal(app.sessions.status(), 'degraded', code)
  }
  await redis.ask('CONFIG', 'SET', 'min-replicas-to-write', '1')
  await refused('NOREPLICAS')
  await redis.ask('CONFIG', 'SET', 'min-replicas-to-write', '0')
  await browser!.json('/set?b=1')
  await browser!.json('/set?b=')
  // In place of the file that is to be written.
  mkdirSync(join(redis.directory, 'dump.rdb'))
  await redis.ask('CONFIG', 'SET', 'save', '3600 1')
  await redis.ask('BGSAVE')
  await until('saving failed', 5000, async () => (await redis.ask('INFO', 'persistence') as string).includes('rdb_last_bgsave_status:err'))
  t.match((await browser!.clone().get('/incr')).json(), { statusCode: 503, message: /MISCONF/ })
  t.strictSame(await browser!.json('/'), { user: '0', b: '' })
  await redis.ask('CONFIG', 'SET', 'stop-writes-on-bgsave-error', 'no')
  t.strictSame(await browser!.json('/incr'), { n: 1 })
})

test('something else under the key: 500, whatever is done, and it is left as it is', async (t) => {
  const { redis, app } = await open(t)
  app.log.level = 'silent'
  const admin = redis.client()
  for (const [type, make] of [
    ['string', (key: string) => admin.set(key, 'x')],
    ['list', (key: string) => admin.rpush(key, 'x')],
    ['set', (key: string) => admin.sadd(key, 'x')],
    ['zset', (key: string) => admin.zadd(key, 1, 'x')],
    ['stream', (key: string) => admin.xadd(key, '*', 'x', '1')]
  ] as const) {
    const [browser] = await sessions(app, 1)
    const key = `session:${idOf(browser!)}`
    await admin.del(key)
    await make(key)
    const dump = await admin.dumpBuffer(key)
    for (const url of ['/', '/set?a=1', '/incr', '/logout']) {
      const response = await browser!.get(url)
      t.match(response.json(), { statusCode: 500, code: 'SESSION_RECORD_INVALID' }, `${type} ${url}`)
      t.strictSame(setCookies(response), [])
    }
    t.strictSame(await admin.dumpBuffer(key), dump, type)
    t.equal(await admin.ttl(key), -1)
  }
  t.equal(app.sessions.status(), 'ready', 'the store is not to blame')
})

test('something else takes the key\'s place while a handler runs: it is not touched either', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const admin = redis.client()
  const app = await makeApp(t, { redis: redis.url }, (app) => {
    routes(app)
    for (const [path, act] of Object.entries({
      save: async (session: any) => { session.a = 1 },
      clear: async (session: any) => { session.clear() },
      live: async (session: any) => { await session.live.a.set(1) },
      take: async (session: any) => { await session.live.user.take() },
      read: async (session: any) => { await session.live.user.str },
      rotate: async (session: any) => { await session.rotate() },
      regenerate: async (session: any) => { await session.regenerate(['user']) },
      reload: async (session: any) => { await session.reload() },
      destroy: async (session: any) => { await session.destroy() }
    })) {
      app.get(`/${path}`, async ({ session }: any) => {
        const key = `session:${session.id}`
        await admin.del(key)
        await admin.rpush(key, 'x')
        await act(session)
        return {}
      })
    }
  })
  for (const path of ['save', 'clear', 'live', 'take', 'read', 'rotate', 'regenerate', 'reload', 'destroy']) {
    const [browser] = await sessions(app, 1)
    const key = `session:${idOf(browser!)}`
    const response = await browser!.get(`/${path}`)
    t.match(response.json(), { statusCode: 500, code: 'SESSION_RECORD_INVALID' }, path)
    t.strictSame(setCookies(response), [], path)
    t.strictSame(await admin.lrange(key, 0, -1), ['x'], path)
  }
})
