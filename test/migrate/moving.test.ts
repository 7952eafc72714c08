/** Sessions that the real libraries wrote, moved over HTTP. */
import type { FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { express, fastifySession, mgcreaArray, mgcreaHash, OLD_SECRET, oldSystems, type OldSystem } from './old-apps.js'
import type { MigrateFrom } from '../../src/migrate/options.js'
import { makeApp, sharedRedis, type AppOptions, type Lines } from '../support/app.js'
import { Browser, Gate, setCookies } from '../support/browser.js'

const SOON = new Date(Date.now() + 3_600_000)
const DATA = { user: 'andrew', cart: [{ id: 7 }], count: 3, zip: '02134', empty: '', no: false, nothing: null }

function from ({ format }: OldSystem, options: Partial<MigrateFrom> = {}): MigrateFrom {
  return { format, secret: OLD_SECRET, until: SOON, ...options }
}

function routes (app: FastifyInstance): void {
  const answer = ({ session }: any) => ({ isNew: session.isNew, id: session.isNew ? undefined : session.id, data: session.data(), idle: session.idleTimeout, left: session.expiresAt - Date.now() })
  app.get('/', async (request) => answer(request))
  app.get('/off', { config: { session: false } }, async () => ({}))
  app.get('/set', async (request: any) => { request.session.set(request.query.k, true); return answer(request) })
  app.get('/fail', async () => { throw new Error('on purpose') })
  app.get('/login', async (request: any) => { await request.session.regenerate(['cart']); request.session.set('user', 'new'); return {} })
  app.get('/rotate', async (request: any) => { await request.session.rotate(); return {} })
  app.get('/logout', async (request: any) => { await request.session.destroy(); return {} })
  app.get('/null', async (request: any) => { request.session = null; return {} })
}

async function newApp (t: Test, migrateFrom: AppOptions['migrateFrom'], options: AppOptions = {}): Promise<FastifyInstance> {
  const redis = await sharedRedis()
  return await makeApp(t, { redis: redis.url, timeout: 3000, ...migrateFrom !== undefined && { migrateFrom }, ...options }, routes)
}

/** A browser that has the old cookie only. */
function oldBrowser (app: FastifyInstance, cookie: string): Browser {
  const browser = new Browser(app)
  const [name = '', value = ''] = cookie.split(/=(.*)/s)
  browser.jar.set(name, value)
  return browser
}

async function keys (): Promise<string[]> {
  return (await (await sharedRedis()).ask('KEYS', '*') as string[]).sort()
}

async function sessionKeys (): Promise<string[]> {
  return (await keys()).filter((key) => key.startsWith('session:'))
}

for (const system of oldSystems) {
  test(`moved from ${system.name}`, async (t) => {
    const redis = await sharedRedis()
    for (const maxAge of [undefined, 7_200_000]) {
      await redis.ask('FLUSHALL')
      const old = await system.start(t, redis, { maxAge })
      const app = await newApp(t, from(system))
      const cookie = await old.cookieFor(DATA)
      t.equal(cookie.split('=')[0], system.cookieName)
      const [oldKey] = await keys()
      const before = mgcreaArray === system && maxAge !== undefined ? maxAge : await redis.ask('PTTL', oldKey!) as number

      const browser = oldBrowser(app, cookie)
      const response = await browser.get('/')
      const { isNew, data, id, left } = response.json()
      t.strictSame({ isNew, data }, { isNew: false, data: DATA })
      // The request is a use, which may extend the session by the touch interval.
      const after = await redis.ask('PTTL', `session:${id}`) as number
      t.ok(after > before - 3000 && after < before + 63_000 && Math.abs(left - after) < 3000, `time left: ${before} before, ${after} after`)

      const cookies = setCookies(response)
      t.strictSame(cookies.map(({ name }) => name), ['session-id', system.cookieName])
      t.equal(cookies[0]!.attributes.has('max-age'), maxAge !== undefined, 'persistent where the old one was')
      t.match(cookies[1], { value: '', attributes: new Map<string, string>([['max-age', '0'], ['path', '/']]) })
      t.equal(response.headers['cache-control'], 'no-store')

      t.strictSame(await keys(), [oldKey, `session:${id}`].sort())
      const type = await redis.ask('TYPE', oldKey!)
      const text = String(type === 'hash' ? await redis.ask('HGET', oldKey!, 'data') : await redis.ask('GET', oldKey!))
      t.match(text, `"@moved":"${id}"`)
      for (const secret of [...Object.values(DATA).filter((value) => typeof value === 'string' && value.length > 3), browser.token!.slice(23, 55)]) t.notMatch(text, secret as string)
      const pointerLeft = await redis.ask('PTTL', oldKey!) as number
      t.ok(pointerLeft > 0 && pointerLeft <= before, 'the pointer stays no longer than the old session would have')

      t.notOk(browser.jar.has(system.cookieName))
      t.strictSame((await browser.json('/')).data, DATA, 'and goes on under the new cookie')
      const again = await old.send('GET', cookie)
      t.equal(again.status, 200)
      t.notOk(again.body.user, 'the old system knows nothing of it any more')
    }
  })
}

test('what the old libraries can be told', async (t) => {
  const redis = await sharedRedis()
  await redis.ask('FLUSHALL')
  const app = await newApp(t, [
    from(express, { secret: ['another one', OLD_SECRET], prefix: 'shop:', cookie: { path: '/shop', domain: 'shop.example' } }),
    from(mgcreaHash, { secret: Buffer.from('bWFueSBieXRlcyBvZiBhIGtleQ==', 'base64'), prefix: 'm:' })
  ])
  const shop = await express.start(t, redis, { prefix: 'shop:', path: '/shop' })
  const response = await oldBrowser(app, await shop.cookieFor({ a: 1 })).get('/')
  t.strictSame(response.json().data, { a: 1 })
  t.match(setCookies(response)[1], { name: 'connect.sid', attributes: new Map([['path', '/shop'], ['domain', 'shop.example']]) })
  const keyed = await mgcreaHash.start(t, redis, { prefix: 'm:', key: 'bWFueSBieXRlcyBvZiBhIGtleQ==' })
  t.strictSame((await oldBrowser(app, await keyed.cookieFor({ b: 2 })).json('/')).data, { b: 2 })

  const both = oldBrowser(app, 'connect.sid=forged')
  const [name = '', value = ''] = (await keyed.cookieFor({ c: 3 })).split(/=(.*)/s)
  both.jar.set(name, value)
  t.strictSame((await both.json('/')).data, { c: 3 }, 'a useless cookie does not hide a good one')
})

test('passport\'s data differ between express and fastify: transform', async (t) => {
  const redis = await sharedRedis()
  const old = await express.start(t, redis)
  const app = await newApp(t, from(express, { transform: ({ passport, ...data }: any) => ({ ...data, passport: passport?.user }) }))
  t.strictSame((await oldBrowser(app, await old.cookieFor({ passport: { user: 'u1' }, a: 1 })).json('/')).data, { a: 1, passport: 'u1' })
  t.strictSame((await oldBrowser(app, await old.cookieFor({ passport: {}, a: 1 })).json('/')).data, { a: 1 })

  const lines: Lines = []
  const failing = await newApp(t, from(express, { transform: ({ mode }: any) => { if (mode === 'throw') throw new RangeError('hunter2'); return undefined } }), { lines })
  for (const mode of ['throw', 'skip']) {
    const cookie = await old.cookieFor({ mode })
    const browser = oldBrowser(failing, cookie)
    const response = await browser.get('/')
    t.strictSame([response.json().isNew, setCookies(response)], [true, []], mode)
    t.match((await old.send('GET', cookie)).body, { mode }, 'left as it was')
  }
  t.match(lines.filter(({ level }) => level >= 40), [{ reason: 'transform threw RangeError' }])
  t.notMatch(JSON.stringify(lines), 'hunter2')
})

test('a session that was moved does not count as authenticated just now: nobody knows when it was', async (t) => {
  const redis = await sharedRedis()
  await redis.ask('FLUSHALL')
  const old = await express.start(t, redis)
  const app = await makeApp(t, { redis: redis.url, timeout: 3000, userField: 'user', migrateFrom: from(express) }, (app) => {
    routes(app)
    app.get('/recent', { config: { session: { maxAuthAge: 60 } } }, async () => ({}))
    app.get('/login-again', async ({ session }: any) => { await session.elevate(60); return {} })
  })
  const cookie = await old.cookieFor({ user: 'andrew' })
  for (const visited of [false, true]) {
    const browser = oldBrowser(app, cookie)
    if (visited) t.match(await browser.json('/'), { isNew: false, data: { user: 'andrew' } })
    const response = await browser.get('/recent')
    t.strictSame([response.statusCode, response.json().code], [401, 'SESSION_AUTH_TOO_OLD'], visited ? 'later' : 'in the request that moves it')
    if (!visited) continue
    await browser.json('/login-again')
    t.equal((await browser.get('/recent')).statusCode, 200)
  }
})

test('20 requests at once, in two processes, end up in one session that has all their data', async (t) => {
  const redis = await sharedRedis()
  for (const system of [express, mgcreaHash]) {
    for (const keep of [false, true]) {
      await redis.ask('FLUSHALL')
      const old = await system.start(t, redis)
      const gate = new Gate()
      const apps = [await newApp(t, from(system, { keep })), await newApp(t, from(system, { keep }))]
      const late = await makeApp(t, { redis: redis.url, timeout: 3000, migrateFrom: from(system, { keep }) }, (app) => {
        routes(app)
        app.get('/late', async ({ session }: any) => { await gate.pass(); session.set('late', true); return session.data() })
      })
      const cookie = await old.cookieFor(DATA)
      const slow = oldBrowser(late, cookie)
      const slowly = slow.get('/late')
      await gate.arrived(1)
      const browsers = Array.from({ length: 20 }, (_, i) => oldBrowser(apps[i % 2]!, cookie))
      const answers = await Promise.all(browsers.map((browser, i) => browser.json(`/set?k=k${i}`)))
      gate.open()
      t.match((await slowly).json(), { ...DATA, late: true })
      t.equal(new Set(answers.map(({ id }) => id)).size, 1)
      t.equal(new Set([slow, ...browsers].map(({ token }) => token)).size, 1, 'and one new cookie for all')
      const { data } = await browsers[19]!.json('/')
      t.strictSame(data, { ...DATA, late: true, ...Object.fromEntries(browsers.map((_, i) => [`k${i}`, true])) })
      t.equal((await sessionKeys()).length, 1)
    }
  }
})

test('a lost response logs nobody out; once the new cookie was used, the old one is soon worth nothing', async (t) => {
  const redis = await sharedRedis()
  await redis.ask('FLUSHALL')
  const old = await fastifySession.start(t, redis)
  const lines: Lines = []
  const app = await newApp(t, from(fastifySession), { rotateGrace: 0, lines })
  const cookie = await old.cookieFor({ user: 'andrew' })
  const first = oldBrowser(app, cookie)
  const { id } = await first.json('/')
  for (let i = 0; i < 3; i++) {
    const lost = oldBrowser(app, cookie)
    t.equal((await lost.json('/')).id, id)
    t.equal(lost.token, first.token)
  }
  t.equal((await oldBrowser(app, cookie).get('/fail')).statusCode, 500)
  t.equal((await first.json('/')).id, id, 'the new cookie is used')
  await new Promise((resolve) => setTimeout(resolve, 5))
  const thief = oldBrowser(app, cookie)
  t.equal((await thief.json('/')).isNew, true)
  t.equal((await first.json('/')).isNew, true, 'as with any other secret that was renewed: the session ends')
  t.equal(lines.filter(({ level, msg }) => level === 40 && msg.includes('theft')).length, 1)
})

test('after a logout, a login or a rotation the old cookie is worth nothing', async (t) => {
  const redis = await sharedRedis()
  for (const path of ['/logout', '/null', '/login', '/rotate']) {
    for (const direct of [true, false]) {
      await redis.ask('FLUSHALL')
      const old = await express.start(t, redis)
      const app = await newApp(t, from(express))
      const cookie = await old.cookieFor(DATA)
      const browser = oldBrowser(app, cookie)
      if (!direct) await browser.get('/')
      const response = await browser.get(path)
      t.equal(response.statusCode, 200)
      t.notOk(browser.jar.has('connect.sid'), path)
      t.equal((await oldBrowser(app, cookie).json('/')).isNew, true, `${path} ${direct}`)
      t.notOk((await old.send('GET', cookie)).body.user)
      t.strictSame((await sessionKeys()).length, path === '/login' || path === '/rotate' ? 1 : 0)
    }
  }
})

test('keep: both versions answer requests; a logout ends both', async (t) => {
  const redis = await sharedRedis()
  for (const system of oldSystems) {
    await redis.ask('FLUSHALL')
    const old = await system.start(t, redis, { maxAge: 3_600_000 })
    const app = await newApp(t, from(system, { keep: true }))
    const cookie = await old.cookieFor(DATA)
    const browser = oldBrowser(app, cookie)
    const response = await browser.get('/')
    t.strictSame(setCookies(response).map(({ name }) => name), ['session-id'], 'the old cookie stays')
    t.strictSame((await browser.json('/')).data, DATA)
    t.match((await old.send('GET', cookie)).body, { user: 'andrew' }, 'and so does the old session')
    t.equal((await sessionKeys()).length, 1)

    const [sessionKey] = await sessionKeys()
    await redis.ask('DEL', sessionKey!)
    t.strictSame((await browser.json('/')).data, DATA, 'a new session that expired, while the old one was used, is copied again')

    const logout = await browser.get('/logout')
    t.strictSame(setCookies(logout).map(({ name, attributes }) => [name, attributes.get('max-age')]), [['session-id', '0'], [system.cookieName, '0']])
    t.strictSame(await keys(), [])
    t.equal((await oldBrowser(app, cookie).json('/')).isNew, true)
    t.notOk((await old.send('GET', cookie)).body.user)
  }
})

test('no session comes from a cookie that is forged, altered, doubled, expired or late, and Redis is not asked in vain', async (t) => {
  const redis = await sharedRedis()
  const calls = async (): Promise<number> => {
    const stats = String(await redis.ask('INFO', 'commandstats'))
    return [...stats.matchAll(/cmdstat_(?:evalsha|eval):calls=(\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0)
  }
  for (const system of oldSystems) {
    await redis.ask('FLUSHALL')
    const old = await system.start(t, redis)
    const forger = await system.start(t, redis, { secret: 'the secret of somebody else 00112' })
    const forged = await forger.cookieFor(DATA)
    // The session exists under its id; only the signature is wrong. (One of the libraries has but one setting per process.)
    await system.start(t, redis)
    const app = await newApp(t, from(system))
    const good = await old.cookieFor(DATA)
    const name = `${system.cookieName}=`
    const value = good.slice(name.length)
    const begin = await calls()
    const bad = [
      forged, name, `${name}.`, `${name}x`, `${name}${'x'.repeat(3000)}`, `${name}%`, `${name}%00`, `${good}=`, `${good}A`, good.slice(0, -1),
      `${name}${value.slice(0, 4)}${value[4] === 'A' ? 'B' : 'A'}${value.slice(5)}`, `${good}; ${good}`, `${good}; ${name}other`, `other${good}`
    ]
    for (const cookie of bad) {
      const response = await app.inject({ url: '/', headers: { cookie } })
      t.strictSame([response.json().isNew, setCookies(response)], [true, []], cookie.slice(0, 80))
    }
    t.equal((await app.inject({ url: '/off', headers: { cookie: good } })).statusCode, 200)
    t.equal(await calls(), begin)

    const late = await newApp(t, from(system, { until: new Date(Date.now() - 1) }))
    const connected = await calls()
    t.equal((await oldBrowser(late, good).json('/')).isNew, true)
    const real = Date.now
    try {
      Date.now = () => real() + 3_600_001
      t.equal((await oldBrowser(app, good).json('/')).isNew, true)
    } finally {
      Date.now = real
    }
    t.equal(await calls(), connected, 'after `until` it costs nothing')

    await redis.ask('PEXPIRE', (await keys()).find((key) => good.includes(key.slice(5, 15)) || Buffer.from(decodeURIComponent(value).split('.')[0]!, 'base64').toString() === key.slice(5))!, '1')
    await new Promise((resolve) => setTimeout(resolve, 10))
    t.equal((await oldBrowser(app, good).json('/')).isNew, true, 'expired')
  }
})

test('a valid cookie of ours wins, and the old session is not looked at', async (t) => {
  const redis = await sharedRedis()
  await redis.ask('FLUSHALL')
  const old = await express.start(t, redis)
  const app = await newApp(t, from(express))
  const browser = new Browser(app)
  await browser.get('/set?k=own')
  const [name = '', value = ''] = (await old.cookieFor(DATA)).split(/=(.*)/s)
  browser.jar.set(name, value)
  t.strictSame((await browser.json('/')).data, { own: true })
  await browser.get('/logout')
  t.strictSame(await keys(), [], 'a logout ends whatever the browser could log in with')
})

test('while Redis is away the cookies stay, and afterwards the session is moved', async (t) => {
  const redis = await sharedRedis()
  await redis.ask('FLUSHALL')
  const old = await express.start(t, redis)
  const app = await newApp(t, from(express), { timeout: 100 })
  const browser = oldBrowser(app, await old.cookieFor(DATA))
  redis.freeze()
  const response = await browser.get('/')
  redis.thaw()
  t.equal(response.statusCode, 503)
  t.ok(response.headers['retry-after'])
  t.strictSame(setCookies(response), [])
  await redis.ask('PING')
  for (let i = 0; i < 20 && (await browser.get('/')).statusCode === 503; i++) await new Promise((resolve) => setTimeout(resolve, 50))
  t.strictSame((await browser.json('/')).data, DATA)
})

// --- What the libraries would not write, or not today.

test('the time that is left is the key\'s, whatever the record says', async (t) => {
  const redis = await sharedRedis()
  const app = await newApp(t, [from(express), from(mgcreaHash)])
  const past = Date.now() - 1000
  const cases: Array<[string, OldSystem, (key: string) => Promise<unknown>, number | null]> = [
    ['a stale cookie.expires', express, (key) => redis.ask('SET', key, JSON.stringify({ cookie: { expires: new Date(past) }, a: 1 }), 'EX', '5000'), 5000],
    ['a stale expiry', mgcreaHash, async (key) => { await redis.ask('HSET', key, 'data', '{"a":1}', 'expiry', String(past)); await redis.ask('EXPIRE', key, '5000') }, 5000],
    ['no expiry at all', express, (key) => redis.ask('SET', key, '{"cookie":{},"a":1}'), 1800],
    ['less than a new session gets', express, (key) => redis.ask('SET', key, '{"cookie":{},"a":1}', 'EX', '5'), 1800],
    ['more than the lifetime', express, (key) => redis.ask('SET', key, '{"cookie":{},"a":1}', 'EX', '1000000'), 1_000_000],
    ['no expiry, and the record says it is over', express, (key) => redis.ask('SET', key, JSON.stringify({ cookie: { expires: new Date(past) }, a: 1 })), null],
    ['no expiry, and the hash says it is over', mgcreaHash, (key) => redis.ask('HSET', key, 'data', '{"a":1}', 'expiry', String(past)), null],
    ['an array that says it is over, which its library believes', mgcreaHash, (key) => redis.ask('SET', key, JSON.stringify([{ a: 1 }, past]), 'EX', '5000'), null],
    ['a hash without data, left by a touch', mgcreaHash, async (key) => { await redis.ask('HSET', key, 'expiry', ''); await redis.ask('EXPIRE', key, '100') }, null]
  ]
  for (const [name, system, write, seconds] of cases) {
    await redis.ask('FLUSHALL')
    const old = await system.start(t, redis)
    const cookie = await old.cookieFor({ a: 1 })
    const [key] = await keys()
    await redis.ask('DEL', key!)
    await write(key!)
    const browser = oldBrowser(app, cookie)
    const { isNew } = await browser.json('/')
    t.equal(isNew, seconds === null, name)
    if (seconds !== null) {
      const [sessionKey] = await sessionKeys()
      const ttl = await redis.ask('PTTL', sessionKey!) as number / 1000
      t.ok(ttl > seconds - 3 && ttl <= seconds + 60, `${name}: ${ttl}`)
      t.ok(await redis.ask('PTTL', key!) as number > 0, 'no pointer stays for ever')
    }
  }
})

test('what an old record holds is not trusted', async (t) => {
  const redis = await sharedRedis()
  const old = await express.start(t, redis)
  const lines: Lines = []
  const app = await newApp(t, from(express), { lines, maxFields: 5, maxFieldSize: 2000, maxRecordSize: 4000, maxDepth: 3 })
  const deep = '[[[[[1]]]]]'
  const cases: Array<[string, string | null, Record<string, unknown> | null, string?]> = [
    ['names that mean something to JavaScript', '{"cookie":{},"__proto__":{"admin":true},"constructor":1,"a":1}', JSON.parse('{"__proto__":{"admin":true},"constructor":1,"a":1}')],
    ['reserved names', '{"cookie":{},"created_at":1,"@digest":"x","@moved":"y","session_ttl":1,"a":1}', { a: 1 }, 'SESSION_NAME_INVALID'],
    ['names that are methods here', '{"cookie":{},"destroy":1,"id":"x"}', { destroy: 1, id: 'x' }],
    ['too deep', `{"cookie":{},"a":1,"deep":${deep}}`, { a: 1 }, 'SESSION_VALUE_TOO_DEEP'],
    ['a field too large', JSON.stringify({ cookie: {}, a: 1, big: 'x'.repeat(2000) }), { a: 1 }, 'SESSION_FIELD_TOO_LARGE'],
    ['too many fields', '{"cookie":{},"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}', null, 'it has more than maxFields fields'],
    ['too large together', JSON.stringify({ cookie: {}, a: 'x'.repeat(1500), b: 'x'.repeat(1500), c: 'x'.repeat(1500) }), null, 'it is larger than maxRecordSize allows'],
    ['not even read', JSON.stringify({ cookie: {}, a: 'x'.repeat(20_000) }), null, 'it is too large to be read'],
    ['no JSON', 'hello', null], ['null', 'null', null], ['a number', '5', null], ['no cookie', '{"a":1}', null], ['a wrong cookie', '{"cookie":5,"a":1}', null],
    ['nothing but a cookie', '{"cookie":{}}', null], ['an array of something', '[1,2]', null], ['a long array', '[{},null,1]', null],
    ['a pointer to nowhere', '{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"@moved":"AAAAAAAAAAAAAAAAAAAAAA"}', null],
    ['another type', null, null, 'its key is neither a string nor a hash']
  ]
  for (const [name, text, data, reason] of cases) {
    await redis.ask('FLUSHALL')
    lines.length = 0
    const cookie = await old.cookieFor({ a: 1 })
    const [key] = await keys()
    await redis.ask('DEL', key!)
    if (text === null) await redis.ask('RPUSH', key!, 'x')
    else await redis.ask('SET', key!, text, 'EX', '100')
    const response = await oldBrowser(app, cookie).get('/')
    t.equal(response.statusCode, 200, name)
    t.strictSame(response.json().isNew ? null : response.json().data, data, name)
    if (data === null) {
      t.strictSame(setCookies(response), [], `${name}: the cookie stays`)
      t.strictSame(await keys(), [key], `${name}: the record stays`)
      if (text !== null) t.equal(await redis.ask('GET', key!), text, name)
    }
    t.equal(JSON.stringify(lines.filter(({ level }) => level >= 40)).includes(reason ?? '-'), reason !== undefined, `${name}: ${reason ?? 'no warning'}`)
    t.notOk('admin' in {})
  }
})

test('a session that moved is among its user\'s, and ends with all of them', async (t) => {
  const redis = await sharedRedis()
  for (const keep of [false, true]) {
    await redis.ask('FLUSHALL')
    const old = await express.start(t, redis)
    const app = await newApp(t, from(express, { keep }), { userField: 'user' })
    const browser = oldBrowser(app, await old.cookieFor(DATA))
    const { id } = await browser.json('/')
    t.match(await app.sessions.list('andrew'), [{ id }])
    t.equal(await app.sessions.endAll('andrew'), 1)
    browser.jar.delete('connect.sid')
    t.equal((await browser.json('/')).isNew, true)
  }
})

test('the rights that the guide grants are enough', async (t) => {
  const redis = await sharedRedis()
  const { readGuide, readReadme } = await import('../types/examples.js')
  const [line = ''] = /ACL SETUSER .*/.exec(readReadme()) ?? []
  const [more = ''] = /~sess:\* \+[^`]*/.exec(readGuide()) ?? []
  await redis.ask('ACL', 'SETUSER', 'mover', ...line.split(' ').slice(3).filter((rule) => !rule.startsWith('>')), '>pw', ...more.split(' '))
  for (const system of [express, mgcreaHash]) {
    for (const keep of [false, true]) {
      await redis.ask('FLUSHALL')
      const old = await system.start(t, redis)
      const app = await newApp(t, from(system, { keep }), { redis: redis.url.replace('://', '://mover:pw@') })
      const browser = oldBrowser(app, await old.cookieFor(DATA))
      t.strictSame((await browser.json('/')).data, DATA)
      t.equal((await browser.get('/logout')).statusCode, 200)
    }
  }
  t.strictSame(await redis.ask('ACL', 'LOG'), [])
})

test('an app without the option looks at no old cookie', async (t) => {
  const redis = await sharedRedis()
  const old = await express.start(t, redis)
  const app = await newApp(t, undefined)
  t.equal((await oldBrowser(app, await old.cookieFor(DATA)).json('/')).isNew, true)
})
