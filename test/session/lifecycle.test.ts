import { test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { MemoryStore } from '../../src/store/memory.js'
import { makeApp, onEveryStore, sharedRedis } from '../support/app.js'
import { Browser, Gate, setCookies } from '../support/browser.js'

/** The routes that most tests here need. */
function routes (app: FastifyInstance, gate = new Gate()): void {
  app.get('/', async ({ session }: any) => ({ data: session.data(), isNew: session.isNew, id: session.id }))
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
  app.get('/rotate', async ({ session, query }: any) => { await session.rotate(); Object.assign(session, query); return {} })
  app.get('/login', async ({ session }: any) => { await session.regenerate(['locale', 'absent']); session.user = 'andrew'; return {} })
  app.get('/logout', async ({ session }: any) => { await session.destroy(); return { isNew: session.isNew } })
  app.get('/fail', async ({ session }: any) => { session.failed = true; throw new Error('no') })
  app.get('/slow', async ({ session, query }: any) => {
    const { count } = session
    await gate.pass()
    switch (query.kind) {
      case 'write': session.slow = count + 1; break
      case 'nested': session.cart.push(1); break
      case 'live': await session.live.slow.set(1); break
      case 'incr': await session.live.count.incr(); break
      case 'rotate': await session.rotate(); break
      case 'touch': session.touch(); break
      case 'timeout': session.idleTimeout = 100; break
      case 'carry': await session.regenerate(['count']); break
      case 'save': session.slow = 1; await session.save(); break
    }
    return { count: count ?? null }
  })
}

test('nothing is stored and no cookie is sent until data are written', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis }, routes)
    const browser = new Browser(app)
    for (const url of ['/', '/rotate', '/logout', '/nowhere']) {
      const response = await browser.get(url)
      t.strictSame(setCookies(response), [], url)
    }
    t.match(await browser.json('/'), { isNew: true, data: {} })
    const response = await browser.get('/set?a=1')
    t.equal(setCookies(response).length, 1)
    t.equal(response.headers['cache-control'], 'no-store')
    t.equal(response.headers.vary, 'Cookie')
    t.match(await browser.json('/'), { isNew: false, data: { a: '1' } })
    t.strictSame(setCookies(await browser.get('/set?a=2')), [], 'the cookie is not sent again')
  })
})

test('login by regenerate: nothing planted before it survives, chosen keys do, the old token is anonymous', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis }, routes)
    const browser = new Browser(app)
    await browser.get('/set?locale=cs&_csrf=planted&user=mallory')
    const before = await browser.json('/')
    const thief = browser.clone()
    await browser.get('/login')
    const after = await browser.json('/')
    t.strictSame(after.data, { locale: 'cs', user: 'andrew' })
    t.not(after.id, before.id)
    t.match(await thief.json('/'), { isNew: true, data: {} })
    t.equal(await app.sessions.inspect(before.id), undefined)
  })
})

test('rotate: same record, new cookie, and the old token is dead at once, on every process', async (t) => {
  const { url } = await sharedRedis()
  const app = await makeApp(t, { redis: url }, routes)
  const other = await makeApp(t, { redis: url }, routes)
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  const { id } = await browser.json('/')
  const thief = browser.clone(other)
  t.equal((await thief.json('/')).isNew, false)
  await browser.get('/rotate?b=2')
  t.match(await browser.json('/'), { id, isNew: false, data: { a: '1', b: '2' } }, 'one step with what changed')
  t.match(await thief.json('/'), { isNew: true, data: {} })
  t.match(await browser.clone(other).json('/'), { id, isNew: false })
  t.notOk((await app.sessions.inspect(id))!.fields['@next'])
})

test('what was in flight when the session ended comes to nothing: 409 where it changed data, no cookie, no record', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    for (const end of ['/logout', '/login', '/rotate']) {
      for (const kind of ['read', 'touch', 'write', 'nested', 'live', 'incr', 'rotate', 'timeout', 'carry', 'save']) {
        const gate = new Gate()
        const app = await makeApp(t, { redis }, (app) => { routes(app, gate); app.get('/start', async ({ session }: any) => { session.count = 1; session.cart = [] }) })
        const browser = new Browser(app)
        await browser.get('/start')
        const { id } = await browser.json('/')
        const slow = browser.clone()
        const answer = slow.get(`/slow?kind=${kind}`)
        await gate.arrived(1)
        await browser.get(end)
        gate.open()
        const response = await answer
        const harmless = kind === 'read' || kind === 'touch'
        t.equal(response.statusCode, harmless ? 200 : 409, `${kind} after ${end}: ${response.body}`)
        if (!harmless) t.equal(response.json().code, 'SESSION_GONE')
        t.strictSame(setCookies(response), [], 'the loser of a race leaves the cookie alone')
        const record = await app.sessions.inspect(id)
        if (end === '/rotate') t.strictSame([record?.fields.count, record?.fields.slow], ['1', undefined], 'the rotated record is as it was')
        else t.equal(record, undefined, 'the ended record stays ended')
        await app.close()
      }
    }
  })
})

test('a handler that fails changes nothing, unless it saved itself or saveOnError says so', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const more = (app: FastifyInstance): void => {
      routes(app)
      app.get('/reply500', async ({ session }: any, reply) => { session.failed = true; return reply.code(500).send({}) })
      app.get('/response500', async ({ session }: any) => { session.failed = true; return new Response('{}', { status: 500 }) })
      app.get('/rotatefail', async ({ session }: any) => { await session.rotate(); throw new Error('no') })
      app.get('/loginfail', async ({ session }: any) => { await session.regenerate(); session.user = 'x'; throw new Error('no') })
      app.get('/savefail', async ({ session }: any) => { session.kept = 1; await session.save(); session.lost = 1; throw new Error('no') })
      app.get('/livefail', async ({ session }: any) => { await session.live.hits.incr(); throw new Error('no') })
      app.get('/reply400', async ({ session }: any, reply) => { session.flash = 'bad form'; return reply.code(400).send({}) })
    }
    const app = await makeApp(t, { redis }, more)
    const browser = new Browser(app)
    await browser.get('/fail')
    t.equal(browser.jar.size, 0)
    await browser.get('/set?a=1')
    for (const url of ['/fail', '/reply500', '/response500', '/rotatefail', '/loginfail']) {
      const response = await browser.get(url)
      t.strictSame([response.statusCode, setCookies(response)], [500, []], url)
      t.strictSame((await browser.json('/')).data, { a: '1' }, `${url}: the session is as it was, and nobody is logged out`)
    }
    await browser.get('/savefail')
    await browser.get('/livefail')
    await browser.get('/reply400')
    t.strictSame((await browser.json('/')).data, { a: '1', kept: 1, hits: 1, flash: 'bad form' })
    const lenient = await makeApp(t, { redis, saveOnError: true }, more)
    const other = new Browser(lenient)
    t.equal((await other.get('/fail')).statusCode, 500)
    t.strictSame((await other.json('/')).data, { failed: true })
  })
})

test('destroy ends the session everywhere, clears the cookie as it was set, and leaves a usable new session', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis, cookie: { domain: 'example.com', path: '/', sameSite: 'strict' } }, (app) => {
      routes(app)
      app.get('/again', async ({ session }: any) => { await session.destroy(); session.fresh = 1; return { id: session.id } })
      app.get('/callback', ({ session }: any, reply) => { session.destroy((error: Error | null) => { reply.send({ error, isNew: session.isNew }) }) })
    })
    const browser = new Browser(app)
    const [set] = setCookies(await browser.get('/set?a=1'))
    const stale = browser.clone()
    const response = await browser.get('/logout')
    const [cleared] = setCookies(response)
    t.strictSame(response.json(), { isNew: true })
    for (const name of ['domain', 'path', 'samesite', 'httponly']) t.strictSame(cleared!.attributes.get(name), set!.attributes.get(name), name)
    t.strictSame([cleared!.name, cleared!.value, cleared!.attributes.get('max-age')], [set!.name, '', '0'])
    t.match(await stale.json('/'), { isNew: true })
    t.equal(stale.jar.size, 1, 'an unknown token is not cleared')
    await stale.get('/logout')
    t.equal(stale.jar.size, 0, 'unless logout is asked for')
    await browser.get('/set?a=1')
    const { id } = await browser.json('/again')
    t.match(await browser.json('/'), { id, data: { fresh: 1 } }, 'one cookie: the new one')
    t.strictSame(await browser.json('/callback'), { error: null, isNew: true })
  })
})

test('regenerate without data ends the old session', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis }, (app) => { routes(app); app.get('/renew', async ({ session }: any) => { await session.regenerate(); return {} }) })
    const browser = new Browser(app)
    await browser.get('/set?a=1')
    const { id } = await browser.json('/')
    await browser.get('/renew')
    t.equal(browser.jar.size, 0)
    t.equal(await app.sessions.inspect(id), undefined)
  })
})

test('reload shows what others stored and drops unsaved changes; on an ended session it throws', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const gate = new Gate()
    const app = await makeApp(t, { redis }, (app) => {
      routes(app)
      app.get('/reload', async ({ session }: any) => { session.mine = 1; await gate.pass(); await session.reload(); return session.data() })
    })
    const browser = new Browser(app)
    await browser.get('/set?a=1')
    const reloading = browser.clone().json('/reload')
    await gate.arrived(1)
    await browser.get('/set?a=2')
    gate.open()
    t.strictSame(await reloading, { a: '2' })
    await browser.get('/logout')
  })
})

test('50 parallel requests that each set another field: 50 fields, every time', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    for (let round = 0; round < 3; round++) {
      const gate = new Gate()
      const app = await makeApp(t, { redis }, (app) => {
        routes(app)
        app.get('/field', async ({ session, query }: any) => { await gate.pass(); session[`f${query.n}`] = query.n; session.shared = query.n })
      })
      const browser = new Browser(app)
      await browser.get('/set?a=1')
      const writes = Array.from({ length: 50 }, (_, n) => browser.clone().get(`/field?n=${n}`))
      await gate.arrived(50)
      gate.open()
      for (const { statusCode } of await Promise.all(writes)) t.equal(statusCode, 200)
      const { data } = await browser.json('/')
      t.strictSame(Array.from({ length: 50 }, (_, n) => data[`f${n}`]), Array.from({ length: 50 }, (_, n) => String(n)))
      await app.close()
    }
  })
})

test('routine renewal: everybody gets the same successor, the old secret stays good until it was used, and a while longer', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis, rotateEvery: 0.3, rotateGrace: 0.2 }, routes)
    const browser = new Browser(app)
    await browser.get('/set?a=1')
    const { id } = await browser.json('/')
    const old = browser.clone()
    await new Promise((resolve) => setTimeout(resolve, 320))
    const answers = await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      const tab = old.clone()
      const response = await tab.get(i % 2 === 0 ? '/' : `/set?f${i}=1`)
      return { status: response.statusCode, token: tab.token }
    }))
    t.ok(answers.every(({ status }) => status === 200))
    const successors = new Set(answers.map(({ token }) => token))
    t.equal(successors.size, 1, 'one successor')
    t.not([...successors][0], old.token)
    t.match(await old.clone().json('/'), { id, isNew: false }, 'lost responses log nobody out')
    const renewed = old.clone()
    await renewed.get('/')
    t.equal(renewed.token, [...successors][0], 'the same one again')
    t.match(await renewed.json('/'), { id, isNew: false }, 'first use confirms it')
    const late = old.clone()
    t.match(await late.json('/'), { id, isNew: false }, 'the predecessor is welcome for the grace period')
    t.equal(late.token, renewed.token, 'and told the successor')
    t.equal(Object.keys((await renewed.json('/')).data).length, 11, 'no write was lost on the way')
    const sealed = (await app.sessions.inspect(id))!.fields
    for (const text of Object.values(sealed)) t.notOk(renewed.token!.includes(text) && text.length > 20, 'nothing in the record is usable as a cookie')
    await new Promise((resolve) => setTimeout(resolve, 220))
    t.match(await old.json('/'), { isNew: true }, 'after that an old secret is a sign of theft')
    t.match(await renewed.json('/'), { isNew: true }, 'and the session ends for everybody')
    t.equal(await app.sessions.inspect(id), undefined)
  })
})

test('a slow response gives out no predecessor: what was renewed meanwhile stays with the successor', async (t) => {
  let now = Date.now()
  const gate = new Gate()
  const store = new MemoryStore({ now: () => now })
  const app = await makeApp(t, { redis: store as never, rotateEvery: 300, rotateGrace: 10, touchInterval: 0, cookie: { persistent: true } }, (app) => { routes(app, gate) })
  const browser = new Browser(app)
  await browser.get('/set?a=1')
  const first = browser.token
  now += 299_900
  const slow = browser.clone()
  const answer = slow.get('/slow?kind=read')
  await gate.arrived(1)
  now += 200
  await browser.get('/')
  t.not(browser.token, first, 'renewed')
  t.match(await browser.json('/'), { isNew: false }, 'and confirmed')
  gate.open()
  const response = await answer
  t.strictSame([response.statusCode, setCookies(response)], [200, []], 'the slow one leaves the cookie alone')
  now += 11_000
  t.match(await browser.json('/'), { isNew: false, data: { a: '1' } }, 'so that nobody comes with the old secret after its grace')
})

test('an old secret that rotate() killed is anonymous, and does not end the session of its owner', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis, rotateEvery: 60 }, routes)
    const browser = new Browser(app)
    await browser.get('/set?a=1')
    const old = browser.clone()
    await browser.get('/rotate')
    t.match(await old.json('/'), { isNew: true })
    t.match(await browser.json('/'), { isNew: false })
  })
})
