/** The commands against a real Redis, run as people run them. */
import { readFileSync } from 'node:fs'
import { Cluster } from 'ioredis'
import { test, type Test } from 'tap'
import { CommandError, UsageError, type Command } from '../../src/cli/command.js'
import { doctor as doctorCommand } from '../../src/cli/doctor.js'
import { end } from '../../src/cli/end.js'
import { readFlags } from '../../src/cli/flags.js'
import { inspect } from '../../src/cli/inspect.js'
import { list } from '../../src/cli/list.js'
import { secret } from '../../src/cli/secret.js'
import { stats } from '../../src/cli/stats.js'
import { bytes, columns, moment, printable, span } from '../../src/cli/output.js'
import { resolveOptions } from '../../src/options.js'
import { RedisStore } from '../../src/store/redis.js'
import { newId } from '../../src/cookie/token.js'
import { delta, RULES, set } from '../contract/kit.js'
import { ready } from '../contract/redis-subject.js'
import { makeApp, SECRET } from '../support/app.js'
import { startCluster } from '../support/redis-cluster.js'
import { startRedis, type RedisProcess } from '../support/redis-process.js'
import { run } from './run.js'

const HOUR = 3_600_000

/** Sessions with so many milliseconds left, written by the store. */
async function seed (store: RedisStore, lefts: readonly number[], fields: Record<string, string> = { user: 'andrew' }): Promise<string[]> {
  return await Promise.all(lefts.map(async (left) => {
    const id = newId()
    await store.create(id, 'the digest of a secret', { ...delta(Object.entries(fields).map(([name, text]) => set(name, text))), settings: { idleTimeout: left / 1000, lifetime: 10 * left / 1000 } }, RULES)
    return id
  }))
}

async function start (t: Test): Promise<{ redis: RedisProcess, store: RedisStore, env: NodeJS.ProcessEnv }> {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  return { redis, store: new RedisStore(await ready(redis.client()), { timeout: 3000 }), env: { SESSION_REDIS: redis.url } }
}

test('secret', async (t) => {
  const [plain, json] = await Promise.all([run(['secret']), run(['secret', '--json'])])
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
  const [plain, withValues, json, jsonValues, none, noneJson] = await Promise.all([
    run(['inspect', id], env), run(['inspect', id, '--values'], env), run(['inspect', '--json', id], env), run(['inspect', id, '--json', '--values'], env),
    run(['inspect', newId()], env), run(['inspect', newId(), '--json'], env)
  ])
  t.strictSame([plain.code, withValues.code, json.code, jsonValues.code], [0, 0, 0, 0])
  t.match(plain.out, /^key +session:[^\n]+\ncreated +\d{4}-[^\n]+Z\n(?:[^\n]+\n)*ends in +(?:1 h|59 min)/)
  t.match(plain.out, /\nuser +string +6 B +•••\n/)
  t.notMatch(plain.out, /andrew|1234/)
  t.match(withValues.out, /\nuser +string +6 B +"andrew"\n[^]*\ncart +array +10 B +\[\{"id":7\}\]\n/)
  // eslint-disable-next-line no-control-regex
  t.notMatch(withValues.out, /[\x00-\x09\x0b-\x1f\u202e]/, 'nothing that a terminal would obey')
  t.match(JSON.parse(json.out), { id, key: `session:${id}`, idleTimeout: 3600, lifetime: 36_000, persistent: false, fields: { pin: { type: 'number', bytes: 4 }, nothing: { type: 'null' } } })
  t.notMatch(json.out, /andrew|1234/)
  t.match(JSON.parse(jsonValues.out), { fields: { cart: { value: [{ id: 7 }] }, evil: { value: '\u001b[2J\u202e\nx' } } })
  for (const { out } of [plain, withValues, json, jsonValues]) t.notMatch(out, /digest/)
  t.strictSame([none.code, noneJson.code, noneJson.out], [3, 3, 'null\n'])
  t.match(none.out, /^There is no session .{22} at redis:/)
})

test('list and end', async (t) => {
  const { redis, store, env } = await start(t)
  const ids = await seed(store, [HOUR, HOUR, HOUR])
  await redis.ask('HSET', `session:${newId()}`, 'no', 'session')
  await redis.ask('SET', `session:${newId()}`, 'a string')
  const shop = new RedisStore(await ready(redis.client()), { timeout: 3000, prefix: 'shop[1]:' })
  const [other = ''] = await seed(shop, [HOUR])
  const [all, some, json, prefixed, empty] = await Promise.all([
    run(['list'], env), run(['list', '--limit', '2'], env), run(['list', '--json', '--limit=0'], env),
    run(['list', '--json'], { ...env, SESSION_REDIS_PREFIX: 'shop[1]:' }), run(['list', '--prefix', 'none:'], env)
  ])
  t.strictSame([all, some, json, prefixed, empty].map(({ code, err }) => [code, err]), Array.from({ length: 5 }, () => [0, '']))
  t.strictSame(all.out.match(/^[\w-]{22}(?= {2}\d)/gm)?.sort(), [...ids].sort())
  t.equal(some.out.match(/^[\w-]{22}(?= {2}\d)/gm)?.length, 2)
  t.match(some.out, '--limit 0 lists all')
  const listed = json.out.trim().split('\n').map((line) => JSON.parse(line) as { id: string, expiresIn: number })
  t.strictSame(listed.map(({ id }) => id).sort(), [...ids].sort())
  t.match(listed[0], { createdAt: /^\d{4}-.*Z$/, lastAccessedAt: /Z$/, idleTimeout: 3600 })
  t.ok(listed[0]!.expiresIn > 3500 && listed[0]!.expiresIn <= 3600)
  t.match(JSON.parse(prefixed.out), { id: other })
  t.match(empty.out, /There are no sessions under none:/)

  const ended = await run(['end', ids[0]!, ids[1]!, ids[0]!], env)
  t.strictSame([ended.code, ended.out], [0, `Ended ${ids[0]}.\nEnded ${ids[1]}.\n`])
  const again = await run(['end', ids[0]!, ids[2]!, '--json'], env)
  t.strictSame([again.code, JSON.parse(again.out)], [3, { ended: [ids[2]], missing: [ids[0]] }])
  t.equal(await store.inspect(ids[1]!), undefined)
  t.ok(await shop.inspect(other), 'other prefixes are left alone')
})

test('list and end by user', async (t) => {
  const { redis, env } = await start(t)
  const app = await makeApp(t, { redis: redis.url, timeout: 3000, userField: 'userId', devices: true })
  const login = async (userId: string | number): Promise<string> => {
    const { cookie } = await app.sessions.issue({ userId })
    return /=(.{22})/.exec(cookie)![1]!
  }
  const andrews = [await login('andrew'), await login('andrew')]
  const fives = [await login(5), await login('5')]
  const other = await login('eve')
  const [plain, json, numbers, nobody] = await Promise.all([
    run(['list', '--user', 'andrew'], env), run(['list', '--user', 'andrew', '--json', '--limit', '1'], env), run(['list', '--user', '5', '--json'], env), run(['list', '--user', 'nobody'], env)
  ])
  t.strictSame([plain, json, numbers, nobody].map(({ code, err }) => [code, err]), Array.from({ length: 4 }, () => [0, '']))
  t.strictSame(plain.out.match(/^[\w-]{22}(?= {2}\d)/gm)?.sort(), [...andrews].sort())
  const [one] = json.out.trim().split('\n').map((line) => JSON.parse(line) as { id: string })
  t.ok(andrews.includes(one!.id))
  t.match(one, { authenticatedAt: /Z$/, device: null })
  t.strictSame(numbers.out.trim().split('\n').map((line) => (JSON.parse(line) as { id: string }).id).sort(), [...fives].sort(), 'as a number and as text')
  t.match(nobody.out, /^This user has no sessions/)

  const single = await run(['end', andrews[0]!], env)
  t.equal(single.code, 0)
  t.equal((await app.sessions.list('andrew')).length, 1)
  const [all, none] = [await run(['end', '--user', 'andrew'], env), await run(['end', '--user', 'andrew', '--json'], env)]
  t.match([all, none], [{ code: 0, out: 'Ended one session.\n' }, { code: 3, out: '{"ended":0}\n' }])
  t.equal((await app.sessions.list('andrew')).length, 0)
  t.ok(await app.sessions.get(other), 'others are left alone')
})

test('stats', async (t) => {
  const { redis, store, env } = await start(t)
  const ids = await seed(store, [...Array.from({ length: 600 }, () => 20 * 60_000), ...Array.from({ length: 7 }, () => 100 * HOUR), HOUR])
  await redis.ask('PERSIST', `session:${ids.at(-1)}`)
  await redis.ask('HSET', `session:${newId()}`, 'no', 'session')
  const [plain, json] = await Promise.all([run(['stats'], env), run(['stats', '--json'], env)])
  t.strictSame([plain.code, plain.err, json.code], [0, '', 0])
  const counted = JSON.parse(json.out) as { memory: { total: number, average: number, largest: number }, oldest: number }
  t.match(counted, {
    sessions: 608,
    withoutExpiry: 1,
    foreign: 1,
    expiry: [{ below: 60, sessions: 0 }, {}, {}, { below: 1800, sessions: 600 }, {}, {}, {}, { below: 604_800, sessions: 7 }, { below: null, sessions: 0 }]
  })
  t.ok(counted.memory.total > 608 * 100 && counted.memory.largest >= counted.memory.average && counted.memory.average > 100)
  t.ok(counted.oldest >= 0 && counted.oldest < 60)
  t.match(plain.out, /^sessions +608 \(session: at redis:/)
  t.match(plain.out, /\nless than 30 min +600 +█{40}\n[^]*\nless than 7 d +7 +█\n/)
  await redis.ask('ACL', 'SETUSER', 'sessions', 'reset', 'on', '>pw', '~session:*', '+@all', '-memory')
  const denied = await run(['stats', '--redis', redis.url.replace('://', '://sessions:pw@'), '--json'])
  t.match([denied.code, JSON.parse(denied.out)], [0, { sessions: 608, memory: null }])
})

test('stats on a Cluster counts every master\'s sessions', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  const client = await ready(new Cluster(cluster.nodes.map(({ host, port }) => ({ host, port }))))
  t.teardown(() => { client.disconnect() })
  const ids = await seed(new RedisStore(client, { timeout: 3000 }), Array.from({ length: 200 }, () => HOUR / 2))
  const env = { SESSION_REDIS: cluster.url }
  const [counted, listed, ended, checked] = await Promise.all([run(['stats', '--json'], env), run(['list', '--json', '--limit', '0'], env), run(['end', ids[0]!], env), run(['doctor', '--json'], { ...env, SESSION_SECRET: SECRET })])
  t.strictSame([counted, listed, ended, checked].map(({ code, err }) => [code, err]), Array.from({ length: 4 }, () => [0, '']), checked.out)
  t.ok([199, 200].includes((JSON.parse(counted.out) as { sessions: number }).sessions))
  t.ok([199, 200].includes(listed.out.trim().split('\n').length))
  t.match((JSON.parse(checked.out) as { checks: Array<{ name: string }> }).checks.filter(({ name }) => name.startsWith('version of ')).length, 3)

  // Every node has users of its own.
  const node = cluster.nodes[1]!
  await node.ask('ACL', 'SETUSER', 'default', '-zcard')
  const { code, found } = await doctorHere(env)
  t.equal(code, 3)
  t.strictSame(Object.entries(found).filter(([name, text]) => name.startsWith('rights') && !text.startsWith('ok')), [
    [`rights of ${node.host}:${node.port}`, 'problem: this user may not run zcard; allow +zcard']
  ])
})

/** The same in this process, for checks that would need many. */
async function doctorHere (env: NodeJS.ProcessEnv): Promise<{ code: number, found: Record<string, string> }> {
  let out = ''
  const code = await doctorCommand.run(['--json'], { env: { SESSION_SECRET: SECRET, ...env }, print: (line) => { out += line }, progress: () => {} })
  return { code: code ?? 0, found: Object.fromEntries((JSON.parse(out) as Report).checks.map(({ name, result, detail }) => [name, `${result}: ${detail}`])) }
}

interface Report { ok: boolean, checks: Array<{ name: string, result: string, detail: string }> }

async function doctor (env: NodeJS.ProcessEnv, args: string[] = []): Promise<{ code: number | null, found: Record<string, string>, all: string }> {
  const { code, out, err } = await run(['doctor', '--json', ...args], { SESSION_SECRET: SECRET, ...env })
  if (out === '') throw new Error(err)
  const { ok, checks } = JSON.parse(out) as Report
  if (ok !== (code === 0)) throw new Error(`ok is ${ok}, and the exit code ${code}`)
  return { code, found: Object.fromEntries(checks.map(({ name, result, detail }) => [name, `${result}: ${detail}`])), all: out }
}

test('doctor: a good Redis, and each thing that can be wrong', async (t) => {
  const { redis, store, env } = await start(t)
  const [id] = await seed(store, [HOUR, HOUR])
  await redis.ask('CONFIG', 'SET', 'appendonly', 'yes')
  const waiting = doctor({ SESSION_REDIS: 'redis://user:pass@127.0.0.1:1' })
  const good = await doctor(env)
  t.equal(good.code, 0)
  t.strictSame(Object.values(good.found).map((text) => text.split(':')[0]), Array.from({ length: 10 }, () => 'ok'), JSON.stringify(good.found))
  t.match(good.found, { records: /^ok: 2 sessions/, version: /^ok: (?:Redis|Valkey) \d/ })
  t.strictSame(await redis.ask('DBSIZE'), 2, 'nothing is left behind')
  const people = await run(['doctor'], { ...env, SESSION_SECRET: SECRET })
  t.match(people, { code: 0, err: '', out: /^ok {7}options: [^]*\nNo problems, no warnings\.\n$/ })

  await redis.ask('PERSIST', `session:${id}`)
  await redis.ask('CONFIG', 'SET', 'appendonly', 'no')
  await redis.ask('CONFIG', 'SET', 'maxmemory', '100mb')
  await redis.ask('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
  const bad = await doctor({ ...env, SESSION_LIFTIME: '5' })
  t.equal(bad.code, 3)
  t.match(bad.found, {
    records: /^problem: 1 of 2 never expire/,
    eviction: /^problem: maxmemory-policy is allkeys-lru: .* set noeviction$/,
    persistence: /^warning: appendonly is off/
  })
  t.match(bad.all, 'did you mean SESSION_LIFETIME')

  const wrong = await doctor({ ...env, SESSION_SECRET: 'hunter2', SESSION_EXPIRE: '60' })
  t.match(wrong, { code: 3, found: { options: /^problem: secret \(SESSION_SECRET\): it needs at least 32 bytes/ } })
  t.notMatch(wrong.all, 'hunter2')
  t.match((await doctor({ ...env, SESSION_SECRET: '' })).found, { options: /^warning: secret/ }, 'an app may have it from elsewhere')

  t.match(await waiting, { code: 3, found: { Redis: /^problem: redis:\/\/127\.0\.0\.1:1: Redis could not be reached/ } })
  t.match(await doctor({ SESSION_REDIS: 'memory:' }), { code: 0, found: { Redis: /^warning: sessions are kept in memory/ } })
})

test('doctor: the rights of the README are enough, and every one that is missing is named', async (t) => {
  const { redis } = await start(t)
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const [line = ''] = /ACL SETUSER .*/.exec(readme) ?? []
  const [, name = '', ...rules] = line.split(' ').slice(1)
  const env = { SESSION_REDIS: redis.url.replace('://', '://user:pw@') }
  const allow = async (more: string[]): Promise<void> => { await redis.ask('ACL', 'SETUSER', 'user', ...rules.filter((rule) => !rule.startsWith('>')), '>pw', ...more) }
  t.equal(name, 'sessions')
  await allow([])
  const enough = await doctorHere(env)
  t.match(enough, { code: 0, found: { rights: /^ok/, scripts: /^ok/, records: /^ok/ } })

  const commands = rules.filter((rule) => rule.startsWith('+')).map((rule) => rule.slice(1)).filter((rule) => rule !== 'info' && rule !== 'del')
  for (const command of commands) {
    await redis.ask('ACL', 'SETUSER', 'user', ...rules.filter((rule) => !rule.startsWith('>') && rule !== `+${command}`), '>pw')
    const { code, found } = await doctorHere(env)
    t.equal(code, 3, command)
    t.match(found['rights'], `allow +${command}`)
  }
  await redis.ask('ACL', 'SETUSER', 'elsewhere', ...rules.filter((rule) => !/^[>~]/.test(rule)), '~other:*', '&session:*', '>pw')
  t.match((await doctorHere({ SESSION_REDIS: redis.url.replace('://', '://elsewhere:pw@') })), { code: 3, found: { rights: /allow ~session:\*$/ } })
})

const COMMANDS = new Map<string, Command>([['doctor', doctorCommand], ['end', end], ['inspect', inspect], ['list', list], ['secret', secret], ['stats', stats]])
const QUIET = { env: {}, print: () => {}, progress: () => {} }

test('what is wrong with a command line or a Redis is said in one plain line, without secrets', async (t) => {
  const wrong = [
    ['secret', 'x'], ['inspect'], ['inspect', 'x'], ['inspect', newId(), newId()], ['inspect', `${newId()}.secret.signature`],
    ['list', '--limit', 'x'], ['list', '--limit=-1'], ['list', '--redis', ''], ['end'], ['end', 'x'], ['end', newId(), '--user', 'x'], ['stats', '--what'], ['doctor', 'x']
  ]
  for (const [name = '', ...args] of wrong) {
    const error = await COMMANDS.get(name)!.run(args, QUIET).then(() => undefined, (error: unknown) => error)
    t.ok(error instanceof UsageError, `${name} ${args.join(' ')}`)
    t.match((error as Error).message, new RegExp(`^${name}: [^\\n]+$`))
    t.notMatch((error as Error).message, 'secret.signature')
  }
  for (const args of [['--redis', 'memory:'], ['--redis', 'nonsense://me:hunter2@x']]) {
    const error = await list.run(args, QUIET).then(() => undefined, (error: unknown) => error)
    t.ok(error instanceof CommandError, args.join(' '))
    t.match((error as Error).message, /^[^\n]+$/)
    t.notMatch((error as Error).message, 'hunter2')
  }
  const [usage, away] = await Promise.all([run(['inspect', 'x']), run(['list', '--redis', 'redis://me:hunter2@127.0.0.1:1'])])
  t.match(usage, { code: 2, out: '', err: /^fastify-live-session: inspect: [^\n]+\nTry [^\n]+\n$/ })
  t.match(away, { code: 1, out: '', err: /^fastify-live-session: redis:\/\/127\.0\.0\.1:1: Redis could not be reached[^\n]+\n$/ })
})

test('every command has its help', async (t) => {
  const { code, out } = await run(['--help'])
  t.equal(code, 0)
  t.strictSame([...out.matchAll(/^ {2}([a-z]+) +[a-z]/gm)].map(([, name]) => name), ['demo', ...COMMANDS.keys()])
  for (const [name, { help }] of COMMANDS) {
    t.match(help, new RegExp(`\\n\\nUsage: fastify-live-session ${name}\\b[^]*--help`))
    t.ok(help.split('\n').every((line) => line.length <= 130), name)
  }
  t.match(await run(['stats', '-h']), { code: 0, err: '', out: `${stats.help}\n` })
})

test('an id that begins with a dash is no flag', async (t) => {
  const ids = ['-Nc9LTyEG-_OSlJbt1SyFg', '--c9LTyEG-_OSlJbt1SyFg', 'Khwskoce-QghiBAqXWkiFg']
  const flags = { json: { type: 'boolean' } } as const
  t.same(readFlags('end', [...ids, '--json'], flags, [1, 3]), { values: { json: true }, positionals: [ids[2], ids[0], ids[1]] })
  t.same(readFlags('end', ['--json', '--', ...ids], flags, [1, 3]), { values: { json: true }, positionals: ids })
  t.throws(() => readFlags('end', ['-Nc9LTyEG'], flags, [1, 3]), { message: /Unknown option '-N'/ })
})

test('how numbers, times and texts look', async (t) => {
  t.strictSame([0, 999, 1000, 59_400, 60_000, 61_000, 3_600_000, 5_400_000, 90_000_000].map(span), ['0 s', '1 s', '1 s', '59 s', '1 min', '1 min 1 s', '1 h', '1 h 30 min', '1 d 1 h'])
  t.strictSame([0, 1023, 1024, 1536, 200 * 1024, 1024 ** 3].map(bytes), ['0 B', '1023 B', '1.0 KiB', '1.5 KiB', '200 KiB', '1.0 GiB'])
  t.strictSame([moment(0), moment(NaN), moment(1e300)], ['1970-01-01 00:00:00Z', '-', '-'])
  t.equal(printable('a\u001b[31m\u202eb\n'), 'a\\u001b[31m\\u202eb\\u000a')
  t.equal(printable('abcdef', 4), 'abc…')
  t.strictSame(columns([['a', '1'], ['bbb', '22']], [1]), ['a     1', 'bbb  22'])
})
