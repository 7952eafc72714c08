/** Several instances of the plugin in one app share nothing, or the app does not boot. */
import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import fastifyRedis from '@fastify/redis'
import { Cluster, Redis } from 'ioredis'
import { test, type Test } from 'tap'
import sessionPlugin, { MemoryStore, RedisStore, type SessionOptions } from '../../src/index.js'
import { keyspaceOf, overlap } from '../../src/store/keyspace.js'
import { SECRET, sharedRedis } from '../support/app.js'
import { startCluster } from '../support/redis-cluster.js'
import { startRedis } from '../support/redis-process.js'
import { startProxy } from '../support/tcp-proxy.js'

const common: SessionOptions = { secret: SECRET, redis: 'memory:' }

/** How two instances may stand to each other. */
const arrangements: Record<string, (app: FastifyInstance, one: SessionOptions, two: SessionOptions) => void> = {
  'in one context' (app, one, two) {
    app.register(sessionPlugin, one)
    app.register(sessionPlugin, { ...two, decoratorName: 'staff' })
  },
  'in two siblings, under one name' (app, one, two) {
    app.register(async (child) => { await child.register(sessionPlugin, one) })
    app.register(async (child) => { await child.register(sessionPlugin, two) })
  },
  'one inside of the other' (app, one, two) {
    app.register(sessionPlugin, one)
    app.register(async (child) => { child.register(async (inner) => { await inner.register(sessionPlugin, { ...two, decoratorName: 'staff' }) }) })
  },
  'the inner one first' (app, one, two) {
    app.register(async (child) => { await child.register(sessionPlugin, { ...one, decoratorName: 'staff' }) })
    app.register(sessionPlugin, two)
  }
}

async function boot (t: Test, arrange: (app: FastifyInstance) => void): Promise<void> {
  const app = Fastify()
  t.teardown(() => app.close())
  arrange(app)
  await app.ready()
}

/** Checks that two instances get on with each other, or which option stops the boot. */
async function together (t: Test, one: SessionOptions, two: SessionOptions, option: string | undefined, message = /./): Promise<void> {
  for (const [how, arrange] of Object.entries(arrangements)) {
    for (const [first, second] of [[one, two], [two, one]] as const) {
      const booted = boot(t, (app) => { arrange(app, { ...common, ...first }, { ...common, ...second }) })
      if (option === undefined) await t.resolves(booted, how)
      else await t.rejects(booted, { code: 'SESSION_OPTION_INVALID', message: new RegExp(`^fastify-live-session: ${option}.*: (?:the instance|another instance called) (?:session|staff) .*${message.source}`) }, how)
    }
  }
}

test('the same cookie', async (t) => {
  const sid = (cookie: SessionOptions['cookie'] = {}): SessionOptions => ({ cookie: { name: 'sid', ...cookie } })
  await together(t, {}, {}, 'cookie\\.name', /has the cookie __Host-session-id, too: give one of them another name/)
  for (const [one, two] of [
    [{}, {}], [{ secure: false }, { sameSite: 'strict' }], [{ path: '/shop' }, {}], [{ path: '/shop' }, { path: '/shop/' }], [{ path: '/shop' }, { path: '/shop/cart' }],
    [{ domain: 'example.com' }, {}], [{ domain: 'example.com' }, { domain: '.EXAMPLE.com' }], [{ domain: 'example.com' }, { domain: 'shop.example.com' }]
  ] as Array<[SessionOptions['cookie'], SessionOptions['cookie']]>) await together(t, sid(one), sid(two), 'cookie\\.name', /the cookie sid, too/)
  for (const [one, two] of [
    [{}, { name: 'SID' }], [{ path: '/shop' }, { path: '/shopping' }], [{ path: '/a' }, { path: '/b' }], [{ path: '/shop/a' }, { path: '/shop/b' }],
    [{ domain: 'a.example.com' }, { domain: 'b.example.com' }], [{ domain: 'example.com' }, { domain: 'myexample.com' }]
  ] as Array<[SessionOptions['cookie'], SessionOptions['cookie']]>) await together(t, sid(one), sid(two), undefined)
  await together(t, { cookie: { secure: false } }, {}, undefined)
})

test('a variable that both follow', async (t) => {
  const before = { ...process.env }
  t.teardown(() => { process.env = before })
  process.env['SESSION_COOKIE_NAME'] = 'sid'
  await together(t, {}, {}, 'cookie\\.name \\(SESSION_COOKIE_ID or SESSION_COOKIE_NAME\\)', /in code, because variables apply to both/)
  await together(t, {}, { cookie: { name: 'other' } }, undefined)
})

test('the cookie of an old system is no cookie of a neighbour', async (t) => {
  const { url } = await sharedRedis()
  const moving: SessionOptions = { redis: url, prefix: 'a:', cookie: { name: 'a' }, migrateFrom: { format: 'express-session', secret: 'x', until: '2999-01-01' } }
  const early = boot(t, (app) => { app.register(sessionPlugin, { ...common, ...moving }); app.register(sessionPlugin, { ...common, decoratorName: 'staff', cookie: { name: 'connect.sid' } }) })
  await t.rejects(early, { code: 'SESSION_OPTION_INVALID', message: /: cookie\.name .*: the instance session takes connect\.sid for the cookie of an old system/ })
  const late = boot(t, (app) => { app.register(sessionPlugin, { ...common, decoratorName: 'staff', cookie: { name: 'connect.sid' } }); app.register(sessionPlugin, { ...common, ...moving }) })
  await t.rejects(late, { code: 'SESSION_OPTION_INVALID', message: /: migrateFrom: the instance staff has the cookie connect\.sid, so it is not that of an old system/ })
  await together(t, moving, { redis: url, prefix: 'b:', cookie: { name: 'b' }, migrateFrom: { format: 'express-session', secret: 'x', until: '2999-01-01' } }, undefined)
})

test('the same records', async (t) => {
  const { url, port } = await sharedRedis()
  const client = new Redis(url)
  const other = new Redis(`${url}/1`)
  t.teardown(() => { client.disconnect(); other.disconnect() })
  const pair = async (one: SessionOptions, two: SessionOptions, ...expected: [] | [string, RegExp?]): Promise<void> => {
    await together(t, { cookie: { name: 'one' }, ...one }, { cookie: { name: 'two' }, ...two }, ...expected as [string | undefined, RegExp?])
  }
  const same = ['prefix', /keeps its sessions in the same Redis under the same prefix: give one of them another prefix/] as [string, RegExp]
  await pair({ redis: url }, { redis: url }, ...same)
  await pair({ redis: url }, { redis: `redis://localhost:${port}/0` }, ...same)
  await pair({ redis: url }, { redis: { port } }, ...same)
  await pair({ redis: client }, { redis: client }, ...same)
  await pair({ redis: client }, { redis: url }, ...same)
  await pair({ redis: client }, { redis: new RedisStore(client) }, ...same)
  await pair({ redis: url, prefix: 'a:' }, { redis: url, prefix: 'a:@user:' }, ...same)
  await pair({ redis: url, startup: 'lazy' }, { redis: url, startup: 'lazy' }, ...same)
  const store = new RedisStore(client)
  await pair({ redis: store }, { redis: store }, 'redis', /has the same store/)
  const memory = new MemoryStore()
  await pair({ redis: memory }, { redis: memory }, 'redis', /has the same store/)

  await pair({ redis: url }, { redis: url, prefix: 'staff:' })
  await pair({ redis: url, prefix: 'session:a' }, { redis: url, prefix: 'session:ab' })
  await pair({ redis: url }, { redis: `${url}/1` })
  await pair({ redis: client }, { redis: other })
  await pair({ redis: client }, { redis: new RedisStore(client, { prefix: 'other:' }) })
  await pair({ redis: 'memory:' }, { redis: 'memory:' })
  await pair({ redis: 'memory:' }, { redis: url })
  await pair({ redis: new MemoryStore() }, { redis: new MemoryStore() })
})

test('one Redis under several addresses, and several that are told apart', async (t) => {
  // In the server's own directory.
  const redis = await startRedis({ args: ['--unixsocket', 'own.sock'] })
  const socket = join(redis.directory, 'own.sock')
  const another = await startRedis()
  const sentinel = await startRedis({ sentinel: true, config: `sentinel monitor mymaster ${redis.host} ${redis.port} 1` })
  const cluster = await startCluster()
  t.teardown(() => Promise.all([redis, another, sentinel, cluster].map((one) => one.stop())))
  const pair = async (one: SessionOptions['redis'], two: SessionOptions['redis'], ...expected: [] | [string, RegExp?]): Promise<void> => {
    await together(t, { cookie: { name: 'one' }, redis: one }, { cookie: { name: 'two' }, redis: two }, ...expected as [string | undefined, RegExp?])
  }
  const { port } = redis
  for (const address of [`unix://${socket}`, `redis://[::ffff:127.0.0.1]:${port}`, `redis+sentinel://${sentinel.host}:${sentinel.port}/mymaster`]) {
    await pair(redis.url, address, 'prefix', /in the same Redis under the same prefix/)
    await pair(another.url, address)
  }
  const proxy = await startProxy(cluster.nodes[0]!.port)
  t.teardown(() => proxy.close())
  await pair(cluster.url, `redis+cluster://${proxy.host}:${proxy.port}`, 'prefix', /in the same Redis/)
  await pair(cluster.url, another.url)
  // Who is not there at boot is not known.
  await t.resolves(boot(t, (app) => {
    app.register(sessionPlugin, { ...common, redis: redis.url, cookie: { name: 'one' } })
    app.register(sessionPlugin, { ...common, redis: 'redis://127.0.0.1:1', startup: 'lazy', cookie: { name: 'two' }, decoratorName: 'staff' })
  }))
})

test('fastify.redis, which is the default', async (t) => {
  const { url } = await sharedRedis()
  const both = (redis: string | undefined): Promise<void> => boot(t, (app) => {
    app.register(fastifyRedis, { url })
    app.register(sessionPlugin, { secret: SECRET, cookie: { name: 'one' } })
    app.register(sessionPlugin, { secret: SECRET, cookie: { name: 'two' }, decoratorName: 'staff', redis })
  })
  for (const redis of [undefined, url]) await t.rejects(both(redis), { code: 'SESSION_OPTION_INVALID', message: /: prefix .*: the instance session keeps its sessions in the same Redis/ })
  await t.resolves(both(`${url}/1`))
})

test('two apps in one process may have everything in common', async (t) => {
  const { url } = await sharedRedis()
  for (let i = 0; i < 2; i++) await t.resolves(boot(t, (app) => { app.register(sessionPlugin, { ...common, redis: url }) }))
})

test('what a client connects to tells whether two have the same keys', async (t) => {
  const redis = (...args: unknown[]) => keyspaceOf(new Redis({ lazyConnect: true, ...(typeof args[0] === 'object' ? args[0] : {}) }), 'p:')
  const url = (address: string) => keyspaceOf(new Redis(address, { lazyConnect: true }), 'p:')
  const cluster = (...nodes: unknown[]) => keyspaceOf(new Cluster(nodes as [], { lazyConnect: true }), 'p:')
  const sentinels = (name: string, ...hosts: string[]) => redis({ name, sentinels: hosts.map((host) => ({ host })) })
  for (const [one, two] of [
    [redis({}), url('redis://127.0.0.1:6379')], [url('redis://LOCALHOST'), url('redis://[::1]/0')], [url('redis://a.example.com.'), redis({ host: 'A.example.com' })], [url('redis://u:p@h/3'), url('redis://h:6379?db=3')],
    [redis({ path: '/run/redis.sock' }), url('/run/redis.sock')], [cluster({ host: 'a' }, { host: 'b' }), cluster({ host: 'b', port: 6379 }, { host: 'c' })], [cluster('redis://a:7000'), cluster({ host: 'a', port: '7000' })],
    [cluster(7000), cluster('7000')], [cluster({ host: 'a' }), url('redis://a')], [sentinels('m', 'a', 'b'), sentinels('m', 'b', 'c')]
  ] as const) t.ok(overlap(one, two), JSON.stringify([one, two]))
  for (const [one, two] of [
    [url('redis://a'), url('redis://b')], [url('redis://a:1'), url('redis://a:2')], [url('redis://a/1'), url('redis://a/2')], [redis({ path: '/run/a.sock' }), redis({ path: '/run/b.sock' })],
    [cluster({ host: 'a' }), cluster({ host: 'b' })], [cluster({ host: 'a' }), url('redis://a/1')], [sentinels('m', 'a'), sentinels('n', 'a')], [sentinels('m', 'a'), url('redis://a:26379')]
  ] as const) t.notOk(overlap(one, two), JSON.stringify([one, two]))
  const [a] = [url('redis://a')]
  for (const [prefix, found] of [['p:', true], ['p:@user:', true], ['p:x', false], ['p', false], ['', false], ['P:', false]] as const) t.equal(overlap(a, { ...a, prefix }), found, prefix)
})
