/**
 * A connection over which no answer comes any more is cut, so that its client connects again: also one that the application
 * made, with options of its own. None is closed for good, and none that still says something.
 */
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { Redis, type RedisOptions } from 'ioredis'
import { test, type Test } from 'tap'
import { routes, sessions, SLACK } from './kit.js'
import { delta, newOwner, RULES, set } from '../contract/kit.js'
import { ready } from '../contract/redis-subject.js'
import { RedisStore } from '../../src/store/redis.js'
import { makeApp } from '../support/app.js'
import { compute } from '../support/compute.js'
import { startRedis, type RedisProcess } from '../support/redis-process.js'
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js'
import { until } from '../support/until.js'

const UNAVAILABLE = { code: 'SESSION_STORE_UNAVAILABLE', statusCode: 503 }
const TIMEOUT = 100
const PATIENCE = 300
/** So much silence, and whatever is to be cut is; milliseconds. */
const LONG = 4 * (TIMEOUT + PATIENCE)

interface Scene { redis: RedisProcess, proxy: TcpProxy, client: Redis, errors: Error[], store: RedisStore, use: () => Promise<unknown> }

/** A store on a client that the application made, with the defaults of ioredis but for these. */
async function open (t: Test, options: RedisOptions = {}): Promise<Scene> {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  const client = await ready(new Redis(proxy.url, { retryStrategy: () => 50, ...options }))
  t.teardown(() => { client.disconnect() })
  const errors: Error[] = []
  client.on('error', (error) => { errors.push(error) })
  const store = new RedisStore(client, { timeout: TIMEOUT, patience: PATIENCE })
  t.teardown(() => store.close())
  const owner = newOwner()
  await store.create(owner.id, owner.digest, delta([set('user', 'andrew')]), RULES)
  return { redis, proxy, client, errors, store, use: () => store.load(owner.id, owner.digest, false, RULES) }
}

test('frozen: given up when the budget is over, also by a process that computes meanwhile', async (t) => {
  for (const busy of [0, 1000]) {
    const { redis, store, use } = await open(t)
    redis.freeze()
    let settled = 0
    const asked = [use(), store.scan()[Symbol.asyncIterator]().next()]
    for (const answer of asked) answer.catch(() => {}).finally(() => { settled++ })
    await turn()
    compute(busy)
    await until(`given up, ${busy} ms of computing`, TIMEOUT + SLACK, () => settled === 2)
    for (const answer of asked) await t.rejects(answer, { ...UNAVAILABLE, message: /no answer within 100 ms/ })
    redis.thaw()
  }
})

test('silent while it owes an answer: cut, and the client goes on over another connection', async (t) => {
  for (const direction of ['requests', 'replies', 'both'] as const) {
    const { proxy, client, errors, store, use } = await open(t)
    const { sockets } = proxy.seen
    const { stream } = client
    proxy.pause(direction)
    await t.rejects(use(), UNAVAILABLE, direction)
    t.equal(client.stream, stream, 'not yet')
    await until('another connection', 5000, () => proxy.seen.sockets > sockets)
    t.match(errors[0], { message: `Redis was silent for ${PATIENCE} ms` }, 'the application hears why')
    proxy.resume()
    await until('served', 5000, async () => await use() !== undefined)
    t.equal(await client.ping(), 'PONG')
    t.equal(store.status(), 'ready')
  }
})

test('nobody waits for an answer: left alone, however long it is silent', async (t) => {
  const { proxy, client, use } = await open(t)
  const { sockets } = proxy.seen
  proxy.pause()
  await sleep(LONG)
  proxy.resume()
  t.ok(await use())
  t.equal(client.status, 'ready')
  t.equal(proxy.seen.sockets, sockets)
})

test('late, but not silent: left alone', async (t) => {
  const { redis, proxy, client, use } = await open(t)
  const { sockets } = proxy.seen
  await client.set('large', 'x'.repeat(10_000))
  // The application asked for much, and it comes in small portions: what is asked after that is late.
  proxy.pause('replies')
  const much = Promise.all(Array.from({ length: 6000 }, () => client.get('large')))
  const late = use().catch((error: unknown) => error)
  const begin = performance.now()
  while (performance.now() - begin < TIMEOUT + 2.5 * PATIENCE) {
    const { bytesRead } = client.stream
    proxy.resume()
    while (client.stream.bytesRead === bytesRead) await turn()
    proxy.pause('replies')
    await sleep(PATIENCE / 3)
  }
  t.match(await late, { ...UNAVAILABLE, message: /no answer/ })
  await t.rejects(use(), { ...UNAVAILABLE, message: /behind/ }, 'there is more to come')
  proxy.resume()
  t.equal((await much).length, 6000)
  await until('served', 5000, async () => await use() !== undefined)
  t.equal(proxy.seen.sockets, sockets)
  t.match(await redis.ask('INFO', 'commandstats'), /cmdstat_get:calls=6000,/, 'and nothing was sent twice')
})

test('a client that does not connect again is not cut: it would be closed for good', async (t) => {
  const { proxy, client, use } = await open(t, { retryStrategy: undefined as never })
  // The defaults of ioredis fill in what is undefined.
  client.options.retryStrategy = undefined as never
  const store = new RedisStore(client, { timeout: TIMEOUT, patience: PATIENCE })
  t.teardown(() => store.close())
  proxy.pause('replies')
  await t.rejects(store.load(newOwner().id, 'digest', false, RULES), UNAVAILABLE)
  await sleep(LONG)
  t.equal(client.status, 'ready')
  proxy.resume()
  await until('served', 5000, async () => await use() !== undefined)
})

test('silent while it is being opened: cut, until somebody answers', async (t) => {
  const { redis, proxy, client, use } = await open(t, { maxLoadingRetryTime: 50 })
  redis.freeze()
  const { sockets } = proxy.seen
  proxy.cut()
  await until('a second attempt', 5000, () => proxy.seen.sockets > sockets + 1)
  t.not(client.status, 'ready')
  redis.thaw()
  await until('served', 5000, async () => await use() !== undefined)
})

test('silent while it is found out whether a replica became the master: cut', async (t) => {
  const { redis, proxy, store } = await open(t)
  await redis.ask('REPLICAOF', '127.0.0.1', '1')
  const { id, digest } = newOwner()
  await t.rejects(store.create(id, digest, delta([set('a', '1')]), RULES), { message: /READONLY/ })
  const probes = (): number => proxy.seen.names.get('DEL') ?? 0
  proxy.pause('replies')
  const before = probes()
  await until('it was asked', 5000, () => probes() > before)
  const { sockets } = proxy.seen
  await until('another connection', 5000, () => proxy.seen.sockets > sockets)
  proxy.resume()
  await redis.ask('REPLICAOF', 'NO', 'ONE')
  await until('it was found out', 5000, () => store.status() !== 'down')
  t.ok(await store.create(id, digest, delta([set('a', '1')]), RULES))
})

test('silent while it is checked, at boot and after a reconnection: cut, until somebody answers', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  const checks = (): number => proxy.seen.names.get('DEL') ?? 0
  // What opens a connection is answered; what writes, or might, is not.
  const pause = (): Promise<unknown> => redis.ask('CLIENT', 'PAUSE', '60000', 'WRITE')
  const twice = async (what: string): Promise<void> => {
    const before = checks()
    await until(what, 4000, () => checks() > before + 1)
    await redis.ask('CLIENT', 'UNPAUSE')
  }
  await pause()
  const [app] = await Promise.all([makeApp(t, { redis: proxy.url }, routes), twice('a second check at boot')])
  const [browser] = await sessions(app, 1)
  await pause()
  proxy.cut()
  await twice('a second check after the reconnection')
  await until('served', 5000, async () => (await browser!.get('/')).statusCode === 200)
})

test('silent while somebody goes through all sessions: cut', async (t) => {
  const { proxy, store, use } = await open(t)
  const { sockets } = proxy.seen
  proxy.pause('replies')
  await t.rejects(store.scan()[Symbol.asyncIterator]().next(), { ...UNAVAILABLE, message: /no answer within 100 ms/ })
  t.equal(proxy.seen.sockets, sockets, 'not yet')
  await until('another connection', 5000, () => proxy.seen.sockets > sockets)
  proxy.resume()
  await until('served', 5000, async () => await use() !== undefined)
})

test('a store that was closed leaves the client alone', async (t) => {
  const { proxy, client, store, use } = await open(t)
  const { sockets } = proxy.seen
  proxy.pause('replies')
  await t.rejects(use(), UNAVAILABLE)
  await store.close()
  t.strictSame(['connect', 'close', 'ready'].map((event) => client.listenerCount(event)), [0, 0, 0])
  await sleep(LONG)
  proxy.resume()
  t.equal(await client.ping(), 'PONG')
  t.equal(proxy.seen.sockets, sockets)
})
