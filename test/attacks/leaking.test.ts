/** Secrets and values in places where they do not belong: logs, errors, traces, in whatever detail they are asked for. */
import { spawn } from 'node:child_process'
import { tracingChannel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { inspect } from 'node:util'
import type { FastifyInstance } from 'fastify'
import { test } from 'tap'
import { makeApp, SECRET, sharedRedis, type Lines } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { startRedis } from '../support/redis-process.js'
import { until } from '../support/until.js'

const VALUE = 'VERYPRIVATE'

function routes (app: FastifyInstance): void {
  app.get('/', async ({ session }: any) => ({ isNew: session.isNew }))
  app.get('/set', async ({ session }: any) => { session.pin = `${VALUE}${Math.random()}`; return {} })
  app.get('/live', async ({ session }: any) => { await session.live.pin.set(VALUE); await session.live.pin.str; return {} })
  app.get('/incr', async ({ session }: any) => { session.pin = VALUE; await session.save(); await session.live.pin.incr(); return {} })
  app.get('/update', async ({ session }: any) => { await session.live.pin.update(() => ({ [VALUE]: [Number.NaN] })); return {} })
  app.get('/bad', async ({ session }: any) => { session.pin = { is: VALUE, so: [VALUE, 1n] }; return {} })
  app.get('/large', async ({ session }: any) => { session.pin = VALUE.repeat(10_000); return {} })
  app.get('/deep', async ({ session }: any) => { session.pin = JSON.parse(`${'['.repeat(50)}"${VALUE}"${']'.repeat(50)}`); return {} })
  app.get('/many', async ({ session }: any) => { for (let i = 0; i < 200; i++) session[`f${i}`] = VALUE; return {} })
  app.get('/rotate', async ({ session }: any) => { await session.rotate(); return {} })
  app.get('/gone', async (request: any) => { await request.server.redisOfTest.del(`session:${request.session.id}`); request.session.pin = VALUE; return {} })
  app.get('/spoil', async (request: any) => { const key = `session:${request.session.id}`; await request.server.redisOfTest.del(key); await request.server.redisOfTest.set(key, 'x'); return {} })
  app.get('/caught', async (request: any) => {
    try {
      await request.session.live.pin.set(VALUE)
    } catch (error) {
      request.log.error({ err: error, session: { id: request.session.id } }, 'caught')
      request.log.error(inspect(error, { depth: 10, showHidden: true }))
    }
    return {}
  })
  app.get('/logout', async ({ session }: any) => { await session.destroy(); return {} })
}

test('no log line, error or trace holds a secret, a signature, a key or a value, whatever goes wrong', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const lines: Lines = []
  const app = await makeApp(t, { redis: redis.url, timeout: 100, lines, rotateEvery: 0.2, rotateGrace: 0.1 }, (app) => {
    app.decorate('redisOfTest', redis.client())
    routes(app)
  })
  // What a tracer would see of Redis commands. It sees values, which are what is stored; but never anything to log in with.
  const traced: string[] = []
  const tracing = tracingChannel('ioredis:command')
  const handlers = Object.fromEntries(['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map((event) => [event, (message: object) => { traced.push(inspect(message, { depth: 4, maxStringLength: null })) }]))
  tracing.subscribe(handlers as never)
  t.teardown(() => { tracing.unsubscribe(handlers as never) })

  const secrets = new Set<string>([SECRET])
  const digests = new Set<string>()
  const bodies: string[] = []
  const browser = new Browser(app)
  const note = async (): Promise<void> => {
    const [id, ...parts] = browser.token?.split('.') ?? []
    for (const part of parts) secrets.add(part)
    const record = id === undefined || redis.state !== 'running' ? undefined : await app.sessions.inspect(id).catch(() => undefined)
    for (const name of ['@digest', '@next', '@prev', '@sealed']) if (record?.fields[name] !== undefined) digests.add(record.fields[name])
  }
  const everything = async (): Promise<void> => {
    for (const url of ['/set', '/', '/live', '/incr', '/update', '/bad', '/large', '/deep', '/many', '/caught', '/rotate', '/set']) {
      bodies.push((await browser.get(url)).body)
      await note()
    }
    for (const forged of [`${browser.token!}x`, `${browser.token!.slice(0, -2)}AA`, `${browser.token!}; session-id=${browser.token!}`]) bodies.push((await app.inject({ url: '/', headers: { cookie: `session-id=${forged}` } })).body)
  }
  await everything()
  const old = browser.clone()
  await until('the secret was renewed', 5000, async () => { await browser.get('/'); await note(); return browser.token !== old.token })
  await browser.get('/')
  await until('its reuse ended the session', 5000, async () => (await old.clone().json('/')).isNew)
  await everything()
  for (const url of ['/gone', '/set', '/spoil', '/']) bodies.push((await browser.get(url)).body)
  browser.jar.clear()
  await everything()
  await redis.ask('CONFIG', 'SET', 'maxmemory', '1')
  await everything()
  await redis.ask('CONFIG', 'SET', 'maxmemory', '0')
  await redis.ask('SCRIPT', 'FLUSH')
  await everything()
  redis.freeze()
  await everything()
  redis.thaw()
  await redis.kill()
  await everything()

  const log = lines.map((line) => JSON.stringify(line)).join('\n')
  t.ok(secrets.size > 5 && digests.size > 3 && bodies.length > 80 && lines.length > 200 && traced.length > 100, 'there was much to look at')
  t.match(log, /SESSION_STORE_UNAVAILABLE[^]*OOM|OOM/, 'errors were logged')
  for (const secret of secrets) {
    t.notOk(log.includes(secret), 'a secret in the log')
    t.notOk(bodies.join('\n').includes(secret), 'a secret in an answer')
    t.notOk(traced.join('\n').includes(secret), 'a secret in a trace of commands')
  }
  for (const digest of digests) t.notOk(log.includes(digest) || bodies.join('\n').includes(digest), 'a digest in the log or in an answer')
  t.notOk(log.includes(VALUE), 'a value in the log')
  t.notOk(bodies.join('\n').includes(VALUE), 'a value in an answer')
})

test('DEBUG=* and trace level together show nothing to log in with', async (t) => {
  const { url } = await sharedRedis()
  // The child tells the tokens it was given on a channel of its own.
  const program = `
    import { writeSync } from 'node:fs'
    import Fastify from 'fastify'
    import sessionPlugin from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)}
    const app = Fastify({ logger: { level: 'trace' } })
    await app.register(sessionPlugin, { cookie: { secure: false }, rotateEvery: 0.05, rotateGrace: 0 })
    app.get('/', async ({ session }) => { session.n = (session.n ?? 0) + 1; await session.live.x.incr(); return session.data() })
    app.get('/rotate', async ({ session }) => { await session.rotate(); return {} })
    app.get('/bad', async ({ session }) => { await session.live.word.set('a'); await session.live.word.incr() })
    app.get('/logout', async ({ session }) => { await session.destroy(); return {} })
    let cookie = ''
    for (const url of ['/', '/', '/rotate', '/bad', '/', '/', '/logout', '/']) {
      await new Promise((resolve) => setTimeout(resolve, 60))
      const { headers } = await app.inject({ url, headers: { cookie } })
      if (headers['set-cookie'] === undefined) continue
      cookie = headers['set-cookie'].split(';')[0]
      writeSync(3, cookie + '\\n')
    }
    await app.close()`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], {
    env: { ...process.env, DEBUG: '*', SESSION_SECRET: SECRET, SESSION_REDIS: url, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe']
  })
  const [out, err, told] = await Promise.all([text(child.stdout!), text(child.stderr!), text(child.stdio[3] as NodeJS.ReadableStream), once(child, 'exit')])
  const tokens = told.split('\n').map((line) => line.split('=')[1] ?? '').filter((token) => token !== '')
  t.ok(tokens.length >= 4, `${tokens.length} tokens were issued`)
  t.match(err, /ioredis:/, 'the client spoke')
  t.match(out, /"level":/, 'the app spoke')
  for (const part of [...new Set(tokens.flatMap((token) => token.split('.').slice(1))), SECRET]) {
    t.notOk(out.includes(part), 'in the log')
    t.notOk(err.includes(part), 'in the debug output')
  }
})

test('errors at boot do not repeat what they refuse', async (t) => {
  const lines: Lines = []
  for (const options of [
    { secret: 'short-but-PRIVATE' }, { secret: ['PRIVATE'.repeat(6), 'PRIVATE'] }, { redis: 'redis://user:PRIVATE@127.0.0.1:1/0' }, { redis: 'redis://PRIVATE@@:x' }, { redis: 'http://user:PRIVATE@host' },
    { redis: 'redis+sentinel://user:PRIVATE@127.0.0.1:1' }, { redis: 'redis+cluster://user:PRIVATE@[bad' }
  ]) {
    const error: unknown = await makeApp(t, { redis: 'memory:', lines, ...options }).then(() => undefined, (error: unknown) => error)
    t.ok(error instanceof Error, inspect(Object.keys(options)))
    t.notMatch(inspect(error, { depth: 10, showHidden: true }).replaceAll(/\n *at .*/g, ''), 'PRIVATE')
  }
  t.notMatch(JSON.stringify(lines), 'PRIVATE')
})
