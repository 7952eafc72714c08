/** What the Redis store does when Redis is full, slow, frozen or gone. */
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import {
  apart, clear, created, delta, increment, kept, near, newDigest, newOwner, type Owner, remove, replace, RULES, set, setIfAbsent, take, unchanged, type Subject
} from './kit.js'
import { ready, redisSubject } from './redis-subject.js'
import { RedisStore } from '../../src/store/redis.js'
import type { Store, Write } from '../../src/store/store.js'
import { startRedis, type RedisProcess } from '../support/redis-process.js'
import { until } from '../support/until.js'

const UNAVAILABLE = { code: 'SESSION_STORE_UNAVAILABLE', statusCode: 503 }

interface Scene { redis: RedisProcess, client: Redis, witness: Redis, subject: Subject }

async function open (t: Test): Promise<Scene> {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const client = await ready(redis.client({ enableOfflineQueue: false, maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false }))
  const witness = await ready(redis.client())
  return { redis, client, witness, subject: redisSubject(client, witness) }
}

/** Writes that may make the record grow. */
function growing (): Array<[string, Write]> {
  const digest = newDigest()
  return [
    ['set', delta([set('a', '1')])],
    ['set of what is there', delta([set('user', 'barbara')])],
    ['set and delete', delta([remove('user'), set('a', '1')])],
    ['set and touch', delta([set('a', '1')], { touch: 'always' })],
    ['setIfAbsent', apart(setIfAbsent('a', '1'))],
    ['increment', apart(increment('n'))],
    ['replace', apart(replace('user', 'andrew', 'barbara'))],
    ['clear and set', delta([clear(), set('a', '1')])],
    ['rotate', delta([], { settings: { digest } })],
    ['rotate and delete', delta([remove('user')], { settings: { digest } })],
    ['rotate and touch', delta([], { touch: 'always', settings: { digest } })],
    ['idle timeout', delta([], { settings: { idleTimeout: 50 } })],
    ['lifetime', delta([remove('user')], { settings: { lifetime: 500 } })],
    ['persistent', delta([], { settings: { persistent: true } })]
  ]
}

test('a Redis that is full', async (t) => {
  const { witness, subject } = await open(t)
  const { store } = subject
  const data = { user: 'andrew', n: '5', x: '1', y: '2' }
  const owners = await Promise.all(Array.from({ length: 10 }, () => created(subject, data, { persistent: true })))
  const fresh = (): Owner => owners.pop()!
  const offered = fresh()
  const offeredToo = fresh()
  const next = newDigest()
  await store.renew(offered.id, offered.digest, next, 'sealed')
  await store.renew(offeredToo.id, offeredToo.digest, next, 'sealed')
  await subject.pass(offeredToo.id, 50_000)
  await witness.config('SET', 'maxmemory', '1')
  t.teardown(() => witness.config('SET', 'maxmemory', '0'))

  await t.test('whatever may grow is refused as a whole', async (t) => {
    const owner = fresh()
    for (const [what, write] of growing()) {
      await unchanged(t, subject, owner, what, async () => {
        await t.rejects(store.write(owner.id, owner.digest, write, RULES), { ...UNAVAILABLE, message: /OOM/ }, what)
      })
    }
    await unchanged(t, subject, owner, 'renew', async () => {
      await t.rejects(store.renew(owner.id, owner.digest, newDigest(), 'sealed'), UNAVAILABLE)
    })
    t.ok(await store.load(owner.id, owner.digest, false, RULES), 'and the secret is still good')
  })

  await t.test('no record is created, not even in part', async (t) => {
    for (const write of [delta([set('a', '1')]), delta(), apart(increment('n')), delta([], { settings: { persistent: true, lifetime: 500 } })]) {
      const { id, digest } = newOwner()
      await t.rejects(store.create(id, digest, write, RULES), UNAVAILABLE)
      t.equal(await store.inspect(id), undefined)
      t.equal(await witness.exists(`session:${id}`), 0)
    }
  })

  await t.test('reading goes on', async (t) => {
    const { id, digest } = fresh()
    t.equal((await store.load(id, digest, false, RULES))?.fields.get('user'), 'andrew')
    t.strictSame(await store.read(id, digest, ['n']), [Buffer.from('5')])
    t.match(await store.inspect(id), { fields: data })
  })

  await t.test('sessions in use are kept alive', async (t) => {
    const owner = fresh()
    await subject.pass(owner.id, 50_000)
    const loaded = await store.load(owner.id, owner.digest, true, RULES)
    t.equal(loaded?.touched, true)
    near(t, subject, (await kept(subject, owner)).ttl, 110_000, 'after a load')
    t.equal((await kept(subject, owner)).fields['last_accessed_at'], String(loaded?.now))
    for (const touch of ['due', 'always'] as const) {
      await subject.pass(owner.id, 50_000)
      t.ok(await store.write(owner.id, owner.digest, delta([], { touch }), RULES))
      near(t, subject, (await kept(subject, owner)).ttl, 110_000, `after a write: ${touch}`)
    }
  })

  await t.test('deleting goes on', async (t) => {
    const owner = fresh()
    t.strictSame((await store.write(owner.id, owner.digest, delta([remove('x')]), RULES))?.results, [true])
    t.strictSame((await store.write(owner.id, owner.digest, apart(take('y'), replace('n', '5', null)), RULES))?.results, [Buffer.from('2'), { done: true, current: null }])
    t.ok(await store.write(owner.id, owner.digest, delta([], { settings: { persistent: false } }), RULES))
    t.strictSame(Object.keys((await kept(subject, owner)).fields), ['created_at', 'last_accessed_at', 'session_ttl', '@digest', 'user'])
    await subject.pass(owner.id, 50_000)
    t.strictSame((await store.write(owner.id, owner.digest, delta([clear()], { touch: 'due' }), RULES))?.results, [true])
    t.strictSame(Object.keys((await kept(subject, owner)).fields), ['created_at', 'last_accessed_at', 'session_ttl', '@digest'])
    near(t, subject, (await kept(subject, owner)).ttl, 110_000, 'and extends')
  })

  await t.test('logging out goes on', async (t) => {
    const one = fresh()
    t.equal(await store.destroy(one.id, one.digest), true)
    const other = fresh()
    t.equal(await store.destroy(other.id), true)
    t.equal(await store.inspect(one.id), undefined)
    t.equal(await store.inspect(other.id), undefined)
  })

  await t.test('a successor that was offered before can be used', async (t) => {
    for (const [{ id, digest }, touch] of [[offered, false], [offeredToo, true]] as const) {
      t.equal((await store.load(id, next, touch, RULES))?.standing, 'current', touch ? 'with touch' : 'without touch')
      t.match((await store.inspect(id))?.fields, { '@digest': next, '@prev': digest })
    }
  })

  await t.test('when there is room again, all is as before', async (t) => {
    await witness.config('SET', 'maxmemory', '0')
    const owner = fresh()
    t.strictSame((await store.write(owner.id, owner.digest, apart(increment('n')), RULES))?.results, ['6'])
    t.ok(await created(subject, data))
  })
})

/** Runs every kind of call at once, and says how each ended and after how many milliseconds. */
async function everyFailure (store: Store, { id, digest }: Owner): Promise<Array<{ what: string, error: unknown, ms: number }>> {
  const calls: Record<string, () => Promise<unknown>> = {
    load: () => store.load(id, digest, true, RULES),
    create: () => store.create(newOwner().id, digest, delta([set('a', '1')]), RULES),
    set: () => store.write(id, digest, delta([set('a', '1')]), RULES),
    write: () => store.write(id, digest, apart(increment('n')), RULES),
    read: () => store.read(id, digest, ['user']),
    renew: () => store.renew(id, digest, newDigest(), 'sealed'),
    'destroy by digest': () => store.destroy(id, newDigest()),
    inspect: () => store.inspect(id)
  }
  return await Promise.all(Object.entries(calls).map(async ([what, call]) => {
    const start = performance.now()
    const error = await call().then(() => 'no error', (error: unknown) => error)
    return { what, error, ms: performance.now() - start }
  }))
}

test('a Redis that is frozen', async (t) => {
  const { redis, client, witness, subject } = await open(t)
  const TIMEOUT = 500
  const store = new RedisStore(client, { timeout: TIMEOUT })

  /** Freezes Redis until `call` has failed, and then lets it execute all that was sent. */
  async function throughFreeze (call: () => Promise<unknown>): Promise<unknown> {
    redis.freeze()
    let error: unknown
    try {
      error = await call().then(() => 'no error', (error: unknown) => error)
      // Deadlines are whole milliseconds, rounded up: this one has certainly passed then.
      await sleep(5)
    } finally {
      redis.thaw()
    }
    // Answered after everything that was sent before it on the store's connection.
    await client.ping()
    return error
  }

  await t.test('every call fails when its time is over', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    await store.load(owner.id, owner.digest, false, RULES)
    redis.freeze()
    const failures = await everyFailure(store, owner)
    redis.thaw()
    await client.ping()
    for (const { what, error, ms } of failures) {
      t.match(error, { ...UNAVAILABLE, message: new RegExp(`no answer within ${TIMEOUT} ms`) }, what)
      t.ok(ms >= TIMEOUT - 5 && ms < TIMEOUT + 2000, `${what} after ${Math.round(ms)} ms`)
    }
    t.equal((await store.load(owner.id, owner.digest, true, RULES))?.fields.get('user'), 'andrew', 'and it heals by itself')
  })

  await t.test('calls that began at different times fail each at its own', async (t) => {
    const { id, digest } = await created(subject)
    redis.freeze()
    const durations: number[] = []
    const call = async (): Promise<void> => {
      const start = performance.now()
      await store.load(id, digest, false, RULES).catch(() => { durations.push(performance.now() - start) })
    }
    const first = call()
    const begin = performance.now()
    while (performance.now() - begin < TIMEOUT / 2) await turn()
    await Promise.all([first, call()])
    redis.thaw()
    await client.ping()
    t.equal(durations.length, 2)
    for (const ms of durations) t.ok(ms >= TIMEOUT - 5 && ms < TIMEOUT + 2000, `${Math.round(ms)} ms`)
  })

  await t.test('a write that arrives after its deadline does nothing', async (t) => {
    const owner = await created(subject, { user: 'andrew', n: '5' })
    t.ok(await store.load(owner.id, owner.digest, false, RULES), 'the store knows the clock')
    const writes: Array<[string, Write]> = [
      ...growing(), ['delete', delta([remove('user')])], ['take', apart(take('user'))], ['clear', delta([clear()])], ['touch', delta([], { touch: 'always' })]
    ]
    // Redis has to know every script: one that it does not know does nothing either way.
    for (const [, write] of writes) {
      const other = await created(subject, { user: 'andrew', n: '5' })
      t.ok(await store.write(other.id, other.digest, write, RULES))
    }
    await subject.pass(owner.id, 50_000)
    await unchanged(t, subject, owner, 'all of them', async () => {
      await throughFreeze(async () => {
        for (const { reason } of await Promise.allSettled(writes.map(([, write]) => store.write(owner.id, owner.digest, write, RULES))) as PromiseRejectedResult[]) {
          t.match(reason, UNAVAILABLE)
        }
      })
    })
  })

  await t.test('a creation that arrives after its deadline does nothing', async (t) => {
    const known = await created(subject)
    t.ok(await store.load(known.id, known.digest, false, RULES), 'the store knows the clock')
    const { id, digest } = newOwner()
    t.match(await throughFreeze(() => store.create(id, digest, delta([set('a', '1')]), RULES)), UNAVAILABLE)
    t.equal(await store.inspect(id), undefined)
  })

  await t.test('any answer that tells the clock sets deadlines', async (t) => {
    const owner = await created(subject, { n: '5' })
    const teachers: Array<[string, (store: Store) => Promise<unknown>]> = [
      ['load', (store) => store.load(owner.id, owner.digest, false, RULES)],
      ['create', (store) => created({ ...subject, store })],
      ['set', (store) => store.write(owner.id, owner.digest, delta([set('x', '1')]), RULES)],
      ['increment', (store) => store.write(owner.id, owner.digest, apart(increment('m')), RULES)]
    ]
    for (const [what, teach] of teachers) {
      const newcomer = new RedisStore(client, { timeout: TIMEOUT })
      await teach(newcomer)
      const error = await throughFreeze(() => newcomer.write(owner.id, owner.digest, apart(increment('n')), RULES))
      t.match(error, UNAVAILABLE, what)
      t.equal(await witness.hget(`session:${owner.id}`, 'n'), '5', what)
    }
  })

  await t.test('a write that was answered in time counts, and the next one knows the time', async (t) => {
    const { id, digest } = await created(subject)
    for (let i = 1; i <= 20; i++) {
      t.strictSame((await store.write(id, digest, apart(increment('n')), RULES))?.results, [String(i)])
    }
  })
})

test('a Redis that dies', async (t) => {
  const { redis, client, subject } = await open(t)
  // Long enough to tell failing at once from failing in time.
  const store = new RedisStore(client, { timeout: 3000 })
  const AT_ONCE = 1500

  await t.test('calls under way fail when the connection breaks, not when their time is over', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    redis.freeze()
    const failing = everyFailure(store, owner)
    await redis.kill()
    for (const { what, error, ms } of await failing) {
      t.match(error, UNAVAILABLE, what)
      t.ok(ms < AT_ONCE, `${what} after ${Math.round(ms)} ms`)
    }
  })

  await t.test('while it is away, calls fail at once', async (t) => {
    const owner = newOwner()
    for (const { what, error, ms } of await everyFailure(store, owner)) {
      t.match(error, { ...UNAVAILABLE, message: /not connected/ }, what)
      t.ok(ms < AT_ONCE, `${what} after ${Math.round(ms)} ms`)
    }
  })

  await t.test('when it is back, all works by itself, and nothing is executed that was told to have failed', async (t) => {
    await redis.restart()
    const owner = newOwner()
    await until('the connection is checked', 5000, () => store.status() !== 'down')
    t.equal(await store.load(owner.id, owner.digest, true, RULES), undefined)
    t.ok(await store.create(owner.id, owner.digest, delta([set('user', 'andrew')]), RULES))
    t.equal((await store.load(owner.id, owner.digest, true, RULES))?.fields.get('user'), 'andrew')
    t.strictSame((await store.write(owner.id, owner.digest, apart(increment('n')), RULES))?.results, ['1'])
    t.equal(await redis.ask('DBSIZE'), 1, 'nothing but what was written since')
  })
})

test('a Redis that only reads', async (t) => {
  const { redis, witness, subject } = await open(t)
  const { store } = subject
  const owner = await created(subject, { user: 'andrew' })
  await redis.ask('REPLICAOF', '127.0.0.1', '1')
  await t.rejects(store.write(owner.id, owner.digest, delta([set('a', '1')]), RULES), UNAVAILABLE)
  await t.rejects(store.create(newOwner().id, newDigest(), delta([set('a', '1')]), RULES), UNAVAILABLE)
  await t.rejects(store.destroy(owner.id), UNAVAILABLE, 'a logout that did not happen is told')
  await t.rejects(store.load(owner.id, owner.digest, false, RULES), UNAVAILABLE, 'what it still answers may be old')
  t.equal(store.status(), 'down')
  await redis.ask('REPLICAOF', 'NO', 'ONE')
  t.match(await witness.hgetall(`session:${owner.id}`), { user: 'andrew', '@digest': owner.digest })
  await until('the store found out that it can write again', 5000, () => store.status() === 'ready')
  t.equal(await store.destroy(owner.id), true)
})
