/** `fastify.sessions.issue()`: a logged-in session in one line, for tests of applications. */
import { Type } from '@sinclair/typebox'
import { test } from 'tap'
import { makeApp, onEveryStore } from './support/app.js'
import { Browser } from './support/browser.js'

test('what it returns are the headers of a request that is logged in', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    // Every use extends, so that it does not matter how much later than the session the first one came.
    const app = await makeApp(t, { redis, touchInterval: 0 }, (app) => {
      app.get('/login', async ({ session }: any) => { session.user = 'andrew'; session.cart = [{ id: 7 }]; return {} })
      app.get('/', async ({ session }: any) => ({ ...session, isNew: session.isNew, id: session.id }))
      app.get('/logout', async ({ session }: any) => { await session.destroy(); return {} })
    })
    const headers = await app.sessions.issue({ user: 'andrew', cart: [{ id: 7 }] })
    t.strictSame(Object.keys(headers), ['cookie'])
    const visit = async (): Promise<any> => (await app.inject({ url: '/', headers })).json()
    const { id } = await visit()
    t.strictSame(await visit(), { user: 'andrew', cart: [{ id: 7 }], isNew: false, id })

    const browser = new Browser(app)
    await browser.get('/login')
    const [issued, requested] = await Promise.all([id, (await browser.json('/')).id].map(async (id: string) => await app.sessions.inspect(id)))
    t.strictSame(Object.keys(issued!.fields).sort(), Object.keys(requested!.fields).sort(), 'the record is as a request makes it')
    t.ok(Math.abs(issued!.ttl - requested!.ttl) < 10_000)
    await app.inject({ url: '/logout', headers })
    t.match(await visit(), { user: undefined, isNew: true })
  })
})

test('each call makes a session of its own', async (t) => {
  const app = await makeApp(t, { redis: 'memory:' }, (app) => { app.get('/', async ({ session }: any) => session.data()) })
  const all = await Promise.all(['a', 'b'].map(async (user) => await app.sessions.issue({ user })))
  for (const [i, headers] of all.entries()) t.strictSame((await app.inject({ url: '/', headers })).json(), { user: 'ab'[i] })
})

test('for a second instance of the plugin, the cookie is that one\'s', async (t) => {
  const app = await makeApp(t, { redis: 'memory:', decoratorName: 'staff', cookie: { secure: true } }, (app) => { app.get('/', async ({ staff }: any) => staff.data()) })
  const headers = await (app as any).staffs.issue({ user: 'andrew' })
  t.match(headers.cookie, /^__Host-session-id=/)
  t.strictSame((await app.inject({ url: '/', headers })).json(), { user: 'andrew' })
})

test('what a request could not store, it does not store either', async (t) => {
  const app = await makeApp(t, { redis: 'memory:', schema: Type.Object({ count: Type.Optional(Type.Integer()) }), maxFields: 2 })
  await t.rejects(app.sessions.issue({ count: 'many' }), { code: 'SESSION_SCHEMA_MISMATCH' })
  await t.rejects(app.sessions.issue({ created_at: 1 }), { code: 'SESSION_NAME_INVALID' })
  await t.rejects(app.sessions.issue({ a: 1, b: 2, c: 3 }), { code: 'SESSION_TOO_MANY_FIELDS' })
  for (const nothing of [{}, { user: undefined }]) await t.rejects(app.sessions.issue(nothing), { code: 'SESSION_NO_DATA', message: /at least one field/ })
})

test('an issued session is among those of its user', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis, userField: 'user', devices: true, prefix: 'users:' }, (app) => { app.get('/', async ({ session }: any) => session.data()) })
    const headers = await app.sessions.issue({ user: 'andrew' })
    t.equal((await app.sessions.list('andrew')).length, 1)
    await app.sessions.endAll('andrew')
    t.strictSame((await app.inject({ url: '/', headers })).json(), {})
  })
})
