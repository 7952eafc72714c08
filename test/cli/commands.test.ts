/** The commands against a real Redis. */
import { Cluster } from 'ioredis'
import { test } from 'tap'
import { runCommandLine } from '../../src/cli/command-line.js'
import { resolveOptions } from '../../src/options.js'
import { RedisStore } from '../../src/store/redis.js'
import { newId } from '../../src/cookie/token.js'
import { ready } from '../contract/redis-subject.js'
import { makeApp } from '../support/app.js'
import { startCluster } from '../support/redis-cluster.js'
import { startProxy } from '../support/tcp-proxy.js'
import { HOUR, seed, start, UNPRINTABLE } from './kit.js'
import { run, runHere } from './run.js'

const IDS = /^[\w-]{22}(?= {2}\d)/gm

test('secret', async (t) => {
  const [plain, json] = await Promise.all([runHere(['secret']), runHere(['secret', '--json'])])
  t.strictSame([plain.code, json.code, plain.err], [0, 0, ''])
  const made = [plain.out.trim(), (JSON.parse(json.out) as { secret: string }).secret]
  t.not(made[0], made[1])
  for (const one of made) t.strictSame(resolveOptions({ secret: one }, {}).secrets, [one], 'the plugin takes it')
})

test('variables have the names that they have for the plugin', async (t) => {
  const { redis, env } = await start(t)
  const [id] = await seed(new RedisStore(await ready(redis.client()), { timeout: 3000, prefix: 'shop:' }), [HOUR])
  for (const variable of ['SESSION_REDIS_PREFIX', 'SESSION_PREFIX']) {
    t.match(await run(['inspect', id!], { ...env, [variable]: 'shop:' }), { code: 0, out: `shop:${id}` }, variable)
  }
})

test('inspect shows types and sizes, values only when asked, and never what authenticates', async (t) => {
  const { store, env } = await start(t)
  const [id = ''] = await seed(store, [HOUR], { user: 'andrew', pin: '1234', cart: '[{"id":7}]', evil: '\u001b[2J\u202e\nx', nothing: 'null' })
  const plain = await runHere(['inspect', id], env)
  const withValues = await runHere(['inspect', id, '--values'], env)
  const json = await runHere(['inspect', '--json', id], env)
  const jsonValues = await runHere(['inspect', id, '--json', '--values'], env)
  t.strictSame([plain.code, withValues.code, json.code, jsonValues.code], [0, 0, 0, 0])
  t.match(plain.out, /^key +session:[^\n]+\ncreated +\d{4}-[^\n]+Z\n(?:[^\n]+\n)*ends in +(?:1 h|59 min)/)
  t.match(plain.out, /\nuser +string +6 B +•••\n/)
  t.notMatch(plain.out, /andrew|1234/)
  t.match(withValues.out, /\nuser +string +6 B +"andrew"\n[^]*\ncart +array +10 B +\[\{"id":7\}\]\n/)
  t.match(JSON.parse(json.out), { id, key: `session:${id}`, idleTimeout: 3600, lifetime: 36_000, persistent: false, fields: { pin: { type: 'number', bytes: 4 }, nothing: { type: 'null' } } })
  t.notMatch(json.out, /andrew|1234/)
  t.match(JSON.parse(jsonValues.out), { fields: { cart: { value: [{ id: 7 }] }, evil: { value: '\u001b[2J\u202e\nx' } } })
  for (const { out } of [plain, withValues, json, jsonValues]) t.notMatch(out, /digest/)
  const none = await runHere(['inspect', newId()], env)
  t.strictSame([none.code, none.err], [3, ''])
  t.match(none.out, /^There is no session .{22} at redis:\/\/[^\n]*\.\n$/)
  t.match(await runHere(['inspect', newId(), '--json'], env), { code: 3, out: 'null\n' })
})

test('inspect, list and end of what is no session', async (t) => {
  const { redis, store, env } = await start(t)
  const [id = ''] = await seed(store, [HOUR])
  const put = async (command: string, ...args: string[]): Promise<string> => {
    const other = newId()
    await redis.ask(command, `session:${other}`, ...args)
    return other
  }
  const text = await put('SET', 'a string')
  const list = await put('RPUSH', 'a')
  const foreign = await put('HSET', 'user', 'andrew')
  const bar = await put('HSET', '@barred', 'a:1')
  const undo = await put('HSET', '@undo', 'whatever')
  const both = await put('HSET', '@undo', 'whatever', '@barred', 'a:1')
  const broken = await put('HSET', '@digest', 'd', 'a', '1')

  for (const other of [text, list]) {
    t.match(await runHere(['inspect', other], env), { code: 1, out: '', err: /^fastify-live-session: redis:[^\n]+ holds another type than a hash[^\n]*\n$/ })
  }
  t.match(await runHere(['inspect', foreign], env), { code: 3, out: /^There is no session [^\n]+: its key holds a hash without an owner\.\n$/, err: '' })
  for (const other of [bar, undo, both]) {
    t.match(await runHere(['inspect', other], env), { code: 3, out: /^There is no session .{22} at redis:\/\/[\d.:]+\.\n$/, err: '' })
    t.match(await runHere(['inspect', other, '--json'], env), { code: 3, out: 'null\n' })
  }
  t.match(await runHere(['inspect', broken], env), { code: 0, out: /\ncreated +-\n[^]*\nidle timeout +-\n/, err: '' })

  const listed = await runHere(['list'], env)
  t.strictSame(listed.out.match(/^[\w-]{22}(?= {2})/gm)?.sort(), [id, broken].sort())
  const ended = await runHere(['end', text, foreign, undo, id, broken], env)
  t.equal(ended.code, 1)
  t.strictSame(ended.out.split('\n').map((line) => line.split(/ at | because |: /)[0]), [
    `Could not end ${text}`, `There is no session ${foreign}`, `Ended ${undo}.`, `Ended ${id}.`, `Ended ${broken}.`, ''
  ])
  t.match(ended.out, /^Could not end \S{22}: [^\n]*another type than a hash[^\n]*\n/)
  t.equal(await store.inspect(id), undefined)
  t.strictSame(await redis.ask('GET', `session:${text}`), 'a string')
  t.strictSame(await redis.ask('HGETALL', `session:${undo}`), [], 'what was taken out of use could have been taken back')
})

test('list and end', async (t) => {
  const { redis, store, env } = await start(t)
  const ids = await seed(store, [HOUR, HOUR, HOUR])
  const shop = new RedisStore(await ready(redis.client()), { timeout: 3000, prefix: 'shop[1]:' })
  const [other = ''] = await seed(shop, [HOUR])
  const all = await runHere(['list'], env)
  const some = await runHere(['list', '--limit', '2'], env)
  const json = await runHere(['list', '--json', '--limit=0'], env)
  const prefixed = await runHere(['list', '--json'], { ...env, SESSION_REDIS_PREFIX: 'shop[1]:' })
  const empty = await runHere(['list', '--prefix', 'none:'], env)
  t.strictSame([all, some, json, prefixed, empty].map(({ code, err }) => [code, err]), Array.from({ length: 5 }, () => [0, '']))
  t.strictSame(all.out.match(IDS)?.sort(), [...ids].sort())
  t.equal(some.out.match(IDS)?.length, 2)
  t.match(some.out, '--limit 0 lists all')
  const listed = json.out.trim().split('\n').map((line) => JSON.parse(line) as { id: string, expiresIn: number })
  t.strictSame(listed.map(({ id }) => id).sort(), [...ids].sort())
  t.match(listed[0], { createdAt: /^\d{4}-.*Z$/, lastAccessedAt: /Z$/, idleTimeout: 3600 })
  t.ok(listed[0]!.expiresIn > 3500 && listed[0]!.expiresIn <= 3600)
  t.match(JSON.parse(prefixed.out), { id: other })
  t.match(empty.out, /There are no sessions under none:/)

  const ended = await runHere(['end', ids[0]!, ids[1]!, ids[0]!], env)
  t.strictSame([ended.code, ended.out], [0, `Ended ${ids[0]}.\nEnded ${ids[1]}.\n`])
  const again = await runHere(['end', ids[0]!, ids[2]!, '--json'], env)
  t.strictSame([again.code, JSON.parse(again.out)], [3, { ended: [ids[2]], missing: [ids[0]], failed: [] }])
  t.equal(await store.inspect(ids[1]!), undefined)
  t.ok(await shop.inspect(other), 'other prefixes are left alone')
})

test('end does all it can where a right is missing for one', async (t) => {
  const { redis, store, env } = await start(t)
  const [mine = '', theirs = '', gone = newId()] = await seed(store, [HOUR, HOUR])
  await redis.ask('ACL', 'SETUSER', 'half', 'reset', 'on', '>pw', `~session:${mine}`, `~session:${gone}`, '~session:', '+@all')
  const half = { SESSION_REDIS: redis.url.replace('://', '://half:pw@') }
  const ended = await runHere(['end', theirs, gone, mine, '--json'], half)
  t.match([ended.code, JSON.parse(ended.out)], [1, { ended: [mine], missing: [gone], failed: [{ id: theirs, reason: /NOPERM/ }] }])
  t.equal((await runHere(['end', theirs], env)).code, 0)
})

test('end says what it did and what not where the connection breaks in the middle', async (t) => {
  const { redis, store } = await start(t)
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  const ids = await seed(store, [HOUR, HOUR, HOUR])
  const lines: string[] = []
  const out = (line: string): void => {
    lines.push(line)
    if (lines.length === 1) proxy.cut()
  }
  const code = await runCommandLine(['end', ...ids], { env: { SESSION_REDIS: proxy.url }, out, err: (line) => { lines.push(line) }, progress: () => {} })
  t.equal(code, 1)
  t.strictSame(lines.map((line) => line.split(': ')[0]), [`Ended ${ids[0]}.`, `Could not end ${ids[1]}`, `Could not end ${ids[2]}`])
  t.strictSame(await Promise.all(ids.map(async (id) => await store.inspect(id) !== undefined)), [false, true, true])
})

test('stats', async (t) => {
  const { redis, store, env } = await start(t)
  const ids = await seed(store, [...Array.from({ length: 600 }, () => 20 * 60_000), ...Array.from({ length: 7 }, () => 100 * HOUR), HOUR])
  await redis.ask('PERSIST', `session:${ids.at(-1)}`)
  await redis.ask('HSET', `session:${newId()}`, 'no', 'session')
  await redis.ask('HSET', `session:${newId()}`, ...Array.from({ length: 400 }, (_, i) => `${i}`))
  await redis.ask('HSET', 'session:two and twenty letters', '@digest', 'no id')
  for (const field of ['@barred', '@undo']) await redis.ask('HSET', `session:${newId()}`, field, 'a:1')
  const plain = await runHere(['stats'], env)
  const json = await runHere(['stats', '--json'], env)
  t.strictSame([plain.code, plain.err, json.code], [0, '', 0])
  const counted = JSON.parse(json.out) as { memory: { total: number, average: number, largest: number }, oldest: number }
  t.match(counted, {
    sessions: 608,
    withoutExpiry: 1,
    remainders: 2,
    foreign: 3,
    expiry: [{ below: 60, sessions: 0 }, {}, {}, { below: 1800, sessions: 600 }, {}, {}, {}, { below: 604_800, sessions: 7 }, { below: null, sessions: 0 }]
  })
  t.ok(counted.memory.total > 608 * 100 && counted.memory.largest >= counted.memory.average && counted.memory.average > 100)
  t.ok(counted.oldest >= 0 && counted.oldest < 60)
  t.match(plain.out, /^sessions +608 \(session: at redis:/)
  t.match(plain.out, /\nremainders +2, which sessions that ended leave behind for a minute\nforeign +3 hashes under such keys, which no session has\n/)
  t.match(plain.out, /\nless than 30 min +600 +█{40}\n[^]*\nless than 7 d +7 +█\n/)
  await redis.ask('ACL', 'SETUSER', 'sessions', 'reset', 'on', '>pw', '~session:*', '+@all', '-memory')
  const denied = await runHere(['stats', '--redis', redis.url.replace('://', '://sessions:pw@'), '--json'])
  t.match([denied.code, JSON.parse(denied.out)], [0, { sessions: 608, memory: null }])
})

test('what an end of all sessions leaves behind is told from sessions and from what others wrote', async (t) => {
  const { redis, env } = await start(t)
  const app = await makeApp(t, { redis: redis.url, timeout: 3000, userField: 'userId' })
  for (let i = 0; i < 3; i++) await app.sessions.issue({ userId: 'ann' })
  await app.sessions.issue({ userId: 'bob' })
  t.equal(await app.sessions.endAll('ann'), 3)
  const stats = JSON.parse((await runHere(['stats', '--json'], env)).out) as { sessions: number, foreign: number }
  t.match(stats, { sessions: 1, foreign: 0 })
  t.match(await runHere(['list'], env), { code: 0, out: /^ID[^\n]+\n[^\n]+\n$/ })
})

test('on a Cluster: all masters, and a single node is not taken for all', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  const client = await ready(new Cluster(cluster.nodes.map(({ host, port }) => ({ host, port }))))
  t.teardown(() => { client.disconnect() })
  const ids = await seed(new RedisStore(client, { timeout: 3000 }), Array.from({ length: 200 }, () => HOUR / 2))
  const env = { SESSION_REDIS: cluster.url }
  t.match(JSON.parse((await runHere(['stats', '--json'], env)).out), { sessions: 200 })
  const listed = await runHere(['list', '--json', '--limit', '0'], env)
  t.equal(listed.out.trim().split('\n').length, 200)
  t.match(await runHere(['end', ids[0]!, ids[1]!], env), { code: 0, err: '' })

  // A master, another one, and a replica.
  for (const { host, port, url } of [cluster.nodes[0]!, cluster.nodes[2]!, cluster.nodes[4]!]) {
    for (const args of [['list'], ['stats'], ['end', ids[2]!, ids[3]!], ['end', '--user', 'andrew'], ['inspect', ids[2]!]]) {
      const { code, out, err } = await runHere([...args, '--redis', `${url}/0?family=4`])
      t.strictSame([code, out], [1, ''], args.join(' '))
      t.match(err, new RegExp(`^fastify-live-session: ${host}:${port} is a node of a Cluster[^\\n]+redis\\+cluster://${host}:${port}[^\\n]*\\n$`))
    }
  }
  t.equal(JSON.parse((await runHere(['stats', '--json'], env)).out).sessions, 198)
})

test('a Cluster of one node may be called by its address', async (t) => {
  const { redis, env } = await start(t, { config: 'cluster-enabled yes\ncluster-announce-ip 127.0.0.1' })
  await redis.ask('CLUSTER', 'ADDSLOTS', ...Array.from({ length: 16_384 }, (_, slot) => String(slot)))
  t.match(await runHere(['stats'], env), { code: 0, err: '', out: /^sessions +0 / })
})

test('as a process: output, errors and exit codes', async (t) => {
  const { redis, store, env } = await start(t)
  const [id = ''] = await seed(store, [HOUR], { user: 'andrew', evil: '\u009b31m' })
  await redis.ask('SET', 'session:AAAAAAAAAAAAAAAAAAAAAA', 'x')
  const [good, missing, failed, wrong, help] = await Promise.all([
    run(['inspect', id, '--values', '--json'], env), run(['inspect', newId()], env), run(['inspect', 'AAAAAAAAAAAAAAAAAAAAAA'], env), run(['inspect', 'x'], env), run(['stats', '-h'])
  ])
  t.match(good, { code: 0, err: '' })
  t.equal(JSON.parse(good.out).fields.evil.value, '\u009b31m')
  t.notMatch(good.out, UNPRINTABLE)
  t.match(missing, { code: 3, err: '', out: /^There is no session/ })
  t.match(failed, { code: 1, out: '', err: /^fastify-live-session: redis:[^\n]+\n$/ })
  t.match(wrong, { code: 2, out: '', err: /^fastify-live-session: inspect: [^\n]+\nTry [^\n]+\n$/ })
  t.match(help, { code: 0, err: '', out: /^Counts the sessions/ })
})
