/** Sessions of users, listed and ended from the command line. */
import type { FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { userKeys } from '../../src/cli/users.js'
import { userKey } from '../../src/users/user-field.js'
import { makeApp } from '../support/app.js'
import type { RedisProcess } from '../support/redis-process.js'
import { start } from './kit.js'
import { runHere } from './run.js'

const IDS = /^[\w-]{22}(?= {2}\d)/gm

/** An app whose users can be logged in. */
async function open (t: Test): Promise<{ redis: RedisProcess, env: NodeJS.ProcessEnv, app: FastifyInstance, login: (userId: string | number) => Promise<string> }> {
  const { redis, env } = await start(t)
  const app = await makeApp(t, { redis: redis.url, timeout: 3000, userField: 'userId', devices: true })
  const login = async (userId: string | number): Promise<string> => {
    const { cookie } = await app.sessions.issue({ userId })
    return /=(.{22})/.exec(cookie)![1]!
  }
  return { redis, env, app, login }
}

/** The ids in lines of JSON. */
function idsIn (out: string): string[] {
  return out.trim().split('\n').filter((line) => line !== '').map((line) => (JSON.parse(line) as { id: string }).id).sort()
}

/** All keys with what they hold, and how often SCAN was called. */
async function everything (redis: RedisProcess): Promise<{ held: unknown, scans: number }> {
  const keys = (await redis.ask('KEYS', '*') as string[]).sort()
  const held = await Promise.all(keys.map(async (key) => [key, await redis.ask('DUMP', key).catch(String)]))
  return { held: JSON.stringify(held), scans: Number(/cmdstat_scan:calls=(\d+)/.exec(await redis.ask('INFO', 'commandstats') as string)?.[1] ?? 0) }
}

test('list and end by user', async (t) => {
  const { env, app, login } = await open(t)
  const andrews = [await login('andrew'), await login('andrew')]
  const other = await login('eve')
  const plain = await runHere(['list', '--user', 'andrew'], env)
  const json = await runHere(['list', '--user', 'andrew', '--json', '--limit', '1'], env)
  const nobody = await runHere(['list', '--user', 'nobody'], env)
  t.strictSame([plain, json, nobody].map(({ code, err }) => [code, err]), Array.from({ length: 3 }, () => [0, '']))
  t.strictSame(plain.out.match(IDS)?.sort(), [...andrews].sort())
  const [one] = json.out.trim().split('\n').map((line) => JSON.parse(line) as { id: string })
  t.ok(andrews.includes(one!.id))
  t.match(one, { authenticatedAt: /Z$/, device: null })
  t.match(nobody.out, /^This user has no sessions/)

  t.equal((await runHere(['end', andrews[0]!], env)).code, 0)
  t.equal((await app.sessions.list('andrew')).length, 1)
  t.match(await runHere(['end', '--user', 'andrew'], env), { code: 0, out: 'Ended 1 session.\n' })
  t.match(await runHere(['end', '--user', 'andrew', '--json'], env), { code: 3, out: '{"ended":0,"failed":[]}\n' })
  t.equal((await app.sessions.list('andrew')).length, 0)
  t.ok(await app.sessions.get(other), 'others are left alone')
})

test('users of every kind are found by what people call them', async (t) => {
  const { env, login } = await open(t)
  const kinds: Array<[user: string | number, called: string]> = [
    [5, '5'], ['5', '5'], [0, '0'], [-7, '-7'], [1.5, '1.5'], [1000000000000001, '1000000000000001'], [9007199254740991, '9007199254740991'], [1e21, '1e+21'],
    [1e-7, '1e-7'], ['007', '007'], ['1e3', '1e3'], ['true', 'true'], ['null', 'null'], ['Infinity', 'Infinity'], ['{"a":1}', '{"a":1}'],
    ['9007199254740993', '9007199254740993'], ['a user with spaces', 'a user with spaces'], ['Zoë 🙂', 'Zoë 🙂'], ['-x', '-x'], ['--json', '--json'],
    ['a:b:{c}*?', 'a:b:{c}*?'], ['line\nbreak', 'line\nbreak'], ['__proto__', '__proto__'], ['#hash', '#hash'], ['x'.repeat(65), 'x'.repeat(65)], ['long '.repeat(1000), 'long '.repeat(1000)],
    // What no argument can hold is named by what the key of its list ends with.
    ['a\0b', userKey('a\0b')], ['\ud800', userKey('\ud800')]
  ]
  const ids: string[] = []
  for (const [user] of kinds) ids.push(await login(user))
  for (const [i, [user, called]] of kinds.entries()) {
    const { code, out, err } = await runHere(['list', `--user=${called}`, '--json'], env)
    t.strictSame([code, err], [0, ''])
    const twins = ids.filter((_, j) => kinds[j]![1] === called)
    t.strictSame(idsIn(out), twins.sort(), JSON.stringify(user).slice(0, 40))
    t.ok(twins.includes(ids[i]!))
  }
  for (const called of new Set(kinds.map(([, called]) => called))) {
    const count = kinds.filter((kind) => kind[1] === called).length
    t.match(await runHere(['end', `--user=${called}`, '--json'], env), { code: 0, out: `{"ended":${count},"failed":[]}\n` }, called.slice(0, 40))
  }
})

test('a number is meant only where it is written as one', async (t) => {
  t.strictSame(userKeys('5'), ['"5"', '5'])
  for (const text of ['05', '5.0', '+5', ' 5', '0x5', '1e3', '-0', 'NaN', 'Infinity', '9007199254740993', '']) {
    t.strictSame(text === '' ? [] : userKeys(text).filter((key) => key === String(Number(text)) && key !== userKey(text)), [], text)
  }
})

test('a slip of the keyboard leaves no trace', async (t) => {
  const { redis, env, login } = await open(t)
  await login('andrew')
  await login(1234)
  const before = await everything(redis)
  for (const args of [['--user', 'andrwe'], ['--user', '12345'], ['--user', 'andrew', '--prefix', 'sesion:'], ['--user', 'andrew ']]) {
    t.match(await runHere(['end', ...args], env), { code: 3, err: '', out: /^This user has no sessions under (?:session|sesion): at redis:/ }, args.join(' '))
    t.match(await runHere(['list', ...args], env), { code: 0, err: '', out: /^This user has no sessions/ })
  }
  const after = await everything(redis)
  t.equal(after.held, before.held)
  t.equal(after.scans - before.scans, 8, 'all records are looked through once each time, also for what may be a number')
  for (const args of [['end', '--usr', 'andrew'], ['end', '-user', 'andrew'], ['end', 'andrew'], ['end', '--user', '--json'], ['end', '--user', 'andrew', '--user', 'eve'], ['end', '--user=']]) {
    t.match(await runHere(args, env), { code: 2, out: '' }, args.join(' '))
  }
  t.equal((await everything(redis)).held, before.held)
})

test('sessions of a user whose list was lost are found', async (t) => {
  const { redis, env, app, login } = await open(t)
  const lost = [await login('ann'), await login('ann')]
  const other = await login('bob')
  await redis.ask('DEL', 'session:@user:ann')
  t.strictSame(idsIn((await runHere(['list', '--user', 'ann', '--json'], env)).out), lost.sort())
  t.match(await runHere(['end', '--user', 'ann'], env), { code: 0, out: 'Ended 2 sessions.\n' })
  t.ok(await app.sessions.get(other))
  t.match(await runHere(['end', '--user', 'ann'], env), { code: 3 })
})

test('keys of another type: what can be ended is, and the right key is named', async (t) => {
  const { redis, env, app, login } = await open(t)
  const ids = [await login('ann'), await login('ann'), await login('ann')]
  await redis.ask('SET', `session:${ids[1]}`, 'a string')
  const { code, out, err } = await runHere(['end', '--user', 'ann', '--json'], env)
  t.match([code, JSON.parse(out), err], [1, { failed: [/another type than a hash/] }, ''])
  t.match(await runHere(['end', '--user', 'ann'], env), { code: 1, err: '', out: /^Not all sessions of this user could be ended: [^\n]+ Try again\.\n$/ })
  t.equal(await app.sessions.get(ids[0]!), undefined)
  t.equal(await app.sessions.get(ids[2]!), undefined)
  t.equal(await redis.ask('GET', `session:${ids[1]}`), 'a string')
  t.match(await runHere(['list', '--user', 'ann'], env), { code: 1, out: '', err: /^fastify-live-session: redis:[^\n]+ another type than a hash[^\n]+\n$/ })

  await redis.ask('SET', 'session:@user:zed', 'a string')
  for (const command of ['list', 'end']) {
    t.match(await runHere([command, '--user', 'zed'], env), { code: 1, out: '', err: /^fastify-live-session: the key session:@user:zed holds another type than a user's list[^\n]+\n$/ })
  }
})
