/** What the Redis store keeps, as others see it; and keys that hold something else. */
import { inspect } from 'node:util'
import type { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import {
  apart, clear, created, delta, everyOperation, get, increment, newDigest, newOwner, type Owner, remove, RULES, set, setIfAbsent, take
} from './kit.js'
import { ready, redisSubject } from './redis-subject.js'
import { encode } from '../../src/store/codec.js'
import { RedisStore } from '../../src/store/redis.js'
import type { Operation, Rules, Store } from '../../src/store/store.js'
import { startRedis, type RedisProcess } from '../support/redis-process.js'

/** The rules that the options have by default. */
const DEFAULT_RULES: Rules = {
  idleTimeout: 1_800_000,
  touchInterval: 30_000,
  lifetime: 43_200_000,
  rotateEvery: 0,
  rotateGrace: 10_000,
  maxFields: 100,
  maxRecordSize: 65_536
}

/** Every operation of the store, on one record. */
function everyCall (store: Store, { id, digest }: Owner): Array<[string, () => Promise<unknown>]> {
  return [
    ['load', () => store.load(id, digest, true, RULES)],
    ['load without touch', () => store.load(id, digest, false, RULES)],
    ['read', () => store.read(id, digest, ['user'])],
    ['renew', () => store.renew(id, digest, newDigest(), 'sealed')],
    ['destroy by digest', () => store.destroy(id, digest)],
    ['destroy', () => store.destroy(id)],
    ['inspect', () => store.inspect(id)],
    ['look', () => store.look(id, digest)],
    ['stands', () => store.stands(id, digest)],
    ['describe', async () => (await store.describe([id]))[0]],
    ['retire', () => store.retire(id, 'mark')],
    ['retire by digest', () => store.retire(id, 'mark', digest)],
    ['finalize', () => store.finalize(id, 'mark')],
    ['take back', () => store.takeBack(id, 'mark')],
    ['end', () => store.end(id)],
    ['end by ticket', () => store.end(id, 'ticket:1')],
    ['set', () => store.write(id, digest, delta([set('user', 'barbara')]), RULES)],
    ['set and touch', () => store.write(id, digest, delta([set('user', 'barbara')], { touch: 'always' }), RULES)],
    ['delete', () => store.write(id, digest, delta([remove('user')]), RULES)],
    ['touch', () => store.write(id, digest, delta([], { touch: 'always' }), RULES)],
    ['rotate', () => store.write(id, digest, delta([], { settings: { digest: newDigest() } }), RULES)],
    ['settings', () => store.write(id, digest, delta([], { settings: { idleTimeout: 5 } }), RULES)],
    ...everyOperation('user').map((operation): [string, () => Promise<unknown>] => [`${operation.type}, apart`, () => store.write(id, digest, apart(operation), RULES)])
  ]
}

/** Whether a record has the encoding that takes a fraction of the memory. Its name has changed over the versions. */
async function isCompact (witness: Redis, id: string): Promise<boolean> {
  return ['listpack', 'ziplist'].includes(String(await witness.call('OBJECT', 'ENCODING', `session:${id}`)))
}

async function open (t: Test): Promise<{ redis: RedisProcess, witness: Redis, store: Store, subject: ReturnType<typeof redisSubject> }> {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const client = await ready(redis.client({ enableOfflineQueue: false, maxRetriesPerRequest: 0 }))
  const witness = await ready(redis.client())
  const subject = redisSubject(client, witness)
  return { redis, witness, store: subject.store, subject }
}

test('records in Redis', async (t) => {
  const { redis, witness, store, subject } = await open(t)

  await t.test('HGETALL reads as the design says: metadata first, data as they were written', async (t) => {
    const { id, digest } = newOwner()
    const values: Array<[string, unknown]> = [['user', 'andrew'], ['page_views', 3], ['zip', '02134'], ['pin', '2134'], ['cart', [{ id: 7 }]], ['ok', true]]
    const written = await store.create(id, digest, delta(values.map(([name, value]) => set(name, encode(name, value, 16)))), DEFAULT_RULES)
    const now = String(written?.now)
    t.match(now, /^\d{13}$/, 'times are milliseconds')
    t.ok(Math.abs(Number(now) - Date.now()) < 5000, 'since 1970')
    const data = ['user', 'andrew', 'page_views', '3', 'zip', '02134', 'pin', '"2134"', 'cart', '[{"id":7}]', 'ok', 'true']
    t.strictSame(await witness.call('HGETALL', `session:${id}`), [
      'created_at', now, 'last_accessed_at', now, 'session_ttl', '1800', '@digest', digest, ...data
    ])
    t.equal(await witness.type(`session:${id}`), 'hash')

    await store.write(id, digest, delta([increment('page_views'), set('locale', 'en'), remove('zip'), set('theme', 'dark')]), DEFAULT_RULES)
    t.strictSame((await witness.hkeys(`session:${id}`)).slice(4), ['user', 'page_views', 'pin', 'cart', 'ok', 'locale', 'theme'])
    await store.write(id, digest, delta([set('last', '1'), set('user', 'barbara')]), DEFAULT_RULES)
    t.strictSame((await witness.hkeys(`session:${id}`)).slice(4), ['user', 'page_views', 'pin', 'cart', 'ok', 'locale', 'theme', 'last'])
  })

  await t.test('settings of a new record stand with its metadata, before the data', async (t) => {
    const { id, digest } = newOwner()
    await store.create(id, digest, delta([set('user', 'andrew')], { settings: { idleTimeout: 60, lifetime: 3600, persistent: true } }), DEFAULT_RULES)
    t.strictSame(await witness.hkeys(`session:${id}`), ['created_at', 'last_accessed_at', 'session_ttl', '@digest', '@lifetime', '@persistent', 'user'])
  })

  await t.test('the expiry is the key\'s own, to the millisecond', async (t) => {
    const { id, digest } = newOwner()
    const written = await store.create(id, digest, delta(), DEFAULT_RULES)
    const at = Number(await witness.eval(`
      local time = redis.call('TIME')
      return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + redis.call('PTTL', KEYS[1]))`, 1, `session:${id}`))
    // Two readings of the clock in one script may differ.
    t.ok(Math.abs(at - (Number(written?.now) + 1_800_000)) <= 2, `${at - Number(written?.now)} ms`)
  })

  await t.test('a usual record keeps the compact encoding, and takes 384 bytes at most', async (t) => {
    const { id, digest } = newOwner()
    const data = { userId: 'u_48213', name: 'Andrew Smith', email: 'andrew@example.com', role: 'admin', locale: 'en-GB', theme: 'dark', count: 3 }
    await store.create(id, digest, delta(Object.entries(data).map(([name, value]) => set(name, encode(name, value, 16)))), DEFAULT_RULES)
    const usage = async () => Number(await witness.call('MEMORY', 'USAGE', `session:${id}`))
    t.ok(await isCompact(witness, id))
    t.ok(await usage() <= 384, `${await usage()} bytes`)
    for (let i = 0; i < 20; i++) {
      await subject.pass(id, 60_000)
      await store.load(id, digest, true, DEFAULT_RULES)
      await store.write(id, digest, apart(increment('count')), DEFAULT_RULES)
      await store.write(id, digest, delta([set('theme', i % 2 === 0 ? 'light' : 'dark')], { touch: 'always' }), DEFAULT_RULES)
    }
    t.ok(await isCompact(witness, id))
    t.ok(await usage() <= 384, `after use: ${await usage()} bytes`)
    t.strictSame(await witness.hkeys(`session:${id}`), ['created_at', 'last_accessed_at', 'session_ttl', '@digest', ...Object.keys(data)])
    t.equal(await witness.hget(`session:${id}`, 'count'), '23')
  })

  await t.test('508 fields keep the compact encoding, one more does not', async (t) => {
    const rules = { ...DEFAULT_RULES, maxFields: 1000 }
    for (const [count, compact] of [[124, true], [125, true], [508, true], [509, false]] as const) {
      const { id, digest } = newOwner()
      await store.create(id, digest, delta(Array.from({ length: count }, (_, i) => set(`field${i}`, 'x'))), rules)
      t.equal(await isCompact(witness, id), compact, `${count} fields`)
    }
  })

  await t.test('the prefix stands before the id; a key prefix of the client is not added', async (t) => {
    const client = await ready(redis.client({ keyPrefix: 'client:' }))
    const other = new RedisStore(client, { prefix: 'app:{1}:' })
    const { id, digest } = newOwner()
    await other.create(id, digest, delta([set('user', 'andrew')]), RULES)
    t.strictSame(await witness.keys(`*${id}`), [`app:{1}:${id}`])
    t.equal((await other.load(id, digest, true, RULES))?.fields.get('user'), 'andrew')
    t.equal((await other.inspect(id))?.key, `app:{1}:${id}`)
    t.equal(await store.load(id, digest, true, RULES), undefined)
    t.equal(await other.destroy(id), true)
    t.strictSame(await witness.keys(`*${id}`), [])
  })

  await t.test('what people write by hand into a record is read like any other data', async (t) => {
    const { id, digest } = await created(subject, { count: '3' })
    await witness.hset(`session:${id}`, { note: 'by hand', count: '41', binary: Buffer.from([0xff, 0x00, 0xfe]) })
    const loaded = await store.load(id, digest, true, RULES)
    t.equal(loaded?.fields.get('note'), 'by hand')
    t.strictSame((await store.write(id, digest, apart(increment('count')), RULES))?.results, ['42'])
    t.strictSame(await store.read(id, digest, ['binary']), [Buffer.from([0xff, 0x00, 0xfe])], 'bytes that are no UTF-8 come back as they are')
    t.strictSame((await store.write(id, digest, apart(take('binary')), RULES))?.results, [Buffer.from([0xff, 0x00, 0xfe])])
  })

  await t.test('an expiry that was taken away by hand comes back with the next touch', async (t) => {
    const { id, digest } = await created(subject)
    await witness.persist(`session:${id}`)
    t.equal((await store.load(id, digest, true, RULES))?.touched, true)
    t.ok(await witness.pttl(`session:${id}`) > 90_000)
  })

  for (const protocol of [2, 3] as const) {
    await t.test(`RESP${protocol} serves as well`, async (t) => {
      const client = await ready(redis.client({ protocol }))
      const other = new RedisStore(client, { timeout: 3000 })
      const { id, digest } = newOwner()
      t.ok(await other.create(id, digest, delta([set('a', '1'), set('b', 'x')]), RULES))
      t.equal((await other.load(id, digest, true, RULES))?.fields.get('b'), 'x')
      t.strictSame((await other.write(id, digest, apart(increment('a'), get('absent'), get('b')), RULES))?.results, ['2', null, Buffer.from('x')])
      t.strictSame(await other.read(id, digest, ['a', 'absent']), [Buffer.from('2'), null])
      t.match((await other.inspect(id))?.fields, { a: '2', b: 'x' })
      t.equal(await other.renew(id, digest, newDigest(), 'sealed'), 'sealed')
      t.equal(await other.destroy(id, digest), true)
    })
  }

  await t.test('a user that may use little else than hashes of this prefix is enough', async (t) => {
    await witness.call('ACL', 'SETUSER', 'app', 'on', '>password', '~session:*', '-@all', '+hgetall', '+hset', '+hdel', '+hget', '+hmget', '+hexists',
      '+hlen', '+exists', '+pexpire', '+pttl', '+del', '+time', '+eval', '+evalsha', '+ping', '+info', '+hello', '+client|setname')
    const client = await ready(redis.client({ username: 'app', password: 'password' }))
    const other = new RedisStore(client, { timeout: 3000 })
    const { id, digest } = newOwner()
    t.ok(await other.create(id, digest, delta([set('a', '1')]), RULES))
    await subject.pass(id, 50_000)
    t.equal((await other.load(id, digest, true, RULES))?.touched, true)
    t.strictSame((await other.write(id, digest, delta([set('b', 'x'), increment('a')]), RULES))?.results, [true, '2'])
    t.strictSame((await other.write(id, digest, delta([set('b', 'y'), remove('a')]), RULES))?.results, [true, true])
    t.strictSame(await other.read(id, digest, ['a', 'b']), [null, Buffer.from('y')])
    t.equal(await other.renew(id, digest, newDigest(), 'sealed'), 'sealed')
    t.ok(await other.inspect(id))
    t.equal(await other.destroy(id, digest), true)
    const foreign = new RedisStore(client, { prefix: 'other:', timeout: 3000 })
    await t.rejects(foreign.create(id, digest, delta([set('a', '1')]), RULES), { code: 'SESSION_STORE_UNAVAILABLE', message: /NOPERM/ })
  })

  await t.test('a server that has forgotten the scripts is taught them again', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    for (const [what, call] of everyCall(store, owner).filter(([what]) => !/destroy|retire|end|rotate|settings/.test(what))) {
      await witness.script('FLUSH')
      t.not(await call(), undefined, what)
    }
    await witness.script('FLUSH')
    const answers = await Promise.all(Array.from({ length: 50 }, async () => (await store.write(owner.id, owner.digest, apart(increment('n')), RULES))?.results[0]))
    t.strictSame(answers.map(Number).sort((a, b) => a - b), Array.from({ length: 50 }, (_, i) => i + 1), 'and every call happens once')
    for (const destroy of [(o: Owner) => store.destroy(o.id), (o: Owner) => store.destroy(o.id, o.digest)]) {
      const other = await created(subject)
      await witness.script('FLUSH')
      t.equal(await destroy(other), true)
    }
    const { id, digest } = newOwner()
    await witness.script('FLUSH')
    t.ok(await store.create(id, digest, delta([set('a', '1')]), RULES))
  })
})

test('keys that hold something else', async (t) => {
  const { witness, store, subject } = await open(t)
  // A store that knows the clock of Redis asks for less.
  await created(subject)

  /** Runs every operation on a key that holds no session record, and checks that it stays as it is. */
  async function untouched (t: Test, owner: Owner, make: (key: string) => Promise<unknown>, check: (what: string, outcome: unknown) => void, but: string[] = []): Promise<void> {
    const key = `session:${owner.id}`
    const attempt = async (what: string, call: () => Promise<unknown>): Promise<unknown> => {
      await witness.del(key)
      await make(key)
      const dump = await witness.dumpBuffer(key)
      const ttl = await witness.pttl(key)
      const outcome = await call().catch((error: unknown) => error)
      t.strictSame(await witness.dumpBuffer(key), dump, `${what}: the key is what it was`)
      if (ttl === -1) t.equal(await witness.pttl(key), -1, `${what}: so is its expiry`)
      else t.ok(await witness.pttl(key) > ttl - 5000 && await witness.pttl(key) <= ttl, `${what}: so is its expiry`)
      return outcome
    }
    for (const [what, call] of everyCall(store, owner)) if (!but.includes(what)) check(what, await attempt(what, call))
    t.equal(await attempt('create', () => store.create(owner.id, owner.digest, delta([set('a', '1')]), RULES)), undefined, 'create: the id is taken')
  }

  const foreign: Array<[string, (key: string) => Promise<unknown>]> = [
    ['string', (key) => witness.set(key, 'someone else\'s')],
    ['list', (key) => witness.rpush(key, 'a', 'b')],
    ['set', (key) => witness.sadd(key, 'a', 'b')],
    ['sorted set', (key) => witness.zadd(key, 1, 'a')],
    ['stream', (key) => witness.xadd(key, '*', 'a', 'b')]
  ]
  for (const [type, make] of foreign) {
    await t.test(`a ${type} under the key is an error of the record, and stays`, async (t) => {
      const owner = newOwner()
      await untouched(t, owner, make, (what, outcome) => {
        t.match(outcome, { code: 'SESSION_RECORD_INVALID', statusCode: 500 }, what)
      })
    })
  }

  await t.test('a hash that no secret owns belongs to nobody who asks', async (t) => {
    const owner = newOwner()
    await untouched(t, owner, (key) => witness.hset(key, { user: 'andrew', n: '1' }), (what, outcome) => {
      if (what === 'inspect') t.match(outcome, { key: `session:${owner.id}`, ttl: -1, fields: { user: 'andrew', n: '1' } }, 'people may look at it')
      else t.equal(outcome, /^(?:destroy|stands|retire|finalize|take back|end)/.test(what) ? false : undefined, what)
    })
  })

  const whole = { created_at: String(Date.now()), last_accessed_at: String(Date.now()), session_ttl: '100', user: 'andrew' }
  const broken: Array<[string, Record<string, string>]> = [
    ['no idle timeout', { session_ttl: '' }],
    ['an idle timeout that is no number', { session_ttl: 'soon' }],
    ['no time of creation', { created_at: '' }],
    ['a time of creation that is no number', { created_at: 'yesterday' }],
    ['nothing but its owner', { session_ttl: '', created_at: '', last_accessed_at: '', user: '' }]
  ]
  for (const [what, change] of broken) {
    await t.test(`a record with ${what} is an error of the record, and stays`, async (t) => {
      const owner = newOwner()
      const fields = Object.fromEntries(Object.entries({ ...whole, '@digest': owner.digest, ...change }).filter(([, text]) => text !== ''))
      for (const ttl of [undefined, 50_000, 200_000]) {
        const make = async (key: string) => {
          await witness.hset(key, fields)
          if (ttl !== undefined) await witness.pexpire(key, ttl)
        }
        await untouched(t, owner, make, (call, outcome) => {
          t.match(outcome, { code: 'SESSION_RECORD_INVALID' }, `${call}, ${ttl} ms`)
          // Reading fields, offering a successor, ending it and looking at it need none of what is missing.
        }, [
          'load without touch', 'read', 'renew', 'destroy', 'destroy by digest', 'inspect', 'look', 'stands', 'describe', 'retire', 'retire by digest', 'finalize',
          'take back', 'end', 'end by ticket'
        ])
        t.equal(await store.destroy(owner.id, owner.digest), true, `${ttl} ms: its owner may end it`)
      }
    })
  }
})

test('errors tell nothing of what is in a session', async (t) => {
  const { redis, witness, store } = await open(t)
  const owner = newOwner()
  const secrets = { value: 'VALUE-OF-THE-SESSION', text: 'another TEXT', sealed: 'SEALED-SECRET', next: newDigest(), digest: owner.digest, id: owner.id }

  function tellsNothing (t: Test, error: unknown, what: string): void {
    t.ok(error instanceof Error, what)
    const told = [inspect(error, { depth: 10, showHidden: true, getters: true }), JSON.stringify(error), String(error)]
    if (error instanceof Error) told.push(String(error.stack), inspect(error.cause, { depth: 10, showHidden: true }))
    for (const [name, secret] of Object.entries(secrets)) t.notOk(told.some((text) => text.includes(secret)), `${what}: not the ${name}`)
    t.notOk(told.some((text) => /evalsha|redis\.call/i.test(text)), `${what}: no command`)
  }

  async function everyError (t: Test): Promise<void> {
    const operations: Operation[] = [set('f', secrets.value), setIfAbsent('g', secrets.text), get('f'), clear(), increment('n')]
    const calls: Array<[string, () => Promise<unknown>]> = [
      ['load', () => store.load(owner.id, owner.digest, true, RULES)],
      ['read', () => store.read(owner.id, owner.digest, ['f', secrets.value])],
      ['create', () => store.create(newOwner().id, owner.digest, delta([set('f', secrets.value)]), RULES)],
      ['create with more', () => store.create(newOwner().id, owner.digest, apart(...operations), RULES)],
      ['set', () => store.write(owner.id, owner.digest, delta([set('f', secrets.value)]), RULES)],
      ['write', () => store.write(owner.id, owner.digest, apart(...operations), RULES)],
      ['rotate', () => store.write(owner.id, owner.digest, delta(operations, { settings: { digest: secrets.next } }), RULES)],
      ['renew', () => store.renew(owner.id, owner.digest, secrets.next, secrets.sealed)],
      ['destroy', () => store.destroy(owner.id, owner.digest)],
      ['inspect', () => store.inspect(owner.id)]
    ]
    for (const [what, call] of calls) {
      const outcome = await call().then(() => undefined, (error: unknown) => error)
      if (outcome !== undefined) tellsNothing(t, outcome, what)
      else if (!/^(?:create|inspect)/.test(what)) t.fail(`${what} was expected to fail`)
    }
  }

  await t.test('where the key holds something else', async (t) => {
    await witness.set(`session:${owner.id}`, secrets.value)
    await everyError(t)
  })

  await t.test('where Redis refuses the commands', async (t) => {
    await witness.call('ACL', 'SETUSER', 'default', '-evalsha', '-eval')
    await everyError(t)
    await witness.call('ACL', 'SETUSER', 'default', '+evalsha', '+eval')
  })

  await t.test('where Redis refuses what the scripts do', async (t) => {
    await witness.call('ACL', 'SETUSER', 'default', '-hgetall', '-hmget', '-hget', '-exists', '-hset', '-pttl', '-time')
    await everyError(t)
    await witness.call('ACL', 'SETUSER', 'default', '+@all')
  })

  await t.test('where the connection breaks', async (t) => {
    redis.freeze()
    const failing = everyError(t)
    await redis.kill()
    await failing
  })
})
