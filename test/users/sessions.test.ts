/** Which sessions are a user's, over HTTP on every store. */
import { test, type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { makeApp, onEveryStore, type AppOptions } from '../support/app.js'
import { Browser } from '../support/browser.js'

/** Routes by which a session comes to a user, and leaves again, in every way there is. */
function routes (app: FastifyInstance): void {
  app.get('/', async ({ session }: any) => ({ id: session.id, isNew: session.isNew, data: session.data() }))
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return { id: session.id } })
  app.get('/number', async ({ session, query }: any) => { session.user = Number(query.user); return {} })
  app.get('/method', async ({ session, query }: any) => { session.set('user', query.user); return {} })
  app.get('/delete', async ({ session }: any) => { delete session.user; return {} })
  app.get('/null', async ({ session }: any) => { session.user = null; return {} })
  app.get('/clear', async ({ session }: any) => { session.clear(); return {} })
  app.get('/login', async ({ session, query }: any) => { await session.regenerate(); session.user = query.user; return { id: session.id } })
  app.get('/carry', async ({ session }: any) => { await session.regenerate(['user']); return { id: session.id } })
  app.get('/forget', async ({ session }: any) => { await session.regenerate(); session.other = 1; return {} })
  app.get('/rotate', async ({ session }: any) => { await session.rotate(); return {} })
  app.get('/logout', async ({ session }: any) => { await session.destroy(); return {} })
  app.get('/live', async ({ session, query }: any) => {
    const { user } = session.live
    switch (query.how) {
      case 'set': await user.set(query.user); break
      case 'setIfAbsent': return { result: await user.setIfAbsent(query.user) }
      case 'delete': await user.delete(); break
      case 'take': return { result: await user.take() }
      case 'update': return { result: await user.update(() => query.user) }
      case 'remove': await user.update(() => undefined); break
      case 'incr': return { result: await user.incr(Number(query.by)) }
    }
    return {}
  })
}

type Ids = Record<string, string[]>

async function open (t: Test, redis: string, options: Partial<AppOptions> = {}): Promise<{ app: FastifyInstance, whose: () => Promise<Ids>, id: (browser: Browser) => Promise<string> }> {
  // Everybody has a store of their own, by their own prefix.
  const prefix = `${Math.random().toString(36).slice(2)}:`
  const app = await makeApp(t, { redis, prefix, userField: 'user', ...options } as AppOptions, routes)
  return {
    app,
    whose: async () => Object.fromEntries(await Promise.all((['andrew', 'barbara', 5, '5'] as const).map(async (user) => {
      const ids = (await app.sessions.list(user)).map(({ id }) => id).sort()
      const counted = await app.sessions.count(user)
      if (counted !== ids.length) throw new Error(`count says ${counted}, list ${ids.length}`)
      return [typeof user === 'number' ? `number ${user}` : user, ids] as const
    })).then((pairs) => pairs.filter(([, ids]) => ids.length > 0))),
    id: async (browser) => (await browser.json('/')).id
  }
}

test('a session moves with its user field, however that is changed, and nothing else moves it', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { app, whose, id } = await open(t, redis)
    const moves: Array<[url: string, user: string | undefined]> = [
      ['/set?user=andrew', 'andrew'], ['/set?color=red', 'andrew'], ['/set?user=andrew', 'andrew'], ['/rotate', 'andrew'],
      ['/set?user=barbara', 'barbara'], ['/delete', undefined], ['/method?user=andrew', 'andrew'], ['/clear', undefined],
      ['/number?user=5', 'number 5'], ['/set?user=5', '5'], ['/null', undefined],
      ['/live?how=set&user=andrew', 'andrew'], ['/live?how=setIfAbsent&user=barbara', 'andrew'], ['/live?how=update&user=barbara', 'barbara'],
      ['/live?how=take', undefined], ['/live?how=setIfAbsent&user=andrew', 'andrew'], ['/live?how=delete', undefined],
      ['/live?how=incr&by=4', 'number 4'], ['/live?how=incr&by=1', 'number 5'], ['/live?how=remove', undefined],
      ['/login?user=andrew', 'andrew'], ['/carry', 'andrew'], ['/forget', undefined], ['/login?user=barbara', 'barbara'], ['/logout', undefined]
    ]
    const browser = new Browser(app)
    for (const [url, user] of moves) {
      await browser.json(url)
      const current = browser.token?.slice(0, 22)
      const expected = user === undefined || user === 'number 4' ? {} : { [user]: [current] }
      t.strictSame(await whose(), expected, url)
      if (user === 'number 4') t.equal(await app.sessions.count(4), 1)
    }
    // A session without a record comes into being live, too.
    const other = new Browser(app)
    await other.json('/live?how=set&user=andrew')
    t.strictSame(await whose(), { andrew: [await id(other)] })
  })
})

test('a function of the data says whose a session is', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { app, whose } = await open(t, redis, { userField: (data: any) => data.passport?.user ?? data.guest })
    app.sessions.count('x').catch(() => {})
    const browser = new Browser(app)
    await browser.json('/set?guest=andrew')
    t.same(Object.keys(await whose()), ['andrew'])
  })
})

test('list tells what there is to know, last used first, and marks the own one', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { app, id } = await open(t, redis, { devices: true })
    const phone = new Browser(app)
    const desk = new Browser(app)
    await phone.get('/login?user=andrew', { headers: { 'user-agent': 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1' }, remoteAddress: '203.0.113.77' })
    await desk.get('/login?user=andrew', { headers: { 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0' }, remoteAddress: '2001:db8:1:2::3' })
    const list = await app.sessions.list('andrew', { current: await id(phone) })
    t.match(list.sort((a, b) => a.device! < b.device! ? -1 : 1), [
      { id: await id(desk), device: 'Firefox on Linux', network: '2001:db8:1::/48', current: false, createdAt: Date, lastAccessedAt: Date, authenticatedAt: Date },
      { id: await id(phone), device: 'Safari on iPhone', network: '203.0.113.0/24', current: true }
    ])
    const left = list[0]!.expiresAt.getTime() - list[0]!.createdAt.getTime()
    t.ok(Math.abs(left - 1_800_000) < 2000, `${left} ms`)
    t.match(await app.sessions.get(await id(desk)), { id: await id(desk), data: { user: 'andrew' }, device: 'Firefox on Linux' })
    t.equal(await app.sessions.get('nonsense'), undefined)
    t.equal(await app.sessions.get('AAAAAAAAAAAAAAAAAAAAAA'), undefined)
    const plain = await open(t, redis)
    await new Browser(plain.app).get('/login?user=andrew')
    t.match(await plain.app.sessions.list('andrew'), [{ device: undefined, network: undefined }], 'nothing is kept of devices unless asked for')
    t.notOk(Object.keys((await plain.app.sessions.inspect((await plain.app.sessions.list('andrew'))[0]!.id))!.fields).some((name) => /device|network/.test(name)))
  })
})

test('end, endAll and each', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { app, id, whose } = await open(t, redis)
    const browsers = await Promise.all(Array.from({ length: 6 }, async (_, i) => {
      const browser = new Browser(app)
      await browser.json(i < 5 ? '/login?user=andrew' : '/login?user=barbara')
      return browser
    }))
    const anonymous = new Browser(app)
    await anonymous.json('/set?a=1')
    const ids: string[] = []
    for await (const { id } of app.sessions.each()) ids.push(id)
    t.strictSame(ids.sort(), (await Promise.all([...browsers, anonymous].map(id))).sort())
    const first = await id(browsers[0]!)
    t.equal(await app.sessions.end(first), true)
    t.equal(await app.sessions.end(first), false)
    t.match(await browsers[0]!.json('/'), { isNew: true })
    t.equal((await app.sessions.list('andrew')).length, 4)
    t.equal(await app.sessions.endAll('andrew', { except: await id(browsers[1]!) }), 3)
    t.strictSame((await whose()).andrew, [await id(browsers[1]!)])
    t.match(await Promise.all(browsers.slice(1, 5).map(async (browser) => (await browser.json('/')).isNew)), [false, true, true, true])
    t.equal(await app.sessions.endAll('andrew'), 1)
    t.equal(await app.sessions.endAll('andrew'), 0)
    t.match(await browsers[5]!.json('/'), { isNew: false })
    t.match(await anonymous.json('/'), { isNew: false })
  })
})

test('without userField there are no users', async (t) => {
  const app = await makeApp(t, { redis: 'memory:' }, routes)
  for (const method of ['list', 'count', 'endAll'] as const) {
    await t.rejects(app.sessions[method]('andrew') as Promise<unknown>, { code: 'SESSION_NO_USERS', statusCode: 500 }, method)
  }
  const browser = new Browser(app)
  await browser.json('/set?user=andrew')
  const { id } = await browser.json('/')
  t.match(await app.sessions.get(id), { data: { user: 'andrew' } })
  t.equal(await app.sessions.end(id), true)
})
