/** How many sessions a user may have. */
import { test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { aliveOf, held, indexOn, listed, login, onRedisAndCluster, Visitor } from './kit.js'
import { makeApp, onEveryStore } from '../support/app.js'
import { Browser } from '../support/browser.js'

let count = 0
const someone = (): string => `user-${++count}`

test('logins at the same moment keep to the limit, on a single Redis and on a Cluster', async (t) => {
  await onRedisAndCluster(t, async (t, place) => {
    const { store } = place
    for (const max of [1, 3]) {
      await t.test(`refuse beyond ${max}`, async (t) => {
        const user = someone()
        const index = indexOn(store, { maxSessions: max, onLimit: 'refuse' })
        const results = await Promise.allSettled(Array.from({ length: 10 }, () => login(index, user)))
        const refused = results.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[]
        t.equal(refused.length, 10 - max)
        for (const { reason } of refused) t.match(reason, { code: 'SESSION_LIMIT_REACHED', statusCode: 403 })
        t.equal((await aliveOf(store, user)).length, max)
        t.strictSame(await listed(index, user), await aliveOf(store, user))
        await t.rejects(login(index, user), { code: 'SESSION_LIMIT_REACHED' })
        await index.end((await aliveOf(store, user))[0]!)
        await login(index, user)
        t.equal((await aliveOf(store, user)).length, max)
      })

      await t.test(`the oldest beyond ${max} end`, async (t) => {
        const user = someone()
        const index = indexOn(store, { maxSessions: max, onLimit: 'end-oldest' })
        await Promise.all(Array.from({ length: 10 }, () => login(index, user)))
        t.equal((await aliveOf(store, user)).length, max)
        t.strictSame(await listed(index, user), await aliveOf(store, user))
        const last = []
        for (let i = 0; i < max + 1; i++) {
          last.push(await login(index, user))
          // The clock that tells who is older counts milliseconds.
          await new Promise((resolve) => setTimeout(resolve, 2))
        }
        t.strictSame(await aliveOf(store, user), last.slice(1).map(({ id }) => id).sort())
      })
    }

    await t.test('at no moment there are more', async (t) => {
      const user = someone()
      const index = indexOn(store, { maxSessions: 1, onLimit: 'end-oldest' })
      const first = await login(index, user)
      const slow = held(store, 'create', 'before')
      const second = new Visitor()
      const entering = second.create(indexOn(slow.store, { maxSessions: 1 }), { user })
      await slow.gate.arrived(1)
      t.strictSame(await aliveOf(store, user), [], 'the oldest ends before the new one begins')
      const third = await login(index, user)
      slow.gate.open()
      t.match(await entering, { barred: true }, 'the one in between was the oldest by then')
      t.strictSame(await aliveOf(store, user), [third.id])
      t.equal((await store.describe([first.id]))[0], undefined)
    })

    await t.test('what ended without telling takes up no room, and is not the oldest either', async (t) => {
      for (const onLimit of ['refuse', 'end-oldest'] as const) {
        const user = someone()
        const index = indexOn(store, { maxSessions: 2, onLimit })
        const first = await login(index, user)
        const second = await login(index, user)
        await store.destroy(second.id)
        // Its entry is old enough to be known as dead; the other one's is its own.
        const list = (await store.entries(user)).entries
        t.equal(list.length, 2)
        await place.ageTickets(user, 60_000)
        // Aged together with the entry, because a record names its entry.
        await first.write(indexOn(store), { user: someone() })
        await first.write(indexOn(store), { user })
        const third = await login(index, user)
        t.strictSame(await aliveOf(store, user), [first.id, third.id].sort(), onLimit)
      }
    })

    await t.test('a session that takes the place of another does not count twice', async (t) => {
      const user = someone()
      const index = indexOn(store, { maxSessions: 1, onLimit: 'refuse' })
      const first = await login(index, user)
      const second = new Visitor()
      second.replaces = [first.id]
      await second.create(index, { user })
      await store.destroy(first.id, first.digest)
      await index.forget(first.id, first.bound)
      t.strictSame(await listed(index, user), [second.id])
      t.ok(await second.write(index, { user }), 'nor does one that becomes its own user’s again')
    })
  })
})

test('the limit, over HTTP', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    for (const onLimit of ['refuse', 'end-oldest'] as const) {
      const routes = (app: FastifyInstance): void => {
        app.get('/', async ({ session }: any) => ({ isNew: session.isNew }))
        app.get('/login', async ({ session }: any) => { await session.regenerate(); session.user = 7; return {} })
      }
      const app = await makeApp(t, { redis, prefix: `${onLimit}:`, userField: 'user', maxSessionsPerUser: 2, onLimit }, routes)
      const browsers = Array.from({ length: 6 }, () => new Browser(app))
      const answers = await Promise.all(browsers.map((browser) => browser.get('/login')))
      const alive = (await Promise.all(browsers.map((browser) => browser.json('/')))).filter(({ isNew }) => !isNew)
      t.equal(alive.length, 2, onLimit)
      t.equal(await app.sessions.count(7), 2)
      if (onLimit === 'refuse') {
        t.equal(answers.filter(({ statusCode }) => statusCode === 403).length, 4)
        t.match(answers.find(({ statusCode }) => statusCode === 403)!.json(), { code: 'SESSION_LIMIT_REACHED' })
        t.equal(answers.filter(({ headers }) => headers['set-cookie'] !== undefined).length, 2, 'who is refused gets no cookie')
      }
      const winner = browsers[answers.findIndex(({ statusCode }) => statusCode === 200)]!
      t.equal((await winner.get('/login')).statusCode, 200, 'logging in once more, in the same browser')
    }
  })
})

test('a limit that was hit leaves the answer to the application, whether it catches the error or has a page for it', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const routes = (app: FastifyInstance): void => {
      app.setErrorHandler((error: { code: string, statusCode: number }, _, reply) => reply.code(error.statusCode).send(`my page for ${error.code}`))
      app.get('/visit', async ({ session }: any) => { session.cart = 1; return {} })
      app.get('/cart', async ({ session }: any) => ({ cart: session.cart ?? null, user: session.user ?? null }))
      app.get('/login', async ({ session }: any) => { await session.regenerate(['cart']); session.user = 7; return {} })
      for (const [url, prepare] of [['/here', () => {}], ['/anew', (session: any) => session.regenerate()]] as const) {
        app.get(`${url}/caught`, async ({ session }: any, reply) => {
          await prepare(session)
          session.user = 7
          try {
            await session.save()
          } catch (error) {
            return reply.code(409).send(`by hand: ${(error as { code: string }).code}`)
          }
        })
        app.get(`${url}/thrown`, async ({ session }: any) => { await prepare(session); session.user = 7; await session.save() })
      }
    }
    const app = await makeApp(t, { redis, prefix: `${Math.random()}:`, userField: 'user', maxSessionsPerUser: 1, onLimit: 'refuse' }, routes)
    await new Browser(app).json('/login')
    for (const visited of [false, true]) {
      for (const url of ['/here', '/anew']) {
        const browser = new Browser(app)
        if (visited) await browser.json('/visit')
        const caught = await browser.get(`${url}/caught`)
        t.strictSame([caught.statusCode, caught.body], [409, 'by hand: SESSION_LIMIT_REACHED'], url)
        const thrown = await browser.get(`${url}/thrown`)
        t.strictSame([thrown.statusCode, thrown.body], [403, 'my page for SESSION_LIMIT_REACHED'], url)
        t.equal(await app.sessions.count(7), 1, url)
        t.strictSame(await browser.json('/cart'), { cart: visited ? 1 : null, user: null }, 'the session is what it was')
      }
    }
  })
})
