/** Redis is not there when the app starts, or is not what it should be. */
import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { Cluster, Redis } from 'ioredis'
import { test } from 'tap'
import { allUnavailable, routes, sessions } from './kit.js'
import { makeApp, type Lines } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { startRedis } from '../support/redis-process.js'
import { until } from '../support/until.js'

/** A port where nobody listens. */
async function deadPort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

test('required and not to be had: an error within the bound that says what to do, and a given client is left alone', async (t) => {
  const [away, crowded] = await Promise.all([startRedis(), startRedis({ config: 'maxclients 1' })])
  t.teardown(async () => { await Promise.all([away.stop(), crowded.stop()]) })
  await crowded.client().ping()
  await away.kill()
  const given = new Redis(away.url, { retryStrategy: () => 100 })
  given.on('error', () => {})
  t.teardown(() => { given.disconnect() })
  const begin = performance.now()
  await Promise.all(([
    [`redis://app:pa55word@127.0.0.1:${away.port}`, /within 5 s \(ECONNREFUSED\).*startup/],
    [crowded.url, /within 5 s/],
    [given, /within 5 s/]
  ] as const).map(async ([redis, message]) => {
    const error: Error = await makeApp(t, { redis }).then(() => { throw new Error('booted') }, (error: Error) => error)
    t.match(error, { code: 'SESSION_OPTION_INVALID', message })
    t.notMatch(error.stack, 'pa55word')
  }))
  t.ok(performance.now() - begin < 9500, 'before Fastify itself gives up')
  t.strictSame(['error', 'close', 'ready', 'end'].map((event) => given.listenerCount(event)), [1, 0, 0, 0], 'nobody listens any more')
  await away.restart()
  t.equal(await given.ping(), 'PONG', 'it goes on connecting')
})

test('down at boot, lazy: it boots, answers 503 where there is a session, and heals by itself', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const before = await makeApp(t, { redis: redis.url }, routes)
  const [browser] = await sessions(before, 1)
  await before.close()
  await redis.kill()
  const lines: Lines = []
  const begin = performance.now()
  const app = await makeApp(t, { redis: redis.url, startup: 'lazy', lines }, routes)
  t.ok(performance.now() - begin < 2000, 'no waiting at boot')
  t.equal(app.sessions.status(), 'down')
  await allUnavailable(t, app, browser!.clone(app), 0)
  await until('the log says so', 2000, () => lines.some(({ msg, reason }) => /not available/.test(msg) && reason === 'ECONNREFUSED'))
  await redis.restart()
  await until('ready', 5000, () => app.sessions.status() === 'ready')
  const [other] = await sessions(app, 1)
  t.strictSame(await other!.json('/'), { user: '0' })
  t.strictSame(lines.filter(({ msg }) => msg.startsWith('the session store')).map(({ msg }) => msg.includes('again')), [false, true])
})

test('lazy, and Redis never comes: closing takes no time', async (t) => {
  const port = await deadPort()
  for (const redis of [`redis://127.0.0.1:${port}`, `redis+sentinel://127.0.0.1:${port}/mymaster`, `redis+cluster://127.0.0.1:${port}`]) {
    const app = await makeApp(t, { redis, startup: 'lazy' }, routes)
    t.equal(app.sessions.status(), 'down', redis)
    t.strictSame(await new Browser(app).json('/'), {}, redis)
    const begin = performance.now()
    await app.close()
    t.ok(performance.now() - begin < 1000, `${redis}: ${Math.round(performance.now() - begin)} ms`)
  }
})

test('lazy, and Redis refuses the password: the log says so once, without it, and a corrected one is taken', async (t) => {
  const redis = await startRedis({ config: 'requirepass another-one' })
  t.teardown(() => redis.stop())
  const lines: Lines = []
  const app = await makeApp(t, { redis: `redis://:pa55word@127.0.0.1:${redis.port}`, startup: 'lazy', lines }, routes)
  const told = (): Lines => lines.filter(({ msg }) => msg.startsWith('the session store'))
  await until('the log says so', 5000, () => told().length > 0)
  const admin = redis.client({ password: 'another-one' })
  await until('it tries again', 5000, async () => Number(/total_connections_received:(\d+)/.exec(await admin.info('stats'))?.[1]) > 6)
  t.match(told(), [{ reason: 'WRONGPASS' }])
  t.notMatch(JSON.stringify(lines), 'pa55word')
  await admin.config('SET', 'requirepass', 'pa55word')
  await until('ready', 5000, () => app.sessions.status() === 'ready')
  t.equal((await sessions(app, 1)).length, 1)
})

test('lazy, and all connections of Redis are taken: 503, and it heals when one is free', async (t) => {
  const redis = await startRedis({ config: 'maxclients 2' })
  t.teardown(() => redis.stop())
  const guests = [redis.client(), redis.client()]
  await Promise.all(guests.map((guest) => guest.ping()))
  const lines: Lines = []
  const app = await makeApp(t, { redis: redis.url, startup: 'lazy', lines }, routes)
  await until('the log says so', 5000, () => lines.some(({ msg }) => /not available/.test(msg)))
  t.equal(app.sessions.status(), 'down')
  t.equal((await new Browser(app).get('/set?a=1')).statusCode, 503)
  for (const guest of guests) guest.disconnect()
  await until('ready', 5000, () => app.sessions.status() === 'ready')
  t.equal((await sessions(app, 1)).length, 1)
})

test('a replica at boot: an error where Redis is required, 503 where it is not, and it heals when it becomes the master', async (t) => {
  const redis = await startRedis({ config: 'replicaof 127.0.0.1 1' })
  t.teardown(() => redis.stop())
  await t.rejects(makeApp(t, { redis: redis.url }), { code: 'SESSION_OPTION_INVALID', message: /replica \(READONLY\)/ })
  const lines: Lines = []
  const app = await makeApp(t, { redis: redis.url, startup: 'lazy', lines }, routes)
  await until('the log says so', 5000, () => lines.some(({ reason }) => reason === 'READONLY'))
  t.equal(app.sessions.status(), 'down')
  await redis.ask('REPLICAOF', 'NO', 'ONE')
  await until('ready', 5000, () => app.sessions.status() === 'ready')
  t.equal((await sessions(app, 1)).length, 1)
})

test('a client that was given may connect later, and stays open when the app closes', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  await redis.kill()
  for (const lazyConnect of [true, false]) {
    const client = new Redis(redis.url, { lazyConnect, retryStrategy: () => 100 })
    client.on('error', () => {})
    t.teardown(() => { client.disconnect() })
    const app = await makeApp(t, { redis: client, startup: 'lazy' }, routes)
    t.equal(app.sessions.status(), 'down')
    await redis.restart()
    await until('ready', 5000, () => app.sessions.status() === 'ready')
    t.equal((await sessions(app, 1)).length, 1)
    await app.close()
    t.equal(await client.ping(), 'PONG')
    t.equal(client.listenerCount('close'), 0)
    await redis.kill()
  }
})

test('URLs that cannot mean what they say are refused, and credentials are read whole', async (t) => {
  await t.rejects(makeApp(t, { redis: 'redis+cluster://127.0.0.1/3' }), { code: 'SESSION_OPTION_INVALID', message: /Cluster has no databases/ })
  await t.rejects(makeApp(t, { redis: 'redis+sentinel://user:%zz@h/name' }), { code: 'SESSION_OPTION_INVALID', message: /%25/ })
  await t.rejects(makeApp(t, { redis: 'http://h' }), { message: /redis\+sentinel:\/\/h1,h2\/name.*rediss \(TLS\)/ })
  const redis = await startRedis({ config: 'cluster-enabled yes\ncluster-announce-ip 127.0.0.1\nrequirepass a:b%c' })
  t.teardown(() => redis.stop())
  const admin = redis.client({ password: 'a:b%c' })
  await admin.cluster('ADDSLOTS', ...Array.from({ length: 16_384 }, (_, slot) => slot))
  await until('the Cluster is ok', 10_000, async () => (await admin.cluster('INFO') as string).includes('cluster_state:ok'))
  const app = await makeApp(t, { redis: `redis+cluster://:a:b%25c@127.0.0.1:${redis.port}` }, routes)
  t.equal(app.sessions.status(), 'ready')
  t.equal((await sessions(app, 3)).length, 3)
})

test('options and clients that would break what the plugin promises are refused, and others are warned of', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const { host, port } = redis
  const client = (options: object): Redis => {
    const client = new Redis({ host, port, lazyConnect: true, ...options })
    t.teardown(() => { client.disconnect() })
    return client
  }
  const cluster = (options: object): Cluster => {
    const client = new Cluster([{ host, port }], { lazyConnect: true, ...options })
    t.teardown(() => { client.disconnect() })
    return client
  }
  const subscriber = client({ protocol: 2 })
  await subscriber.subscribe('news')
  const closed = client({})
  closed.disconnect()
  await until('closed', 1000, () => closed.status === 'end')
  const sentinels = [{ host, port }]
  for (const [what, given, message] of [
    ['subscriber', subscriber, /subscriber mode/],
    ['monitor', client({ monitor: true }), /monitor mode/],
    ['closed', closed, /closed/],
    ['numbers as texts', client({ stringNumbers: true }), /stringNumbers/],
    ['numbers as texts, as options', { host, port, stringNumbers: true }, /stringNumbers/],
    ['a connection for replicas', client({ readOnly: true }), /replicas/],
    ['replicas by Sentinel', client({ sentinels, name: 'm', role: 'slave', failoverDetector: true }), /replicas/],
    ['Sentinel without detector', client({ sentinels, name: 'm' }), /failoverDetector: true/],
    ['Sentinel without detector, as options', { sentinels, name: 'm', failoverDetector: false }, /failoverDetector: true/],
    ['Cluster nodes that send again', cluster({ clusterNodeRetryStrategy: () => 100 }), /maxRetriesPerRequest: 0/],
    ['Cluster with numbers as texts', cluster({ redisOptions: { stringNumbers: true } }), /stringNumbers/]
  ] as const) {
    await t.rejects(makeApp(t, { redis: given as any, startup: 'lazy' }), { code: 'SESSION_OPTION_INVALID', message }, what)
  }
  const warnings = async (given: object): Promise<string> => {
    const lines: Lines = []
    const app = await makeApp(t, { redis: given as any, lines, prefix: 'mine:' }, routes)
    await sessions(app, 1)
    await app.close()
    return lines.filter(({ level }) => level === 40).map(({ msg }) => msg).join('\n')
  }
  t.match(await warnings(client({})), /reconnectOnError/)
  t.match(await warnings(client({ keyPrefix: 'app:' })), /keyPrefix.*not added/)
  t.equal(await warnings({ host, port }), '', 'what the plugin opens itself is as it should be')
  t.ok((await redis.client().keys('*')).every((key) => key.startsWith('mine:')), 'and so it is: no keyPrefix')
})
