/** Cookies that this plugin did not issue: tampered, truncated, signed by others, or made of what Redis holds. */
import { createHash, createHmac } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { MemoryStore } from '../../src/index.js'
import { makeApp, SECRET, sharedRedis, type Lines } from '../support/app.js'
import { Browser, setCookies } from '../support/browser.js'
import { startRedis, type RedisProcess } from '../support/redis-process.js'

const OLD_KEY = 'an older key of the tests, random: 5b0c4e'
const RETIRED_KEY = 'a key that nobody trusts any more: 91f2ad'

function routes (app: FastifyInstance): void {
  app.get('/', async ({ session }: any) => ({ id: session.id, isNew: session.isNew, data: session.data() }))
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return { id: session.id } })
  app.get('/remember', async ({ session }: any) => { session.remember({ idleTimeout: 100, lifetime: 1000 }); return {} })
  app.get('/rotate', async ({ session }: any) => { await session.rotate(); return {} })
  app.get('/elsewhere/:token', async ({ session }: any) => ({ isNew: session.isNew }))
  app.post('/', async ({ session }: any) => ({ isNew: session.isNew }))
}

/** How many commands Redis was sent, those that ask for this number aside. */
async function commandsOf (redis: RedisProcess, run: () => Promise<void>): Promise<number> {
  const look = redis.client()
  const total = async (): Promise<number> => {
    const calls = String(await look.info('commandstats')).matchAll(/^cmdstat_(?!info|client|hello)[^:]*:calls=(\d+)/gm)
    return [...calls].reduce((sum, [, count]) => sum + Number(count), 0)
  }
  const before = await total()
  await run()
  const after = await total()
  look.disconnect()
  return after - before
}

async function assertAnonymous (t: Test, app: FastifyInstance, value: string, what: string): Promise<void> {
  const response = await app.inject({ url: '/', headers: { cookie: `session-id=${value}` } })
  if (response.statusCode !== 200 || !response.json().isNew || setCookies(response).length > 0) t.fail(`${what}: ${JSON.stringify(value.slice(0, 120))}`)
}

/** The token as somebody with that key would sign it. */
function signed (id: string, secret: string, key: string): string {
  return `${id}.${secret}.${createHmac('sha256', key).update(`${id}.${secret}`).digest('base64url')}`
}

test('whatever is not our token is anonymous and costs Redis nothing', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const app = await makeApp(t, { redis: redis.url, secret: [SECRET, OLD_KEY] }, routes)
  const browser = new Browser(app)
  await browser.get('/set?secret=treasure')
  const token = browser.token!
  const [id, secret, signature] = token.split('.') as [string, string, string]
  const mallory = new Browser(app)
  await mallory.get('/set?a=1')
  const [ownId, ownSecret, ownSignature] = mallory.token!.split('.') as [string, string, string]
  t.match((await app.inject({ url: '/', headers: { cookie: `session-id=${token}` } })).json(), { isNew: false })
  t.match((await app.inject({ url: '/', headers: { cookie: `session-id=${signed(id, secret, OLD_KEY)}` } })).json(), { isNew: false }, 'the check of this test: an older key is good')

  const forged = {
    'one character changed': Array.from({ length: token.length }, (_, i) => ['A', 'b', '.', '/', '-'].filter((c) => c !== token[i]).map((c) => token.slice(0, i) + c + token.slice(i + 1))).flat(),
    truncated: Array.from({ length: token.length }, (_, i) => [token.slice(0, i), token.slice(i + 1)]).flat(),
    extended: ['A', '=', '.', '%00', '\0', ' x', `.${signature}`, token].map((more) => token + more),
    'without a signature': [id, secret, `${id}.${secret}`, `${id}.${secret}.`, `${id}.${secret}.${'A'.repeat(43)}`, `${id}.${secret}.null`, `${id}.${secret}.none`],
    'signed by others': [RETIRED_KEY, '', SECRET + ' ', SECRET.toUpperCase(), 'session', id].map((key) => signed(id, secret, key)),
    'hashed instead of signed': [createHash('sha256').update(`${id}.${secret}`).digest('base64url'), createHash('sha256').update(`${SECRET}${id}.${secret}`).digest('base64url')].map((mac) => `${id}.${secret}.${mac}`),
    'parts of different tokens': [`${id}.${secret}.${ownSignature}`, `${id}.${ownSecret}.${ownSignature}`, `${id}.${ownSecret}.${signature}`, `${ownId}.${secret}.${ownSignature}`, `${secret}.${id}.${signature}`],
    'other spellings': [token.replace(/^./, (first) => `%${first.charCodeAt(0).toString(16)}`), token.replaceAll('.', '%2E'), token.replaceAll('.', ':'), `"${token}"`, token.toUpperCase(), token.toLowerCase(), `s:${token}`, `${token};`.replace(';', '%3B'), Buffer.from(token).toString('base64')],
    'names of keys': ['*', '?', '{a}', `{${id}}`, `session:${id}`, '../../etc/passwd', '%00', '\u00e9', '', ' ', '='],
    'of another size': ['A'.repeat(8000), 'A'.repeat(99), `${'A'.repeat(22)}.${'A'.repeat(32)}.${'A'.repeat(43)}`]
  }
  const commands = await commandsOf(redis, async () => {
    for (const [what, values] of Object.entries(forged)) {
      for (const value of values) if (value !== token) await assertAnonymous(t, app, value, what)
      t.pass(`${what}: ${values.length}`)
    }
  })
  t.equal(commands, 0)
  t.strictSame((await browser.json('/')).data, { secret: 'treasure' }, 'and its owner never noticed')
})

test('a key that was retired is good for nothing, and forgeries leave one line in the log, not one each', async (t) => {
  const { url: redis } = await sharedRedis()
  const before = new Browser(await makeApp(t, { redis, secret: RETIRED_KEY }, routes))
  await before.get('/set?secret=treasure')
  const lines: Lines = []
  const app = await makeApp(t, { redis, secret: [SECRET, OLD_KEY], lines }, routes)
  for (let i = 0; i < 20; i++) await assertAnonymous(t, app, before.token!, 'retired')
  for (let i = 0; i < 20; i++) await assertAnonymous(t, app, 'x'.repeat(i), 'malformed')
  t.match(lines.filter(({ level }) => level >= 40), [{ level: 40, msg: /signature/ }])
})

test('the token counts in the cookie only', async (t) => {
  const app = await makeApp(t, { redis: 'memory:' }, routes)
  const browser = new Browser(app)
  await browser.get('/set?secret=treasure')
  const token = browser.token!
  for (const request of [
    { url: `/?session-id=${encodeURIComponent(token)}` }, { url: `/?sid=${encodeURIComponent(token)}#session-id=${token}` }, { url: `/elsewhere/${encodeURIComponent(token)}` },
    { url: `/;session-id=${token}` }, { url: '/', headers: { 'session-id': token } }, { url: '/', headers: { 'x-session-id': token } }, { url: '/', headers: { cookie2: `session-id=${token}` } },
    { url: '/', headers: { 'set-cookie': `session-id=${token}` } }, { url: '/', headers: { 'x-cookie': `session-id=${token}` } }, { url: '/', headers: { authorization: `Bearer ${token}` } },
    { method: 'POST', url: '/', payload: { 'session-id': token, cookie: `session-id=${token}` } } as const
  ]) {
    const response = await app.inject(request)
    t.ok(response.statusCode === 404 || response.json().isNew === true, JSON.stringify(request).replace(token, '…'))
    t.strictSame(setCookies(response), [])
  }
})

test('nothing that Redis holds is a cookie, alone or put together', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const app = await makeApp(t, { redis: redis.url, rotateEvery: 0.2, rotateGrace: 0.1 }, routes)
  // Records in every state that rotation knows, and one with limits of its own.
  const browsers = Object.fromEntries(['plain', 'remembered', 'rotated', 'offered', 'confirmed'].map((state) => [state, new Browser(app)])) as Record<string, Browser>
  for (const browser of Object.values(browsers)) await browser.get('/set?secret=treasure')
  await browsers['remembered']!.get('/remember')
  await browsers['rotated']!.get('/rotate')
  await sleep(220)
  await browsers['offered']!.get('/')
  await browsers['confirmed']!.get('/')
  await browsers['confirmed']!.get('/')

  const keys = await redis.ask('KEYS', '*') as string[]
  t.equal(keys.length, 5)
  const ids = keys.map((key) => key.replace('session:', ''))
  const texts = new Set<string>()
  const names = new Set<string>()
  for (const key of keys) {
    const flat = await redis.ask('HGETALL', key) as string[]
    flat.forEach((text, i) => { texts.add(text); if (i % 2 === 0) names.add(text) })
  }
  t.match([...names].sort(), ['@digest', '@lifetime', '@lineage', '@next', '@persistent', '@prev', '@prev_until', '@renewed', '@rotated', '@sealed'], 'all there is, is tried')

  // What an attacker can bring along: a token of his own, which is good.
  const mallory = new Browser(app)
  await mallory.get('/set?a=1')
  const [, ownSecret, ownSignature] = mallory.token!.split('.') as [string, string, string]
  const digest = (text: string): string => createHash('sha256').update(text).digest('base64url')
  const material = [...texts, ...keys, ...[...texts].map(digest), ownSecret, ownSignature]
  const secrets = new Set([...material.map((text) => text.slice(0, 32).padEnd(32, 'A')), ...material])
  const signatures = new Set([...material.map((text) => text.slice(0, 43).padEnd(43, 'A')), ''])
  let tried = 0
  const attempt = async (value: string): Promise<void> => {
    tried++
    await assertAnonymous(t, app, value, 'made of what Redis holds')
  }
  for (const text of [...keys, ...texts, ...names]) await attempt(text)
  for (const id of ids) {
    for (const secret of secrets) {
      await attempt(`${id}.${secret}`)
      // The whole of the third part for one id; all ids are alike.
      if (id === ids[0]) for (const signature of signatures) await attempt(`${id}.${secret}.${signature}`)
      else await attempt(`${id}.${secret}.${ownSignature}`)
    }
    for (const text of [...texts]) await attempt(signed(id, text.slice(0, 32).padEnd(32, 'A'), text))
  }
  t.ok(tried > 1000, `${tried} cookies tried`)
  for (const browser of Object.values(browsers)) t.match(await browser.json('/'), { isNew: false, data: { secret: 'treasure' } })
})

test('an id that is taken is never attached to', async (t) => {
  /** A store that says of so many ids that they are taken, as a broken generator would make them. */
  class Crowded extends MemoryStore {
    readonly tried: string[] = []
    taken = 0

    override async create (...args: Parameters<MemoryStore['create']>) {
      this.tried.push(args[0])
      if (this.taken-- > 0) return undefined
      return await super.create(...args)
    }
  }
  const store = new Crowded()
  const app = await makeApp(t, { redis: store }, routes)
  store.taken = 2
  const browser = new Browser(app)
  await browser.json('/set?secret=treasure')
  t.equal(new Set(store.tried).size, 3, 'each attempt has an id of its own')
  t.equal(browser.token!.slice(0, 22), store.tried[2])
  t.match(await browser.json('/'), { isNew: false, data: { secret: 'treasure' } })
  store.taken = Infinity
  const response = await app.inject('/set?secret=treasure')
  t.strictSame([response.statusCode, response.json().code], [503, 'SESSION_STORE_UNAVAILABLE'], 'no endless attempts')
  t.strictSame(setCookies(response), [])
})
