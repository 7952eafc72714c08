/** The database that was asked for, or none: ioredis goes on in database 0 where Redis refuses SELECT. */
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { allUnavailable, routes, sessions } from './kit.js'
import { delta, newOwner, RULES, set } from '../contract/kit.js'
import { makeApp, type Lines } from '../support/app.js'
import { startRedis, type RedisProcess, type StartOptions } from '../support/redis-process.js'
import { startSentinelGroup } from '../support/redis-sentinel.js'
import { startProxy } from '../support/tcp-proxy.js'
import { Traffic } from '../support/traffic.js'
import { until } from '../support/until.js'
import { RedisStore } from '../../src/store/redis.js'

const DATABASE = 2

async function start (t: Test, options: StartOptions = {}): Promise<RedisProcess> {
  const redis = await startRedis(options)
  t.teardown(() => redis.stop())
  return redis
}

/** A client as an application makes it. */
function clientOf (t: Test, { port }: { port: number }, options: object = { db: DATABASE }): Redis {
  const client = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 50, ...options })
  client.on('error', () => {})
  t.teardown(() => { client.disconnect() })
  return client
}

/** Every way to say that it is to be database 2. */
const WAYS: ReadonlyArray<readonly [string, (t: Test, redis: RedisProcess) => any]> = [
  ['URL', (_, { url }) => `${url}/${DATABASE}`],
  ['parameter of a URL', (_, { url }) => `${url}?db=${DATABASE}`],
  ['options', (_, { port, host }) => ({ port, host, db: DATABASE })],
  ['a client of the application', (t, redis) => clientOf(t, redis)],
  ['a client that connects when asked', (t, redis) => clientOf(t, redis, { db: DATABASE, lazyConnect: true })]
]

const size = async (redis: RedisProcess, db: number): Promise<number> => {
  const keyspace = await redis.ask('INFO', 'keyspace') as string
  return Number(new RegExp(`^db${db}:keys=(\\d+)`, 'm').exec(keyspace)?.[1] ?? 0)
}
const told = (lines: Lines): Lines => lines.filter(({ msg }) => msg.startsWith('the session store'))

test('a database that does not exist stops the boot at once, and the record of nobody gets into another one', async (t) => {
  const redis = await start(t, { config: `databases ${DATABASE}` })
  for (const [what, ask] of WAYS) {
    const begin = performance.now()
    await t.rejects(makeApp(t, { redis: ask(t, redis) }), { code: 'SESSION_OPTION_INVALID', message: new RegExp(`:${redis.port} has no such database: .*databases`) }, what)
    t.ok(performance.now() - begin < 2000, what)
  }
})

test('a user who may not SELECT stops the boot at once, and is told what to do', async (t) => {
  const redis = await start(t, { config: 'user app on >pa55word ~* &* +@all -select' })
  for (const url of [`redis://app:pa55word@127.0.0.1:${redis.port}/${DATABASE}`, `redis://127.0.0.1:${redis.port}?db=${DATABASE}&username=app&password=pa55word`]) {
    const error: Error = await makeApp(t, { redis: url }).then(() => { throw new Error('booted') }, (error: Error) => error)
    t.match(error, { code: 'SESSION_OPTION_INVALID', message: new RegExp(`user of 127\\.0\\.0\\.1:${redis.port} may not run SELECT \\(NOPERM\\): allow \\+select, or leave out the database`) })
    t.notMatch(String(error.stack), 'pa55word')
  }
  await makeApp(t, { redis: `redis://app:pa55word@127.0.0.1:${redis.port}` })
})

test('lazy: what cannot be boots, is answered 503 with one line in the log, never works elsewhere, and heals', async (t) => {
  for (const comesLater of [false, true]) {
    const redis = await start(t, { config: `databases ${DATABASE}` })
    if (comesLater) await redis.kill()
    const apps: Array<[string, FastifyInstance, Lines]> = []
    for (const [what, ask] of WAYS) {
      const lines: Lines = []
      apps.push([what, await makeApp(t, { redis: ask(t, redis), startup: 'lazy', lines }, routes), lines])
    }
    if (comesLater) await redis.restart()
    for (const [what, app, lines] of apps) {
      await until(`${what}: the log says why`, 5000, () => told(lines).some(({ advice }) => /has no such database/.test(String(advice))))
      t.equal(app.sessions.status(), 'down', what)
      t.equal((await app.inject('/set?a=1')).statusCode, 503, what)
      t.ok(told(lines).length <= (comesLater ? 2 : 1), `${what}: ${JSON.stringify(told(lines))}`)
    }
    t.equal(await redis.ask('DBSIZE'), 0, 'nothing in database 0')
    const { port } = redis
    await redis.kill()
    const other = await start(t, { port })
    for (const [what, app] of apps) {
      await until(`${what}: it heals`, 5000, () => app.sessions.status() === 'ready')
      await sessions(app, 1)
    }
    t.strictSame([await size(other, 0), await size(other, DATABASE)], [0, WAYS.length])
  }
})

test('the right to SELECT is lost before a reconnection: 503 and one line until it is back; nobody is anonymous, nothing goes elsewhere', async (t) => {
  for (const [what, ask] of WAYS) {
    const redis = await start(t)
    const lines: Lines = []
    const app = await makeApp(t, { redis: ask(t, redis), lines }, routes)
    const [browser] = await sessions(app, 1)
    await redis.ask('ACL', 'SETUSER', 'default', '-select')
    t.strictSame(await browser!.json('/'), { user: '0' }, 'what is connected goes on')
    await redis.ask('CLIENT', 'KILL', 'TYPE', 'normal')
    await until(`${what}: the log says why`, 5000, () => told(lines).some(({ reason, advice }) => reason === 'NOPERM' && /allow \+select/.test(String(advice))))
    await allUnavailable(t, app, browser!.clone(), 0)
    t.equal(app.sessions.status(), 'down', what)
    // Also after the next reconnections.
    await redis.ask('CLIENT', 'KILL', 'TYPE', 'normal')
    await until('it connected again', 5000, async () => /name= .*cmd=select/.test(await redis.ask('CLIENT', 'LIST') as string))
    await allUnavailable(t, app, browser!.clone(), 0)
    t.equal(await size(redis, 0), 0, what)
    await redis.ask('ACL', 'SETUSER', 'default', '+select')
    await until('it heals', 5000, () => app.sessions.status() === 'ready')
    t.strictSame(await browser!.json('/'), { user: '0' }, what)
    t.strictSame(told(lines).map(({ msg }) => msg.includes('again')), [false, true], `${what}: one line when it went, one when it came`)
    t.strictSame([await size(redis, 0), await size(redis, DATABASE)], [0, 1], what)
    await app.close()
  }
})

test('another kind of Redis at the same address: one without databases, or with fewer', async (t) => {
  for (const [config, advice] of [['cluster-enabled yes', /node of a Cluster/], [`databases ${DATABASE}`, /no such database/]] as const) {
    const first = await start(t)
    const lines: Lines = []
    const app = await makeApp(t, { redis: `${first.url}/${DATABASE}`, lines }, routes)
    const [browser] = await sessions(app, 1)
    const { port } = first
    await first.kill()
    const other = await start(t, { port, config })
    await until('the log says why', 5000, () => told(lines).some((line) => advice.test(String(line['advice']))))
    await allUnavailable(t, app, browser!.clone(), 0)
    t.equal(await other.ask('DBSIZE'), 0)
    await other.kill()
    await start(t, { port })
    await until('it heals', 5000, () => app.sessions.status() === 'ready')
    t.strictSame(await browser!.json('/'), {}, 'that one kept nothing')
    await app.close()
  }
})

test('connections are lost under traffic while SELECT is now allowed and now not: every answer is right, or 503', async (t) => {
  const redis = await start(t)
  const app = await makeApp(t, { redis: `${redis.url}/${DATABASE}` }, (app) => {
    app.get('/', async ({ session }: any) => session.data())
    app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
  })
  const browsers = await sessions(app, 10)
  const traffic = new Traffic(browsers, '/')
  for (let i = 0; i < 5; i++) {
    await redis.ask('ACL', 'LOG', 'RESET')
    await redis.ask('ACL', 'SETUSER', 'default', '-select')
    await redis.ask('CLIENT', 'KILL', 'TYPE', 'normal')
    await until('SELECT was refused to ioredis, and to the check', 5000, async () => {
      const entries = await redis.ask('ACL', 'LOG') as Array<Array<string | number>>
      return entries.reduce((sum, [, count]) => sum + Number(count), 0) > 1
    })
    const { length } = traffic.outcomes
    await until('more requests', 5000, () => traffic.outcomes.length > length + 20)
    await redis.ask('ACL', 'SETUSER', 'default', '+select')
    await until('answers', 5000, () => app.sessions.status() === 'ready')
  }
  await traffic.stop()
  t.ok(traffic.count(200) > 0 && traffic.count(503) > 0)
  t.strictSame(traffic.outcomes.filter(({ status, body }) => status === 200 && body?.user === undefined), [], 'nobody was anonymous')
  t.strictSame([...new Set(traffic.outcomes.map(({ status }) => status))].sort(), [200, 503])
  t.strictSame([await size(redis, 0), await size(redis, DATABASE)], [0, 10])
})

test('busy with somebody\'s script when the connection comes back: 503 until that ends, and then the same database', async (t) => {
  const redis = await start(t, { config: 'lua-time-limit 20' })
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  // Without the check of ioredis, which a busy Redis refuses, too, it is connected at once.
  const lines: Lines = []
  const app = await makeApp(t, { redis: clientOf(t, proxy, { db: DATABASE, enableReadyCheck: false }), lines }, routes)
  const [browser] = await sessions(app, 1)
  const script = redis.client().eval('while true do end', 0).catch((error: Error) => error)
  await until('it is busy', 5000, async () => await redis.ask('PING').then(() => false, (error: Error) => error.message.startsWith('BUSY')))
  proxy.cut()
  await until('the log says why', 5000, () => told(lines).some(({ reason }) => reason === 'BUSY'))
  await allUnavailable(t, app, browser!.clone(), 0)
  await redis.ask('SCRIPT', 'KILL')
  t.match(await script, { message: /killed/i })
  await until('it heals', 5000, () => app.sessions.status() === 'ready')
  t.strictSame(await browser!.json('/'), { user: '0' })
  await sessions(app, 1)
  t.strictSame([await size(redis, 0), await size(redis, DATABASE)], [0, 2])
})

test('nothing is sent on a new connection before it passed its check', async (t) => {
  const redis = await start(t)
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  const app = await makeApp(t, { redis: `${proxy.url}/${DATABASE}` }, routes)
  const browsers = await sessions(app, 5)
  const monitor = await redis.client().monitor()
  t.teardown(() => { monitor.disconnect() })
  const said = new Map<string, string[][]>()
  monitor.on('monitor', (_time: string, args: string[], source: string, database: string) => {
    if (source !== 'lua') said.set(source, [...said.get(source) ?? [], [database, ...args.map((arg) => arg.toLowerCase())]])
  })
  const traffic = new Traffic(browsers, '/incr')
  for (let i = 0; i < 10; i++) {
    await until('traffic', 5000, () => traffic.outcomes.at(-1)?.status === 200)
    proxy.cut()
    await until('it is noticed', 5000, () => traffic.outcomes.at(-1)?.status === 503)
  }
  await until('traffic', 5000, () => traffic.outcomes.at(-1)?.status === 200)
  await traffic.stop()
  const connections = [...said.values()].filter((commands) => commands.some(([, name]) => name === 'hello'))
  t.ok(connections.length >= 10)
  for (const commands of connections) {
    const names = commands.map(([, name, ...args]) => name === 'eval' && args[0]!.includes('refused') ? 'check' : name)
    const begin = names.findIndex((name, i) => name === 'evalsha' && i !== names.indexOf('check') - 1)
    // One that was cut before sends none.
    if (begin === -1) continue
    t.ok(names.includes('check') && names.indexOf('check') < begin, names.slice(0, 12).join(' '))
    t.equal(names.slice(0, begin).filter((name) => name === 'select').length, 2, 'that of ioredis, and that of the check')
    t.strictSame([...new Set(commands.slice(begin).map(([database]) => database))], [String(DATABASE)])
  }
})

test('the application switches its client to another database and back', async (t) => {
  for (const [own, other] of [[DATABASE, 0], [0, DATABASE]] as const) {
    const redis = await start(t)
    const client = clientOf(t, redis, own === 0 ? {} : { db: own })
    const lines: Lines = []
    const app = await makeApp(t, { redis: client, lines }, routes)
    const [browser] = await sessions(app, 1)
    await client.select(other)
    await allUnavailable(t, app, browser!.clone(), 0)
    t.match(told(lines), [{ reason: 'SELECT', advice: new RegExp(`switched to database ${other}, and sessions are in ${own}`) }])
    await redis.ask('CLIENT', 'KILL', 'TYPE', 'normal')
    await until('it connected again', 5000, async () => await client.ping().catch(() => '') === 'PONG')
    await allUnavailable(t, app, browser!.clone(), 0)
    await client.select(own)
    await until('it heals', 5000, () => app.sessions.status() === 'ready')
    t.strictSame(await browser!.json('/'), { user: '0' })
    t.strictSame([await size(redis, own), await size(redis, other)], [1, 0])
    t.equal(told(lines).length, 2, JSON.stringify(told(lines)))
    await app.close()
  }
})

test('switched between a call and its socket write: it is not sent', async (t) => {
  const redis = await start(t)
  const client = clientOf(t, redis)
  await until('it is connected', 5000, () => client.status === 'ready')
  const store = new RedisStore(client)
  t.teardown(() => store.close())
  await until('it is checked', 5000, () => store.status() === 'ready')
  // From now on the clock is known, and a write happens when it is sent.
  const [first, { id, digest }] = [newOwner(), newOwner()]
  t.ok(await store.create(first.id, first.digest, delta([set('a', '1')]), RULES))
  const created = store.create(id, digest, delta([set('a', '1')]), RULES)
  const switched = client.select(0)
  await t.rejects(created, { code: 'SESSION_STORE_UNAVAILABLE', message: /SELECT/ })
  await switched
  t.strictSame([await size(redis, 0), await size(redis, DATABASE)], [0, 1])
  await client.select(DATABASE)
  await until('it heals', 5000, () => store.status() === 'ready')
  t.ok(await store.create(id, digest, delta([set('a', '1')]), RULES))
})

test('a client that was switched before it was passed is meant for where it is, and its warning says what to do instead', async (t) => {
  const redis = await start(t)
  const client = clientOf(t, redis, {})
  await client.select(DATABASE)
  const lines: Lines = []
  const app = await makeApp(t, { redis: client, lines }, routes)
  const [browser] = await sessions(app, 1)
  t.ok(lines.some(({ level, msg }) => level === 40 && /select\(\): give it the option db/.test(msg)))
  await redis.ask('CLIENT', 'KILL', 'TYPE', 'normal')
  await until('it is noticed', 5000, () => app.sessions.status() === 'down')
  await until('it heals', 5000, () => app.sessions.status() === 'ready')
  t.strictSame(await browser!.json('/'), { user: '0' })
  t.strictSame([await size(redis, 0), await size(redis, DATABASE)], [0, 1])
})

test('a store that the application made over a client of its own', async (t) => {
  const redis = await start(t)
  const client = clientOf(t, redis)
  await client.ping()
  const store = new RedisStore(client)
  t.teardown(() => store.close())
  const app = await makeApp(t, { redis: store }, routes)
  await until('it is checked', 5000, () => app.sessions.status() === 'ready')
  const [browser] = await sessions(app, 1)
  await redis.ask('ACL', 'SETUSER', 'default', '-select')
  await redis.ask('CLIENT', 'KILL', 'TYPE', 'normal')
  await until('it is noticed', 5000, () => app.sessions.status() === 'down')
  await until('it is connected', 5000, () => client.status === 'ready')
  await allUnavailable(t, app, browser!.clone(), 0)
  await redis.ask('ACL', 'SETUSER', 'default', '+select')
  await until('it heals', 5000, () => app.sessions.status() === 'ready')
  t.strictSame(await browser!.json('/'), { user: '0' })
  t.equal(await size(redis, 0), 0)
})

test('by Sentinel: the same database on whatever server is the master', async (t) => {
  const group = await startSentinelGroup()
  t.teardown(() => group.stop())
  await t.rejects(makeApp(t, { redis: `${group.url}?db=99` }), { code: 'SESSION_OPTION_INVALID', message: /mymaster at 127\.0\.0\.1:\d+.* has no such database/ })
  const lines: Lines = []
  const app = await makeApp(t, { redis: `${group.url}?db=${DATABASE}`, lines }, routes)
  const [browser] = await sessions(app, 1)
  const replicas = await group.replicas()
  await until('it is replicated', 5000, async () => (await Promise.all(replicas.map((replica) => size(replica, DATABASE)))).every((keys) => keys === 1))
  for (const server of group.servers) await server.ask('ACL', 'SETUSER', 'default', '-select')
  await group.failover('crash')
  await until('the log says why', 15_000, () => told(lines).some(({ reason, advice }) => reason === 'NOPERM' && /mymaster/.test(String(advice))))
  await allUnavailable(t, app, browser!.clone(), 0)
  const master = await group.master()
  t.equal(await size(master, 0), 0)
  for (const server of [master, ...await group.replicas()]) await server.ask('ACL', 'SETUSER', 'default', '+select')
  await until('it heals', 10_000, () => app.sessions.status() === 'ready')
  t.strictSame(await browser!.json('/'), { user: '0' })
  t.strictSame([await size(master, 0), await size(master, DATABASE)], [0, 1])
})
