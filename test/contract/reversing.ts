/** Steps that can be taken back: a new secret, and a record that another one takes the place of. */
import type { Test } from 'tap'
import type { Write } from '../../src/store/store.js'
import { apart, clear, created, delta, everyOperation, increment, kept, near, newDigest, newOwner, type Owner, type Part, remove, RENEWING, RULES, set, type Subject } from './kit.js'

/** Runs steps on a record, takes them back, and checks that the record is in every detail what it was. */
async function takenBack (t: Test, subject: Subject, owner: Owner, what: string, run: () => Promise<string[]>): Promise<void> {
  const before = await kept(subject, owner)
  const marks = await run()
  for (const mark of marks.reverse()) t.equal(await subject.store.takeBack(owner.id, mark), true, `${what}: taken back`)
  const after = await kept(subject, owner)
  t.strictSame(after.fields, before.fields, `${what}: fields are what they were`)
  near(t, subject, after.ttl, before.ttl, `${what}: so is the expiry`)
  t.ok(await subject.store.load(owner.id, owner.digest, false, RULES), `${what}: the old secret is good`)
  for (const mark of marks) {
    t.equal(await subject.store.takeBack(owner.id, mark), false, `${what}: once`)
    t.equal(await subject.store.finalize(owner.id, mark), false, `${what}: nothing is left to decide`)
  }
}

export const reversing: Part = async (t, subject) => {
  const { store } = subject

  await t.test('a write with a new digest is taken back as a whole', async (t) => {
    const settings = { idleTimeout: 500, lifetime: 5000, persistent: true, elevate: 60 }
    const writes: Array<[string, Omit<Write, 'settings'> & { settings?: Write['settings'] }]> = [
      ['no data', delta()],
      ['sets', delta([set('role', 'admin'), set('new', '1')])],
      ['removals', delta([remove('user'), remove('never')])],
      ['a clear', delta([clear(), set('other', 'x')])],
      ['settings', delta([], { settings })],
      ['an extension', delta([], { touch: 'always' })],
      ['everything', delta(everyOperation('n'), { settings, touch: 'always', mode: 'apart' })]
    ]
    for (const [what, write] of writes) {
      const owner = await created(subject, { user: 'andrew', role: 'user', umlaut: 'größe', empty: '' }, { lifetime: 900 })
      await subject.pass(owner.id, 30_000)
      await takenBack(t, subject, owner, what, async () => {
        const digest = newDigest()
        t.ok((await store.write(owner.id, owner.digest, { ...write, settings: { ...write.settings, digest } }, RULES))?.results, what)
        t.equal(await store.load(owner.id, owner.digest, false, RULES), undefined, `${what}: until then the old secret is dead`)
        t.ok(await store.load(owner.id, digest, false, RULES), `${what}: and the new one good`)
        return [digest]
      })
    }
  })

  await t.test('so is what was written under the new digest afterwards', async (t) => {
    const owner = await created(subject, { n: '1' })
    await takenBack(t, subject, owner, 'later writes', async () => {
      const digest = newDigest()
      await store.write(owner.id, owner.digest, delta([increment('n')], { settings: { digest } }), RULES)
      t.ok(await store.write(owner.id, digest, delta([set('role', 'admin')]), RULES), 'a plain save')
      t.ok(await store.write(owner.id, digest, apart(increment('n')), RULES), 'a live write')
      t.ok(await store.write(owner.id, digest, delta([], { settings: { elevate: 300 } }), RULES), 'an elevation')
      return [digest]
    })
  })

  await t.test('a rotation that renewals came before is taken back to all that they left', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    const next = newDigest()
    await store.renew(owner.id, owner.digest, next, 'sealed')
    await store.load(owner.id, next, false, RENEWING)
    await store.renew(owner.id, next, newDigest(), 'sealed again')
    const before = await kept(subject, owner)
    const digest = newDigest()
    t.ok(await store.write(owner.id, owner.digest, delta([], { settings: { digest } }), RENEWING))
    t.equal(await store.takeBack(owner.id, digest), true)
    t.strictSame((await kept(subject, owner)).fields, before.fields)
    t.equal((await store.load(owner.id, owner.digest, false, RENEWING))?.standing, 'superseded')
  })

  await t.test('what was decided to stand cannot be taken back', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    const digest = newDigest()
    await store.write(owner.id, owner.digest, delta([set('role', 'admin')], { settings: { digest } }), RULES)
    t.equal(await store.finalize(owner.id, digest), false, 'no record ended')
    t.equal(await store.takeBack(owner.id, digest), false)
    t.equal(await store.load(owner.id, owner.digest, false, RULES), undefined)
    t.equal((await store.load(owner.id, digest, false, RULES))?.fields.get('role'), 'admin')
    t.notOk(Object.hasOwn((await kept(subject, owner)).fields, '@undo'), 'and nothing is left of it')
  })

  await t.test('a retired record is none for anybody', async (t) => {
    for (const lineage of [true, false]) {
      const owner = await created(subject, { user: 'andrew' })
      t.equal(await store.retire(owner.id, 'm', lineage ? owner.digest : undefined), true)
      t.equal(await store.load(owner.id, owner.digest, true, RENEWING), undefined)
      t.equal(await store.read(owner.id, owner.digest, ['user']), undefined)
      t.equal(await store.look(owner.id, owner.digest), undefined)
      t.equal(await store.write(owner.id, owner.digest, delta([set('a', '1')]), RULES), undefined)
      t.equal(await store.renew(owner.id, owner.digest, newDigest(), 'sealed'), undefined)
      t.equal(await store.stands(owner.id, owner.digest), false)
      t.equal(await store.inspect(owner.id), undefined)
      t.strictSame(await store.describe([owner.id]), [undefined])
      t.equal(await store.retire(owner.id, 'again'), false)
      t.equal(await store.destroy(owner.id, owner.digest), false)
      t.equal(await store.create(owner.id, newDigest(), delta(), RULES), undefined, 'and its id stays taken')
      t.equal(await store.finalize(owner.id, 'other'), false, 'another mark decides nothing')
      t.equal(await store.finalize(owner.id, 'm'), true, 'now it ended')
      t.equal(await store.takeBack(owner.id, 'm'), false)
      t.equal(await store.finalize(owner.id, 'm'), false)
    }
  })

  await t.test('a retired record is taken back as it was', async (t) => {
    const owner = await created(subject, { user: 'andrew', n: '3' })
    await subject.pass(owner.id, 20_000)
    await takenBack(t, subject, owner, 'retiring', async () => {
      t.equal(await store.retire(owner.id, 'm', owner.digest), true)
      t.equal(await store.takeBack(owner.id, 'other'), false, 'by no other mark')
      return ['m']
    })
  })

  await t.test('several steps are taken back one after the other', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    await takenBack(t, subject, owner, 'a rotation, and then retiring', async () => {
      const digest = newDigest()
      await store.write(owner.id, owner.digest, delta([set('role', 'admin')], { settings: { digest } }), RULES)
      t.equal(await store.retire(owner.id, 'm', digest), true)
      t.equal(await store.takeBack(owner.id, digest), false, 'not out of turn')
      return [digest, 'm']
    })
  })

  await t.test('a record of another lineage is not retired, unless the lineage does not matter', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    const digest = newDigest()
    await store.write(owner.id, owner.digest, delta([], { settings: { digest } }), RULES)
    t.equal(await store.retire(owner.id, 'm', owner.digest), false)
    t.ok(await store.load(owner.id, digest, false, RULES))
    t.equal(await store.retire(owner.id, 'm'), true)
    t.equal(await store.load(owner.id, digest, false, RULES), undefined)
    t.equal(await store.retire(newOwner().id, 'm'), false, 'nothing to retire')
  })

  await t.test('what nobody decides on is gone for good after a minute, or when its time was over anyway', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    await store.retire(owner.id, 'm')
    await subject.pass(owner.id, 60_001)
    t.equal(await store.takeBack(owner.id, 'm'), false)
    t.ok(await store.create(owner.id, owner.digest, delta([set('a', '1')]), RULES), 'its id is free')

    const short = await created(subject, { user: 'andrew' })
    await subject.pass(short.id, 90_000)
    await store.retire(short.id, 'm')
    await subject.pass(short.id, 10_001)
    t.equal(await store.takeBack(short.id, 'm'), false)
  })

  await t.test('whoever ends a record for good ends it retired, too, and it does not come back', async (t) => {
    for (const end of [async (id: string) => await store.destroy(id), async (id: string) => await store.end(id)]) {
      const owner = await created(subject, { user: 'andrew' })
      await store.retire(owner.id, 'm')
      t.equal(await end(owner.id), true)
      t.equal(await store.takeBack(owner.id, 'm'), false)
      t.equal(await store.load(owner.id, owner.digest, false, RULES), undefined)

      const rotated = await created(subject, { user: 'andrew' })
      const digest = newDigest()
      await store.write(rotated.id, rotated.digest, delta([], { settings: { digest } }), RULES)
      t.equal(await end(rotated.id), true)
      t.equal(await store.takeBack(rotated.id, digest), false)
      t.equal(await store.load(rotated.id, rotated.digest, false, RULES), undefined)
    }
  })
}
