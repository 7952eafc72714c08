import { test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { makeApp, type Lines } from '../support/app.js'
import { Browser, setCookies } from '../support/browser.js'
import { startRedis } from '../support/redis-process.js'
import { until } from '../support/until.js'

const anonymous = { config: { session: { onStoreError: 'anonymous' } } } as const
const failing = { config: { session: { onStoreError: 'fail' } } } as const

/** What a handler may try with a session, each by a route of its own. */
const CHANGES: Record<string, (session: any, request: any) => unknown> = {
  property: (session) => { session.a = 2 },
  deletion: (session) => { delete session.a },
  set: (session) => { session.set('a', 2) },
  clear: (session) => { session.clear() },
  touch: (session) => { session.touch() },
  timeout: (session) => { session.idleTimeout = 60 },
  remember: (session) => { session.remember() },
  rotate: (session) => session.rotate(),
  regenerate: (session) => session.regenerate(['a']),
  destroy: (session) => session.destroy(),
  reload: (session) => session.reload(),
  null: (_, request) => { request.session = null },
  live: (session) => session.live.a.set(2),
  incr: (session) => session.live.n.incr(),
  take: (session) => session.live.a.take()
}

function routes (app: FastifyInstance): void {
  const look = async ({ session }: any) => ({
    degraded: session.degraded,
    isNew: session.isNew,
    data: session.data(),
    keys: Object.keys(session),
    a: session.a ?? null,
    live: await session.live.a.str,
    times: [session.createdAt ?? null, session.expiresAt ?? null]
  })
  app.get('/', look)
  app.get('/open', anonymous, look)
  app.get('/closed', failing, look)
  app.get('/blind', anonymous, async (_, reply) => reply.header('cache-control', 'public, max-age=600').send('news'))
  app.get('/save', anonymous, async ({ session }: any) => { await session.save(); return {} })
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
  for (const [name, change] of Object.entries(CHANGES)) {
    app.get(`/change/${name}`, anonymous, async (request: any) => { await change(request.session, request); return {} })
    app.get(`/caught/${name}`, anonymous, async (request: any) => {
      try {
        await change(request.session, request)
        return { code: null }
      } catch (error) {
        return { code: (error as { code: string }).code }
      }
    })
  }
}

test('a route that asks for it goes on with an empty session that cannot be changed, and nothing is lost by it', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const lines: Lines = []
  const app = await makeApp(t, { redis: redis.url, timeout: 100, lines }, routes)
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  t.match(await browser.json('/open'), { degraded: false, data: { a: '1' } }, 'while Redis is there, it is a route like any other')
  redis.freeze()

  for (const url of ['/', '/closed']) t.equal((await browser.get(url)).statusCode, 503, url)
  const response = await browser.get('/open')
  t.strictSame(response.json(), { degraded: true, isNew: true, data: {}, keys: [], a: null, live: '', times: [null, null] })
  t.strictSame([response.headers['cache-control'], response.headers.vary, setCookies(response)], ['no-store', 'Cookie', []])
  const blind = await browser.get('/blind')
  t.strictSame([blind.statusCode, blind.headers['cache-control'], setCookies(blind)], [200, 'no-store', []], 'a handler that did not look was given its answer in the same moment')
  t.equal((await browser.get('/save')).statusCode, 200, 'there is nothing to save')
  for (const name of Object.keys(CHANGES)) {
    const refused = await browser.get(`/change/${name}`)
    t.strictSame([refused.statusCode, refused.json().code], [503, 'SESSION_DEGRADED'], name)
    t.match(refused.headers, { 'retry-after': /^[123]$/, 'cache-control': 'no-store' }, name)
    t.strictSame(setCookies(refused), [], name)
    const caught = await browser.get(`/caught/${name}`)
    t.strictSame(caught.json(), { code: 'SESSION_DEGRADED' }, `${name}, caught`)
    t.strictSame([setCookies(caught), caught.headers['cache-control']], [[], 'no-store'], `${name}, caught`)
  }
  t.match(await new Browser(app).json('/open'), { degraded: false, isNew: true }, 'without a cookie nothing was asked, and nothing failed')
  t.equal(lines.filter(({ msg }) => /goes on without it/.test(msg)).length, 1, 'logged once, not per request')

  redis.thaw()
  await until('Redis answers', 5000, async () => (await browser.get('/')).statusCode === 200)
  t.match(await browser.json('/open'), { degraded: false, data: { a: '1' } }, 'the session goes on')
})

test('as an option for all routes, which single routes overrule', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const app = await makeApp(t, { redis: redis.url, timeout: 100, onStoreError: 'anonymous' }, routes)
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  await redis.kill()
  t.match(await browser.json('/'), { degraded: true, data: {} })
  t.equal((await browser.get('/closed')).statusCode, 503)
  t.equal((await browser.get('/set?a=2')).json().code, 'SESSION_DEGRADED')
})

test('a record that cannot be used is an error on every route: it is no outage that passes', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const app = await makeApp(t, { redis: redis.url }, routes)
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  await redis.ask('SET', `session:${browser.token!.slice(0, 22)}`, 'a string')
  const response = await browser.get('/open')
  t.strictSame([response.statusCode, response.json().code], [500, 'SESSION_RECORD_INVALID'])
})

test('the page that tells of it can look at the session like any other page, and can change nothing', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const seen: unknown[] = []
  const page = async (error: any, request: any, reply: any): Promise<unknown> => {
    const { session } = request
    let code
    try { if (request.query.write !== undefined) session.seen = true } catch (error) { ({ code } = error as { code: string }) }
    return reply.code(error.statusCode ?? 500).type('text/html').send(`<nav>${String(session.user ?? 'stranger')} ${String(session.degraded)} ${JSON.stringify(session)} ${await session.live.user.str}</nav>${String(error.code)} ${String(code)}`)
  }
  const app = await makeApp(t, { redis: redis.url, timeout: 100, userField: 'user' }, (app) => {
    app.setErrorHandler(page)
    app.setNotFoundHandler((request: any, reply) => { reply.code(404).send(`not found, ${String(request.session?.user ?? 'stranger')}`) })
    app.addHook('onError', async (request: any) => { seen.push(request.session.degraded, request.session.data()) })
    app.addHook('onResponse', async (request: any) => { seen.push(request.session.isNew) })
    app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
    app.get('/', async ({ session }: any) => session.user)
    app.get('/fails', async ({ session }: any) => { session.user = 'eve'; throw new Error('no') })
    app.get('/elevated', { config: { session: { elevated: true } as never } }, async () => 'secret')
  })
  const browser = new Browser(app)
  await browser.get('/set?user=ann')
  const { token } = browser
  t.match(await browser.get('/fails'), { statusCode: 500, body: /^<nav>eve false/ }, 'after an error of the handler it is what the handler left')
  await redis.kill()
  seen.length = 0
  for (const url of ['/', '/?write=1', '/elevated', '/nowhere']) {
    const response = await browser.get(url)
    t.match(response, { statusCode: 503, headers: { 'content-type': /html/, 'cache-control': 'no-store', 'retry-after': /^[123]$/ } }, url)
    t.equal(response.body, `<nav>stranger true {} </nav>SESSION_STORE_UNAVAILABLE ${url === '/?write=1' ? 'SESSION_DEGRADED' : 'undefined'}`, url)
    t.strictSame(setCookies(response), [], url)
  }
  t.strictSame([seen.filter((one) => typeof one === 'object'), seen.includes(false)], [[{}, {}, {}, {}], false], 'so can hooks')
  t.equal(browser.token, token)
  t.match(await new Browser(app).get('/nowhere'), { statusCode: 404, body: 'not found, stranger' })
})
