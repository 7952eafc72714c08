/** Forced overlaps of the steps by which sessions come to a user and end, and crashes between them. */
import { test } from 'tap'
import { aliveOf, held, indexOn, listed, login, onRedisAndCluster, USERS, Visitor } from './kit.js'
import type { Store } from '../../src/store/store.js'
import { makeApp, onEveryStore, sharedRedis } from '../support/app.js'
import { Browser, Gate } from '../support/browser.js'

/** A user of one's own for every test. */
let count = 0
const someone = (): string => `user-${++count}`

test('ending all against a login', async (t) => {
  await onRedisAndCluster(t, async (t, { store }) => {
    const index = indexOn(store)

    for (const how of ['create', 'write'] as const) {
      const steps: Array<[keyof Store, 'before' | 'after', boolean]> = [
        // Not yet announced: the login begins after ending all returned.
        ['announce', 'before', true],
        ['announce', 'after', false],
        [how, 'before', false],
        [how, 'after', false]
      ]
      for (const [method, when, survives] of steps) {
        await t.test(`held ${when} ${method}, by ${how}`, async (t) => {
          const user = someone()
          const other = await login(index, user)
          const visitor = new Visitor()
          if (how === 'write') await visitor.create(index, { a: '1' })
          const slow = held(store, method, when)
          const entering = visitor[how](indexOn(slow.store), { user })
          await slow.gate.arrived(1)
          await index.endAll(user)
          t.strictSame(await aliveOf(store, user), [], 'none is alive when it returns')
          slow.gate.open()
          const written = await entering
          t.strictSame(await aliveOf(store, user), survives ? [visitor.id] : [])
          t.strictSame(await listed(index, user), survives ? [visitor.id] : [])
          if (!survives && when === 'before') t.ok(written === undefined || written.barred, 'the login is told')
          t.equal((await store.describe([other.id]))[0], undefined)
          await index.endAll(user)
        })
      }
    }

    await t.test('logins between its own steps end, too', async (t) => {
      for (const [method, when] of [['entries', 'after'], ['end', 'before'], ['end', 'after'], ['leave', 'before'], ['leave', 'after']] as const) {
        const user = someone()
        await login(index, user)
        const slow = held(store, method, when)
        const ending = indexOn(slow.store).endAll(user)
        await slow.gate.arrived(1)
        await login(index, user)
        slow.gate.open()
        await ending
        t.strictSame(await aliveOf(store, user), [], `${when} ${method}`)
        t.strictSame(await listed(index, user), [])
      }
    })

    await t.test('a login after it stays', async (t) => {
      const user = someone()
      await index.endAll(user)
      const visitor = await login(index, user)
      t.strictSame(await listed(index, user), [visitor.id])
      t.ok(await visitor.write(index, { a: '1' }))
    })
  })
})

test('what a crash between two steps leaves behind', async (t) => {
  await onRedisAndCluster(t, async (t, place) => {
    const { store } = place
    const index = indexOn(store)
    const crash = (method: keyof Store): Store => new Proxy(store, {
      get: (target, name) => name === method
        ? async () => { throw new Error('crashed') }
        : (Reflect.get(target, name) as (...args: unknown[]) => unknown).bind(target)
    })

    for (const method of ['create', 'write'] as const) {
      await t.test(`before ${method}: an entry that counts for nobody, and goes`, async (t) => {
        const user = someone()
        const visitor = new Visitor()
        if (method === 'write') await visitor.create(index, { a: '1' })
        await t.rejects(visitor[method](indexOn(crash(method)), { user }), /crashed/)
        t.strictSame(await listed(index, user), [])
        t.equal((await place.members(user)).filter((member) => member.startsWith(visitor.id)).length, 1, 'young: the write may be under way')
        await place.ageTickets(user, 60_000)
        t.strictSame(await listed(index, user), [])
        t.strictSame((await place.members(user)).filter((member) => member.startsWith(visitor.id)), [])
        const again = visitor.again()
        t.ok(await again[method](index, { user }), 'and nothing stands in the way of trying again')
        t.strictSame(await listed(index, user), [visitor.id])
      })
    }

    await t.test('before leaving: the old user does not see the session', async (t) => {
      const [user, next] = [someone(), someone()]
      const visitor = await login(index, user)
      await visitor.write(indexOn(crash('leave')), { user: next })
      t.equal((await place.members(user)).filter((member) => member.startsWith(visitor.id)).length, 1)
      t.strictSame([await listed(index, user), await listed(index, next)], [[], [visitor.id]])
      await index.endAll(user)
      t.strictSame(await aliveOf(store, next), [visitor.id], 'nor can the old user end it')
    })

    await t.test('after a logout that the list was not told of', async (t) => {
      const user = someone()
      const visitor = await login(index, user)
      await store.destroy(visitor.id)
      t.strictSame(await listed(index, user), [])
      await place.ageTickets(user, 60_000)
      await listed(index, user)
      t.strictSame((await place.members(user)).filter((member) => !member.startsWith('@')), [])
    })
  })
})

test('a list that is lost', async (t) => {
  await onRedisAndCluster(t, async (t, place) => {
    const { store } = place
    const index = indexOn(store)

    await t.test('just now: ending all finds the sessions all the same', async (t) => {
      const user = someone()
      const visitors = await Promise.all(Array.from({ length: 5 }, () => login(index, user)))
      await place.lose(user)
      t.equal(await index.endAll(user, visitors[0]!.id), 4)
      t.strictSame(await aliveOf(store, user), [visitors[0]!.id])
    })

    await t.test('and begun again: the same', async (t) => {
      const user = someone()
      const visitors = await Promise.all(Array.from({ length: 3 }, () => login(index, user)))
      await place.lose(user)
      await visitors[0]!.remove(index, 'user')
      await visitors[0]!.write(index, { user })
      t.strictSame(await listed(index, user), [visitors[0]!.id])
      t.equal(await index.endAll(user), 3)
      t.strictSame(await aliveOf(store, user), [])
    })

    for (const [method, when] of [['create', 'before'], ['create', 'after']] as const) {
      await t.test(`while a login is held ${when} ${method}`, async (t) => {
        const user = someone()
        const slow = held(store, method, when)
        const entering = new Visitor().create(indexOn(slow.store), { user })
        await slow.gate.arrived(1)
        await place.lose(user)
        if (when === 'after') {
          await index.endAll(user)
          t.strictSame(await aliveOf(store, user), [])
        }
        slow.gate.open()
        await entering
        await index.endAll(user)
        t.strictSame(await aliveOf(store, user), [])
      })
    }

    for (const [method, when] of [['entries', 'after'], ['end', 'before'], ['end', 'after'], ['leave', 'before'], ['leave', 'after']] as const) {
      await t.test(`while ending all is held ${when} ${method}`, async (t) => {
        const user = someone()
        await Promise.all(Array.from({ length: 3 }, () => login(index, user)))
        await place.age(user, 1_000_000)
        const visitors = await Promise.all(Array.from({ length: 3 }, () => login(index, user)))
        const slow = held(store, method, when)
        const ending = indexOn(slow.store).endAll(user)
        await slow.gate.arrived(1)
        await login(index, user)
        await place.lose(user)
        slow.gate.open()
        await ending
        t.strictSame(await aliveOf(store, user), [])
        t.equal((await store.describe([visitors[0]!.id]))[0], undefined)
      })
    }

    await t.test('long ago: sessions enter again with the next extension that is due', async (t) => {
      const user = someone()
      const visitor = await login(index, user)
      await place.lose(user)
      t.strictSame(await listed(index, user), [])
      await new Promise((resolve) => setTimeout(resolve, 5))
      const loaded = (await store.load(visitor.id, visitor.digest, true, USERS))!
      // A record just created has exactly its idle timeout left, and a moment later less.
      t.equal(loaded.due, true, 'the store leaves the extension to the caller')
      t.equal(loaded.touched, false)
      t.match(await index.claim(visitor.id, loaded, true, false), { alive: true, bound: { user } })
      t.equal(loaded.touched, true)
      t.ok(loaded.ttl > 100_000, `${loaded.ttl} ms`)
      t.strictSame(await listed(index, user), [visitor.id])
    })

    await t.test('long ago, and all ended since: those of before end when they come, the excepted one and later ones do not', async (t) => {
      const user = someone()
      const [stale, current] = [await login(index, user), await login(index, user)]
      await place.lose(user)
      const listedOne = await login(index, user)
      // By now the list is older than anything that could have been extended before it began.
      await place.age(user, 500_000)
      await index.endAll(user, current.id)
      t.strictSame(await aliveOf(store, user), [stale.id, current.id].sort(), 'they are not searched for')
      t.equal((await store.describe([listedOne.id]))[0], undefined)
      const later = await login(index, user)
      await new Promise((resolve) => setTimeout(resolve, 5))
      for (const [visitor, alive] of [[stale, false], [current, true], [later, true]] as const) {
        const loaded = (await store.load(visitor.id, visitor.digest, true, USERS))!
        t.match(await index.claim(visitor.id, loaded, true, false), { alive })
        t.equal((await store.describe([visitor.id]))[0] !== undefined, alive)
      }
    })
  })
})

test('two requests of one session change the user at the same time', async (t) => {
  await onRedisAndCluster(t, async (t, { store }) => {
    const index = indexOn(store)
    for (const [method, when] of [['announce', 'after'], ['write', 'before'], ['write', 'after'], ['leave', 'before']] as const) {
      const users = [someone(), someone(), someone()] as const
      const visitor = await login(index, users[0])
      const [slowOne, fastOne] = [visitor.again(), visitor.again()]
      const slow = held(store, method, when)
      const moving = slowOne.write(indexOn(slow.store), { user: users[1] })
      await slow.gate.arrived(1)
      await fastOne.write(index, { user: users[2] })
      slow.gate.open()
      await moving
      const [found] = await store.describe([visitor.id])
      const last = when === 'before' && method === 'write' ? users[1] : method === 'announce' ? users[1] : users[2]
      t.equal(found?.bound?.user, last, `${when} ${method}`)
      for (const user of users) t.strictSame(await listed(index, user), user === last ? [visitor.id] : [], `${when} ${method}`)
    }
  })
})

test('whatever overlaps, every session of a user is in the list', async (t) => {
  await onRedisAndCluster(t, async (t, { store }) => {
    const index = indexOn(store)
    for (let round = 0; round < 5; round++) {
      const users = [someone(), someone()]
      const visitors = await Promise.all(Array.from({ length: 6 }, async (_, i) => {
        const visitor = new Visitor()
        await visitor.create(index, i < 3 ? { user: users[0]! } : { a: '1' })
        return visitor
      }))
      let changes = 0
      await Promise.all(visitors.flatMap((visitor, i) => Array.from({ length: 8 }, async (_, j) => {
        const request = visitor.again()
        const step = (i * 7 + j * 5 + round) % 5
        if (step === 4) await request.remove(index, 'user')
        else await request.write(index, { user: users[step % 2]! })
        changes++
        if (step === 3 && j === 5) await store.destroy(visitor.id)
      })))
      t.equal(changes, 48)
      for (const user of users) t.strictSame(await listed(index, user), await aliveOf(store, user), `round ${round}`)
      await Promise.all([...users.map((user) => index.endAll(user)), ...users.map((user) => login(index, user))])
      for (const user of users) t.strictSame(await listed(index, user), await aliveOf(store, user), `round ${round}, after ending`)
    }
  })
})

test('a session that ending all did not find does not extend itself', async (t) => {
  const redis = await sharedRedis()
  const client = redis.client()
  const ways: Record<string, (session: any) => void> = {
    touch: (session) => { session.touch() },
    timeout: (session) => { session.idleTimeout = 7000 },
    remember: (session) => { session.remember({ idleTimeout: 7000, lifetime: 80_000 }) }
  }
  const app = await makeApp(t, { redis: redis.url, userField: 'user' }, (app) => {
    app.get('/login', async ({ session, query }: any) => { session.user = query.user; return { id: session.id } })
    app.get('/me', async ({ session }: any) => ({ user: session.user ?? null }))
    for (const [name, extend] of Object.entries(ways)) app.get(`/${name}`, async ({ session }: any) => { extend(session); return {} })
  })
  for (const way of Object.keys(ways)) {
    const user = someone()
    const browser = new Browser(app)
    await browser.json(`/login?user=${user}`)
    const key = `session:${browser.token!.slice(0, 22)}`
    // More than the idle timeout, as any session has that was used: only then loading it does not look into the list.
    await client.pexpire(key, 1_829_000)
    // The list lost this entry in a failover, and is older than what such an entry could be missing for.
    await client.zremrangebyscore(`session:@user:${user}`, '(0', '+inf')
    await client.zadd(`session:@user:${user}`, -(Date.now() - 600_000), '@since')
    await app.sessions.endAll(user)
    t.equal(await client.exists(key), 1, `${way}: not found, so that it is there to try`)
    await browser.get(`/${way}`)
    t.equal(await client.exists(key), 0, way)
    t.strictSame(await browser.json('/me'), { user: null }, way)
    t.equal(await app.sessions.count(user), 0, way)
  }
})

test('losing to a rotation unlists nobody: what would carry data over is refused, and the rotated session is listed', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const gate = new Gate()
    const app = await makeApp(t, { redis, userField: 'user' }, (app) => {
      app.get('/login', async ({ session, query }: any) => { session.user = query.user; return {} })
      app.get('/rotate', async ({ session }: any) => { await session.rotate(); return {} })
      app.get('/me', async ({ session }: any) => ({ user: session.user ?? null }))
      app.get('/regenerate', async ({ session }: any) => { await gate.pass(); await session.regenerate(['user']); session.a = 1; return {} })
    })
    const user = someone()
    const browser = new Browser(app)
    await browser.json(`/login?user=${user}`)
    const losing = browser.clone().get('/regenerate')
    await gate.arrived(1)
    await browser.json('/rotate')
    gate.open()
    t.equal((await losing).json().code, 'SESSION_GONE')
    t.strictSame(await browser.json('/me'), { user }, 'the rotated session goes on')
    t.strictSame((await app.sessions.list(user)).map(({ id }) => id), [browser.token!.slice(0, 22)], 'and nothing was left of the attempt')
    t.equal(await app.sessions.endAll(user), 1)
    t.strictSame(await browser.json('/me'), { user: null })
  })
})

test('a regeneration that carries nothing over ends the old session, whatever its secret is by now, and unlists it', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const gate = new Gate()
    const app = await makeApp(t, { redis, userField: 'user' }, (app) => {
      app.get('/login', async ({ session, query }: any) => { session.user = query.user; return {} })
      app.get('/rotate', async ({ session }: any) => { await session.rotate(); return {} })
      app.get('/me', async ({ session }: any) => ({ user: session.user ?? null }))
      app.get('/regenerate', async ({ session }: any) => { await gate.pass(); await session.regenerate(); session.a = 1; return {} })
    })
    const user = someone()
    const browser = new Browser(app)
    await browser.json(`/login?user=${user}`)
    const other = browser.clone()
    const regenerating = other.get('/regenerate')
    await gate.arrived(1)
    await browser.json('/rotate')
    gate.open()
    t.equal((await regenerating).statusCode, 200)
    t.strictSame(await browser.json('/me'), { user: null }, 'who said that the session is over was right')
    t.strictSame([await app.sessions.count(user), await app.sessions.endAll(user)], [0, 0])
    t.strictSame(await other.json('/me'), { user: null })
  })
})
