/**
 * The application's own process is busy: it computes without a break, and reads nothing meanwhile. What Redis answered in
 * time counts; and a Redis that does not answer is noticed all the same.
 */
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { DEFAULT_TIMEOUT, SLACK, startApp } from './kit.js'
import { apart, created, delta, increment, kept, newOwner, RULES, set } from '../contract/kit.js'
import { ready, redisSubject } from '../contract/redis-subject.js'
import { dismiss, openClient, PATIENCE } from '../../src/store/open-client.js'
import { RedisStore } from '../../src/store/redis.js'
import { compute } from '../support/compute.js'
import { startCluster } from '../support/redis-cluster.js'
import { startRedis, type RedisProcess } from '../support/redis-process.js'
import { startSentinelGroup } from '../support/redis-sentinel.js'
import type { ServerProcess } from '../support/server-process.js'
import { startProxy } from '../support/tcp-proxy.js'
import { until } from '../support/until.js'

const UNAVAILABLE = { code: 'SESSION_STORE_UNAVAILABLE', statusCode: 503 }

async function open (t: Test): Promise<RedisProcess> {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  return redis
}

/** Somebody on the other end of the network, with a session of his own. */
class Client {
  readonly #server: ServerProcess
  #cookie = ''
  /** How often the session was counted, as far as that was answered. */
  readonly told: { n?: number, m?: number } = {}

  constructor (server: ServerProcess) {
    this.#server = server
  }

  async get (path: string): Promise<{ status: number, body: any, took: number }> {
    const begin = performance.now()
    const { status, body, cookies } = await this.#server.get(path, this.#cookie)
    this.#cookie = cookies[0]?.split(';')[0] ?? this.#cookie
    Object.assign(this.told, body.n !== undefined && { n: body.n }, body.m !== undefined && { m: body.m })
    return { status, body, took: performance.now() - begin }
  }
}

async function clients (server: ServerProcess, count: number): Promise<Client[]> {
  return await Promise.all(Array.from({ length: count }, async (_, i) => {
    const client = new Client(server)
    const { status } = await client.get(`/set?user=${i}`)
    if (status !== 200) throw new Error(`no session: ${status}`)
    return client
  }))
}

/** Has everybody ask for something at the same time, several times; says what was answered that is not 200. */
async function failures (everybody: readonly Client[], path: string, rounds: number): Promise<string[]> {
  const failed: string[] = []
  await Promise.all(everybody.map(async (client) => {
    for (let i = 0; i < rounds; i++) {
      const { status, body } = await client.get(path)
      if (status !== 200) failed.push(`${status} ${body.message}`)
    }
  }))
  return failed
}

async function connections (redis: RedisProcess): Promise<number> {
  return Number(/total_connections_received:(\d+)/.exec(await redis.ask('INFO', 'stats') as string)?.[1])
}

test('handlers compute: everybody is served, nothing is lost, and no connection is given up', async (t) => {
  const redis = await open(t)
  const server = await startApp(t, redis.url)
  const everybody = await clients(server, 8)
  const before = await connections(redis)
  for (const [path, rounds, count] of [
    ['/count?ms=100', 3, 8], // each turn takes longer than the timeout, none of the handlers does
    ['/live?ms=100', 3, 8], // it is called long before it can be sent
    ['/count?ms=1000', 2, 2],
    ['/live?ms=1000', 2, 2]
  ] as const) {
    t.strictSame(await failures(everybody.slice(0, count), path, rounds), [], path)
  }
  for (const [i, client] of everybody.entries()) {
    const { body } = await client.get('/')
    t.match(body, { n: i < 2 ? 5 : 3, m: i < 2 ? 5 : 3 })
    t.match(client.told, { n: body.n, m: body.m })
  }
  // Those that ask for it are the only ones.
  t.equal(await connections(redis) - before, 1)
})

test('an answer that is not read for a second: it counts, and a connection that the plugin opened goes on', async (t) => {
  const redis = await open(t)
  const client = await ready(openClient(redis.url, DEFAULT_TIMEOUT) as Redis)
  t.teardown(() => { dismiss(client) })
  const store = new RedisStore(client, { timeout: DEFAULT_TIMEOUT, patience: PATIENCE })
  t.teardown(() => store.close())
  const subject = { ...redisSubject(client, client), store }
  const owner = await created(subject, { n: '0' })
  const { stream } = client
  for (const ask of [
    () => store.load(owner.id, owner.digest, false, RULES),
    () => store.write(owner.id, owner.digest, apart(increment('n')), RULES)
  ]) {
    // It is called in a turn that goes on for a second, and written at its end. Then its answer lies there for a second.
    const answer = ask()
    compute(1000)
    await turn()
    compute(1000)
    t.ok(await answer)
  }
  t.equal(client.stream, stream)
})

test('called long before it can be sent, to a Redis that takes its time: the budget begins with the socket write', async (t) => {
  const redis = await open(t)
  const client = await ready(redis.client())
  const store = new RedisStore(client, { timeout: 1000 })
  t.teardown(() => store.close())
  const owner = await created({ ...redisSubject(client, client), store })
  redis.freeze()
  const answer = store.load(owner.id, owner.digest, false, RULES)
  compute(1500)
  await sleep(500)
  redis.thaw()
  t.ok(await answer)
})

test('a busy process that starts anew: its first answers are read late as well', async (t) => {
  const redis = await open(t)
  const owners = await clients(await startApp(t, redis.url), 4)
  for (const path of ['/count?ms=300', '/live?ms=300']) {
    const server = await startApp(t, redis.url)
    // No session yet, so the first thing that Redis hears of this process is a write.
    t.strictSame(await failures(Array.from({ length: 4 }, () => new Client(server)), path, 2), [], path)
  }
  t.strictSame(await failures(owners, '/', 1), [])
})

test('Redis freezes while the process computes: 503 when it is back, and nothing happens later', async (t) => {
  const redis = await open(t)
  const server = await startApp(t, redis.url)
  const [client, other] = await clients(server, 2) as [Client, Client]
  for (const path of ['/count?ms=1', '/live?ms=1']) {
    const before = (await other.get('/')).body
    t.equal((await client.get(path)).status, 200)
    redis.freeze()
    const [answer, computed] = await Promise.all([client.get(path.replace('ms=1', 'ms=1000')), server.get('/compute?ms=1000')])
    t.equal(computed.status, 200, 'what has nothing to do with Redis goes on')
    t.equal(answer.status, 503, path)
    t.match(answer.body, UNAVAILABLE)
    t.ok(answer.took < 2000 + DEFAULT_TIMEOUT + SLACK, `${path} took ${answer.took.toFixed()} ms`)
    const next = await client.get(path)
    t.equal(next.status, 503, 'and so is who comes next')
    t.ok(next.took < SLACK, `at once: ${next.took.toFixed()} ms`)
    redis.thaw()
    await until('it answers again', 5000, async () => (await client.get('/')).status === 200)
    t.match((await client.get('/')).body, client.told, 'what was answered 503 did not happen')
    t.strictSame((await other.get('/')).body, before)
  }
})

test('the connection breaks, and the process computes while a new one is opened: served as soon as that is there', async (t) => {
  const redis = await open(t)
  const server = await startApp(t, redis.url)
  const everybody = await clients(server, 4)
  for (const pause of [0, 30, 60]) {
    await redis.ask('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await sleep(pause)
    await server.get('/compute?ms=1000')
    // Opening takes some turns.
    await until('served', 3000, async () => (await everybody[0]!.get('/')).status === 200)
    t.strictSame(await failures(everybody, '/count?ms=50', 2), [], `${pause} ms later`)
  }
})

for (const [what, start] of [['a Cluster', startCluster], ['a group under Sentinels', startSentinelGroup]] as const) {
  test(`handlers compute for a second, on ${what}: everybody is served`, async (t) => {
    const group = await start()
    t.teardown(() => group.stop())
    const server = await startApp(t, group.url)
    const everybody = await clients(server, 8)
    // The whole turn takes longer than anything waits.
    for (const path of ['/count?ms=150', '/live?ms=150']) t.strictSame(await failures(everybody, path, 2), [], path)
    const compute = async (): Promise<void> => { for (let i = 0; i < 2; i++) await server.get('/compute?ms=1000') }
    const [failed] = await Promise.all([failures(everybody, '/count?ms=1', 8), compute()])
    t.strictSame(failed, [])
    for (const client of everybody) t.match((await client.get('/')).body, client.told)
  })
}

test('a clock that was learned late fences off no write, and a write that was given up does nothing', async (t) => {
  const redis = await open(t)
  const client = await ready(redis.client())
  const subject = redisSubject(client, client)
  const owner = await created(subject, { n: '0' })
  const write = apart(increment('n'))
  const learn: Array<[string, (store: RedisStore) => Promise<unknown>]> = [
    ['load', (store) => store.load(owner.id, owner.digest, false, RULES)],
    ['write', (store) => store.write(owner.id, owner.digest, write, RULES)],
    ['create', (store) => created({ ...subject, store })],
    ['announce', (store) => store.announce('andrew', { id: owner.id, lasts: 1000, keep: 1000 })]
  ]
  for (const [what, teach] of learn) {
    const store = new RedisStore(client, { timeout: 100 })
    t.teardown(() => store.close())
    const n = Number((await kept(subject, owner)).fields['n'])
    for (let i = 0; i < 2; i++) {
      const taught = teach(store)
      // One turn for the command to leave; the answer is there long before it is read.
      await turn()
      compute(400)
      await taught
      const written = store.write(owner.id, owner.digest, write, RULES)
      await turn()
      compute(400)
      t.ok(await written, `${what}, ${i}`)
    }
    const counted = n + (what === 'write' ? 4 : 2)
    redis.freeze()
    const late = store.write(owner.id, owner.digest, write, RULES)
    await turn()
    compute(300)
    await t.rejects(late, UNAVAILABLE, `${what}: frozen`)
    redis.thaw()
    // Answered after what was sent before it.
    await client.ping()
    t.equal((await kept(subject, owner)).fields['n'], String(counted), `${what}: what was given up does nothing`)
  }
})

test('a write too large to leave at once: the process computes before all of it was sent', async (t) => {
  const redis = await open(t)
  const client = await ready(redis.client())
  const store = new RedisStore(client, { timeout: 1000 })
  t.teardown(() => store.close())
  const rules = { ...RULES, maxRecordSize: 2 ** 26 }
  const { id, digest } = newOwner()
  t.ok(await store.create(id, digest, delta([set('n', '1')]), rules))
  const written = store.write(id, digest, delta([set('text', 'x'.repeat(2 ** 25))]), rules)
  await turn()
  t.ok(client.stream.writableLength > 0, 'there is more to send')
  compute(2500)
  t.ok(await written)
  t.equal(await client.hstrlen(`session:${id}`, 'text'), 2 ** 25)
})

test('going through all sessions while the process computes', async (t) => {
  const redis = await open(t)
  const client = await ready(redis.client())
  const store = new RedisStore(client, { timeout: 100 })
  t.teardown(() => store.close())
  const owner = await created({ ...redisSubject(client, client), store })
  const found: string[] = []
  const scanned = (async () => { for await (const ids of store.scan()) found.push(...ids) })()
  await turn()
  compute(600)
  await scanned
  t.strictSame(found, [owner.id])
})

test('who listens for ends goes on listening while the process computes', async (t) => {
  const redis = await open(t)
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  const client = await ready(new Redis(proxy.url))
  t.teardown(() => { client.disconnect() })
  const store = new RedisStore(client)
  let connected = 0
  const subscription = store.subscribe({ connected: () => { connected++ }, ended: () => {} })
  t.teardown(() => subscription.close())
  await until('it listens', 5000, () => connected === 1)
  const { sockets } = proxy.seen
  const pings = (): number => proxy.seen.names.get('PING') ?? 0
  for (let i = 0; i < 2; i++) {
    const before = pings()
    // The server is asked for a sign of life; its answer is still to be read.
    while (pings() === before) await turn()
    compute(1500)
    await sleep(100)
  }
  t.equal(connected, 1)
  t.equal(proxy.seen.sockets, sockets)
})
