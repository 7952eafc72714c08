import Fastify from 'fastify'
import { Cluster, Redis } from 'ioredis'
import { RedisStore as ConnectRedis } from 'connect-redis'
import { createClient, createCluster } from 'redis'
import { test, type Test } from 'tap'
import sessionPlugin, { MemoryStore } from '../../src/index.js'
import { recognize } from '../../src/store/redis-given.js'
import { makeApp, SECRET } from '../support/app.js'

function idle<Client extends { disconnect (): unknown }> (t: Test, client: Client): Client {
  t.teardown(() => { client.disconnect() })
  return client
}

test('what the option takes is told apart', async (t) => {
  const store = new MemoryStore()
  t.teardown(() => store.close())
  t.equal(recognize('redis://h').kind, 'url')
  t.equal(recognize(store).kind, 'store')
  t.equal(recognize(idle(t, new Redis({ lazyConnect: true }))).kind, 'client')
  t.equal(recognize(idle(t, new Cluster([{ host: 'h' }], { lazyConnect: true }))).kind, 'client')
  t.equal(recognize({}).kind, 'options')
  t.equal(recognize(Object.assign(Object.create(null), { host: 'h', db: '2', tls: {}, showFriendlyErrorStack: true })).kind, 'options')
})

test('everything else gets its own sentence at boot, whether Redis is required or not, and without waiting', async (t) => {
  const nodeRedis = createClient()
  const lazy = idle(t, new Redis({ lazyConnect: true }))
  for (const [what, given, message] of [
    ['node-redis', nodeRedis, /client of another package.*node-redis.*ioredis/],
    ['node-redis, a Cluster', createCluster({ rootNodes: [{ url: 'redis://hunter2@h' }] }), /client of another package/],
    ['node-redis, version 3', { send_command () {}, server_info: {} }, /client of another package/],
    ['connect-redis', new ConnectRedis({ client: nodeRedis }), /store of another library/],
    ['namespaces of @fastify/redis', { cache: lazy }, /fastify\.redis\.<namespace>/],
    ['url', { url: 'redis://hunter2@h' }, /no option "url": pass the URL itself/],
    ['url beside what ioredis knows', { host: '127.0.0.1', url: 'redis://hunter2@h' }, /no option "url"/],
    ['socket', { socket: { host: 'hunter2' } }, /no option "socket": host, port/],
    ['database', { database: 2 }, /no option "database": it is called db/],
    ['client', { client: lazy }, /several connections|pass the client itself/],
    ['options of @fastify/redis', { host: 'h', closeClient: true }, /belongs to @fastify\/redis/],
    ['options of a Cluster', { redisOptions: {} }, /redis\+cluster:\/\//],
    ['a slip', { hots: 'hunter2' }, /no option "hots"/],
    ['a name of Object', { toString: 'hunter2' }, /no option "toString"/],
    ['URL', new URL('redis://:hunter2@h'), /url\.href/],
    ['number', 6380, /a number: .*redis:\/\/host/],
    ['true', true, /is true: .*redis:\/\/host/],
    ['array', ['redis://hunter2@h'], /an array: .*redis\+cluster/],
    ['function', () => lazy, /a function or class/],
    ['class', Redis, /a function or class/],
    ['null', null, /is null/],
    ['promise', Promise.resolve(lazy), /await it/],
    ['Map', new Map([['host', 'hunter2']]), /class Map/],
    ['Buffer', Buffer.from('redis://hunter2@h'), /class Buffer/],
    ['db that is no number', { db: 'hunter2' }, /db has to be a whole number/],
    ['db NaN', { db: NaN }, /db has to be a whole number/],
    ['db -1', { db: -1 }, /db has to be a whole number/],
    ['db 1.5', { db: 1.5 }, /db has to be a whole number/],
    ['port 70000', { port: 70_000 }, /port has to be a whole number/],
    ['no Sentinel', { sentinels: [] }, /at least one sentinel/],
    ['Sentinel without a name', { sentinels: [{ host: 'h' }] }, /name of master/],
    ['client with a db that is no number', idle(t, new Redis({ db: NaN, lazyConnect: true })), /option db of the client/],
    ['Cluster with a db', idle(t, new Cluster([{ host: 'h' }], { lazyConnect: true, redisOptions: { db: 2 } })), /Cluster has no databases/]
  ] as const) {
    for (const startup of ['require', 'lazy'] as const) {
      const begin = performance.now()
      const error: Error = await makeApp(t, { redis: given as any, startup }).then(() => { throw new Error('booted') }, (error: Error) => error)
      t.match(error, { code: 'SESSION_OPTION_INVALID', message }, what)
      t.notMatch(error.message, 'hunter2', what)
      t.ok(performance.now() - begin < 2000, what)
    }
  }
})

test('where it was not the option, the sentence says so', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.decorate('redis', createClient() as never)
  await t.rejects(async () => { await app.register(sessionPlugin, { secret: SECRET }) }, { code: 'SESSION_OPTION_INVALID', message: /fastify\.redis is a client of another package/ })
})
