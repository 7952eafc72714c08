import { test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { makeApp, onEveryStore, SECRET, type Lines } from '../support/app.js'
import { Browser, setCookies } from '../support/browser.js'

function routes (app: FastifyInstance): void {
  app.get('/', async ({ session }: any) => ({ data: session.data(), isNew: session.isNew }))
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
  app.get('/plain', async () => ({}))
  app.get('/headers', async ({ session, query }: any, reply) => {
    if (query.control) reply.header('cache-control', query.control)
    if (query.vary) reply.header('vary', query.vary)
    reply.header('set-cookie', 'other=1; Path=/')
    session.a = 1
    return {}
  })
}

test('the default cookie is __Host-, Secure, HttpOnly, Lax, and ends with the browser', async (t) => {
  const app = await makeApp(t, { redis: 'memory:', cookie: { secure: true } }, routes)
  const response = await app.inject('/set?a=1')
  const { name, value, attributes } = setCookies(response)[0]!
  t.equal(name, '__Host-session-id')
  t.match(value, /^[\w-]{22}\.[\w-]{32}\.[\w-]{43}$/)
  t.strictSame(Object.fromEntries(attributes), { path: '/', httponly: true, secure: true, samesite: 'Lax' })
})

test('all attributes reach the browser', async (t) => {
  const app = await makeApp(t, { redis: 'memory:', cookie: { name: 'sid', secure: true, domain: 'example.com', path: '/app', sameSite: 'none', partitioned: true, priority: 'high', persistent: true, httpOnly: false } }, (app) => { app.register(async (app) => { routes(app) }, { prefix: '/app' }) })
  const { name, attributes } = setCookies(await app.inject('/app/set?a=1'))[0]!
  t.equal(name, 'sid')
  t.strictSame(Object.fromEntries(attributes), { domain: 'example.com', path: '/app', secure: true, samesite: 'None', partitioned: true, priority: 'High', 'max-age': '1800' })
})

test('over plain http a Secure cookie is explained once, in the log; behind a proxy that ends TLS it is not', async (t) => {
  const lines: Lines = []
  const app = await makeApp(t, { redis: 'memory:', cookie: { secure: true }, lines }, routes)
  await app.inject({ url: '/set?a=1', headers: { 'x-forwarded-proto': 'https' } })
  t.equal(lines.filter(({ msg }) => /plain http/.test(msg)).length, 0)
  await app.inject('/set?a=1')
  await app.inject('/set?a=1')
  const [line, ...more] = lines.filter(({ msg }) => /plain http/.test(msg))
  t.match(line!.msg, /SESSION_COOKIE_SECURE=false/)
  t.equal(more.length, 0)
})

test('our cookie is found among others', async (t) => {
  const app = await makeApp(t, { redis: 'memory:' }, routes)
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  const token = browser.token!
  for (const header of [`a=b; session-id=${token}`, `session-id=${token}; a=b`, `xsession-id=1;session-id=${token};session-idx=2`, `a="session-id=x"; session-id=${token}`, `\tsession-id=${token} `]) {
    t.match((await app.inject({ url: '/', headers: { cookie: header } })).json(), { isNew: false }, `found: ${header.slice(0, 30)}`)
  }
})

test('keys rotate: every key verifies, and a cookie with an old signature is replaced by one with the new', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    if (redis === 'memory:') return
    const NEW = 'the new key of the tests, random: 77ae01c9'
    const before = new Browser(await makeApp(t, { redis }, routes))
    await before.get('/set?a=1')
    const both = before.clone(await makeApp(t, { redis, secret: [NEW, SECRET] }, routes))
    const response = await both.get('/')
    t.match(response.json(), { isNew: false, data: { a: '1' } })
    t.equal(setCookies(response).length, 1)
    t.strictSame(setCookies(await both.get('/')), [], 'once is enough')
    t.match(await both.clone(await makeApp(t, { redis, secret: NEW }, routes)).json('/'), { isNew: false }, 'the old key can be retired')
    t.match(await before.clone(await makeApp(t, { redis, secret: NEW }, routes)).json('/'), { isNew: true })
  })
})

test('caches: a response that sets the cookie is never stored, one that looked at the session varies by it', async (t) => {
  const app = await makeApp(t, { redis: 'memory:' }, routes)
  const headers = async (query: string) => {
    const response = await app.inject(`/headers?${query}`)
    t.strictSame(setCookies(response).map(({ name }) => name).sort(), ['other', 'session-id'], 'other cookies stay')
    return [response.headers['cache-control'], response.headers.vary]
  }
  t.strictSame(await headers(''), ['no-store', 'Cookie'])
  t.strictSame(await headers('control=public, max-age=60'), ['no-store', 'Cookie'])
  t.strictSame(await headers('control=private, no-store'), ['private, no-store', 'Cookie'])
  t.strictSame(await headers('vary=Accept-Encoding'), ['no-store', 'Accept-Encoding, Cookie'])
  t.strictSame(await headers('vary=accept, cookie'), ['no-store', 'accept, cookie'])
  t.strictSame(await headers('vary=*'), ['no-store', '*'])
  t.equal((await app.inject('/plain')).headers.vary, undefined, 'nobody looked')
  t.equal((await app.inject('/')).headers.vary, 'Cookie')
})

/** How clients write a value that they took out of a Set-Cookie line and put into a Cookie header. */
const CLIENTS: Record<string, (value: string) => string> = {
  'as it came': (value) => value,
  'percent-encoded, as Next.js and light-my-request did': encodeURIComponent,
  'percent-encoded but for what a URL may hold': encodeURI,
  'as a field of a form': (value) => new URLSearchParams({ value }).toString().slice('value='.length),
  'escaped, as in old scripts': (value) => value.replace(/[^A-Za-z0-9@*_+\-./]/g, (character) => `%${character.charCodeAt(0).toString(16)}`),
  'quoted where a token would need it, as in Python and Java': (value) => /^[\w!#$%&'*+\-.^`|~]*$/.test(value) ? value : `"${value}"`
}

test('clients that write a value in their own way bring every session back', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    // A new secret and one that was renewed: both come from the same generator, and neither from the other's code.
    const app = await makeApp(t, { redis }, (app) => {
      routes(app)
      app.get('/rotate', async ({ session }: any) => { await session.rotate(); return {} })
    })
    for (const [client, write] of Object.entries(CLIENTS)) {
      let lost = 0
      for (let i = 0; i < 30; i++) {
        const browser = new Browser(app)
        await browser.get('/set?a=1')
        if (i % 2 === 0) await browser.get('/rotate')
        const { isNew } = (await app.inject({ url: '/', headers: { cookie: `session-id=${write(browser.token!)}` } })).json()
        if (isNew) lost++
      }
      t.equal(lost, 0, client)
    }
    const { cookie } = await app.sessions.issue({ a: 1 })
    t.equal(encodeURIComponent(cookie.split('=')[1]!), cookie.split('=')[1], 'also where no request made it')
  })
})
