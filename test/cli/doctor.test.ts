/** What `doctor` finds, in real servers of which one thing each is wrong. */
import { readFileSync } from 'node:fs'
import { test, type Test } from 'tap'
import type { Check } from '../../src/cli/check.js'
import { checkServer, readInfo } from '../../src/cli/server-checks.js'
import { newId } from '../../src/cookie/token.js'
import { makeApp, SECRET } from '../support/app.js'
import { startCluster } from '../support/redis-cluster.js'
import { startRedis, type RedisProcess } from '../support/redis-process.js'
import { startProxy } from '../support/tcp-proxy.js'
import { HOUR, seed, start } from './kit.js'
import { runHere } from './run.js'

/** A report: what was found about each matter, several things about one in the order in which they were told. */
interface Report { code: number | null, found: Record<string, string[]>, all: string }

async function doctor (env: NodeJS.ProcessEnv, args: string[] = []): Promise<Report> {
  const { code, out, err } = await runHere(['doctor', '--json', ...args], { SESSION_SECRET: SECRET, ...env })
  if (out === '') throw new Error(err)
  const { ok, checks } = JSON.parse(out) as { ok: boolean, checks: Check[] }
  if (ok !== (code === 0) || ok !== checks.every(({ result }) => result !== 'problem')) throw new Error(`ok is ${ok}, and the exit code ${code}`)
  const found: Record<string, string[]> = {}
  for (const { name, result, detail } of checks) (found[name] ??= []).push(`${result}: ${detail}`)
  return { code, found, all: out }
}

/** The same where Redis lets in a user who may do only this. */
async function doctorAs (redis: RedisProcess, rules: readonly string[], database = ''): Promise<Report> {
  // 6.2 lets a new user use all channels, unless that is taken back first.
  await redis.ask('ACL', 'SETUSER', 'user', 'reset', 'resetchannels', 'on', '>pw', ...rules)
  return await doctor({ SESSION_REDIS: redis.url.replace('://', '://user:pw@') + database })
}

test('a good Redis, and each thing that can be wrong', async (t) => {
  const { redis, store, env } = await start(t)
  const [id] = await seed(store, [HOUR, HOUR])
  await redis.ask('CONFIG', 'SET', 'appendonly', 'yes')
  const waiting = doctor({ SESSION_REDIS: 'redis://user:pass@127.0.0.1:1' })
  const good = await doctor(env)
  t.equal(good.code, 0)
  t.strictSame(Object.entries(good.found).map(([name, [first]]) => `${name} ${first!.split(':')[0]}`), [
    'options ok', 'Redis ok', 'version ok', 'eviction ok', 'persistence ok', 'role ok', 'clock ok', 'commands ok', 'scripts ok', 'records ok'
  ])
  t.match(good.found, { records: ['ok: 2 sessions, each with an expiry'], version: [/^ok: (?:Redis|Valkey) \d+\.\d+\.\d+$/] })
  t.strictSame(await redis.ask('DBSIZE'), 2, 'nothing is left behind')
  t.match(await runHere(['doctor'], { ...env, SESSION_SECRET: SECRET }), { code: 0, err: '', out: /^ok {7}options: [^]*\nNo problems, no warnings\.\n$/ })

  await redis.ask('PERSIST', `session:${id}`)
  await redis.ask('CONFIG', 'SET', 'appendonly', 'no')
  await redis.ask('CONFIG', 'SET', 'maxmemory', '100mb')
  await redis.ask('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
  const bad = await doctor({ ...env, SESSION_LIFTIME: '5' })
  t.equal(bad.code, 3)
  t.match(bad.found, {
    records: [/^problem: without an expiry: 1 of 2 sessions; somebody ran PERSIST$/],
    eviction: [/^problem: maxmemory-policy is allkeys-lru: .* set noeviction$/],
    persistence: [/^warning: appendonly is off/]
  })
  t.match(bad.all, 'SESSION_LIFETIME')

  const wrong = await doctor({ ...env, SESSION_SECRET: 'hunter2', SESSION_EXPIRE: '60' })
  t.match(wrong, { code: 3, found: { options: [/^problem: secret \(SESSION_SECRET\): it needs at least 32 bytes/] } })
  t.notMatch(wrong.all, 'hunter2')
  t.match((await doctor({ ...env, SESSION_SECRET: '' })).found, { options: [/^warning: secret/] }, 'an app may have it from elsewhere')

  t.match(await waiting, { code: 3, found: { Redis: [/^problem: Redis could not be reached .*127\.0\.0\.1:1$/] } })
  t.match(await doctor({ SESSION_REDIS: 'memory:' }), { code: 0, found: { Redis: [/^warning: sessions are kept in memory/] } })
})

/** The README's rules for the user of the sessions, its password aside. */
function readmeRules (): string[] {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const [, rules = ''] = /ACL SETUSER sessions (.*)/.exec(readme) ?? []
  return rules.split(' ').filter((rule) => /^[+~&]/.test(rule))
}

test('the rights of the README are enough, and every one that is missing is named, with what it is for', async (t) => {
  const { redis } = await start(t)
  const rules = readmeRules()
  const enough = await doctorAs(redis, rules)
  t.match(enough, { code: 0, found: { commands: [/^ok/], scripts: [/^ok/], records: [/^ok/] } })

  const optional = new Map([['memory|usage', 'every save'], ...['publish', 'subscribe', 'ping'].map((right) => [right, 'session.signal'] as const)])
  for (const right of rules.filter((rule) => rule.startsWith('+')).map((rule) => rule.slice(1))) {
    const { code, found } = await doctorAs(redis, rules.filter((rule) => rule !== `+${right}`))
    const use = optional.get(right) ?? (/^z|^scan$/.test(right) ? 'by user' : 'every session')
    if (right === 'info') t.match([code, found['version, eviction, persistence, role']], [0, ['warning: not checked: this user may not run info']])
    else t.match([code, found['commands']], [use === 'every session' ? 3 : 0, [new RegExp(`^${use === 'every session' ? 'problem' : 'warning'}: this user may not run ${right.replace('|', '\\|')}; allow \\+${right.replace('|', '\\|')}: .*${use}`)]], right)
    t.ok(found['records'] !== undefined && found['scripts'] !== undefined, `${right}: and all else is checked`)
  }
})

test('many rights that are missing at once: each is named, and nothing is left behind', async (t) => {
  const { redis } = await start(t)
  const without = await doctorAs(redis, ['~session:*', '&session:*', '+@all', '-hget', '-hlen', '-zadd', '-scan', '-publish', '-memory'])
  t.equal(without.code, 3)
  t.strictSame(without.found['commands']!.map((text) => text.split('; ')[0]), [
    'problem: this user may not run hget, hlen', 'warning: this user may not run memory|usage', 'warning: this user may not run zadd, scan', 'warning: this user may not run publish'
  ])
  t.match(without.found, { records: ['warning: not checked: this user may not run scan'], version: [/^ok/], clock: [/^ok/] })

  const elsewhere = await doctorAs(redis, ['~other:*', '&other:*', '+@all'])
  t.equal(elsewhere.code, 3)
  t.match(elsewhere.found['commands'], [
    /^problem: this user may not use keys that begin with session: \(del, .*; allow ~session:\*: every session needs it$/, /^warning: .*memory\|usage/, /^warning: .*zcard/,
    /^warning: this user may not use channels that begin with session: \(publish, subscribe\); allow &session:\*/
  ])
  t.match(elsewhere.found, { clock: [/^ok/], scripts: [/^problem: .*NOPERM/], records: [/^ok: no sessions/] })

  const nothing = await doctorAs(redis, ['~*', '&*', '+hset', '+zadd', '+ping'])
  t.equal(nothing.code, 3)
  t.match(nothing.found, { clock: ['warning: not checked: this user may not run time'], scripts: [/^problem/], records: [/^warning: not checked/] })
  t.match(nothing.found['commands'], [/^problem: this user may not run del, hdel, pexpire, hgetall, /, /^warning: .*memory/, /^warning: .*zrem, zscore/, /^warning: .*publish/])
  t.equal(await redis.ask('DBSIZE'), 0, 'what could not be removed was not written')
  for (const right of ['+del', '+hdel', '+pexpire', '+zrem']) {
    await doctorAs(redis, ['~*', '&*', '+hset', '+zadd', right])
    for (const key of await redis.ask('KEYS', '*') as string[]) t.not(await redis.ask('TTL', key), -1, `${right}: what is left ends by itself`)
    if (right !== '+pexpire') t.equal(await redis.ask('DBSIZE'), 0, right)
    await redis.ask('FLUSHALL')
  }
})

test('another database than 0 needs a right more; where it is missing, the others are looked at all the same, and nothing is written elsewhere', async (t) => {
  const { redis } = await start(t)
  t.match(await doctorAs(redis, [...readmeRules(), '+select'], '/2'), { code: 0, found: { commands: [/^ok/], scripts: [/^ok/], records: [/^ok/] } })
  t.match(await doctorAs(redis, readmeRules()), { code: 0, found: { commands: [/^ok/] } })
  const some = ['+hset', '+zadd', '+ping', '+del', '+time']
  const watch = redis.client()
  await watch.config('SET', 'notify-keyspace-events', 'KA')
  const changed: string[] = []
  const listener = redis.client()
  await listener.psubscribe('__keyspace@*')
  listener.on('pmessage', (_pattern: string, channel: string) => { changed.push(channel) })
  for (const [rules, missing] of [[readmeRules(), []], [readmeRules().filter((rule) => rule !== '+hget' && rule !== '+publish'), ['hget', 'publish']], [['~*', '&*', ...some], ['hdel', 'zrem']]] as const) {
    const { code, found } = await doctorAs(redis, rules, '/2')
    t.equal(code, 3)
    t.match(found['commands']!.join(), /problem: this user may not run select; allow \+select: another database than 0 needs it/)
    for (const right of missing) t.match(found['commands']!.join(), new RegExp(`\\b${right}\\b`))
    t.match(found, { Redis: [/^ok/], clock: [/^ok/], scripts: ['problem: not checked: database 2 cannot be selected'], records: ['warning: not checked: database 2 cannot be selected'] })
  }
  t.strictSame(changed, [])
  for (const command of ['list', 'stats', 'end --user x']) {
    t.match(await runHere([...command.split(' '), '--redis', `${redis.url.replace('://', '://user:pw@')}/2`]), { code: 1, out: '', err: /may not run SELECT \(NOPERM\): allow \+select/ }, command)
  }
  const renamed = await startRedis({ args: ['--rename-command', 'SELECT', ''] })
  t.teardown(() => renamed.stop())
  t.match(await doctor({ SESSION_REDIS: `${renamed.url}/2` }), { code: 3, found: { commands: [/^problem: this Redis has no select \(renamed, or switched off\): another database than 0 needs it$/], clock: [/^ok/] } })
  t.match(await doctor({ SESSION_REDIS: `${renamed.url}/99` }), { code: 3, found: { commands: [/no select/] } })
  t.match(await doctor({ SESSION_REDIS: `${redis.url}/99` }), { code: 3, found: { Redis: [/^problem: .*has no such database/] } })
})

test('commands that are missing are named one by one, and the rest is checked', async (t) => {
  const without = async (...commands: string[]): Promise<Report> => {
    const redis = await startRedis({ args: commands.flatMap((command) => ['--rename-command', command, '']) })
    t.teardown(() => redis.stop())
    return await doctor({ SESSION_REDIS: redis.url })
  }
  const [memory, signals, scripts, users, time] = await Promise.all([
    without('MEMORY'), without('PUBLISH', 'SUBSCRIBE'), without('EVAL', 'EVALSHA'), without('ZADD', 'ZREM', 'SCAN'), without('TIME', 'HSET', 'MEMORY')
  ])
  t.match(memory, { code: 0, found: { commands: [/^warning: this Redis has no memory\|usage \(renamed, or switched off\): without it every save takes a command more$/], scripts: [/^ok/], records: [/^ok/] } })
  t.match(signals, { code: 0, found: { commands: [/^warning: this Redis has no publish, subscribe .*session\.signal/], scripts: [/^ok/] } })
  t.match(scripts, { code: 3, found: { commands: [/^problem: this Redis has no eval, evalsha \(.*: every session needs it$/], scripts: [/^problem/], records: [/^ok/], version: [/^ok/] } })
  t.match(users, { code: 0, found: { commands: [/^warning: this Redis has no zrem, zadd, scan .*by user/], scripts: [/^ok/], records: ['warning: not checked: this Redis has no command scan'] } })
  t.match(time, { code: 3, found: { commands: [/^problem: this Redis has no hset, time /, /^warning: this Redis has no memory\|usage/], clock: ['warning: not checked: this Redis has no command time'], scripts: [/^problem/] } })
  for (const { found } of [memory, signals, scripts, users, time]) t.equal(found['commands']!.some((text) => text.startsWith('ok')), false)
})

test('a Redis that refuses to write says so, and the rest is checked', async (t) => {
  const { redis, env } = await start(t)
  await redis.ask('CONFIG', 'SET', 'maxmemory', '1mb')
  const full = await doctor(env)
  t.match(full, { code: 3, found: { commands: [/^problem: Redis answered OOM to hset: every session needs it$/, /^warning: Redis answered OOM to zadd/], scripts: [/^problem: .*OOM/], records: [/^ok/], eviction: [/^warning: noeviction, and \d+ % of maxmemory/] } })
})

test('a connection that breaks in the middle: what was found stands, and each other check says why it was not done', async (t) => {
  const { redis } = await start(t)
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  proxy.dropReplies(1, 'TIME')
  const { code, found } = await doctor({ SESSION_REDIS: proxy.url })
  t.equal(code, 3)
  t.match(found, { Redis: [/^ok/], version: [/^ok/], clock: [/^warning: not checked: the connection broke/], commands: [/^problem: not checked: /], scripts: [/^problem: a session could not be created[^:]*: not connected$/], records: [/^warning: not checked: /] })
})

test('what is no session', async (t) => {
  const { redis, env } = await start(t)
  const app = await makeApp(t, { redis: redis.url, timeout: 3000, userField: 'userId' })
  for (let i = 0; i < 3; i++) await app.sessions.issue({ userId: 'ann' })
  await app.sessions.issue({ userId: 'bob' })
  await app.sessions.endAll('ann')
  const undo = `session:${newId()}`
  await redis.ask('HSET', undo, '@undo', 'x')
  await redis.ask('PEXPIRE', undo, '60000')
  t.match((await doctor(env)).found, { records: ['ok: 1 session, each with an expiry'] }, 'what is left behind for a moment is no matter')

  const other = `session:${newId()}`
  await redis.ask('HSET', other, 'cart', '[]')
  await redis.ask('PEXPIRE', other, '60000')
  t.match(await doctor(env), { code: 0, found: { records: [/^warning: no session: 1 hash under such keys; another program uses the prefix session:, too$/] } })
  await redis.ask('HSET', `session:${newId()}`, 'unread', '3')
  await redis.ask('PERSIST', undo)
  t.match(await doctor(env), { code: 3, found: { records: [/^problem: without an expiry, and no session: 2 hashes; somebody writes to sessions that have ended/, /^warning: no session: 1 hash /] } })
})

test('a Cluster: each node is looked at, and one alone is not taken for all', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  const good = await doctor({ SESSION_REDIS: cluster.url })
  t.equal(good.code, 0, good.all)
  for (const what of ['version', 'clock', 'commands']) t.equal(Object.keys(good.found).filter((name) => name.startsWith(`${what} of `)).length, 3)
  // Every node has users of its own.
  const node = cluster.nodes[1]!
  await node.ask('ACL', 'SETUSER', 'default', '-zcard', '-hlen')
  const { code, found } = await doctor({ SESSION_REDIS: cluster.url })
  t.equal(code, 3)
  t.match(Object.entries(found).filter(([name, [first]]) => name.startsWith('commands') && !first!.startsWith('ok')), [
    [`commands of ${node.host}:${node.port}`, [/^problem: this user may not run hlen; allow \+hlen/, /^warning: this user may not run zcard; allow \+zcard/]]
  ])
  for (const { url } of cluster.nodes) {
    t.match(await doctor({ SESSION_REDIS: url }), { code: 3, found: { Redis: [new RegExp(`^problem: ${url.slice('redis://'.length)} is a node of a Cluster.*redis\\+cluster://`, 's')] } })
  }
})

/** What is said of a server that answers INFO like this. */
function version (t: Test, info: string): Check {
  const [first] = checkServer(readInfo(info.split(' ').join('\r\n')))
  t.equal(first!.name, 'version')
  return first!
}

test('the product is named; what is neither Redis nor Valkey is warned of, above all where scripts are not one step', async (t) => {
  for (const [info, result, detail] of [
    ['redis_version:6.2.0', 'ok', 'Redis 6.2.0'],
    ['redis_version:8.6.2 gcc_version:12.2.0', 'ok', 'Redis 8.6.2'],
    ['redis_version:6.0.16', 'problem', 'Redis 6.0.16; 6.2 or later is needed'],
    ['redis_version:7.2.4 server_name:valkey valkey_version:9.1.0', 'ok', 'Valkey 9.1.0'],
    ['redis_version:7.2.4 valkey_version:7.1.9', 'problem', 'Valkey 7.1.9; 7.2 or later is needed'],
    ['redis_version:7.4.0 dragonfly_version:df-v1.40.1', 'warning', 'Dragonfly df-v1.40.1 is neither Redis nor Valkey: nothing was tested with it'],
    ['version:2.10.0 kvrocks_version:2.10.0 redis_version:4.0.0', 'warning', /^Kvrocks 2\.10\.0 is neither/],
    ['redis_version:6.3.4 availability_zone: mvcc_depth:0', 'warning', /^KeyDB 6\.3\.4 is neither/],
    ['garnet_version:2.1.0 redis_version:7.4.3', 'problem', /^Garnet 2\.1\.0 runs scripts as one step only with LuaTransactionMode/],
    ['garnet_version:1.0.0', 'problem', /^Garnet 1\.0\.0/],
    ['role:master', 'warning', /does not say what it is/]
  ] as const) {
    const found = version(t, info)
    t.equal(found.result, result, info)
    t.match(found.detail, detail)
  }
  t.match(checkServer(readInfo('garnet_version:2')), [{}, { name: 'eviction', result: 'warning' }, { name: 'persistence', result: 'warning' }, { name: 'role', result: 'warning' }])
  t.match(checkServer(readInfo('role:slave')).at(-1), { name: 'role', result: 'problem' })
})
