/** Servers and networks close connections that nobody uses: that is no outage, and neither is one that is back at once. */
import { test, type Test } from 'tap'
import { routes, sessions } from './kit.js'
import { makeApp, type Lines } from '../support/app.js'
import { startCluster } from '../support/redis-cluster.js'
import { startRedis, type RedisProcess } from '../support/redis-process.js'
import { startProxy } from '../support/tcp-proxy.js'
import { until } from '../support/until.js'

const told = (lines: Lines): Lines => lines.filter(({ msg }) => msg.startsWith('the session store'))

async function start (t: Test): Promise<RedisProcess> {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  return redis
}

test('a Redis that closes what is idle: the connection comes back by itself, and the log says nothing', async (t) => {
  const redis = await start(t)
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  const lines: Lines = []
  const app = await makeApp(t, { redis: `${proxy.url}/2`, lines }, routes)
  const [browser] = await sessions(app, 1)
  await redis.ask('CONFIG', 'SET', 'timeout', '1')
  const before = proxy.seen.sockets
  await until('it was closed twice', 10_000, () => proxy.seen.sockets >= before + 2)
  await until('it is back', 5000, () => app.sessions.status() === 'ready')
  t.strictSame(await browser!.json('/'), { user: '0' })
  t.strictSame(told(lines), [])
})

test('a connection that somebody cuts, again and again', async (t) => {
  const redis = await start(t)
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  const lines: Lines = []
  const app = await makeApp(t, { redis: proxy.url, lines }, routes)
  for (let i = 0; i < 10; i++) {
    proxy.cut()
    await until('it is noticed', 5000, () => app.sessions.status() === 'down')
    await until('it is back', 5000, () => app.sessions.status() === 'ready')
  }
  t.strictSame(told(lines), [])
})

test('what does not come back is told: at once where an attempt fails, else soon', async (t) => {
  const redis = await start(t)
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  const lines: Lines = []
  const app = await makeApp(t, { redis: proxy.url, lines }, routes)
  // Connections are taken, and nothing is answered.
  proxy.pause('replies')
  proxy.cut()
  await until('the log says so', 10_000, () => told(lines).length > 0)
  t.match(told(lines), [{ level: 50, advice: new RegExp(`127\\.0\\.0\\.1:${proxy.port}`) }])
  proxy.resume()
  await until('it is back', 10_000, () => app.sessions.status() === 'ready')
  await redis.kill()
  await proxy.close()
  await until('the log says so', 5000, () => told(lines).length > 2)
  t.match(told(lines).slice(1), [{ level: 30 }, { reason: 'ECONNREFUSED', advice: `nobody listens at 127.0.0.1:${proxy.port}` }])
})

test('on a Cluster as well', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  const lines: Lines = []
  const app = await makeApp(t, { redis: cluster.url, lines }, routes)
  await sessions(app, 10)
  await Promise.all(cluster.nodes.map((node) => node.ask('CLIENT', 'KILL', 'TYPE', 'normal')))
  await until('all keys are served', 10_000, async () => await sessions(app, 20))
  t.strictSame(told(lines), [])
})
