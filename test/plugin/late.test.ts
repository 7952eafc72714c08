/** Looking at a session before it is there, and changing it when it is saved already. */
import Fastify from 'fastify'
import { test } from 'tap'
import type { FastifyInstance } from 'fastify'
import sessionPlugin from '../../src/index.js'
import { makeApp, onEveryStore, SECRET, type Lines } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { until } from '../support/until.js'

/** What somebody may do too late, each in its own way. */
const CHANGES: Record<string, (request: any) => unknown> = {
  property: ({ session }) => { session.views = (session.views ?? 0) + 1 },
  deletion: ({ session }) => { delete session.views },
  set: ({ session }) => { session.set('views', 1) },
  clear: ({ session }) => { session.clear() },
  touch: ({ session }) => { session.touch() },
  timeout: ({ session }) => { session.idleTimeout = 60 },
  remember: ({ session }) => { session.remember() },
  rotate: ({ session }) => session.rotate(),
  elevate: ({ session }) => session.elevate(60),
  regenerate: ({ session }) => session.regenerate(),
  null: (request) => { request.session = null }
}

/** The same application for a stranger and for somebody who has a session. */
async function visitors (app: FastifyInstance): Promise<Array<[name: string, browser: Browser]>> {
  const member = new Browser(app)
  await member.get('/set?user=ann')
  return [['a stranger', new Browser(app)], ['a member', member]]
}

const set = async ({ session, query }: any): Promise<string> => { Object.assign(session, query); return 'ok' }

test('a change in a hook after the save is refused, for strangers and members alike', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    for (const [name, change] of Object.entries(CHANGES)) {
      const app = await makeApp(t, { redis }, (app) => {
        app.get('/set', set)
        app.get('/', { onSend: async (request) => { await change(request) } }, async () => 'ok')
        app.get('/looked', { onSend: async (request) => { await change(request) } }, async ({ session }: any) => session.data())
      })
      for (const [who, browser] of await visitors(app)) {
        for (const url of ['/', '/looked']) {
          const response = await browser.get(url)
          t.strictSame([response.statusCode, response.json().code], [500, 'SESSION_SEALED'], `${name}, ${who}, ${url}`)
        }
      }
    }
  })
})

test('a change after the response has left is dropped, with a warning that names the route, and ends nothing', async (t) => {
  for (const [name, change] of Object.entries(CHANGES)) {
    const lines: Lines = []
    const done: string[] = []
    const app = await makeApp(t, { redis: 'memory:', lines }, (app) => {
      app.get('/set', set)
      app.get('/data', async ({ session }: any) => session.data())
      // As callbacks that nobody guards: what throws there ends the process.
      app.get('/late/:who', (request: any, reply) => {
        reply.send('ok')
        reply.raw.once('finish', () => setImmediate(() => { change(request); done.push(request.params.who) }))
      })
      app.get('/response/:who', { onResponse: (request: any, _reply, next) => { change(request); done.push(request.params.who); next() } }, async () => 'ok')
    })
    const address = await app.listen({ port: 0, host: '127.0.0.1' })
    for (const [who, browser] of await visitors(app)) {
      const headers = browser.token === undefined ? undefined : { cookie: `session-id=${browser.token}` }
      for (const url of ['/late/', '/response/']) {
        t.equal((await fetch(address + url + encodeURIComponent(who), { ...headers && { headers } })).status, 200)
      }
      await until(`${name}: ${who} is done`, 5000, () => done.filter((one) => one === who).length === 2)
      t.strictSame(await browser.json('/data'), browser.token === undefined ? {} : { user: 'ann' }, `${name}: nothing changed for ${who}`)
    }
    const warnings = lines.filter(({ msg }) => /after the response had left/.test(msg))
    t.strictSame(warnings.map(({ route }) => route).sort(), ['GET /late/:who', 'GET /response/:who'], `${name}: one line for each route`)
  }
})

test('a change while the final save runs is refused like one after it', async (t) => {
  const late: Array<string | undefined> = []
  const app = await makeApp(t, { redis: 'memory:' }, (app) => {
    app.get('/', (request: any, reply) => {
      request.session.x = 2
      reply.send('sent')
      try {
        request.session.y = 2
        late.push(undefined)
      } catch (error) {
        late.push((error as { code: string }).code)
      }
    })
    app.get('/data', async ({ session }: any) => session.data())
  })
  const browser = new Browser(app)
  for (let i = 0; i < 2; i++) await browser.get('/')
  t.strictSame(late, ['SESSION_SEALED', 'SESSION_SEALED'])
  t.strictSame(await browser.json('/data'), { x: 2 })
})

test('live writes are no changes of the snapshot: they go on while and after the response leaves', async (t) => {
  const app = await makeApp(t, { redis: 'memory:' }, (app) => {
    app.get('/set', set)
    app.get('/', { onSend: async ({ session }: any) => { await session.live.sent.incr() }, onResponse: async ({ session }: any) => { await session.live.answered.incr() } }, async () => 'ok')
    app.get('/data', async ({ session }: any) => session.data())
  })
  const browser = new Browser(app)
  await browser.get('/set?user=ann')
  await browser.get('/')
  t.strictSame(await browser.json('/data'), { user: 'ann', sent: 1, answered: 1 })
})

test('before the session is loaded there is none: log serializers and earlier hooks see undefined', async (t) => {
  const seen: unknown[] = []
  const app = Fastify({ logger: { level: 'info', stream: { write () {} }, serializers: { req: (request: any) => { seen.push(request.session?.get('user')); return { url: request.url } } } } })
  t.teardown(() => app.close())
  app.addHook('onRequest', async (request: any) => { seen.push(request.session) })
  await app.register(sessionPlugin, { secret: SECRET, redis: 'memory:', cookie: { secure: false } })
  app.addHook('onRequest', async (request: any) => { seen.push(request.session.user) })
  app.get('/', async () => 'ok')
  t.equal((await app.inject({ url: '/', headers: await app.sessions.issue({ user: 'ann' }) })).body, 'ok')
  t.strictSame(seen, [undefined, undefined, 'ann'])
})

test('while it is being loaded there is none, either', async (t) => {
  let seen: unknown = 'nothing'
  const { MemoryStore } = await import('../../src/index.js')
  const store = new MemoryStore()
  const load = store.load.bind(store)
  let meanwhile: () => void = () => {}
  store.load = async (...args) => { meanwhile(); return await load(...args) }
  const app = await makeApp(t, { redis: store }, (app) => {
    app.get('/', async ({ session }: any) => session.data())
  })
  const headers = await app.sessions.issue({ user: 'ann' })
  let request: any
  const early = Fastify()
  t.teardown(() => early.close())
  early.addHook('onRequest', async (one) => { request = one })
  await early.register(sessionPlugin, { secret: SECRET, redis: store, cookie: { secure: false } })
  early.get('/', async ({ session }: any) => session.data())
  meanwhile = () => { seen = request?.session }
  t.strictSame((await early.inject({ url: '/', headers })).json(), { user: 'ann' })
  t.equal(seen, undefined)
})

test('nothing can be assigned to the session but null', async (t) => {
  const app = await makeApp(t, { redis: 'memory:' }, (app) => {
    app.get('/set', set)
    app.get('/data', async ({ session }: any) => session.data())
    app.get('/assign', async (request: any) => {
      const codes: string[] = []
      for (const value of [undefined, {}, { user: 'eve' }, 0, false, '', 'null', NaN]) {
        try {
          request.session = value
          codes.push(`accepted ${String(value)}`)
        } catch (error) {
          codes.push((error as { code: string }).code)
        }
      }
      return codes
    })
    app.get('/null', async (request: any) => { request.session = null; return request.session.data() })
  })
  const [, [, browser]] = await visitors(app) as [unknown, [string, Browser]]
  t.strictSame(new Set(await browser.json('/assign')), new Set(['SESSION_NOT_ASSIGNABLE']))
  t.strictSame(await browser.json('/data'), { user: 'ann' }, 'nobody was logged out by it')
  t.strictSame(await browser.json('/null'), {})
  t.equal(browser.jar.size, 0)
})
