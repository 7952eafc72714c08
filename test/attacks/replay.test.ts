/** Planting a session on somebody, and coming back with the cookie of a session that ended. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { makeApp, onEveryStore, sharedRedis } from '../support/app.js'
import { Browser, setCookies } from '../support/browser.js'
import { until } from '../support/until.js'

function routes (app: FastifyInstance): void {
  app.get('/', async ({ session }: any) => ({ id: session.id, isNew: session.isNew, data: session.data() }))
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return { id: session.id } })
  app.get('/live', async ({ session }: any) => { await session.live.n.incr(); return { id: session.id } })
  app.get('/save', async ({ session }: any) => { session.a = 1; await session.save(); return { id: session.id } })
  app.get('/login', async ({ session }: any) => { await session.regenerate(['locale']); session.user = 'andrew'; return { id: session.id } })
  app.get('/rotate', async ({ session }: any) => { await session.rotate(); return {} })
  app.get('/logout', async ({ session }: any) => { await session.destroy(); return {} })
  app.get('/null', async (request: any) => { request.session = null; return {} })
  app.get('/emptied', async ({ session }: any) => { await session.regenerate(); return {} })
  app.get('/read', async ({ session }: any) => ({ secret: await session.live.secret.str }))
}

/** A cookie that proves nothing any more must be worth exactly as much as none, on whatever route. */
async function assertDead (t: Test, app: FastifyInstance, dead: Browser, id: string, what: string): Promise<void> {
  for (const url of ['/', '/read', '/rotate', '/emptied']) {
    const thief = dead.clone(app)
    const response = await thief.get(url)
    t.equal(response.statusCode, 200, `${what}: ${url}`)
    t.notMatch(response.body, 'treasure', `${what}: ${url}`)
    t.strictSame(setCookies(response), [], `${what}: ${url} neither issues nor clears a cookie`)
  }
  t.match(await dead.clone(app).json('/'), { isNew: true, data: {} }, what)
  for (const url of ['/set?b=1', '/live', '/save', '/login']) {
    const thief = dead.clone(app)
    const fresh = await thief.json(url)
    t.not(fresh.id, id, `${what}: ${url} begins another session`)
    t.match(await thief.json('/'), { id: fresh.id, isNew: false }, `${what}: ${url}`)
    t.notMatch(JSON.stringify(await thief.json('/')), 'treasure', `${what}: ${url}`)
  }
}

test('a session that was planted before the login is worth nothing after it', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis }, routes)
    const mallory = new Browser(app)
    const { id } = await mallory.json('/set?locale=cs&_csrf=planted&user=mallory&admin=1')
    const victim = mallory.clone()
    await victim.get('/set?step=basket')
    const { id: after } = await victim.json('/login')
    t.not(after, id)
    t.strictSame((await victim.json('/')).data, { locale: 'cs', user: 'andrew' }, 'only what was carried over on purpose')
    t.notOk(victim.token!.split('.').some((part) => mallory.token!.includes(part)), 'nothing of the cookie stayed')
    t.equal(await app.sessions.inspect(id), undefined, 'the old record is gone')
    await assertDead(t, app, mallory, id, 'planted')
  })
})

test('a session that ended before it was planted does not come to life with its victim', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis }, routes)
    const mallory = new Browser(app)
    const { id } = await mallory.json('/set?a=1')
    const planted = mallory.clone()
    await mallory.get('/logout')
    for (const url of ['/set?secret=treasure', '/live', '/save', '/login']) {
      const victim = planted.clone()
      t.not((await victim.json(url)).id, id, url)
      t.not(victim.token, planted.token, url)
      t.equal(await app.sessions.inspect(id), undefined, 'an id is never adopted')
    }
    await assertDead(t, app, planted, id, 'planted')
  })
})

/** How a session can end. Each gets a browser with a session, and ends that session. */
const ENDS: Record<string, { options?: object, end: (browser: Browser, app: FastifyInstance, id: string) => Promise<unknown> }> = {
  logout: { end: (browser) => browser.get('/logout') },
  'session = null': { end: (browser) => browser.get('/null') },
  regeneration: { end: (browser) => browser.get('/login') },
  'regeneration without data': { end: (browser) => browser.get('/emptied') },
  rotation: { end: (browser) => browser.get('/rotate') },
  'idle timeout': { options: { idleTimeout: 3, touchInterval: 0 }, end: () => sleep(3100) },
  lifetime: {
    options: { idleTimeout: 3, lifetime: 3.5, touchInterval: 0 },
    end: async (browser) => { await until('it ended, however busy', 8000, async () => (await browser.clone().json('/')).isNew) }
  },
  'reuse of a renewed secret': {
    options: { rotateEvery: 0.1, rotateGrace: 0.05 },
    end: async (browser) => {
      const old = browser.clone()
      await sleep(150)
      await browser.get('/')
      await browser.get('/')
      await sleep(100)
      await old.get('/')
    }
  }
}

for (const [name, { options, end }] of Object.entries(ENDS)) {
  test(`replay after ${name}`, async (t) => {
    await onEveryStore(t, async (t, { redis }) => {
      const app = await makeApp(t, { redis, ...options }, routes)
      const browser = new Browser(app)
      const { id } = await browser.json('/set?secret=treasure')
      const stolen = browser.clone()
      t.match(await stolen.json('/'), { id, isNew: false }, 'it was good before')
      await end(browser, app, id)
      await assertDead(t, app, stolen, id, name)
      if (redis !== 'memory:') await assertDead(t, await makeApp(t, { redis, ...options }, routes), stolen, id, `${name}, another process`)
    })
  })
}

test('replay after the record was deleted in Redis by hand', async (t) => {
  const redis = await sharedRedis()
  const app = await makeApp(t, { redis: redis.url }, routes)
  const browser = new Browser(app)
  const { id } = await browser.json('/set?secret=treasure')
  await redis.ask('DEL', `session:${id}`)
  await assertDead(t, app, browser, id, 'DEL')
  t.equal(await redis.ask('EXISTS', `session:${id}`), 0)
})

test('a stream that is open when its session ends can notice it', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const seen: string[] = []
    const app = await makeApp(t, { redis }, (app) => {
      routes(app)
      app.get('/events', async ({ session }: any, reply) => {
        reply.hijack()
        reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
        try {
          for (;;) {
            await session.reload()
            seen.push(session.secret)
            reply.raw.write('data: still here\n\n')
            await sleep(10)
          }
        } catch (error) {
          reply.raw.end(`event: ${(error as { code: string }).code}\n\n`)
        }
      })
    })
    const browser = new Browser(app)
    await browser.get('/set?secret=treasure')
    const stream = browser.clone().get('/events')
    await until('it flows', 2000, () => seen.length > 2)
    await browser.get('/logout')
    t.match((await stream).body, /still here\n\nevent: SESSION_GONE\n\n$/)
  })
})
