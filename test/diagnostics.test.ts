import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { newId } from '../src/cookie/token.js'
import { channels, type SessionEvents } from '../src/diagnostics.js'
import { RedisStore } from '../src/store/redis.js'
import { WatchedStore } from '../src/store/watched.js'
import { delta, RULES, set } from './contract/kit.js'
import { ready } from './contract/redis-subject.js'
import { makeApp, onEveryStore, SECRET } from './support/app.js'
import { Browser, Gate } from './support/browser.js'
import { startRedis } from './support/redis-process.js'
import { until } from './support/until.js'

type Name = keyof SessionEvents
type Message = { [Event in Name]: SessionEvents[Event] & { readonly event: Event } }[Name]

const NAMES: readonly Name[] = ['created', 'loaded', 'missed', 'saved', 'rotated', 'reused', 'destroyed', 'gone', 'rejected', 'store-error']

/** Collects what is published until the test ends. */
function listen (t: Test, names: readonly Name[] = NAMES): Message[] {
  const messages: Message[] = []
  for (const event of names) {
    const channel = `fastify-live-session:${event}`
    const listener = (message: unknown): void => { messages.push({ event, ...message as object } as Message) }
    subscribe(channel, listener)
    t.teardown(() => unsubscribe(channel, listener))
  }
  return messages
}

/** How often each event came, and forgets them. */
function counts (messages: Message[]): Record<string, number> {
  const counted: Record<string, number> = {}
  for (const { event } of messages.splice(0)) counted[event] = (counted[event] ?? 0) + 1
  return counted
}

function routes (app: FastifyInstance, gate = new Gate()): void {
  app.get('/', async ({ session }: any) => ({ id: session.id, data: session.data() }))
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return { id: session.id } })
  app.get('/live', async ({ session }: any) => { await Promise.all([session.live.n.incr(), session.live.a.str]); return {} })
  app.get('/livefirst', async ({ session }: any) => { await session.live.n.incr(); return {} })
  app.get('/read', async ({ session }: any) => await session.live.a.str)
  app.get('/slow', async ({ session, query }: any) => {
    await gate.pass()
    if (query.kind === 'read') return await session.live.a.str
    if (query.kind === 'carry') await session.regenerate(['a'])
    session.slow = 1
    return {}
  })
  app.get('/rotate', async ({ session }: any) => { await session.rotate(); return {} })
  app.get('/login', async ({ session }: any) => { await session.regenerate(); session.user = 'andrew'; return {} })
  app.get('/logout', async ({ session }: any) => { await session.destroy(); return {} })
  app.get('/reload', async ({ session }: any) => { await session.reload(); return {} })
  app.get('/huge', async ({ session }: any) => { for (let i = 0; i < 200; i++) session[`f${i}`] = 1; return {} })
  app.get('/off', { config: { session: false } }, async () => ({}))
}

test('every step of a session\'s life is published once, and nothing else is', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis }, routes)
    const messages = listen(t)
    const browser = new Browser(app)
    const visit = async (url: string, client = browser): Promise<Record<string, number>> => {
      await client.get(url)
      return counts(messages)
    }
    t.strictSame(await visit('/'), {}, 'an anonymous visit is nothing')
    t.strictSame(await visit('/nowhere'), {})
    t.strictSame(await visit('/set?a=1'), { created: 1 })
    t.strictSame(await visit('/'), { loaded: 1 })
    t.strictSame(await visit('/off'), {}, 'a route without sessions')
    t.strictSame(await visit('/set?a=1'), { loaded: 1 }, 'nothing changed')
    t.strictSame(await visit('/set?a=2'), { loaded: 1, saved: 1 })
    t.strictSame(await visit('/live'), { loaded: 1, saved: 1 }, 'live operations of one turn are one write')
    t.strictSame(await visit('/read'), { loaded: 1 })
    t.strictSame(await visit('/huge'), { loaded: 1 }, 'refused: too many fields')
    t.strictSame(await visit('/reload'), { loaded: 2 })
    const before = browser.clone()
    t.strictSame(await visit('/rotate'), { loaded: 1, saved: 1, rotated: 1 })
    t.strictSame(await visit('/', before), { missed: 1 }, 'the old secret')
    const visitor = browser.clone()
    t.strictSame(await visit('/login'), { loaded: 1, created: 1, destroyed: 1 })
    t.strictSame(await visit('/', visitor), { missed: 1 })
    const member = browser.clone()
    t.strictSame(await visit('/logout'), { loaded: 1, destroyed: 1 })
    t.strictSame(await visit('/', member), { missed: 1 })
    t.strictSame(await visit('/logout', member), { missed: 1 }, 'nothing was there to end')
    t.strictSame(await visit('/livefirst'), { created: 1 })
    t.strictSame(await visit('/huge', new Browser(app)), {}, 'a record that was refused was not created')
  })
})

test('cookies that prove nothing are published with the reason', async (t) => {
  const app = await makeApp(t, { redis: 'memory:' }, routes)
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  const token = browser.token!
  const forged = token.slice(0, -1) + (token.endsWith('A') ? 'E' : 'A') // both are last characters of a signature
  const messages = listen(t)
  for (const [cookie, reason] of [['', 'malformed'], ['x', 'malformed'], [token.slice(1), 'malformed'], [forged, 'signature'], [`${token}; session-id=${token}`, 'duplicate']] as const) {
    await app.inject({ url: '/', headers: { cookie: `session-id=${cookie}` } })
    t.strictSame(messages.splice(0), [{ event: 'rejected', instance: 'session', reason }], `${reason}: ${cookie.length}`)
  }
  await app.inject({ url: '/', headers: { cookie: 'other=1' } })
  t.strictSame(messages, [], 'other cookies are nobody\'s business')
})

test('routine renewal and the reuse of what it replaced', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis, rotateEvery: 0.2, rotateGrace: 0.1 }, routes)
    const browser = new Browser(app)
    await browser.get('/set?a=1')
    const old = browser.clone()
    await sleep(220)
    const messages = listen(t, ['rotated', 'reused', 'loaded', 'missed'])
    await Promise.all(Array.from({ length: 5 }, () => old.clone().get('/')))
    t.match(messages.filter(({ event }) => event === 'rotated'), [{ event: 'rotated', routine: true }], 'five were due, one renewed')
    await browser.get('/')
    await browser.get('/')
    await sleep(150)
    messages.splice(0)
    await old.get('/')
    t.strictSame(counts(messages), { reused: 1 })
    await browser.get('/')
    t.strictSame(counts(messages), { missed: 1 })
  })
})

test('requests that find their session ended under way', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    for (const [kind, expected] of [
      ['write', { operation: 'write' }], ['read', { operation: 'read' }], ['carry', { operation: 'retire' }]
    ] as const) {
      const gate = new Gate()
      const app = await makeApp(t, { redis }, (app) => { routes(app, gate) })
      const browser = new Browser(app)
      const { id } = await browser.json('/set?a=1')
      const messages = listen(t, ['gone'])
      const slow = browser.clone().get(`/slow?kind=${kind}`)
      await gate.arrived(1)
      await browser.get('/logout')
      gate.open()
      await slow
      t.match(messages, [{ event: 'gone', instance: 'session', id, ...expected }], kind)
      t.equal(messages.length, 1)
      await app.close()
    }
  })
})

test('failures of the store are published with their operation and code', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const app = await makeApp(t, { redis: redis.url, timeout: 100 }, routes)
  const browser = new Browser(app)
  const { id } = await browser.json('/set?a=1')
  const messages = listen(t, ['store-error', 'saved', 'loaded'])
  await redis.ask('CONFIG', 'SET', 'maxmemory', '1')
  await browser.get('/set?a=2')
  await new Browser(app).get('/set?a=2')
  await redis.ask('CONFIG', 'SET', 'maxmemory', '0')
  redis.freeze()
  await browser.get('/')
  redis.thaw()
  await until('Redis answers', 5000, async () => (await app.inject({ url: '/', headers: { cookie: browser.cookie } })).statusCode === 200)
  await redis.ask('SET', `session:${id}`, 'x')
  await browser.get('/')
  const errors = messages.filter(({ event }) => event === 'store-error')
  t.match(errors.slice(0, 3), [
    { instance: 'session', id, operation: 'write', code: 'SESSION_STORE_UNAVAILABLE', message: /OOM/ },
    { instance: 'session', id: /^.{22}$/, operation: 'create', code: 'SESSION_STORE_UNAVAILABLE', message: /OOM/ },
    { instance: 'session', id, operation: 'load', code: 'SESSION_STORE_UNAVAILABLE', message: /no answer within 100 ms/ }
  ])
  t.ok(errors[2]!.event === 'store-error' && errors[2]!.duration > 90, 'it took the time that it waited')
  t.match(errors.at(-1), { operation: 'load', code: 'SESSION_RECORD_INVALID' })
})

test('whatever the store is asked for, its failure is published', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const store = new WatchedStore(new RedisStore(await ready(redis.client()), { timeout: 50 }), 'staff')
  const id = newId()
  const operations: ReadonlyArray<[name: string, id: string | undefined, run: () => Promise<unknown>]> = [
    ['load', id, () => store.load(id, 'digest', true, RULES)],
    ['create', id, () => store.create(id, 'digest', delta([set('a', '1')]), RULES)],
    ['write', id, () => store.write(id, 'digest', delta([set('a', '1')]), RULES)],
    ['read', id, () => store.read(id, 'digest', ['a'])],
    ['stands', id, () => store.stands(id, 'digest')],
    ['renew', id, () => store.renew(id, 'digest', 'next', 'sealed')],
    ['destroy', id, () => store.destroy(id)],
    ['destroy', id, () => store.end(id)],
    ['inspect', id, () => store.inspect(id)],
    ['announce', id, () => store.announce('andrew', { id, ticket: undefined, lasts: 1000, keep: 1000, since: undefined, limit: undefined, replaces: undefined })],
    ['leave', undefined, () => store.leave('andrew', [{ id, ticket: 'ticket' }])],
    ['entries', undefined, () => store.entries('andrew')],
    ['describe', undefined, () => store.describe([id])],
    ['scan', undefined, () => store.scan().next()]
  ]
  const messages = listen(t)
  await redis.kill()
  for (const [operation, about, run] of operations) {
    await t.rejects(run(), { code: 'SESSION_STORE_UNAVAILABLE' }, operation)
    t.match(messages.splice(0), [{ event: 'store-error', instance: 'staff', id: about, operation, code: 'SESSION_STORE_UNAVAILABLE' }], operation)
  }
})

test('messages say which instance, how long it took, and nothing secret', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const messages = listen(t)
    const app = await makeApp(t, { redis, decoratorName: 'staff', rotateEvery: 0.001, rotateGrace: 0, touchInterval: 0 }, (app) => {
      app.get('/', async ({ staff }: any) => staff.data())
      app.get('/set', async ({ staff }: any) => { staff.pin = 'VERYPRIVATE'; staff.n = Math.random(); await staff.live.word.set('VERYPRIVATE'); return {} })
      app.get('/rotate', async ({ staff }: any) => { await staff.rotate(); return {} })
      app.get('/logout', async ({ staff }: any) => { await staff.destroy(); return {} })
      app.get('/bad', async ({ staff }: any) => { await staff.live.pin.incr(); return {} })
    })
    const browser = new Browser(app)
    const tokens = new Set<string>()
    for (const url of ['/set', '/', '/set', '/rotate', '/bad', '/', '/set', '/logout', '/set']) {
      await browser.get(url)
      for (const part of browser.token?.split('.').slice(1) ?? []) tokens.add(part)
      await app.inject({ url: '/', headers: { cookie: `session-id=${browser.token ?? ''}x` } })
    }
    const text = JSON.stringify(messages)
    t.ok(tokens.size >= 6)
    for (const secret of [...tokens, SECRET, 'VERYPRIVATE']) t.notOk(text.includes(secret))
    t.ok(messages.length > 20)
    for (const message of messages) {
      t.equal(message.instance, 'staff')
      if (message.event !== 'rejected') t.ok(/^[\w-]{22}$/.test(message.id ?? '') && message.duration >= 0 && message.duration < 1000, message.event)
    }
  })
})

test('an event is published within its request', async (t) => {
  const app = await makeApp(t, { redis: 'memory:' }, (app) => {
    app.addHook('onRequest', (request, _, done) => { storage.run(request.id, done) })
    routes(app)
  })
  const storage = new AsyncLocalStorage<string>()
  const seen: Array<string | undefined> = []
  const listener = (): void => { seen.push(storage.getStore()) }
  subscribe('fastify-live-session:created', listener)
  t.teardown(() => unsubscribe('fastify-live-session:created', listener))
  await Promise.all(['/set?a=1', '/set?a=1'].map((url) => app.inject(url)))
  t.strictSame(seen.sort(), ['req-1', 'req-2'])
})

test('without listeners nothing is built, and listening to one event leaves the others alone', async (t) => {
  const app = await makeApp(t, { redis: 'memory:' }, routes)
  const published: string[] = []
  for (const [name, channel] of Object.entries(channels)) {
    const { publish } = channel
    channel.publish = () => { published.push(name) }
    t.teardown(() => { channel.publish = publish })
  }
  const browser = new Browser(app)
  for (const url of ['/set?a=1', '/', '/rotate', '/logout']) await browser.get(url)
  await app.inject({ url: '/', headers: { cookie: 'session-id=x' } })
  t.strictSame(published, [])
})
