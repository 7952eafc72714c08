/** Redis, or the way to it, breaks while the app is in use: and what a request was told is what holds afterwards. */
import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { allUnavailable, DEFAULT_TIMEOUT, idOf, routes, sessions, SLACK } from './kit.js'
import { makeApp, type Lines } from '../support/app.js'
import { startRedis, type RedisProcess } from '../support/redis-process.js'
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js'
import { timed, Traffic } from '../support/traffic.js'
import { until } from '../support/until.js'

/** A Redis behind a network that can be broken. */
async function open (t: Test): Promise<{ redis: RedisProcess, proxy: TcpProxy }> {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  return { redis, proxy }
}

/** The way of most applications: a client with ioredis' own defaults, which queues, and sends again what was not answered. */
function plainClient (t: Test, url: string, options: object = {}): Redis {
  const client = new Redis(url, options)
  client.on('error', () => {})
  t.teardown(() => { client.disconnect() })
  return client
}

async function heals (app: FastifyInstance): Promise<void> {
  await until('Redis is back', 5000, () => app.sessions.status() !== 'down')
}

test('killed under traffic and restarted: failures are quick, and it heals by itself', async (t) => {
  const redis = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  t.teardown(() => redis.stop())
  const lines: Lines = []
  const app = await makeApp(t, { redis: redis.url, lines }, routes)
  const browsers = await sessions(app, 10)
  const traffic = new Traffic(browsers, '/incr')
  await until('traffic', 5000, () => traffic.count(200) > 50)
  await redis.kill()
  await until('failures', 5000, () => traffic.count(503) > 50)
  t.equal(app.sessions.status(), 'down')
  await allUnavailable(t, app, browsers[0]!.clone(), 0)
  const gone = performance.now()
  // A connection that is back at the first attempt is no outage: this one shall be.
  await until('the outage is in the log', 5000, () => lines.some(({ msg }) => msg.startsWith('the session store is not available')))
  await redis.restart()
  const back = performance.now()
  const served = traffic.count(200)
  await until('traffic again', 5000, () => traffic.count(200) > served + 50)
  await traffic.stop()
  t.strictSame([...new Set(traffic.outcomes.map(({ status }) => status))].sort(), [200, 503])
  const failed = traffic.outcomes.filter(({ status }) => status === 503)
  t.ok(failed.every(({ took }) => took < SLACK), 'no failure waited for the timeout')
  const again = traffic.outcomes.find(({ status, at }) => status === 200 && at > gone)!
  t.comment(`failing took at most ${Math.max(...failed.map(({ took }) => took)).toFixed()} ms; served ${(again.at - back).toFixed()} ms after Redis was ready`)
  t.equal(lines.filter(({ msg }) => msg.startsWith('the session store')).length, 2, 'one line when it went, one when it came')
  // What was stored, by the AOF, and what was said: an increment whose answer was lost may have happened, once.
  for (const browser of browsers) {
    const { n } = await browser.json('/')
    const told = Math.max(...traffic.outcomes.filter(({ body }) => body?.n !== undefined).map(({ body }) => body.n))
    t.ok(n > 0 && n <= told + 1)
  }
})

test('scripts are lost under traffic: nobody notices', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const app = await makeApp(t, { redis: redis.url }, routes)
  const browsers = await sessions(app, 10)
  const traffic = new Traffic(browsers, '/incr')
  for (const enough of [100, 200, 300]) {
    await until('traffic', 5000, () => traffic.outcomes.length > enough)
    await redis.ask('SCRIPT', 'FLUSH')
  }
  await until('traffic', 5000, () => traffic.outcomes.length > 400)
  await traffic.stop()
  t.equal(traffic.count(200), traffic.outcomes.length)
  let sum = 0
  for (const browser of browsers) sum += (await browser.json('/')).n
  t.equal(sum, traffic.outcomes.length, 'each counted once')
})

test('still loading its data: 503 until it is done, and then everything is there', async (t) => {
  // Loading takes 1.6 s, and clients are looked after meanwhile: after every 2 MB, which is what all versions do by default.
  const redis = await startRedis({ args: ['--key-load-delay', '800', '--rdbcompression', 'no'] })
  t.teardown(() => redis.stop())
  const app = await makeApp(t, { redis: redis.url }, routes)
  const [browser] = await sessions(app, 1)
  const admin = redis.client({ enableReadyCheck: false })
  await admin.eval("for i = 1, 2000 do redis.call('SET', 'filler' .. i, string.rep('x', 20000)) end", 0)
  await admin.save()
  const restarted = redis.restart()
  await until('it is loading', 5000, async () => (await admin.info('persistence')).includes('loading:1'))
  t.equal(app.sessions.status(), 'down')
  await allUnavailable(t, app, browser!.clone(), 0)
  t.match(await admin.info('persistence'), 'loading:1', 'all that time')
  await restarted
  await heals(app)
  t.strictSame(await browser!.json('/'), { user: '0' })
})

test('a lost answer: 503, and executed once, whatever the client wants to do about it', async (t) => {
  const { redis, proxy } = await open(t)
  const look = redis.client()
  for (const [what, given] of [
    ['the plugin\'s own', proxy.url],
    ['with the defaults of ioredis', plainClient(t, proxy.url)],
    ['that never gives up', plainClient(t, proxy.url, { maxRetriesPerRequest: null, retryStrategy: () => 10 })],
    ['that forgets what was not answered', plainClient(t, proxy.url, { autoResendUnfulfilledCommands: false })]
  ] as const) {
    // Long enough for every way to send it again.
    const app = await makeApp(t, { redis: given, timeout: 3000 }, (app) => {
      routes(app)
      app.get('/lost', async ({ session }: any) => { proxy.dropReplies(1); return { n: await session.live.n.incr() } })
    })
    const [browser] = await sessions(app, 1)
    t.strictSame(await browser!.json('/incr'), { n: 1 })
    const response = await timed(browser!, '/lost')
    t.equal(response.status, 503, what)
    t.ok(response.took < 1500, `${what}: at once, not when its time is over`)
    await heals(app)
    t.strictSame(await browser!.json('/incr'), { n: 3 }, `${what}: what was lost happened once`)
    t.equal(await look.hget(`session:${idOf(browser!)}`, 'n'), '3', what)
    await app.close()
  }
})

test('a network that lets nothing through: 503 within the timeout, and nothing that was given up happens later', async (t) => {
  const { redis, proxy } = await open(t)
  const look = redis.client()
  for (const direction of ['both', 'requests', 'replies'] as const) {
    const app = await makeApp(t, { redis: proxy.url, timeout: DEFAULT_TIMEOUT }, routes)
    const [browser] = await sessions(app, 1)
    await browser!.json('/')
    proxy.pause(direction)
    const outcomes = await Promise.all(['/', '/set?a=1', '/incr'].map((url) => timed(browser!.clone(), url)))
    t.strictSame(outcomes.map(({ status }) => status), [503, 503, 503], direction)
    t.ok(outcomes.every(({ took }) => took < DEFAULT_TIMEOUT + SLACK), direction)
    t.equal(app.sessions.status(), 'down')
    const { sockets } = proxy.seen
    await until('the dead connection was given up', 5000, () => proxy.seen.sockets > sockets)
    await allUnavailable(t, app, browser!.clone(), DEFAULT_TIMEOUT)
    proxy.resume()
    await heals(app)
    t.strictSame(await browser!.json('/'), { user: '0' }, direction)
    t.strictSame(await browser!.json('/incr'), { n: 1 }, direction)
    t.equal(await look.hget(`session:${idOf(browser!)}`, 'n'), '1')
    await app.close()
  }
})

test('a password that was changed: what is connected goes on, and a broken connection comes back with the new one only', async (t) => {
  const { redis, proxy } = await open(t)
  await redis.ask('CONFIG', 'SET', 'requirepass', 'the-first-one')
  const lines: Lines = []
  const app = await makeApp(t, { redis: proxy.url.replace('://', '://:the-first-one@'), lines }, routes)
  const [browser] = await sessions(app, 1)
  const admin = redis.client({ password: 'the-first-one' })
  await admin.config('SET', 'requirepass', 'the-second-one')
  t.strictSame(await browser!.json('/'), { user: '0' }, 'as long as the connection lives')
  proxy.cut()
  await until('the log says why', 5000, () => lines.some(({ reason }) => reason === 'WRONGPASS'))
  await allUnavailable(t, app, browser!.clone(), 0)
  await admin.config('SET', 'requirepass', 'the-first-one')
  await heals(app)
  t.strictSame(await browser!.json('/'), { user: '0' })
  const told = lines.filter(({ msg }) => msg.startsWith('the session store'))
  t.ok(told.length <= 3, 'when it went, why it does not come back, when it came')
  t.notMatch(JSON.stringify(lines), /the-(?:first|second)-one/)
})
