/** A shared cache in front of the app, as careless as the standard allows: it must never mix two visitors up. */
import Fastify, { type FastifyInstance, type InjectOptions, type LightMyRequestResponse } from 'fastify'
import { test } from 'tap'
import { makeApp, onEveryStore } from '../support/app.js'
import { Browser } from '../support/browser.js'

/**
 * A shared cache (RFC 9111): stores every answer to GET that is not `no-store` or `private`, with or without explicit
 * freshness, Set-Cookie lines included, for ever; and gives it to every request whose headers named by Vary are the same.
 */
class SharedCache {
  readonly #app: FastifyInstance
  readonly #stored = new Map<string, Array<{ vary: string[], request: Record<string, string>, response: LightMyRequestResponse }>>()
  hits = 0

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  async fetch (url: string, headers: Record<string, string>): Promise<LightMyRequestResponse> {
    const entries = this.#stored.get(url) ?? []
    const known = entries.find(({ vary, request }) => vary.every((name) => request[name] === headers[name]))
    if (known !== undefined) {
      this.hits++
      return known.response
    }
    const options: InjectOptions = { url, headers }
    const response = await this.#app.inject(options)
    const control = String(response.headers['cache-control'] ?? '').toLowerCase().split(',').map((part) => part.trim())
    const vary = String(response.headers.vary ?? '').toLowerCase().split(',').map((name) => name.trim()).filter((name) => name !== '')
    if (!control.includes('no-store') && !control.includes('private') && !vary.includes('*')) {
      entries.push({ vary, request: headers, response })
      this.#stored.set(url, entries)
    }
    return response
  }
}

/** Every way to look at a session: each answers what only its visitor may see. */
const ACCESS: Record<string, (session: any, request: any) => unknown> = {
  property: (session) => session.nonce,
  get: (session) => session.get('nonce'),
  has: (session) => [session.has('nonce'), session.id],
  in: (session) => ['nonce' in session, session.id],
  keys: (session) => Object.keys(session),
  'for in': (session) => { const names = []; for (const name in session) names.push(name); return names },
  spread: (session) => ({ ...session }),
  destructuring: ({ nonce }) => nonce,
  JSON: (session) => JSON.stringify(session),
  data: (session) => session.data(),
  id: (session) => session.id,
  isNew: (session) => session.isNew,
  times: (session) => [session.createdAt ?? null, session.expiresAt ?? null, session.idleTimeout],
  live: (session) => session.live.nonce.str,
  'live batch': async (session) => await Promise.all([session.live.nonce.json, session.live.nonce.none]),
  incr: (session) => session.isNew ? 'anonymous' : session.live.hits.incr(),
  write: (session) => { if (!session.isNew) session.hits = (session.hits ?? 0) + 1; return session.nonce },
  rotate: async (session) => { await session.rotate(); return session.nonce },
  touch: (session) => { session.touch(); return session.nonce },
  'from the request': (_, request) => request.server.sessions !== undefined && request.session.nonce
}

/** What the app says about caching, by itself. */
const CONTROLS = ['', 'public', 'public, max-age=3600', 's-maxage=600', 'max-age=60, immutable', 'private', 'private, max-age=60', 'no-cache', 'no-store', 'NO-STORE, private', 'stale-while-revalidate=60']

function routes (app: FastifyInstance): void {
  app.get('/begin', async ({ session, query }: any) => { session.nonce = query.nonce; return {} })
  app.get('/look/:how', async (request: any, reply) => {
    const { how } = request.params
    const { control, vary } = request.query
    const answer = { answer: await ACCESS[how]!(request.session, request) ?? null }
    // Also headers that are set last have to be looked at.
    if (control !== '') reply.header('cache-control', control)
    if (vary !== undefined) reply.header('vary', vary)
    return answer
  })
  app.get('/plain', async (request: any, reply) => reply.header('cache-control', request.query.control).send({ answer: 'the same for all' }))
}

test('no way to look at a session lets a cache give its answer to somebody else', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis }, routes)
    const cache = new SharedCache(app)
    const visitors = { anna: new Browser(app), ben: new Browser(app) }
    for (const [name, browser] of Object.entries(visitors)) await browser.get(`/begin?nonce=nonce-of-${name}`)
    let asked = 0
    for (const how of Object.keys(ACCESS)) {
      for (const control of CONTROLS) {
        for (const vary of control === 'public' ? ['', '&vary=accept-encoding', '&vary=*'] : ['']) {
          const url = `/look/${how}?control=${encodeURIComponent(control)}${vary}`
          // Each comes twice, so that the second one may be answered from the cache.
          for (const name of ['anna', 'ben', 'nobody', 'anna', 'ben', 'nobody'] as const) {
            asked++
            const browser = name === 'nobody' ? undefined : visitors[name]
            const response = await cache.fetch(url, browser === undefined ? {} : { cookie: browser.cookie })
            if (response.statusCode !== 200) t.fail(`${url}: ${response.statusCode}`)
            for (const [other, { token }] of Object.entries(visitors)) {
              if (other === name) continue
              if (response.body.includes(`nonce-of-${other}`) || response.body.includes(token!.slice(0, 22))) t.fail(`${name} was shown what is ${other}'s: ${url}`)
              if (String(response.headers['set-cookie']).includes(token!)) t.fail(`${name} was given the cookie of ${other}: ${url}`)
            }
            // As a browser does: what is set is taken.
            const line = /^session-id=([^;]+)/.exec(String(response.headers['set-cookie'] ?? ''))
            if (line !== null) browser!.jar.set('session-id', line[1]!)
          }
        }
      }
      t.pass(how)
    }
    t.ok(asked > 1000 && cache.hits > 100, `${asked} answers, ${cache.hits} of them from the cache`)
  })
})

test('a cookie that comes without anybody looking at the session is not cached either', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    for (const options of [{ rotateEvery: 0.001, rotateGrace: 0 }, { cookie: { persistent: true }, touchInterval: 0 }, { secret: ['a newer key of the tests, random: c07a1', 'a secret of the tests 8f1c0d7e5b2a'] }]) {
      const app = await makeApp(t, { redis, ...options }, routes)
      const issuer = 'secret' in options && redis !== 'memory:' ? await makeApp(t, { redis }, routes) : app
      for (const control of CONTROLS.filter((control) => control !== '')) {
        const cache = new SharedCache(app)
        const url = `/plain?control=${encodeURIComponent(control)}`
        const browsers = [new Browser(issuer), new Browser(issuer)]
        for (const browser of browsers) await browser.get('/begin?nonce=1')
        await new Promise((resolve) => setTimeout(resolve, 3))
        const responses = []
        for (const browser of [...browsers, ...browsers]) responses.push(await cache.fetch(url, { cookie: browser.cookie }))
        const lines = responses.map(({ headers }) => String(headers['set-cookie'] ?? ''))
        if (issuer !== app || !('secret' in options)) t.ok(lines[0] !== '' && lines[1] !== '' && lines[0] !== lines[1], `${control}: each is given a cookie of his own`)
        for (const { headers } of responses) if (headers['set-cookie'] !== undefined) t.match(headers['cache-control'], /no-store/i, control)
      }
    }
  })
})

test('what another server answered is handed on, and no cache keeps the cookie that comes with it', async (t) => {
  const upstream = Fastify()
  t.teardown(() => upstream.close())
  upstream.get('/', async (request: any, reply) => reply.headers({ 'cache-control': request.query.control, vary: 'Accept-Encoding' }).send('the same for all'))
  const address = await upstream.listen({ port: 0, host: '127.0.0.1' })
  const ways: Record<string, (request: any) => unknown> = {
    'without a look': () => {},
    'with a look': ({ session }) => session.nonce,
    'with a change': ({ session }) => { session.hits = 1 },
    'with a login': async ({ session }) => { await session.regenerate(); session.nonce = 'of the login' },
    'with a new secret': ({ session }) => session.rotate(),
    'with a logout': ({ session }) => session.destroy()
  }
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis, cookie: { persistent: true }, touchInterval: 0 }, (app) => {
      routes(app)
      for (const [i, act] of Object.values(ways).entries()) {
        app.get(`/${i}/fetched`, async (request: any) => { await act(request); return await fetch(`${address}/?control=${encodeURIComponent(request.query.control)}`) })
        app.get(`/${i}/made`, async (request: any) => { await act(request); return new Response('the same for all', { headers: { 'cache-control': request.query.control, vary: 'Accept-Encoding' } }) })
        app.get(`/${i}/sent`, (request: any, reply) => { Promise.resolve(act(request)).then(() => reply.send(new Response(null, { status: 304, headers: { 'cache-control': request.query.control } })), () => {}) })
      }
    })
    for (const [i, way] of Object.keys(ways).entries()) {
      for (const kind of ['fetched', 'made', 'sent']) {
        for (const control of ['public, max-age=86400', 'private, max-age=60', 's-maxage=60']) {
          const cache = new SharedCache(app)
          const [one, two] = [new Browser(app), new Browser(app)]
          for (const browser of [one, two]) await browser.get('/begin?nonce=1')
          // So that the cookie is due for another age.
          await new Promise((resolve) => setTimeout(resolve, 3))
          const url = `/${i}/${kind}?control=${encodeURIComponent(control)}`
          for (const browser of [one, two]) {
            const { statusCode, headers } = await cache.fetch(url, { cookie: browser.cookie })
            t.equal(statusCode, kind === 'sent' ? 304 : 200, `${way}, ${kind}`)
            if (headers['set-cookie'] !== undefined) t.match(headers['cache-control'], /no-store/, `${way}, ${kind}, ${control}`)
            else t.equal(headers['cache-control'], control, `${way}, ${kind}, ${control}`)
            if (way !== 'without a look' && kind !== 'sent') t.equal(headers.vary, 'Accept-Encoding, Cookie', `${way}, ${kind}`)
            if (/login|secret|logout/.test(way)) t.ok(headers['set-cookie'], `${way}, ${kind}: there is a cookie`)
          }
          t.equal(cache.hits, 0)
        }
      }
    }
  })
})

test('what never looked at a session may be cached for all, with and without a session', async (t) => {
  const app = await makeApp(t, { redis: 'memory:' }, routes)
  const cache = new SharedCache(app)
  const browser = new Browser(app)
  await browser.get('/begin?nonce=1')
  for (let i = 0; i < 3; i++) t.match((await cache.fetch('/plain?control=public', { cookie: browser.cookie })).headers, { 'cache-control': 'public' })
  t.equal(cache.hits, 2, 'the plugin takes nobody\'s cache away')
})
