/** Redis is there and does not answer: requests fail in time, do not pile up, and leave nothing behind that happens later. */
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { DEFAULT_TIMEOUT, routes, sessions, SLACK, unavailable } from './kit.js'
import { created, delta, increment, newOwner, RULES, set } from '../contract/kit.js'
import { ready, redisSubject } from '../contract/redis-subject.js'
import { RedisStore } from '../../src/store/redis.js'
import { makeApp } from '../support/app.js'
import { startRedis, type RedisProcess } from '../support/redis-process.js'
import { timed } from '../support/traffic.js'
import { until } from '../support/until.js'

async function open (t: Test): Promise<RedisProcess> {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  return redis
}

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Megabytes that are in use, without what may be forgotten. */
function heap (): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / 2 ** 20
}

/** Evaluations of scripts that Redis has begun, by whomever. */
async function scriptCalls (redis: RedisProcess): Promise<number> {
  const stats = await redis.ask('INFO', 'commandstats') as string
  return [...stats.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0)
}

for (const [what, stop, go] of [
  ['frozen', async (redis: RedisProcess) => { redis.freeze() }, async (redis: RedisProcess) => { redis.thaw() }],
  ['paused for everybody', async (redis: RedisProcess) => { await redis.ask('CLIENT', 'PAUSE', '900', 'ALL') }, async () => {}],
  ['paused for writes', async (redis: RedisProcess) => { await redis.ask('CLIENT', 'PAUSE', '900', 'WRITE') }, async () => {}],
  ['asleep', async (redis: RedisProcess) => { redis.ask('DEBUG', 'SLEEP', '0.9').catch(() => {}); await sleep(50) }, async () => {}]
] as const) {
  test(`${what}: 503 within the timeout, then at once, and a write that was given up happens never`, async (t) => {
    const redis = await open(t)
    const app = await makeApp(t, { redis: redis.url, timeout: DEFAULT_TIMEOUT }, routes)
    const [browser, leaver] = await sessions(app, 2)
    await Promise.all([browser!, leaver!].map(async (browser) => { await browser.json('/set?a=1'); await browser.json('/incr') }))
    await stop(redis)
    const first = await Promise.all(['/', '/set?a=late', '/incr'].map((url) => timed(browser!.clone(), url)))
    t.strictSame(first.map(({ status }) => status), [503, 503, 503])
    t.ok(first.every(({ took }) => took < DEFAULT_TIMEOUT + SLACK), `within ${Math.max(...first.map(({ took }) => took)).toFixed()} ms`)
    const next = await timed(browser!.clone(), '/')
    t.equal(next.status, 503)
    t.ok(next.took < DEFAULT_TIMEOUT, `no more waiting: ${next.took.toFixed()} ms`)
    t.equal(app.sessions.status(), 'down')
    await go(redis)
    await until('it answers again', 5000, async () => (await browser!.get('/')).statusCode === 200)
    t.strictSame(await browser!.json('/'), { user: '0', a: '1', n: 1 })
    await browser!.json('/set?a=2')
    await leaver!.json('/logout')
    t.strictSame(await browser!.json('/'), { user: '0', a: '2', n: 1 })
    t.equal(await redis.ask('DBSIZE'), 1, 'who left stays away')
  })
}

test('a handler that meets the freeze: what it did is not told as done, and not done later', async (t) => {
  const redis = await open(t)
  const app = await makeApp(t, { redis: redis.url, timeout: DEFAULT_TIMEOUT }, (app) => {
    routes(app)
    for (const [path, act] of Object.entries({
      save: async (session: any) => { session.a = 'late' },
      live: async (session: any) => { await session.live.a.set('late') },
      create: async (session: any) => { await session.regenerate(); session.a = 'late' },
      rotate: async (session: any) => { await session.rotate() },
      destroy: async (session: any) => { await session.destroy() }
    })) app.get(`/${path}`, async ({ session }: any) => { redis.freeze(); await act(session); return {} })
  })
  for (const path of ['save', 'live', 'create', 'rotate']) {
    const [browser] = await sessions(app, 1)
    await browser!.json('/incr')
    const { token } = browser!
    unavailable(t, await browser!.get(`/${path}`), path)
    t.equal(browser!.token, token, path)
    redis.thaw()
    await until('it answers again', 5000, async () => (await browser!.get('/plain')).statusCode === 200)
    t.strictSame(await browser!.json('/'), { user: '0', n: 1 }, path)
  }
  const [leaver] = await sessions(app, 1)
  unavailable(t, await leaver!.get('/destroy'), 'a logout that nobody can vouch for keeps the cookie')
  redis.thaw()
  await until('it answers again', 5000, async () => (await leaver!.get('/logout')).statusCode === 200)
  t.strictSame(await leaver!.json('/'), {}, 'trying again works')
})

test('a process that was too busy to read answers does not blame Redis', async (t) => {
  const redis = await open(t)
  const app = await makeApp(t, { redis: redis.url, timeout: 100 }, routes)
  const [browser] = await sessions(app, 1)
  const answer = browser!.get('/')
  // One turn for the command to leave; then Redis answers while nobody listens.
  await sleep(0)
  const begin = performance.now()
  while (performance.now() - begin < 400);
  t.equal((await answer).statusCode, 200)
})

test('thousands of requests on a frozen Redis: only so many wait, the others fail at once, and memory stays bounded', async (t) => {
  const redis = await open(t)
  // The worst case: a client that never gives a connection up, and keeps every command.
  const client = await ready(redis.client({ maxRetriesPerRequest: null }))
  const store = new RedisStore(client, { timeout: 2000 })
  const subject = redisSubject(client, client)
  const owner = await created(subject, { user: 'andrew' })
  await store.load(owner.id, owner.digest, false, RULES)
  await store.write(owner.id, owner.digest, delta([set('a', '1')]), RULES)
  const before = await scriptCalls(redis)
  const empty = heap()
  redis.freeze()
  const failures = new Map<string, number>()
  const write = delta([set('a', 'x'.repeat(900))])
  const wave = async (count: number): Promise<number> => {
    const begin = performance.now()
    await Promise.all(Array.from({ length: count }, async () => await store.write(owner.id, owner.digest, write, RULES).catch((error: Error) => {
      const [, reason = error.message] = /\((.*)\)/.exec(error.message) ?? []
      failures.set(reason, (failures.get(reason) ?? 0) + 1)
    })))
    return performance.now() - begin
  }
  await wave(12_000)
  t.strictSame([...failures], [['too many commands are under way', 2000], ['no answer within 2000 ms', 10_000]])
  const full = heap() - empty
  failures.clear()
  for (let i = 0; i < 20; i++) await wave(1000)
  t.strictSame([...failures], [['Redis is behind with its answers', 20_000]])
  const later = heap() - empty
  t.comment(`${full.toFixed()} MB with 10,000 writes of 1 kB under way; ${later.toFixed()} MB after 20,000 more`)
  t.ok(full < 60 && later < full + 5, `${full} and ${later} MB`)
  t.equal(store.status(), 'down')
  redis.thaw()
  await until('it caught up', 20_000, () => store.status() !== 'down')
  t.equal(await scriptCalls(redis) - before, 10_000, 'nothing of what failed at once was ever sent')
  t.equal((await store.load(owner.id, owner.digest, false, RULES))?.fields.get('a'), '1', 'and what was sent came too late')
  await store.close()
})

test('thousands of requests on a Redis that is down: nothing is queued for later', async (t) => {
  const redis = await open(t)
  const client = await ready(new Redis(redis.url, { retryStrategy: () => 50, maxRetriesPerRequest: null }))
  client.on('error', () => {})
  t.teardown(() => { client.disconnect() })
  const store = new RedisStore(client)
  await redis.kill()
  await until('the client notices', 1000, () => client.status !== 'ready')
  const empty = heap()
  let refused = 0
  for (let i = 0; i < 20; i++) {
    const { id, digest } = newOwner()
    await Promise.all(Array.from({ length: 1000 }, async () => await store.create(id, digest, delta([set('a', 'x'.repeat(900))]), RULES).catch(() => { refused++ })))
  }
  t.equal(refused, 20_000)
  const grown = heap() - empty
  t.comment(`${grown.toFixed()} MB after 20,000 writes of 1 kB`)
  t.ok(grown < 5)
  await redis.restart()
  await until('the client is back', 5000, () => store.status() === 'ready')
  const owner = newOwner()
  t.ok(await store.create(owner.id, owner.digest, delta([set('n', '1')]), RULES))
  t.strictSame((await store.write(owner.id, owner.digest, delta([increment('n')]), RULES))?.results, ['2'])
  t.equal(await redis.ask('DBSIZE'), 1)
  await store.close()
})
