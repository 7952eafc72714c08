/** Filling the store with sessions of nobody, and sessions with too much. */
import type { FastifyInstance, InjectOptions } from 'fastify'
import { test } from 'tap'
import { makeApp, onEveryStore } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { listen, sendRaw } from '../support/raw.js'
import { startRedis } from '../support/redis-process.js'

function routes (app: FastifyInstance): void {
  app.get('/', async ({ session }: any) => ({ user: session.user ?? null, has: 'user' in session, keys: Object.keys(session), data: session.data() }))
  app.get('/live', async ({ session }: any) => ({ n: await session.live.n.int, none: await session.live.user.none, taken: await session.live.code.take() ?? null }))
  app.get('/touch', async ({ session }: any) => { session.touch(); session.idleTimeout = 60; await session.save(); return {} })
  app.get('/rotate', async ({ session }: any) => { await session.rotate(); return {} })
  app.get('/regenerate', async ({ session }: any) => { await session.regenerate(['user']); return {} })
  app.get('/delete', async ({ session }: any) => { delete session.user; session.clear(); await session.live.n.delete(); return {} })
  app.get('/logout', async ({ session }: any) => { await session.destroy(); return {} })
  app.get('/null', async (request: any) => { request.session = null; return {} })
  app.get('/fail', async ({ session }: any) => { session.a = 1; throw new Error('no') })
  app.get('/redirect', async ({ session }: any, reply) => reply.redirect(session.user ?? '/'))
  app.post('/', async ({ session, body }: any) => { Object.assign(session, body); return {} })
  app.post('/live', async ({ session, body }: any) => { for (const name of Object.keys(body)) await session.live[name].set(body[name]); return {} })
}

const json = { 'content-type': 'application/json' }

/** What bots send. None of it may leave anything behind. */
const NOISE: Array<InjectOptions & { url: string }> = [
  ...['/', '/live', '/touch', '/rotate', '/regenerate', '/delete', '/logout', '/null', '/redirect', '/fail', '/nowhere', '/wp-login.php', '/%00', '/..%2f..%2fetc'].map((url) => ({ url })),
  ...(['HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PATCH', 'TRACE'] as const).map((method) => ({ method: method as 'HEAD', url: '/' })),
  { method: 'POST', url: '/', headers: json, payload: '{"bad":' },
  { method: 'POST', url: '/', headers: json, payload: '' },
  { method: 'POST', url: '/', headers: json, payload: '{"__proto__":{"admin":true}}' },
  { method: 'POST', url: '/', headers: json, payload: '{}' },
  { method: 'POST', url: '/', headers: { 'content-type': 'text/xml' }, payload: '<a/>' },
  { method: 'POST', url: '/', headers: json, payload: `{"a":"${'x'.repeat(2 << 20)}"}` },
  ...['', 'x', 'A'.repeat(99), `${'A'.repeat(22)}.${'A'.repeat(32)}.${'A'.repeat(43)}`].map((value) => ({ url: '/logout', headers: { cookie: `session-id=${value}` } })),
  { url: '/', headers: { cookie: 'session-id=a; session-id=b' } }
]

test('anonymous traffic stores nothing, writes nothing and is given no cookie that lasts', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const app = await makeApp(t, { redis: redis.url }, routes)
  await new Browser(app).get('/', { method: 'POST', headers: json, payload: '{"user":"somebody"}' })
  const look = redis.client()
  const before = await look.dbsize()
  const commands = async (): Promise<string[]> => [...String(await look.info('commandstats')).matchAll(/^cmdstat_(?!info|dbsize|hello|client)([^:]*):calls=(\d+)/gm)].map(([, name, calls]) => `${name} ${calls}`).sort()
  const calls = await commands()
  const statuses = new Map<number, number>()
  for (let round = 0; round < 40; round++) {
    const responses = await Promise.all(NOISE.map((request) => app.inject(request)))
    for (const [i, { statusCode, headers }] of responses.entries()) {
      statuses.set(statusCode, (statuses.get(statusCode) ?? 0) + 1)
      // Whoever logs out with a cookie of ours, whatever it is worth, gets rid of it.
      const cleared = /^session-id=; .*Max-Age=0/.test(String(headers['set-cookie']))
      if (headers['set-cookie'] !== undefined && !(cleared && NOISE[i]!.url === '/logout')) t.fail(`${NOISE[i]!.method ?? 'GET'} ${NOISE[i]!.url}: ${String(headers['set-cookie'])}`)
    }
  }
  const total = [...statuses.values()].reduce((sum, count) => sum + count, 0)
  t.ok(total > 1000, `${total} requests: ${[...statuses].map(([status, count]) => `${count} × ${status}`).join(', ')}`)
  for (const status of [200, 302, 400, 404, 413, 415, 500]) t.ok(statuses.has(status), String(status))
  t.equal(await look.dbsize(), before)
  t.strictSame(await commands(), calls, 'no command went to Redis at all')
})

test('a session cannot be made to grow without bounds, and a refused write changes nothing', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis, server: { bodyLimit: 8 << 20 } }, routes)
    const browser = new Browser(app)
    const post = async (url: string, body: string, client = browser) => await client.get(url, { method: 'POST', headers: json, payload: body })
    await post('/', '{"user":"andrew","n":1}')
    const id = browser.token!.slice(0, 22)
    const data = async () => Object.entries((await app.sessions.inspect(id))!.fields).filter(([name]) => name !== 'last_accessed_at')
    const before = await data()
    const many = (count: number): string => `{${Array.from({ length: count }, (_, i) => `"f${i}":1`).join(',')}}`
    const large = (count: number): string => `{${Array.from({ length: count }, (_, i) => `"f${i}":"${'x'.repeat(10_000)}"`).join(',')}}`
    for (const [what, body, code] of [
      ['a megabyte', `{"big":"${'x'.repeat(1 << 20)}"}`, 'SESSION_FIELD_TOO_LARGE'],
      ['a megabyte in characters of three bytes', `{"big":"${'\u20ac'.repeat(400_000)}"}`, 'SESSION_FIELD_TOO_LARGE'],
      ['a name of 10 kB', `{"${'n'.repeat(10_000)}":1}`, 'SESSION_NAME_INVALID'],
      ['a name of 100 characters of three bytes', `{"${'\u20ac'.repeat(100)}":1}`, 'SESSION_NAME_INVALID'],
      ['200 levels', `{"deep":${'['.repeat(200)}${']'.repeat(200)}}`, 'SESSION_VALUE_TOO_DEEP'],
      ['5,000 levels', `{"deep":${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`, 'SESSION_VALUE_TOO_DEEP'],
      ['10,000 fields', many(10_000), 'SESSION_TOO_MANY_FIELDS'],
      ['one field too many', many(101), 'SESSION_TOO_MANY_FIELDS'],
      ['20 fields of 10 kB', large(20), 'SESSION_RECORD_TOO_LARGE']
    ] as const) {
      const response = await post('/', body)
      t.strictSame([response.statusCode, response.json().code], [500, code], what)
      t.notMatch(response.body, 'xxxxxxxxxx', `${what}: the value is not in the answer`)
      t.strictSame(await data(), before, `${what}: the session is as it was`)
      const stranger = new Browser(app)
      t.equal((await post('/', body, stranger)).statusCode, 500)
      t.equal(stranger.jar.size, 0, `${what}: no session begins by it`)
    }
    // Live writes are one by one: those that fit stay, and the limit holds.
    t.equal((await post('/live', many(200))).json().code, 'SESSION_TOO_MANY_FIELDS')
    t.equal((await browser.json('/')).keys.length, 100)
    t.equal((await post('/live', `{"user":"${'x'.repeat(1 << 20)}"}`)).json().code, 'SESSION_FIELD_TOO_LARGE')
    t.equal((await browser.json('/')).user, 'andrew')
  })
})

test('17 kB of cookies, or 10,000 of them, are answered without looking at a session', async (t) => {
  let handled = 0
  const app = await makeApp(t, { redis: 'memory:' }, (app) => {
    app.get('/', async ({ session }: any) => { handled++; return session.data() })
  })
  const port = await listen(app)
  for (const cookie of [`session-id=${'x'.repeat(17_000)}`, 'a=1; '.repeat(10_000)]) {
    const { status, headers } = await sendRaw(port, [`Cookie: ${cookie}`])
    t.equal(status, 431)
    t.notOk(headers.some(([name]) => name === 'set-cookie'))
  }
  t.equal(handled, 0)
  t.equal((await sendRaw(port, [`Cookie: session-id=${'x'.repeat(12_000)}`])).status, 200)
  t.equal(handled, 1)
})
