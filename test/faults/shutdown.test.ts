/** Real processes: how they end, whatever Redis does, and that their clocks do not matter. */
import { setTimeout as sleep } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { startApp } from './kit.js'
import { startCluster } from '../support/redis-cluster.js'
import { startRedis } from '../support/redis-process.js'
import type { ServerProcess } from '../support/server-process.js'
import { until } from '../support/until.js'

/** Closing the connection takes at most 1 s where Redis does not answer; the rest is for busy machines. */
const BOUND = 6000

/** Asks the process to end, and checks that it does, by itself and in time. */
async function endsIn (t: Test, server: ServerProcess, what: string, meanwhile: () => Promise<void> = async () => {}): Promise<void> {
  const begin = performance.now()
  server.signal('SIGTERM')
  await meanwhile()
  const status = await Promise.race([server.ended, sleep(BOUND, 'still running', { ref: false })])
  t.equal(status, 0, `${what}: ends by itself`)
  t.ok(server.lines.includes('closed'), what)
  t.comment(`${what}: ${(performance.now() - begin).toFixed()} ms`)
}

test('SIGTERM with requests and a stream under way: they finish, are stored, and the process ends', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const server = await startApp(t, redis.url)
  const { cookies } = await server.get('/set?user=andrew')
  const cookie = cookies[0]!.split(';')[0]!
  const slow = server.get('/slow', cookie)
  await server.says('slow')
  const events = server.get('/events', cookie)
  await server.says('events')
  await endsIn(t, server, 'under way', async () => {
    await server.says('closing')
    server.signal('SIGUSR2')
    t.equal((await slow).status, 200)
    t.equal((await events).body, 'data: begun\n\ndata: bye\n\n')
  })
  const id = cookie.split('=')[1]!.split('.')[0]!
  t.equal(await redis.ask('HGET', `session:${id}`, 'slow'), 'done')
})

test('SIGTERM while Redis is gone, frozen, or was never there: the process ends all the same', async (t) => {
  const redis = await startRedis()
  const frozen = await startRedis()
  t.teardown(async () => { await Promise.all([redis, frozen].map((redis) => redis.stop())) })
  const [gone, stuck, never] = await Promise.all([
    startApp(t, redis.url), startApp(t, frozen.url),
    startApp(t, 'redis+sentinel://127.0.0.1:1/mymaster', { SESSION_STARTUP: 'lazy' })
  ])
  const { cookies } = await stuck.get('/set?user=andrew')
  const cookie = cookies[0]!.split(';')[0]!
  const slow = stuck.get('/slow', cookie)
  await stuck.says('slow')
  const events = stuck.get('/events', cookie)
  await stuck.says('events')
  await redis.kill()
  frozen.freeze()
  await until('noticed', 5000, async () => (await gone.get('/set?user=andrew')).status === 503)
  await Promise.all([
    endsIn(t, gone, 'gone'),
    endsIn(t, stuck, 'frozen, with a request under way', async () => {
      await stuck.says('closing')
      stuck.signal('SIGUSR2')
      t.equal((await slow).status, 503, 'and that request is told the truth')
      t.equal((await events).body, 'data: begun\n\ndata: bye\n\n')
    }),
    endsIn(t, never, 'never there')
  ])
})

test('SIGTERM while no node of the Cluster answers: the process ends all the same', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  const server = await startApp(t, cluster.url)
  const { cookies } = await server.get('/set?user=andrew')
  const events = server.get('/events', cookies[0]!.split(';')[0]!)
  await server.says('events')
  for (const node of cluster.nodes) node.freeze()
  await until('noticed', 10_000, async () => (await server.get('/set?user=andrew')).status === 503)
  await endsIn(t, server, 'a frozen Cluster')
  t.equal((await events).body, 'data: begun\n\ndata: bye\n\n')
})

test('processes whose clocks are an hour off, this way and that, treat a session as one process', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const HOUR = 3_600_000
  const OFFSETS = [-HOUR, HOUR]
  const env = { SESSION_TOUCH_INTERVAL: '0', SESSION_COOKIE_PERSISTENT: 'true', SESSION_EXPIRE: '60' }
  const servers = await Promise.all(OFFSETS.map((offset) => startApp(t, redis.url, { ...env, CLOCK_OFFSET: String(offset) })))
  const begin = Date.now()
  for (const creator of servers) {
    let [cookie] = (await creator.get('/set?user=andrew')).cookies
    t.match(cookie, /Max-Age=(?:59|60)(?:;|$)/)
    for (const server of servers) {
      const { body, cookies } = await server.get('/times', cookie!.split(';')[0]!)
      const [now, createdAt, lastAccessedAt, expiresAt] = [body.now, body.createdAt, body.lastAccessedAt, body.expiresAt].map((time) => Number(new Date(time)))
      const off = Math.round((now! - Date.now()) / HOUR) * HOUR
      t.equal(off, OFFSETS[servers.indexOf(server)], 'the clock is off as intended')
      t.ok(createdAt! >= begin && createdAt! <= Date.now(), 'created, by the clock of Redis')
      t.ok(lastAccessedAt! >= createdAt! && lastAccessedAt! <= Date.now())
      t.ok(Math.abs(expiresAt! - lastAccessedAt! - 60_000) < 2000)
      t.match(cookies[0], /Max-Age=(?:59|60)(?:;|$)/, 'the cookie\'s time is a span, not a moment')
      cookie = cookies[0] ?? cookie
      await server.get(`/set?by${servers.indexOf(server)}=1`, cookie!.split(';')[0]!)
    }
    const { body } = await creator.get('/', cookie!.split(';')[0]!)
    t.strictSame(body, { user: 'andrew', by0: '1', by1: '1' }, 'nobody\'s write came too late')
    const id = cookie!.split('=')[1]!.split('.')[0]!
    t.ok(await redis.ask('PTTL', `session:${id}`) as number > 55_000)
    t.equal((await servers[0]!.get('/remember', cookie!.split(';')[0]!)).status, 200)
    t.ok(Math.abs(await redis.ask('PTTL', `session:${id}`) as number - 100_000) < 5000)
    t.match((await servers[1]!.get('/logout', cookie!.split(';')[0]!)).cookies[0], /Max-Age=0/)
    t.equal(await redis.ask('DBSIZE'), 0)
  }
  for (const server of servers) await endsIn(t, server, 'in the end')
})
