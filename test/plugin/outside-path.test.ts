/** Pages outside `cookie.path`: browsers do not send the cookie there, and would let a page there replace it. */
import { test, type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { makeApp, onEveryStore, type AppOptions } from '../support/app.js'
import { setCookies } from '../support/browser.js'

/** A browser that knows about paths: it holds one cookie, and sends it below `/admin`, by the path as it stands in the URL. */
class PathBrowser {
  cookie: string | undefined
  readonly #app: FastifyInstance

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  async get (url: string): Promise<{ status: number, body: any, cookies: number }> {
    const sends = this.cookie !== undefined && /^\/admin(?:[/?]|$)/.test(url)
    const response = await this.#app.inject({ url, headers: sends ? { cookie: `sid=${this.cookie!}` } : {} })
    const lines = setCookies(response)
    for (const { value } of lines) this.cookie = value === '' ? undefined : value
    return { status: response.statusCode, body: response.json(), cookies: lines.length }
  }
}

const WRITES: Record<string, (session: any, request: any) => unknown> = {
  property: (session) => { session.seen = true },
  live: (session) => session.live.seen.set(true),
  incr: (session) => session.live.n.incr(),
  regenerate: (session) => session.regenerate(),
  rotate: (session) => session.rotate(),
  destroy: (session) => session.destroy(),
  remember: (session) => { session.remember() },
  null: (_, request) => { request.session = null }
}

async function scene (t: Test, redis: string, more: Partial<AppOptions> = {}): Promise<FastifyInstance> {
  return await makeApp(t, { redis, ...more, cookie: { name: 'sid', path: '/admin' } }, (app) => {
    app.get('/admin/login', async ({ session }: any) => { await session.regenerate(); session.user = 'ann'; return {} })
    app.get('/admin/me', async ({ session }: any) => ({ user: session.user ?? 'nobody' }))
    app.get('/administrator', async ({ session }: any) => { session.seen = true; return {} })
    app.get('/read', async ({ session }: any) => ({ user: session.user ?? 'nobody', isNew: session.isNew, live: await session.live.user.str, data: session.data() }))
    app.get('/save', async ({ session }: any) => { await session.save(); return {} })
    for (const [name, act] of Object.entries(WRITES)) {
      app.get(`/write/${name}`, async (request: any) => { await act(request.session, request); return {} })
      app.get(`/caught/${name}`, async (request: any) => {
        try { await act(request.session, request) } catch (error) { return { code: (error as { code: string }).code } }
        return {}
      })
    }
  })
}

/** How many records there are. */
async function count (app: FastifyInstance): Promise<number> {
  const ids = []
  for await (const { id } of app.sessions.each()) ids.push(id)
  return ids.length
}

test('a write there is refused, whatever it is: it sets no cookie, makes no record, and ends nobody\'s session', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await scene(t, redis, { prefix: 'outside:' })
    const browser = new PathBrowser(app)
    await browser.get('/admin/login')
    for (const name of Object.keys(WRITES)) {
      t.match(await browser.get(`/write/${name}`), { status: 500, body: { code: 'SESSION_OUTSIDE_PATH' }, cookies: 0 }, name)
      t.strictSame(await browser.get(`/caught/${name}`), { status: 200, body: { code: 'SESSION_OUTSIDE_PATH' }, cookies: 0 }, `${name}, caught`)
      t.strictSame((await browser.get('/admin/me')).body, { user: 'ann' }, name)
    }
    t.strictSame(await browser.get('/read'), { status: 200, body: { user: 'nobody', isNew: true, live: '', data: {} }, cookies: 0 })
    t.strictSame(await browser.get('/save'), { status: 200, body: {}, cookies: 0 }, 'there is nothing to save')
    t.match(await browser.get('/administrator'), { status: 500, body: { code: 'SESSION_OUTSIDE_PATH' } }, 'a name that only begins alike')
    t.equal(await count(app), 1)
  })
})

test('a cookie that comes there all the same counts for nothing', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await scene(t, redis)
    const browser = new PathBrowser(app)
    await browser.get('/admin/login')
    const headers = { cookie: `sid=${browser.cookie!}` }
    t.match((await app.inject({ url: '/read', headers })).json(), { user: 'nobody', isNew: true })
    const logout = await app.inject({ url: '/write/destroy', headers })
    t.strictSame([logout.statusCode, setCookies(logout)], [500, []])
    t.strictSame((await browser.get('/admin/me')).body, { user: 'ann' })
  })
})

test('which page it is says the path as the router reads it', async (t) => {
  const app = await scene(t, 'memory:')
  const browser = new PathBrowser(app)
  await browser.get('/admin/login')
  const headers = { cookie: `sid=${browser.cookie!}` }
  for (const url of ['/%61dmin/me', '/admin/%6de', '/admin/me?x=/read', '/admin/me#/read']) t.strictSame((await app.inject({ url, headers })).json(), { user: 'ann' }, url)
  for (const url of ['/%72ead', '/read?x=/admin/me', '/read?/admin']) t.match((await app.inject({ url, headers })).json(), { user: 'nobody' }, url)
})
