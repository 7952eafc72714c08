/** A new secret on demand: the old ones are dead in the same step. */
import { apart, created, dataOf, delta, increment, kept, newDigest, type Part, RULES, set, type Subject, unchanged, type Owner } from './kit.js'
import type { Test } from 'tap'

/** Checks that a digest is good for nothing, and that trying does no harm. */
async function dead (t: Test, subject: Subject, owner: Owner, digest: string, what: string): Promise<void> {
  const { store } = subject
  await unchanged(t, subject, owner, what, async () => {
    t.equal(await store.load(owner.id, digest, true, RULES), undefined, `${what}: load`)
    t.equal(await store.read(owner.id, digest, ['user']), undefined, `${what}: read`)
    t.equal(await store.write(owner.id, digest, delta([set('user', 'mallory')]), RULES), undefined, `${what}: write`)
    t.equal(await store.renew(owner.id, digest, newDigest(), 'sealed'), undefined, `${what}: renew`)
    t.equal(await store.destroy(owner.id, digest), false, `${what}: destroy`)
  })
}

export const rotating: Part = async (t, subject) => {
  const { store } = subject

  await t.test('a new digest takes the place of the old one, in one step with what changed', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    const next = newDigest()
    const written = await store.write(owner.id, owner.digest, delta([set('role', 'admin')], { settings: { digest: next } }), RULES)
    t.strictSame(written?.results, [true])
    t.strictSame(await dataOf(subject, owner), { user: 'andrew', role: 'admin' })
    t.match((await kept(subject, owner)).fields, { '@digest': next, '@rotated': String(written?.now) })
    t.equal((await store.load(owner.id, next, true, RULES))?.standing, 'current')
    await dead(t, subject, owner, owner.digest, 'the old digest')
    t.strictSame((await store.write(owner.id, next, apart(increment('n')), RULES))?.results, ['1'])
  })

  await t.test('a rotation that is refused leaves the old digest good', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    const next = newDigest()
    await unchanged(t, subject, owner, 'the rotation', async () => {
      t.ok((await store.write(owner.id, owner.digest, delta([increment('user')], { settings: { digest: next } }), RULES))?.refusal)
    })
    await dead(t, subject, owner, next, 'the new digest')
    t.ok(await store.load(owner.id, owner.digest, false, RULES))
  })

  await t.test('rotating drops an offered successor', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    const offered = newDigest()
    const rotated = newDigest()
    t.equal(await store.renew(owner.id, owner.digest, offered, 'sealed'), 'sealed')
    t.ok(await store.write(owner.id, owner.digest, delta([], { settings: { digest: rotated } }), RULES))
    await store.finalize(owner.id, rotated)
    t.strictSame(Object.keys((await kept(subject, owner)).fields).filter((name) => name.startsWith('@')).sort(), ['@digest', '@rotated'])
    await dead(t, subject, owner, owner.digest, 'the old digest')
    await dead(t, subject, owner, offered, 'the offered digest')
    t.equal((await store.load(owner.id, rotated, true, RULES))?.standing, 'current')
  })

  await t.test('rotating drops predecessors, who then are refused and nothing more', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    const renewed = newDigest()
    const rotated = newDigest()
    await store.renew(owner.id, owner.digest, renewed, 'sealed')
    await store.load(owner.id, renewed, true, RULES)
    t.equal((await store.load(owner.id, owner.digest, true, RULES))?.standing, 'superseded')
    t.ok(await store.write(owner.id, owner.digest, delta([], { settings: { digest: rotated } }), RULES))
    await store.finalize(owner.id, rotated)
    t.strictSame(Object.keys((await kept(subject, owner)).fields).filter((name) => name.startsWith('@')).sort(), ['@digest', '@renewed', '@rotated'])
    await dead(t, subject, owner, renewed, 'the digest before the rotation')
    await dead(t, subject, owner, owner.digest, 'its predecessor')
    await subject.pass(owner.id, 30_000)
    await dead(t, subject, owner, owner.digest, 'its predecessor, after the grace')
    t.ok(await store.load(owner.id, rotated, false, RULES))
  })

  await t.test('rotating again and again leaves one good digest', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    const old: string[] = []
    let current = owner.digest
    for (let i = 0; i < 5; i++) {
      const next = newDigest()
      t.ok(await store.write(owner.id, current, delta([], { settings: { digest: next } }), RULES))
      old.push(current)
      current = next
    }
    for (const digest of old) await dead(t, subject, owner, digest, 'an old digest')
    t.ok(await store.load(owner.id, current, false, RULES))
  })

  await t.test('rotating makes routine renewal wait for its whole interval again', async (t) => {
    const rules = { ...RULES, rotateEvery: 60_000 }
    const owner = await created(subject)
    await subject.pass(owner.id, 70_000)
    t.equal((await store.load(owner.id, owner.digest, true, rules))?.standing, 'due')
    const next = newDigest()
    await store.write(owner.id, owner.digest, delta([], { settings: { digest: next } }), rules)
    t.equal((await store.load(owner.id, next, true, rules))?.standing, 'current')
    await subject.pass(owner.id, 50_000)
    t.equal((await store.load(owner.id, next, true, rules))?.standing, 'current')
    await subject.pass(owner.id, 11_000)
    t.equal((await store.load(owner.id, next, true, rules))?.standing, 'due')
  })
}
