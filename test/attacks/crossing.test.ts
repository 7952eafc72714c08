/** Answers that reach the wrong visitor: replies of Redis that come late, requests that are given up, two plugins in one app. */
import { randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { test } from 'tap'
import sessionPlugin from '../../src/index.js'
import { makeApp, SECRET, sharedRedis } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { listen } from '../support/raw.js'
import { startRedis } from '../support/redis-process.js'
import { startProxy } from '../support/tcp-proxy.js'
import { until } from '../support/until.js'

function routes (app: FastifyInstance): void {
  app.get('/', async ({ session }: any) => ({ nonce: session.nonce ?? null, live: await session.live.nonce.str, id: session.id }))
  app.get('/begin', async ({ session, query }: any) => { session.nonce = query.nonce; return {} })
  app.get('/write', async ({ session }: any) => { session.at = Math.random(); return { nonce: session.nonce ?? null, n: await session.live.n.incr() } })
}

test('no visitor is ever given another one\'s session, whatever times out, breaks or is given up', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  const app = await makeApp(t, { redis: proxy.url, timeout: 100 }, routes)
  const calm = await makeApp(t, { redis: redis.url }, routes)
  const port = await listen(app)
  const visitors = await Promise.all(Array.from({ length: 20 }, async () => {
    const nonce = randomUUID()
    const browser = new Browser(calm)
    await browser.get(`/begin?nonce=${nonce}`)
    return { nonce, browser: browser.clone(app), id: browser.token!.slice(0, 22) }
  }))
  const statuses = new Map<number, number>()
  let wrong = 0
  /** Everybody reads and writes, all at the same time. Says whether all were answered. */
  const everybody = async (): Promise<boolean> => {
    const answered = await Promise.all(visitors.flatMap(({ nonce, id, browser }) => ['/', '/write'].map(async (url) => {
      const response = await browser.clone().get(url)
      statuses.set(response.statusCode, (statuses.get(response.statusCode) ?? 0) + 1)
      if (response.statusCode !== 200) return false
      const answer = response.json()
      if (answer.nonce !== nonce || (answer.live ?? nonce) !== nonce || (answer.id ?? id) !== id) wrong++
      return true
    })))
    return answered.every(Boolean)
  }
  /** Everybody asks over a socket and leaves at once. */
  const leave = (): void => {
    for (const { browser } of visitors) {
      const socket = connect(port, '127.0.0.1', () => {
        socket.write(`GET /write HTTP/1.1\r\nHost: app.example\r\nCookie: ${browser.cookie}\r\n\r\n`, () => { socket.destroy() })
      })
      socket.on('error', () => {})
    }
  }
  const trouble: Record<string, () => Promise<void>> = {
    'replies come too late': async () => { proxy.pause('replies'); await everybody(); proxy.resume() },
    'commands arrive too late': async () => { proxy.pause('requests'); await everybody(); proxy.resume() },
    'Redis is frozen': async () => { redis.freeze(); leave(); await everybody(); redis.thaw() },
    'replies are lost': async () => { proxy.dropReplies(3, 'EVALSHA'); await everybody() },
    'connections are cut': async () => { const asking = everybody(); proxy.cut(); await asking },
    'visitors leave': async () => { leave(); await everybody(); leave() }
  }
  for (const [what, make] of Object.entries(trouble)) {
    for (let round = 0; round < 3; round++) {
      await make()
      // Into the middle of what still comes of it.
      await everybody()
      await sleep(5)
    }
    await until('everybody is answered', 20_000, everybody)
    t.equal(wrong, 0, what)
  }
  t.ok(statuses.get(200)! >= 240 && statuses.get(503)! > 100, [...statuses].join(' '))
  for (const { nonce, id } of visitors) t.equal((await calm.sessions.inspect(id))!.fields['nonce'], nonce)
})

test('what belongs to one plugin instance is worth nothing at another', async (t) => {
  const { url } = await sharedRedis()
  const app = Fastify()
  t.teardown(() => app.close())
  const KINDS = {
    session: { prefix: 'one:', cookie: { secure: false, name: 'one' } },
    admin: { prefix: 'two:', cookie: { secure: false, name: 'two', sameSite: 'strict', path: '/admin' }, idleTimeout: 100, maxFields: 3, decoratorName: 'admin' },
    guest: { prefix: 'three:', secret: SECRET + ' of another kind', cookie: { secure: false, name: 'three' }, decoratorName: 'guest' }
  } as const
  for (const options of Object.values(KINDS)) await app.register(sessionPlugin, { secret: SECRET, redis: url, ...options })
  app.get('/admin/begin', async (request: any) => { for (const kind of Object.keys(KINDS)) request[kind].is = kind; return Object.keys(KINDS).map((kind) => request[kind].id) })
  app.get('/admin', async (request: any) => Object.keys(KINDS).map((kind) => request[kind].is ?? null))
  app.get('/admin/settings', async (request: any) => Object.keys(KINDS).map((kind) => request[kind].idleTimeout))
  app.get('/admin/many', async (request: any) => { for (const name of ['a', 'b', 'c', 'd']) request.session[name] = 1; request.guest.a = 1; return {} })
  app.get('/admin/end', async (request: any) => { await request.session.destroy(); return {} })
  await app.ready()

  const browser = new Browser(app)
  const ids = await browser.json('/admin/begin')
  t.equal(new Set(ids).size, 3)
  t.strictSame(await browser.json('/admin'), ['session', 'admin', 'guest'])
  t.strictSame(await browser.json('/admin/settings'), [1800, 100, 1800])
  t.equal((await browser.get('/admin/many')).statusCode, 200, 'limits are each one\'s own')
  const { one, two, three } = Object.fromEntries(browser.jar) as { one: string, two: string, three: string }
  for (const [cookies, expected] of [
    [{ one: two }, [null, null, null]], [{ one: three }, [null, null, null]], [{ two: one }, [null, null, null]], [{ two: three }, [null, null, null]], [{ three: one }, [null, null, null]], [{ three: two }, [null, null, null]],
    [{ one, two: one, three: one }, ['session', null, null]], [{ one: two, two, three: two }, [null, 'admin', null]], [{ one: three, two: one, three: two }, [null, null, null]]
  ] as Array<[Record<string, string>, Array<string | null>]>) {
    const cookie = Object.entries(cookies).map(([name, value]) => `${name}=${value}`).join('; ')
    t.strictSame((await app.inject({ url: '/admin', headers: { cookie } })).json(), expected, Object.entries(cookies).map(([name, value]) => `${name} = ${value === one ? 'one' : value === two ? 'two' : 'three'}`).join(', '))
  }
  await browser.get('/admin/end')
  t.strictSame(await browser.json('/admin'), [null, 'admin', 'guest'], 'and each ends alone')
})

test('two apps in one process share nothing, though their options are the same', async (t) => {
  const apps = await Promise.all([1, 2].map(() => makeApp(t, { redis: 'memory:' }, routes)))
  const browser = new Browser(apps[0]!)
  await browser.get('/begin?nonce=mine')
  t.match(await browser.json('/'), { nonce: 'mine' })
  t.match(await browser.clone(apps[1]).json('/'), { nonce: null })
})
