import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import type { FastifyInstance } from 'fastify'
import type { Cluster } from 'ioredis'
import { connectAlone } from '../../src/store/connect.js'
import { makeApp, type Lines } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { startCluster } from '../support/redis-cluster.js'
import { startRedis } from '../support/redis-process.js'
import { startSentinelGroup } from '../support/redis-sentinel.js'
import { until } from '../support/until.js'

function routes (app: FastifyInstance): void {
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
  app.get('/live', async ({ session }: any) => ({ n: await session.live.n.incr() }))
  app.get('/login', async ({ session }: any) => { await session.regenerate(['a']); session.user = 'andrew'; return {} })
  app.get('/', async ({ session }: any) => session.data())
}

/** What has to work wherever the sessions are. */
async function use (t: any, app: FastifyInstance): Promise<Browser> {
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  await browser.json('/live')
  const old = browser.clone()
  await browser.get('/login')
  t.strictSame(await browser.json('/'), { a: '1', user: 'andrew' })
  t.strictSame(await old.json('/'), {})
  return browser
}

test('redis+cluster:// keeps sessions on a Cluster, across slots', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  const app = await makeApp(t, { redis: cluster.url }, routes)
  await Promise.all(Array.from({ length: 12 }, async () => { await use(t, app) }))
})

test('redis+sentinel:// finds the master, and the new one after a failover, without a restart', async (t) => {
  const group = await startSentinelGroup()
  t.teardown(() => group.stop())
  const lines: Lines = []
  const app = await makeApp(t, { redis: group.url, lines }, routes)
  const browser = await use(t, app)
  await group.failover('crash')
  await until('sessions are served again', 15_000, async () => (await browser.get('/')).statusCode === 200)
  await use(t, app)
  t.ok(lines.some(({ msg }) => msg === 'the session store is available again'))
})

test('a connection of a program that is about to end stays closed, so that the program does end', async (t) => {
  const [redis, cluster] = await Promise.all([startRedis(), startCluster()])
  t.teardown(() => Promise.all([redis.stop(), cluster.stop()]))
  for (const url of [redis.url, cluster.url]) {
    const client = await connectAlone(url, 1000, 'session:')
    const states: string[] = []
    for (const state of ['connecting', 'end']) client.on(state, () => { states.push(state) })
    client.disconnect()
    await until('it is closed', 5000, () => states.includes('end'))
    // Several times as long as an app's connection waits before it tries again.
    await sleep(500)
    t.strictSame(states, ['end'], url)
  }
})

test('a Cluster that is closed while it asks for the slots asks no more, so that its process ends', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  const client = await connectAlone(cluster.url, 1000, 'session:') as Cluster
  const closed = once(client, 'end')
  const ask = client.refreshSlotsCache.bind(client)
  let asked = 0
  client.refreshSlotsCache = (done) => {
    asked++
    ask(done)
    client.disconnect()
  }
  await until('it asks for the slots, by itself', 5000, () => asked > 0)
  await closed
  // More than twice as long as it waits before it asks again.
  await sleep(2500)
  t.equal(asked, 1)
})

test('a URL with user, password and database is understood; credentials never reach an error', async (t) => {
  const redis = await startRedis({ config: 'user app on >pa55word ~* +@all\nuser default off' })
  t.teardown(() => redis.stop())
  const app = await makeApp(t, { redis: `redis://app:pa55word@127.0.0.1:${redis.port}/3` }, routes)
  await use(t, app)
  for (const url of [`redis://app:wr0ng-one@127.0.0.1:${redis.port}`, `redis+cluster://app:wr0ng-one@127.0.0.1:${redis.port}`]) {
    const error: Error = await makeApp(t, { redis: url }, routes).then(() => { throw new Error('should fail') }, (error: Error) => error)
    t.match(error, { code: 'SESSION_OPTION_INVALID', message: /refused the user or password \(WRONGPASS\)/ })
    t.notMatch(String(error.stack), /wr0ng-one|pa55word/)
  }
})

test('a connection that was closed by the plugin arms no timer, so that nothing runs after the app is closed', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  for (const startup of ['require', 'lazy'] as const) {
    const app = await makeApp(t, { redis: redis.url, startup })
    await until('ready', 5000, () => app.sessions.status() === 'ready')
    const connections = async (): Promise<number> => (await redis.ask('CLIENT', 'LIST') as string).trim().split('\n').length
    const before = await connections()
    await app.close()
    const { setTimeout: real } = globalThis
    const armed: string[] = []
    globalThis.setTimeout = ((...args: Parameters<typeof real>) => {
      armed.push(new Error().stack!)
      return real(...args)
    }) as typeof real
    t.teardown(() => { globalThis.setTimeout = real })
    await until('Redis has seen it go', 5000, async () => await connections() < before)
    await sleep(300)
    globalThis.setTimeout = real
    t.strictSame(armed.filter((stack) => /src\/store\//.test(stack)), [], startup)
  }
})
