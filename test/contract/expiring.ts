/** When a record ends, and what moves that moment. */
import { created, delta, increment, kept, near, newDigest, newOwner, type Part, remove, RULES, set } from './kit.js'
import type { Operation } from '../../src/store/store.js'

export const expiring: Part = async (t, subject) => {
  const { store, pass } = subject

  await t.test('a record nobody uses ends with its idle timeout', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    await pass(owner.id, 90_000)
    near(t, subject, (await kept(subject, owner)).ttl, 10_000, 'shortly before')
    await pass(owner.id, 10_001)
    t.equal(await store.inspect(owner.id), undefined)
    t.equal(await store.load(owner.id, owner.digest, true, RULES), undefined)
  })

  await t.test('loading with touch extends where less than one idle timeout is left, by the touch interval more than that', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    const { id, digest } = owner
    await pass(id, 50_000)
    const first = await store.load(id, digest, true, RULES)
    t.equal(first?.touched, true)
    near(t, subject, first?.ttl, 110_000, 'after the first')
    near(t, subject, (await kept(subject, owner)).ttl, 110_000, 'the record')
    t.equal((await kept(subject, owner)).fields['last_accessed_at'], String(first?.now))

    await pass(id, 5000)
    const before = await kept(subject, owner)
    const second = await store.load(id, digest, true, RULES)
    t.equal(second?.touched, false, 'there is still more than one idle timeout left')
    near(t, subject, second?.ttl, 105_000, 'after the second')
    t.strictSame((await kept(subject, owner)).fields, before.fields)

    await pass(id, 5000 + subject.slack + 1)
    const third = await store.load(id, digest, true, RULES)
    t.equal(third?.touched, true)
    near(t, subject, third?.ttl, 110_000, 'after the third')
    near(t, subject, (await kept(subject, owner)).ttl, 110_000, 'the record')
  })

  await t.test('a touch interval of 0 makes every load extend, by exactly the idle timeout', async (t) => {
    const owner = await created(subject)
    const rules = { ...RULES, touchInterval: 0 }
    for (const elapsed of [1, 10, 50_000]) {
      await pass(owner.id, elapsed)
      const loaded = await store.load(owner.id, owner.digest, true, rules)
      t.equal(loaded?.touched, true)
      t.equal(loaded?.ttl, 100_000)
    }
    near(t, subject, (await kept(subject, owner)).ttl, 100_000, 'the record')
  })

  await t.test('a record in use never has less than its idle timeout left after a load', async (t) => {
    const owner = await created(subject)
    for (const elapsed of [1, 999, 3000, 4000, 1999, 2, 98_000, 9999, 10_001, 5000, 5000, 5000]) {
      await pass(owner.id, elapsed)
      const loaded = await store.load(owner.id, owner.digest, true, RULES)
      t.ok(Number(loaded?.ttl) >= 100_000, `after ${elapsed} ms more`)
    }
  })

  await t.test('loading without touch extends nothing', async (t) => {
    const owner = await created(subject)
    await pass(owner.id, 90_000)
    const before = await kept(subject, owner)
    const loaded = await store.load(owner.id, owner.digest, false, RULES)
    t.equal(loaded?.touched, false)
    near(t, subject, loaded?.ttl, 10_000, 'the answer')
    near(t, subject, (await kept(subject, owner)).ttl, 10_000, 'the record')
    t.strictSame((await kept(subject, owner)).fields, before.fields)
  })

  await t.test('a load answers the clock of the store', async (t) => {
    const { id, digest } = newOwner()
    const written = await store.create(id, digest, delta(), RULES)
    const loaded = await store.load(id, digest, false, RULES)
    const elapsed = Number(loaded?.now) - Number(written?.now)
    t.ok(elapsed >= 0 && elapsed <= subject.slack, `${elapsed} ms`)
  })

  await t.test('the touch interval shrinks in proportion for records with a shorter idle timeout, and does not grow for longer ones', async (t) => {
    for (const [idleTimeout, extended] of [[20, 22_000], [50, 55_000], [100, 110_000], [300, 310_000]] as const) {
      const owner = await created(subject, {}, { idleTimeout })
      await pass(owner.id, idleTimeout * 500)
      const loaded = await store.load(owner.id, owner.digest, true, RULES)
      t.equal(loaded?.touched, true)
      near(t, subject, loaded?.ttl, extended, `an idle timeout of ${idleTimeout} s`)
    }
  })

  await t.test('no use extends a record beyond its lifetime', async (t) => {
    const rules = { ...RULES, lifetime: 150_000 }
    const owner = await created(subject, {}, {}, rules)
    await pass(owner.id, 90_000)
    const loaded = await store.load(owner.id, owner.digest, true, rules)
    t.equal(loaded?.touched, true)
    near(t, subject, loaded?.ttl, 60_000, 'a load')
    await pass(owner.id, 20_000)
    near(t, subject, (await store.load(owner.id, owner.digest, true, rules))?.ttl, 40_000, 'a later load')
    for (const touch of ['due', 'always'] as const) {
      const written = await store.write(owner.id, owner.digest, delta([increment('n')], { touch }), rules)
      near(t, subject, written?.ttl, 40_000, `a write that touches: ${touch}`)
    }
    const changed = await store.write(owner.id, owner.digest, delta([], { settings: { idleTimeout: 120 } }), rules)
    near(t, subject, changed?.ttl, 40_000, 'another idle timeout')
    near(t, subject, (await kept(subject, owner)).ttl, 40_000, 'the record')
    await pass(owner.id, 40_001)
    t.equal(await store.inspect(owner.id), undefined)
  })

  await t.test('a lifetime of its own outranks that of the rules, and counts from creation', async (t) => {
    const shorter = await created(subject, {}, { lifetime: 250 })
    const longer = await created(subject, {}, { lifetime: 4000 })
    const expected = [110_000, 70_000]
    for (let age = 90_000; age < 1_100_000; age += 90_000) {
      await pass(longer.id, 90_000)
      near(t, subject, (await store.load(longer.id, longer.digest, true, RULES))?.ttl, 110_000, `a longer one after ${age} ms`)
      const left = expected.shift()
      if (left === undefined) continue
      // Where time passes for one it passes for all, in a store whose clock is moved.
      if (subject.slack > 0) await pass(shorter.id, 90_000)
      near(t, subject, (await store.load(shorter.id, shorter.digest, true, RULES))?.ttl, left, `a shorter one after ${age} ms`)
    }
    if (subject.slack > 0) await pass(shorter.id, 90_000)
    t.equal(await store.inspect(shorter.id), undefined)
  })

  for (const [what, operations] of [
    ['sets', [set('n', '1')]], ['sets and deletes', [set('n', '1'), remove('absent')]], ['deletes', [remove('absent')]], ['increments', [increment('n')]], ['does nothing', []]
  ] as Array<[string, Operation[]]>) {
    await t.test(`a write that ${what} extends as it is told: never, where due, always`, async (t) => {
      const owner = await created(subject)
      const { id, digest } = owner
      const touching = async (touch: 'never' | 'due' | 'always') => (await store.write(id, digest, delta(operations, { touch }), RULES))?.ttl
      await pass(id, 50_000)
      const before = await kept(subject, owner)
      near(t, subject, await touching('never'), 50_000, 'never')
      t.equal((await kept(subject, owner)).fields['last_accessed_at'], before.fields['last_accessed_at'])
      near(t, subject, (await kept(subject, owner)).ttl, 50_000, 'the record')

      near(t, subject, await touching('due'), 110_000, 'due')
      near(t, subject, (await kept(subject, owner)).ttl, 110_000, 'the record')
      t.not((await kept(subject, owner)).fields['last_accessed_at'], before.fields['last_accessed_at'])

      await pass(id, 5000)
      const recent = await kept(subject, owner)
      near(t, subject, await touching('due'), 105_000, 'not due')
      t.equal((await kept(subject, owner)).fields['last_accessed_at'], recent.fields['last_accessed_at'])
      near(t, subject, await touching('always'), 110_000, 'always')
      near(t, subject, (await kept(subject, owner)).ttl, 110_000, 'the record')
      t.not((await kept(subject, owner)).fields['last_accessed_at'], recent.fields['last_accessed_at'])
    })
  }

  await t.test('a write extends without any operation, too', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    await pass(owner.id, 50_000)
    const written = await store.write(owner.id, owner.digest, delta([], { touch: 'always' }), RULES)
    near(t, subject, written?.ttl, 110_000, 'the answer')
    near(t, subject, (await kept(subject, owner)).ttl, 110_000, 'the record')
    t.equal((await kept(subject, owner)).fields['last_accessed_at'], String(written?.now))
  })

  await t.test('a new idle timeout counts from the write that sets it, whatever its touch says', async (t) => {
    for (const touch of ['never', 'due', 'always'] as const) {
      for (const idleTimeout of [10, 60, 500]) {
        const owner = await created(subject)
        await pass(owner.id, 30_000)
        const written = await store.write(owner.id, owner.digest, delta([set('a', '1')], { touch, settings: { idleTimeout } }), RULES)
        near(t, subject, written?.ttl, idleTimeout * 1000, `${idleTimeout} s, ${touch}`)
        const record = await kept(subject, owner)
        near(t, subject, record.ttl, idleTimeout * 1000, 'the record')
        t.equal(record.fields['session_ttl'], String(idleTimeout))
        t.equal(record.fields['last_accessed_at'], String(written?.now))
      }
    }
  })

  await t.test('a new idle timeout stays in force', async (t) => {
    const owner = await created(subject)
    await store.write(owner.id, owner.digest, delta([], { settings: { idleTimeout: 500 } }), RULES)
    await pass(owner.id, 400_000)
    near(t, subject, (await store.load(owner.id, owner.digest, true, RULES))?.ttl, 510_000, 'after a load')
    await store.write(owner.id, owner.digest, delta([], { settings: { idleTimeout: 40 } }), RULES)
    await pass(owner.id, 30_000)
    near(t, subject, (await store.load(owner.id, owner.digest, true, RULES))?.ttl, 44_000, 'after another')
  })

  await t.test('a new lifetime counts from creation, in both directions', async (t) => {
    const owner = await created(subject)
    await pass(owner.id, 60_000)
    const setting = async (lifetime: number) => (await store.write(owner.id, owner.digest, delta([], { settings: { lifetime } }), RULES))?.ttl
    near(t, subject, await setting(100), 40_000, 'a short one')
    near(t, subject, (await kept(subject, owner)).ttl, 40_000, 'the record')
    near(t, subject, await setting(130), 70_000, 'a longer one')
    near(t, subject, await setting(10_000), 100_000, 'one that is longer than the idle timeout')
    t.equal((await kept(subject, owner)).fields['@lifetime'], '10000')
  })

  await t.test('a new lifetime that is over already ends the record', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    await pass(owner.id, 60_000)
    const written = await store.write(owner.id, owner.digest, delta([set('a', '1')], { settings: { lifetime: 50 } }), RULES)
    t.ok(Number(written?.ttl) <= 1, 'nothing is left of it')
    await pass(owner.id, 1)
    t.equal(await store.inspect(owner.id), undefined)
    t.equal(await store.load(owner.id, owner.digest, true, RULES), undefined)
  })

  await t.test('whoever extends a record whose lifetime is over ends it, and nothing of it is left', async (t) => {
    const shorter = { ...RULES, lifetime: 20_000 }
    for (const operations of [[], [set('a', '1')], [remove('user')], [increment('n')]]) {
      const owner = await created(subject, { user: 'andrew' })
      await pass(owner.id, 30_000)
      t.equal((await store.write(owner.id, owner.digest, delta(operations, { touch: 'always' }), shorter))?.ttl, 0)
      t.equal(await store.inspect(owner.id), undefined)
      t.ok(await store.create(owner.id, owner.digest, delta(), RULES), 'its id is free')
    }
    const rotated = await created(subject, { user: 'andrew' })
    await pass(rotated.id, 30_000)
    t.equal((await store.write(rotated.id, rotated.digest, delta([], { settings: { idleTimeout: 50, digest: newDigest() } }), shorter))?.ttl, 0)
    t.equal(await store.inspect(rotated.id), undefined)
  })

  await t.test('what a write answers of the time that is left is exact, however long that is', async (t) => {
    const settings = { idleTimeout: 1e16, lifetime: 1e16 }
    const owner = newOwner()
    t.equal((await store.create(owner.id, owner.digest, delta([], { settings }), RULES))?.ttl, 1e15)
    await pass(owner.id, 12_345)
    for (const write of [delta([set('a', '1')]), delta([increment('n')])]) near(t, subject, (await store.write(owner.id, owner.digest, write, RULES))?.ttl, 1e15 - 12_345, 'a write')
  })

  await t.test('timeouts of fractions of a second are exact to the millisecond', async (t) => {
    const { id, digest } = newOwner()
    const written = await store.create(id, digest, delta([], { settings: { idleTimeout: 12.345 } }), RULES)
    t.equal(written?.ttl, 12_345)
    t.equal((await store.inspect(id))?.fields['session_ttl'], '12.345')
    const rules = { ...RULES, idleTimeout: 1500 }
    const other = newOwner()
    t.equal((await store.create(other.id, other.digest, delta(), rules))?.ttl, 1500)
    t.equal((await store.inspect(other.id))?.fields['session_ttl'], '1.5')
    const finer = newOwner()
    t.equal((await store.create(finer.id, finer.digest, delta([], { settings: { idleTimeout: 12.3451 } }), RULES))?.ttl, 12_346, 'and finer ones are rounded up')
    t.equal((await store.write(finer.id, finer.digest, delta([], { settings: { idleTimeout: 12.3452 } }), RULES))?.ttl, 12_346)
    t.equal((await store.write(finer.id, finer.digest, delta([], { touch: 'always' }), RULES))?.ttl, 13_580)
  })

  await t.test('no timeout is so long that a record is kept for ever', async (t) => {
    for (const seconds of [1e9, 1e12, 1e15, 1e16, 1e17, 1e20, Number.MAX_VALUE / 1e6]) {
      const rules = { ...RULES, idleTimeout: seconds * 1000, lifetime: seconds * 1000 }
      const settings = { idleTimeout: seconds, lifetime: seconds }
      const one = newOwner()
      await store.create(one.id, one.digest, delta([], { settings }), RULES).catch(() => {})
      const other = newOwner()
      await store.create(other.id, other.digest, delta(), rules).catch(() => {})
      const third = await created(subject)
      await store.write(third.id, third.digest, delta([set('a', '1')], { settings }), RULES).catch(() => {})
      for (const { id } of [one, other, third]) {
        const record = await store.inspect(id)
        // Refusing such a timeout is fine, but then nothing may have been stored.
        if (record !== undefined) t.ok(record.ttl > 0 && Number.isFinite(record.ttl), `${seconds} s`, { found: record.ttl })
      }
    }
  })

  await t.test('persistent comes and goes without moving the expiry', async (t) => {
    const owner = await created(subject)
    await pass(owner.id, 50_000)
    const before = await kept(subject, owner)
    for (const [persistent, expected] of [[true, '1'], [true, '1'], [false, undefined], [false, undefined]] as const) {
      const written = await store.write(owner.id, owner.digest, delta([], { settings: { persistent } }), RULES)
      near(t, subject, written?.ttl, 50_000, `${persistent}`)
      const record = await kept(subject, owner)
      near(t, subject, record.ttl, 50_000, 'the record')
      t.equal(record.fields['@persistent'], expected)
      t.equal(record.fields['last_accessed_at'], before.fields['last_accessed_at'])
    }
  })

  await t.test('rotating alone does not move the expiry', async (t) => {
    const owner = await created(subject)
    await pass(owner.id, 50_000)
    const before = await kept(subject, owner)
    const written = await store.write(owner.id, owner.digest, delta([], { settings: { digest: newDigest() } }), RULES)
    near(t, subject, written?.ttl, 50_000, 'the answer')
    const record = await kept(subject, owner)
    near(t, subject, record.ttl, 50_000, 'the record')
    t.equal(record.fields['last_accessed_at'], before.fields['last_accessed_at'])
    t.equal(record.fields['created_at'], before.fields['created_at'])
  })

  await t.test('rules that changed since a record was made hold for its settings of no own', async (t) => {
    const owner = await created(subject)
    await pass(owner.id, 50_000)
    // The idle timeout is kept with the record, for people to read; the lifetime is not.
    const longer = { ...RULES, idleTimeout: 200_000, touchInterval: 20_000 }
    near(t, subject, (await store.load(owner.id, owner.digest, true, longer))?.ttl, 110_000, 'another idle timeout')
    await pass(owner.id, 20_000)
    const shorter = { ...RULES, lifetime: 120_000 }
    near(t, subject, (await store.write(owner.id, owner.digest, delta([], { touch: 'always' }), shorter))?.ttl, 50_000, 'another lifetime')
  })
}
