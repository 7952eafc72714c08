/** The rights that the README grants to a user of Redis are enough for everything, wherever the sessions are, and none is asked for in vain. */
import { randomBytes } from 'node:crypto'
import Fastify from 'fastify'
import { test, type Test } from 'tap'
import sessionPlugin, { type LiveAttribute } from '../../src/index.js'
import { doctor } from '../../src/cli/doctor.js'
import { end } from '../../src/cli/end.js'
import { inspect } from '../../src/cli/inspect.js'
import { list } from '../../src/cli/list.js'
import { stats } from '../../src/cli/stats.js'
import { Browser } from '../support/browser.js'
import { startCluster } from '../support/redis-cluster.js'
import { startRedis, type RedisProcess } from '../support/redis-process.js'
import { startSentinelGroup } from '../support/redis-sentinel.js'
import { readReadme } from '../types/examples.js'

const readme = readReadme()
const [line = ''] = /ACL SETUSER .*/.exec(readme) ?? []
const [, , user = '', ...rules] = line.split(' ')
const password = rules.find((rule) => rule.startsWith('>'))!.slice(1)

/** The rules that the text around the line grants for a case. */
function more (label: RegExp): string[] {
  const [, text] = new RegExp(`${label.source} also\\s+\`(\\+[^\`]+)\``).exec(readme) ?? []
  if (text === undefined) throw new Error(`the README does not say what is needed besides: ${label}`)
  return text.split(/\s+/)
}

async function grant (servers: readonly RedisProcess[], further: readonly string[]): Promise<void> {
  for (const server of servers) await server.ask('ACL', 'SETUSER', user, ...rules, ...further)
}

/** What Redis refused since it was started, to whomever. */
async function refused (server: RedisProcess): Promise<unknown[]> {
  const log = await server.ask('ACL', 'LOG') as unknown[]
  const errors = await server.ask('INFO', 'errorstats') as string
  return [...log, ...errors.match(/^errorstat_(?:ERR|NOPERM|NOAUTH|WRONGPASS):.*/gm) ?? []]
}

/** Sets the time of a record's creation. A Cluster has no databases. */
const AGE = "if ARGV[1] ~= '0' then redis.call('SELECT', ARGV[1]) end return redis.call('HSET', KEYS[1], 'created_at', ARGV[2])"

/** Everything that the plugin can do, and the commands of its command line. */
async function useAll (t: Test, url: string, servers: readonly RedisProcess[], database = 0): Promise<void> {
  const lines: Array<{ level: number, msg: string }> = []
  const redis = url.replace('://', `://${user}:${password}@`)
  const app = Fastify({ logger: { level: 'warn', stream: { write: (text: string) => { lines.push(JSON.parse(text)) } } } })
  t.teardown(() => app.close())
  await app.register(sessionPlugin, {
    secret: randomBytes(32).toString('hex'),
    redis,
    timeout: 2000,
    cookie: { secure: false },
    rotateEvery: 60,
    rotateGrace: 0,
    userField: 'user',
    devices: true,
    maxSessionsPerUser: 2,
    touchInterval: 0
  })
  app.get('/create', async ({ session }) => { session.set('n', 1); return '' })
  app.get('/read', async ({ session }) => String(session.get('n')))
  app.get('/save', async ({ session }) => { session.set('x', 1); await session.save(); session.set('x', undefined); return '' })
  app.get('/write', async ({ session }) => {
    const live = session.live as unknown as Record<string, LiveAttribute<number>>
    await Promise.all([live['n']!.incr(), live['n']!.str])
    await live['n']!.update((n = 0) => n + 1)
    await live['n']!.setIfAbsent(1)
    await live['n']!.take()
    session.remember({ idleTimeout: 100, lifetime: 1000 })
    session.touch()
    return String(await live['n']!.none)
  })
  app.get('/rotate', async ({ session }) => { await session.rotate(); session.clear(); return '' })
  app.get('/reload', async ({ session }) => { await session.reload(); return JSON.stringify(await app.sessions.inspect(session.id)) })
  app.get('/regenerate', async ({ session }) => { session.set('n', 2); await session.regenerate(['n']); return '' })
  app.get('/login', async ({ session }) => { await session.regenerate(); session.set('user', 'andrew'); return '' })
  app.get('/elevate', async ({ session }) => { await session.elevate(60); return '' })
  app.get('/elevated', { config: { session: { elevated: true, maxAuthAge: 60 } } }, async () => '')
  app.get('/users', async ({ session }) => {
    const ended = new Promise((resolve) => { session.signal.addEventListener('abort', resolve) })
    const found: string[] = []
    for await (const { id } of app.sessions.each()) found.push(id)
    if (!found.includes(session.id) || await app.sessions.count('andrew') !== 2) throw new Error('not found')
    await app.sessions.endAll('andrew', { except: session })
    await app.sessions.end(session.id)
    await ended
    return String((await app.sessions.list('andrew')).length)
  })
  app.get('/destroy', async ({ session }) => { await session.destroy(); return '' })
  await app.ready()

  const browser = new Browser(app)
  const visit = async (path: string): Promise<void> => {
    const { statusCode, body } = await browser.get(path)
    t.equal(statusCode, 200, `${path}: ${body}`)
  }
  for (const path of ['/create', '/read', '/save', '/write', '/rotate', '/reload', '/regenerate', '/read']) await visit(path)
  // Long ago, so that the secret is due for renewal; then the new one is used, and then the old one.
  const id = browser.token!.slice(0, 22)
  for (const server of servers) await server.ask('EVAL', AGE, '1', `session:${id}`, String(database), String(Date.now() - 61_000)).catch(() => {}) // another node has the key
  const old = browser.clone()
  await visit('/read')
  t.not(browser.token, old.token, 'the secret was renewed')
  await visit('/read')
  t.equal((await old.get('/read')).body, 'undefined', 'the old one is dead, and ends the session')
  for (const path of ['/create', '/destroy']) await visit(path)

  for (let i = 0; i < 3; i++) t.equal((await new Browser(app).get('/login')).statusCode, 200)
  for (const path of ['/login', '/elevate', '/elevated', '/read', '/users', '/login']) await visit(path)
  t.match(lines.map(({ msg }) => msg), [/a secret was used that had been renewed before/])

  const printed: string[] = []
  const context = { env: { SESSION_REDIS: redis }, print: (text: string) => { printed.push(text) }, progress: () => {} }
  for (const [command, ...args] of [
    [list], [list, '--user', 'andrew'], [stats], [inspect, browser.token!.slice(0, 22)], [doctor], [end, '--user', 'andrew']
  ] as const) t.notOk(await command.run([...args], context), `${args.join(' ')}: ${printed.splice(0).join('\n')}`)
}

test('one server', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  await grant([redis], [])
  await useAll(t, redis.url, [redis])
  t.strictSame(await refused(redis), [])
})

test('a database of one server', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  await grant([redis], more(/With a database number/))
  await useAll(t, `${redis.url}/3`, [redis], 3)
  t.strictSame(await refused(redis), [])
})

test('a Cluster', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  const before = await Promise.all(cluster.nodes.map(refused))
  await grant(cluster.nodes, more(/on a Cluster/))
  await useAll(t, cluster.url, cluster.nodes)
  t.strictSame(await Promise.all(cluster.nodes.map(refused)), before)
})

test('a database by Sentinel', async (t) => {
  const group = await startSentinelGroup()
  t.teardown(() => group.stop())
  const before = await Promise.all(group.servers.map(refused))
  await grant(group.servers, more(/With a database number/))
  await useAll(t, `${group.url}?db=3`, [await group.master()], 3)
  t.strictSame(await Promise.all(group.servers.map(refused)), before)
})
