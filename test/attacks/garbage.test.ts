/** Hostile data: names and values from requests that mean something to JavaScript, and whatever others leave in Redis. */
import type { FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { makeApp, onEveryStore, sharedRedis, type Lines } from '../support/app.js'
import { Browser } from '../support/browser.js'

const server = { onProtoPoisoning: 'ignore', onConstructorPoisoning: 'ignore' } as const

/** Everything an attacker could reach through a prototype. */
const PROTOTYPES = [Object.prototype, Array.prototype, Function.prototype, String.prototype, Map.prototype, Promise.prototype]
const snapshot = (): string[][] => PROTOTYPES.map((prototype) => Object.getOwnPropertyNames(prototype).concat(Object.getOwnPropertySymbols(prototype).map(String)))

function routes (app: FastifyInstance): void {
  // What careless handlers do with a request's body.
  app.post('/assign', async ({ session, body }: any) => { Object.assign(session, body); return {} })
  app.post('/loop', async ({ session, body }: any) => { for (const name in body) session[name] = body[name]; return {} })
  app.post('/set', async ({ session, body }: any) => { for (const name of Object.keys(body)) session.set(name, body[name]); return {} })
  app.post('/live', async ({ session, body }: any) => { await Promise.all(Object.keys(body).map((name) => session.live[name].set(body[name]))); return {} })
  app.post('/deep', async ({ session, body }: any) => { session.deep = {}; for (const name of Object.keys(body)) Object.defineProperty(session.deep, name, { value: body[name], enumerable: true, configurable: true, writable: true }); return {} })
  app.get('/clear', async ({ session }: any) => { session.clear(); return {} })
  app.get('/json', async ({ session }: any, reply) => reply.type('application/json').send(JSON.stringify(session)))
  app.get('/look', async ({ session }: any) => ({
    methods: ['get', 'set', 'save', 'destroy', 'rotate'].map((name) => typeof session[name]),
    admin: [session.admin ?? null, ({} as any).admin ?? null, session.isAdmin ?? null, session.constructor?.admin ?? null, 'admin' in session],
    prototype: Object.getPrototypeOf(session) === Object.prototype,
    inspected: typeof session.toJSON()
  }))
  // Every way to read a field.
  app.get('/read', async ({ session }: any) => {
    const { live } = session
    const value = session.field
    return [typeof value, session.has('field'), 'field' in session, Object.keys(session).length, await live.field.str.then((text: string) => text.length), await live.field.int, await live.field.bool,
      typeof await live.field.json, await live.field.none, typeof await live.field.get()]
  })
  app.get('/serialize', async ({ session }: any) => ({ ...session }))
  app.get('/incr', async ({ session }: any) => ({ n: await session.live.field.incr() }))
  app.get('/update', async ({ session }: any) => ({ is: await session.live.field.update(() => 'mended') }))
  app.get('/touch', async ({ session }: any) => { session.touch(); return {} })
  app.get('/write', async ({ session }: any) => { session.other = 1; return {} })
  app.get('/settings', async ({ session }: any) => { session.remember({ idleTimeout: 50, lifetime: 500 }); return {} })
  app.get('/times', async ({ session }: any) => [session.createdAt, session.lastAccessedAt, session.expiresAt, session.idleTimeout])
  app.get('/rotate', async ({ session }: any) => { await session.rotate(); return {} })
  app.get('/logout', async ({ session }: any) => { await session.destroy(); return {} })
}

const EVIL = { admin: true, isAdmin: true, polluted: 'yes' }
const BODIES = [
  `{"__proto__":${JSON.stringify(EVIL)}}`,
  `{"constructor":{"prototype":${JSON.stringify(EVIL)},"admin":true}}`,
  `{"prototype":${JSON.stringify(EVIL)}}`,
  `{"a":{"__proto__":${JSON.stringify(EVIL)},"b":[{"__proto__":{"admin":true}}]}}`,
  `{"__proto__":{"__proto__":{"__proto__":${JSON.stringify(EVIL)}}}}`,
  '{"__defineGetter__":1,"__lookupSetter__":2,"hasOwnProperty":"x","toString":{"admin":true},"valueOf":1,"then":{"then":1},"isPrototypeOf":1}',
  '{"length":1e9,"0":"x","nodeType":1,"Symbol(nodejs.util.inspect.custom)":1,"@@iterator":1}'.replace('"@@iterator":1', '"iterator":1')
]

test('no name and no value from a request reaches a prototype, at any depth', async (t) => {
  const before = snapshot()
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis, server }, routes)
    for (const route of ['/assign', '/loop', '/set', '/live', '/deep']) {
      for (const body of BODIES) {
        const browser = new Browser(app)
        const response = await browser.get(route, { method: 'POST', headers: { 'content-type': 'application/json' }, payload: body })
        const what = `${route} ${body.slice(0, 60)}`
        t.equal(response.statusCode, 200, what)
        const stored = (await browser.get('/json')).body
        const expected = route === '/deep' ? `{"deep":${body}}` : body
        t.equal(sorted(stored), sorted(expected), `${what}: it comes back as the data it is`)
        t.strictSame((await browser.get('/look')).json(), { methods: Array(5).fill('function'), admin: [null, null, null, route !== '/deep' && body.includes('"constructor"') ? true : null, false], prototype: true, inspected: 'object' }, what)
        await browser.get('/clear')
        t.equal((await browser.get('/json')).body, '{}', `${what}: it can be removed`)
      }
    }
  })
  t.strictSame(snapshot(), before, 'no prototype has changed')
  t.equal(({} as any).polluted, undefined)
})

/** JSON text with all keys in order, without ever making objects of it in a way that loses `__proto__`. */
function sorted (json: string): string {
  const order = (value: unknown): unknown => Array.isArray(value)
    ? value.map(order)
    : typeof value === 'object' && value !== null ? Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([name, member]) => [name, order(member)]) : value
  return JSON.stringify(order(JSON.parse(json)))
}

test('a session can be closed to names that its schema does not know', async (t) => {
  const { Type } = await import('@sinclair/typebox')
  const schema = Type.Object({ user: Type.Optional(Type.String()), resetFor: Type.Optional(Type.String()) }, { additionalProperties: false })
  const app = await makeApp(t, { redis: 'memory:', schema, server }, routes)
  for (const body of ['{"admin":true}', '{"user":["a"]}', '{"user":{"toString":"x"}}', '{"__proto__":{}}', '{"constructor":1}']) {
    const response = await app.inject({ method: 'POST', url: '/set', headers: { 'content-type': 'application/json' }, payload: body })
    t.match(response.json(), { statusCode: 500, code: 'SESSION_SCHEMA_MISMATCH' }, body)
    t.equal(response.headers['set-cookie'], undefined)
  }
})

/** Values that others may leave in a field. */
const FIELDS: Record<string, string | Buffer> = {
  empty: '',
  'JSON nested 10,000 deep': '['.repeat(10_000) + ']'.repeat(10_000),
  'objects nested 10,000 deep': '{"a":'.repeat(10_000) + '1' + '}'.repeat(10_000),
  'JSON nested 200,000 deep': '['.repeat(200_000) + ']'.repeat(200_000),
  'half of a nesting': '['.repeat(50_000),
  'a number of 400 digits': '9'.repeat(400),
  'a number beyond all': '1e99999',
  'a tiny number': '1e-99999',
  'almost exact': '9007199254740993',
  'minus zero': '-0',
  hexadecimal: '0x10',
  'no number': 'NaN',
  infinite: 'inf',
  'a word': 'undefined',
  null: 'null',
  'a lone surrogate': '"\\ud800"',
  'no UTF-8': Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28, 0x80]),
  'no UTF-8 in JSON': Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]),
  'NUL bytes': '\0\0\0',
  'all bytes': Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
  'a megabyte': 'x'.repeat(1 << 20),
  'a prototype': '{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}}}',
  'a class': '{"@type":"java.lang.Runtime","$$typeof":1,"_$$ND_FUNC$$_":"function(){process.exit()}()","toJSON":"x"}',
  'a then': '{"then":"x"}',
  'a page of code': "');process.exit(1);//<script>",
  'Lua code': "')redis.call('FLUSHALL')('"
}

const ALLOWED = [200, 409, 500, 503]

/** An app on Redis whose records can be spoilt. */
interface Scene { app: FastifyInstance, look: Redis, lines: Lines }

async function scene (t: Test): Promise<Scene> {
  const redis = await sharedRedis()
  const lines: Lines = []
  const app = await makeApp(t, { redis: redis.url, lines, rotateEvery: 60, maxFieldSize: 4 << 20, maxRecordSize: 8 << 20, server }, routes)
  return { app, lines, look: redis.client() }
}

/**
 * Visits routes, each with a session of its own that `spoil` has spoilt in Redis: each has to answer, errors are logged,
 * nobody else may notice, and no record may be left without an end.
 */
async function visitAll (t: Test, { app, lines, look }: Scene, what: string, urls: readonly string[], spoil: (key: string) => Promise<unknown>): Promise<Record<string, number>> {
  const neighbour = new Browser(app)
  await neighbour.get('/write')
  const statuses: Record<string, number> = {}
  for (const url of urls) {
    const browser = new Browser(app)
    await browser.get('/write')
    const key = `session:${browser.token!.slice(0, 22)}`
    const type = await spoil(key).then(() => look.type(key))
    lines.length = 0
    const { statusCode } = await browser.get(url)
    statuses[url] = statusCode
    if (!ALLOWED.includes(statusCode)) t.fail(`${what}: ${url}: ${statusCode}`)
    if (statusCode >= 500 && !lines.some(({ level }) => level >= 50)) t.fail(`${what}: ${url}: not logged`)
    if (type === 'hash' && await look.pttl(key) === -1) t.fail(`${what}: ${url}: the record never ends`)
  }
  t.match((await neighbour.get('/json')).json(), { other: 1 }, `${what}: others are not affected`)
  t.equal(({} as any).admin, undefined)
  return statuses
}

test('whatever stands in a field of Redis is data, and every route answers', async (t) => {
  const before = snapshot()
  const place = await scene(t)
  for (const [what, value] of Object.entries(FIELDS)) {
    const statuses = await visitAll(t, place, what, ['/read', '/json', '/serialize', '/incr', '/update', '/look', '/touch', '/write', '/rotate', '/logout'], (key) => place.look.hset(key, 'field', value))
    for (const url of ['/read', '/look', '/touch', '/write', '/rotate', '/logout']) t.equal(statuses[url], 200, `${what}: ${url} does not depend on the field`)
  }
  t.strictSame(snapshot(), before)
})

test('names in Redis that mean something elsewhere are names', async (t) => {
  const place = await scene(t)
  for (const name of ['__proto__', 'constructor', 'toString', 'then', 'save', '', '\0', '\xff\xfe', 'x'.repeat(100_000), 'a'.repeat(257)]) {
    await visitAll(t, place, JSON.stringify(name.slice(0, 20)), ['/read', '/json', '/look', '/write', '/logout'], (key) => place.look.hset(key, Buffer.from(name, 'latin1'), '{"admin":true}'))
  }
  await visitAll(t, place, '10,000 fields', ['/read', '/json', '/write', '/logout'], (key) => place.look.hset(key, Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`f${i}`, '1']))))
})

test('garbage in the metadata fails closed: no session out of nothing, and no record without an end', async (t) => {
  const place = await scene(t)
  const urls = ['/read', '/times', '/write', '/settings', '/rotate', '/logout']
  for (const name of ['created_at', 'last_accessed_at', 'session_ttl', '@digest', '@lifetime', '@persistent', '@rotated', '@renewed', '@next', '@prev', '@prev_until', '@sealed']) {
    for (const value of ['', 'x', '-1', '0', '1e999', '-1e999', 'nan', 'inf', '0x7fffffff', '9'.repeat(400), '1.5', '\0', '{"a":1}', Buffer.from([0xff, 0xc3])]) {
      const what = `${name} = ${String(value).slice(0, 20)}`
      const statuses = await visitAll(t, place, what, urls, (key) => place.look.hset(key, name, value))
      if (name === '@digest') t.equal(statuses['/times'], 200, `${what}: nobody's session is anonymous`)
      if (['session_ttl', 'created_at'].includes(name) && ['', 'x', '1e999', 'nan', 'inf'].includes(String(value))) t.equal(statuses['/settings'], 500, `${what}: no session record`)
    }
  }
})

test('other types under a session\'s key are an error, and left alone', async (t) => {
  const place = await scene(t)
  const { look } = place
  for (const [what, spoil] of Object.entries<(key: string) => Promise<unknown>>({
    string: (key) => look.set(key, '{"user":"x"}'),
    list: (key) => look.rpush(key, 'a'),
    set: (key) => look.sadd(key, 'a'),
    'sorted set': (key) => look.zadd(key, 1, 'a'),
    stream: (key) => look.xadd(key, '*', 'a', 'b'),
    bitmap: (key) => look.setbit(key, 100, 1)
  })) {
    const statuses = await visitAll(t, place, what, ['/read', '/write', '/logout'], async (key) => { await look.del(key); await spoil(key) })
    t.strictSame(Object.values(statuses), [500, 500, 500])
  }
})
