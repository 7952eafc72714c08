/** Routine renewal of the secret: offered, confirmed by first use, and what an old secret is worth at each stage. */
import { lineageOf } from '../../src/store/record.js'
import { apart, created, dataOf, delta, get, increment, kept, near, newDigest, type Owner, type Part, RENEWING, RULES, set, type Subject, unchanged } from './kit.js'

/** A record whose renewal was offered, and what the successor is. */
async function offered (subject: Subject, owner?: Owner): Promise<{ owner: Owner, next: string }> {
  const who = owner ?? await created(subject, { user: 'andrew' })
  const next = newDigest()
  const sealed = await subject.store.renew(who.id, who.digest, next, `sealed ${next}`)
  if (sealed !== `sealed ${next}`) throw new Error('the offer was not taken')
  return { owner: who, next }
}

/** A record whose renewal was offered and confirmed. */
async function confirmed (subject: Subject, owner?: Owner): Promise<{ owner: Owner, next: string }> {
  const renewal = await offered(subject, owner)
  await subject.store.load(renewal.owner.id, renewal.next, true, RENEWING)
  return renewal
}

export const renewing: Part = async (t, subject) => {
  const { store, pass } = subject

  await t.test('renewal is due when the interval since creation is over, and not before', async (t) => {
    const { id, digest } = await created(subject)
    await pass(id, 50_000)
    t.equal((await store.load(id, digest, true, RENEWING))?.standing, 'current')
    await pass(id, 10_000)
    t.equal((await store.load(id, digest, true, RENEWING))?.standing, 'due')
    t.equal((await store.load(id, digest, false, RENEWING))?.standing, 'due', 'until somebody renews it')
  })

  await t.test('renewal is never due where the interval is 0', async (t) => {
    const { id, digest } = await created(subject)
    for (let i = 0; i < 5; i++) {
      await pass(id, 90_000)
      t.equal((await store.load(id, digest, true, RULES))?.standing, 'current')
    }
  })

  await t.test('the first offer of a successor wins, and stays', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    const { id, digest } = owner
    t.equal(await store.renew(id, digest, newDigest(), 'first'), 'first')
    const { fields } = await kept(subject, owner)
    await unchanged(t, subject, owner, 'later offers', async () => {
      t.equal(await store.renew(id, digest, newDigest(), 'second'), 'first')
      t.equal(await store.renew(id, digest, newDigest(), 'third'), 'first')
    })
    t.equal((await kept(subject, owner)).fields['@next'], fields['@next'])
  })

  await t.test('a successor is told of by rules that renew nothing, too', async (t) => {
    const { owner, next } = await offered(subject)
    for (const touch of [true, false]) {
      t.equal((await store.load(owner.id, owner.digest, touch, RULES))?.standing, 'superseded')
      t.equal((await store.load(owner.id, owner.digest, touch, { ...RULES, users: true }))?.standing, 'superseded')
    }
    const large = { ...RULES, maxFields: 1000, maxRecordSize: 100_000 }
    t.ok(await store.write(owner.id, owner.digest, delta(Array.from({ length: 600 }, (_, i) => set(`f${i}`, '1'))), large))
    t.equal((await store.load(owner.id, owner.digest, false, large))?.standing, 'superseded', 'however many fields there are')
    t.equal((await store.load(owner.id, next, true, RULES))?.standing, 'current')
    t.equal((await store.load(owner.id, owner.digest, true, RULES))?.standing, 'superseded', 'and when it was used')
  })

  await t.test('offering extends nothing', async (t) => {
    const owner = await created(subject)
    await pass(owner.id, 60_000)
    const before = await kept(subject, owner)
    await store.renew(owner.id, owner.digest, newDigest(), 'sealed')
    const after = await kept(subject, owner)
    near(t, subject, after.ttl, 40_000, 'the record')
    t.equal(after.fields['last_accessed_at'], before.fields['last_accessed_at'])
  })

  await t.test('whoever comes with the old secret meanwhile is told of the sealed successor', async (t) => {
    const { owner, next } = await offered(subject)
    for (const touch of [true, false]) {
      const loaded = await store.load(owner.id, owner.digest, touch, RENEWING)
      t.equal(loaded?.standing, 'superseded')
      t.equal(loaded?.fields.get('@sealed'), `sealed ${next}`)
      t.equal(loaded?.fields.get('user'), 'andrew')
    }
  })

  await t.test('while a successor waits for its first use, the lineage is good for everything, and no use of the successor', async (t) => {
    const { owner } = await offered(subject)
    await pass(owner.id, 90_000)
    t.strictSame((await store.write(owner.id, owner.digest, apart(increment('n'), get('user')), RENEWING))?.results, ['1', Buffer.from('andrew')])
    t.strictSame(await store.read(owner.id, owner.digest, ['n']), [Buffer.from('1')])
    t.equal((await kept(subject, owner)).fields['@digest'], owner.digest, 'only loading counts as use')
  })

  await t.test('whoever was let in goes on over any number of renewals, whatever secret let him in', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    let { id, digest } = owner
    for (let i = 0; i < 5; i++) {
      const { next } = await confirmed(subject, { id, digest })
      digest = next
      await pass(id, 30_000)
      const loaded = await store.load(id, digest, true, RENEWING)
      t.equal(lineageOf((name) => loaded?.fields.get(name)), owner.digest, 'everybody is of one lineage')
      t.strictSame((await store.write(id, owner.digest, apart(increment('n')), RENEWING))?.results, [String(i + 1)])
      t.strictSame(await store.read(id, owner.digest, ['n']), [Buffer.from(String(i + 1))])
      const seen = await store.look(id, owner.digest)
      t.equal(seen?.fields.get('n'), String(i + 1))
    }
    t.equal((await store.load(id, digest, true, RENEWING))?.standing, 'current', 'and none of it is an old secret used again')
    const rotated = newDigest()
    t.ok(await store.write(id, owner.digest, delta([], { settings: { digest: rotated } }), RENEWING))
    t.equal(await store.look(id, owner.digest), undefined, 'rotate() begins a new lineage')
    t.equal(lineageOf((name) => (name === '@digest' ? rotated : undefined)), rotated)
    t.ok(await store.look(id, rotated))
  })

  await t.test('looking extends nothing, confirms nothing and ends nothing', async (t) => {
    const { owner, next } = await offered(subject)
    await pass(owner.id, 60_000)
    await unchanged(t, subject, owner, 'looking', async () => {
      const seen = await store.look(owner.id, owner.digest)
      t.equal(seen?.fields.get('user'), 'andrew')
      near(t, subject, seen?.ttl, 40_000, 'what is left')
      for (const digest of [next, newDigest(), '']) t.equal(await store.look(owner.id, digest), undefined)
    })
  })

  await t.test('the first load with the successor confirms it', async (t) => {
    for (const touch of [true, false]) {
      const { owner, next } = await offered(subject)
      await pass(owner.id, 30_000)
      const loaded = await store.load(owner.id, next, touch, RENEWING)
      t.equal(loaded?.standing, 'current')
      t.equal(loaded?.touched, touch)
      t.equal(loaded?.fields.get('user'), 'andrew')
      t.strictSame([loaded?.fields.get('@digest'), loaded?.fields.get('@next')], [owner.digest, next], 'the answer shows what was there before')
      const { fields } = await kept(subject, owner)
      t.match(fields, { '@digest': next, '@prev': owner.digest, '@prev_until': String(Number(loaded?.now) + 20_000), '@renewed': String(loaded?.now) })
      t.notOk(Object.hasOwn(fields, '@next'))
      t.notOk(Object.hasOwn(fields, '@rotated'))
      t.strictSame(await dataOf(subject, owner), { user: 'andrew' })
      t.equal((await store.load(owner.id, next, touch, RENEWING))?.standing, 'current')
    }
  })

  await t.test('confirming without touch leaves the expiry alone', async (t) => {
    const { owner, next } = await offered(subject)
    await pass(owner.id, 50_000)
    near(t, subject, (await store.load(owner.id, next, false, RENEWING))?.ttl, 50_000, 'the answer')
    near(t, subject, (await kept(subject, owner)).ttl, 50_000, 'the record')
  })

  await t.test('after that the predecessor stays good for the grace, and is still told of the successor', async (t) => {
    const { owner, next } = await confirmed(subject)
    await pass(owner.id, 10_000)
    const loaded = await store.load(owner.id, owner.digest, true, RENEWING)
    t.equal(loaded?.standing, 'superseded')
    t.equal(loaded?.fields.get('@sealed'), `sealed ${next}`)
    t.strictSame((await store.write(owner.id, owner.digest, apart(set('a', '1')), RENEWING))?.results, [true])
    t.strictSame(await store.read(owner.id, owner.digest, ['a']), [Buffer.from('1')])
    t.equal((await kept(subject, owner)).fields['@prev_until'], String(Number((await kept(subject, owner)).fields['@renewed']) + 20_000), 'use does not prolong the grace')
  })

  await t.test('a request that was let in by the predecessor may still write and end the session when the grace is over', async (t) => {
    const { owner } = await confirmed(subject)
    await pass(owner.id, 21_000)
    t.strictSame((await store.write(owner.id, owner.digest, apart(set('a', '1')), RENEWING))?.results, [true])
    t.equal(await store.destroy(owner.id, owner.digest), true)
    t.equal(await store.inspect(owner.id), undefined)
  })

  await t.test('a session may be ended while a successor waits for its first use', async (t) => {
    const { owner, next } = await offered(subject)
    t.equal(await store.destroy(owner.id, lineageOf((name) => name === '@digest' ? owner.digest : undefined)), true)
    t.equal(await store.inspect(owner.id), undefined)
    t.equal(await store.load(owner.id, next, true, RENEWING), undefined)
  })

  await t.test('the predecessor that comes after the grace ends the record', async (t) => {
    for (const touch of [true, false]) {
      const { owner, next } = await confirmed(subject)
      await pass(owner.id, 21_000)
      t.equal((await store.load(owner.id, owner.digest, touch, RENEWING))?.standing, 'reused')
      t.equal(await store.inspect(owner.id), undefined)
      t.equal(await store.load(owner.id, next, true, RENEWING), undefined, 'for the successor, too')
      t.equal(await store.load(owner.id, owner.digest, true, RENEWING), undefined, 'and it is told once')
    }
  })

  await t.test('a secret that was renewed away even earlier ends the record, also within the grace', async (t) => {
    const { owner, next } = await confirmed(subject)
    const second = await confirmed(subject, { id: owner.id, digest: next })
    t.equal((await store.load(owner.id, next, true, RENEWING))?.standing, 'superseded', 'the last predecessor is still good')
    t.equal((await store.load(owner.id, owner.digest, true, RENEWING))?.standing, 'reused')
    t.equal(await store.inspect(owner.id), undefined)
    t.equal(await store.load(owner.id, second.next, true, RENEWING), undefined)
  })

  await t.test('any other secret ends a record that was renewed, for only this plugin can have signed its token', async (t) => {
    const { owner } = await confirmed(subject)
    t.equal((await store.load(owner.id, newDigest(), true, RENEWING))?.standing, 'reused')
    t.equal(await store.inspect(owner.id), undefined)
  })

  await t.test('before a renewal was confirmed, a foreign secret is refused and nothing more', async (t) => {
    const { owner } = await offered(subject)
    await unchanged(t, subject, owner, 'the attempt', async () => {
      t.equal(await store.load(owner.id, newDigest(), true, RENEWING), undefined)
    })
  })

  await t.test('only loading ends a record for the use of an old secret', async (t) => {
    const { owner, next } = await confirmed(subject)
    const second = await confirmed(subject, { id: owner.id, digest: next })
    await unchanged(t, subject, owner, 'other operations', async () => {
      for (const secret of [next, second.next]) {
        t.equal(await store.read(owner.id, secret, ['user']), undefined)
        t.equal(await store.look(owner.id, secret), undefined)
        t.equal(await store.write(owner.id, secret, delta([set('a', '1')]), RENEWING), undefined)
        t.equal(await store.retire(owner.id, 'mark', secret), false)
        t.equal(await store.destroy(owner.id, secret), false)
      }
      t.equal(await store.renew(owner.id, owner.digest, newDigest(), 'sealed'), undefined)
    })
    t.ok(await store.load(owner.id, second.next, false, RENEWING))
  })

  await t.test('after rotate() a secret from before it is refused and nothing more, also when renewal went on', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    const rotated = newDigest()
    await store.write(owner.id, owner.digest, delta([], { settings: { digest: rotated } }), RENEWING)
    const { next } = await confirmed(subject, { id: owner.id, digest: rotated })
    await unchanged(t, subject, owner, 'the attempt', async () => {
      t.equal(await store.load(owner.id, owner.digest, true, RENEWING), undefined)
    })
    await pass(owner.id, 21_000)
    t.ok(await store.load(owner.id, next, true, RENEWING))
    t.equal((await store.load(owner.id, rotated, true, RENEWING))?.standing, 'reused', 'but the predecessor of the renewal is a sign of theft')
    t.equal(await store.inspect(owner.id), undefined)
  })

  await t.test('after a confirmed renewal the next one is due when its whole interval is over', async (t) => {
    const owner = await created(subject)
    await pass(owner.id, 70_000)
    const { next } = await confirmed(subject, owner)
    t.equal((await store.load(owner.id, next, true, RENEWING))?.standing, 'current')
    await pass(owner.id, 50_000)
    t.equal((await store.load(owner.id, next, true, RENEWING))?.standing, 'current')
    await pass(owner.id, 10_000)
    t.equal((await store.load(owner.id, next, true, RENEWING))?.standing, 'due')
    const second = await confirmed(subject, { id: owner.id, digest: next })
    t.match((await kept(subject, owner)).fields, { '@digest': second.next, '@prev': next, '@sealed': `sealed ${second.next}` })
  })

  await t.test('only the current secret can be renewed', async (t) => {
    const pending = await offered(subject)
    const done = await confirmed(subject)
    for (const [owner, digest] of [[pending.owner, pending.next], [done.owner, done.owner.digest], [done.owner, newDigest()]] as const) {
      await unchanged(t, subject, owner, 'the attempt', async () => {
        t.equal(await store.renew(owner.id, digest, newDigest(), 'other'), undefined)
      })
    }
  })

  await t.test('a renewal that nobody confirms stays open, and the old secret good', async (t) => {
    const { owner, next } = await offered(subject)
    for (let i = 0; i < 5; i++) {
      await pass(owner.id, 90_000)
      t.equal((await store.load(owner.id, owner.digest, true, RENEWING))?.standing, 'superseded')
    }
    t.equal((await store.load(owner.id, next, true, RENEWING))?.standing, 'current')
  })

  await t.test('which secrets stand: the current one and a successor that waits, and none from before', async (t) => {
    const { owner, next } = await offered(subject)
    await unchanged(t, subject, owner, 'asking', async () => {
      t.strictSame([await store.stands(owner.id, owner.digest), await store.stands(owner.id, next)], [true, true], 'waiting for its first use')
    })
    t.equal((await kept(subject, owner)).fields['@digest'], owner.digest, 'asking is no use')
    await store.load(owner.id, next, true, RENEWING)
    t.strictSame([await store.stands(owner.id, owner.digest), await store.stands(owner.id, next)], [false, true], 'confirmed')
    t.ok(await store.read(owner.id, owner.digest, ['user']), 'although the predecessor is still welcome')
    const rotated = newDigest()
    await store.write(owner.id, owner.digest, delta([], { settings: { digest: rotated } }), RENEWING)
    t.strictSame([await store.stands(owner.id, next), await store.stands(owner.id, rotated)], [false, true], 'rotated')
    t.equal(await store.stands(owner.id, newDigest()), false, 'one that never was')
    await store.destroy(owner.id)
    t.equal(await store.stands(owner.id, rotated), false, 'gone')
  })
}
