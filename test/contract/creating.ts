/** Creating, inspecting and ending records. */
import { apart, clear, created, delta, everyOperation, get, increment, kept, near, newDigest, newOwner, type Part, RULES, set, unchanged, withoutMetadata } from './kit.js'

export const creating: Part = async (t, subject) => {
  const { store, prefix } = subject

  await t.test('a new record has its data, its metadata and exactly the idle timeout', async (t) => {
    const { id, digest } = newOwner()
    const written = await store.create(id, digest, delta([set('user', 'andrew'), set('count', '3')]), RULES)
    t.equal(written?.ttl, 100_000)
    t.equal(written?.refusal, undefined)
    t.strictSame(written?.results, [true, true])
    const record = await store.inspect(id)
    near(t, subject, record?.ttl, 100_000, 'the record')
    t.strictSame(record?.fields, {
      created_at: String(written?.now),
      last_accessed_at: String(written?.now),
      session_ttl: '100',
      '@digest': digest,
      user: 'andrew',
      count: '3'
    })
  })

  await t.test('a record may be created without data', async (t) => {
    const owner = await created(subject)
    t.strictSame(Object.keys((await kept(subject, owner)).fields), ['created_at', 'last_accessed_at', 'session_ttl', '@digest'])
    t.ok(await store.load(owner.id, owner.digest, false, RULES))
  })

  await t.test('settings given at creation are in force from the start', async (t) => {
    const { id, digest } = newOwner()
    const written = await store.create(id, digest, delta([], { settings: { idleTimeout: 30, lifetime: 2000, persistent: true } }), RULES)
    t.equal(written?.ttl, 30_000)
    const record = await store.inspect(id)
    near(t, subject, record?.ttl, 30_000, 'the record')
    t.match(record?.fields, { session_ttl: '30', '@lifetime': '2000', '@persistent': '1' })
  })

  await t.test('a lifetime shorter than the idle timeout decides when a new record ends', async (t) => {
    const { id, digest } = newOwner()
    const written = await store.create(id, digest, delta([], { settings: { lifetime: 40 } }), RULES)
    t.equal(written?.ttl, 40_000)
    near(t, subject, (await store.inspect(id))?.ttl, 40_000, 'the record')
  })

  await t.test('touch and settings.digest mean nothing at creation', async (t) => {
    for (const touch of ['due', 'always', 'never'] as const) {
      const { id, digest } = newOwner()
      const written = await store.create(id, digest, delta([set('a', '1')], { touch, settings: { digest: newDigest() } }), RULES)
      t.equal(written?.ttl, 100_000, touch)
      const record = await store.inspect(id)
      t.equal(record?.fields['@digest'], digest, touch)
      t.notOk(Object.hasOwn(record?.fields ?? {}, '@rotated'), touch)
    }
  })

  await t.test('creating where a record of that id exists changes nothing, whoever asks', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    for (const digest of [owner.digest, newDigest()]) {
      await unchanged(t, subject, owner, 'a second creation', async () => {
        const write = delta([set('user', 'mallory'), clear()], { touch: 'always', settings: { idleTimeout: 5, persistent: true } })
        t.equal(await store.create(owner.id, digest, write, RULES), undefined)
      })
    }
  })

  await t.test('an id whose record ended can be created anew, and nothing of the old record is left', async (t) => {
    const { id, digest } = await created(subject, { user: 'andrew' }, { idleTimeout: 50, persistent: true })
    await store.destroy(id)
    const next = newDigest()
    t.ok(await store.create(id, next, delta([set('count', '1')]), RULES))
    t.strictSame(withoutMetadata((await kept(subject, { id, digest: next })).fields), { count: '1' })
    t.equal((await store.inspect(id))?.fields['session_ttl'], '100')
    t.equal(await store.load(id, digest, false, RULES), undefined, 'the old owner is none of the new record')
  })

  await t.test('operations happen at creation as they do in any write', async (t) => {
    const { id, digest } = newOwner()
    const written = await store.create(id, digest, delta(everyOperation('n')), RULES)
    t.strictSame(written?.results, [null, true, false, '2', true, null, { done: true, current: '1' }, true])
    t.strictSame(withoutMetadata((await kept(subject, { id, digest })).fields), {})
  })

  await t.test('a creation that is refused leaves nothing behind', async (t) => {
    const { id, digest } = newOwner()
    const write = delta([set('a', '1'), set('b', 'text'), increment('b'), set('c', '1')])
    t.match(await store.create(id, digest, write, RULES), { results: [], refusal: { refused: 'not-a-number', field: 'b' } })
    t.equal(await store.inspect(id), undefined)
    t.equal(await store.load(id, digest, true, RULES), undefined)
  })

  await t.test('a creation that breaks a rule is refused, also where a record of that id exists', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    await unchanged(t, subject, owner, 'the creation', async () => {
      t.match(await store.create(owner.id, newDigest(), delta([set('a', 'x'.repeat(1001))]), RULES), { refusal: { refused: 'size', field: 'a' } })
    })
  })

  await t.test('a creation whose operations stand apart keeps those that were not refused', async (t) => {
    const { id, digest } = newOwner()
    const written = await store.create(id, digest, apart(set('a', '1'), set('b', 'text'), increment('b'), get('a')), RULES)
    t.equal(written?.refusal, undefined)
    t.strictSame(written?.results, [true, true, { refused: 'not-a-number' }, Buffer.from('1')])
    t.strictSame(withoutMetadata((await kept(subject, { id, digest })).fields), { a: '1', b: 'text' })
  })

  await t.test('inspect shows key and fields, and extends nothing', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    await subject.pass(owner.id, 50_000)
    await unchanged(t, subject, owner, 'looking', async () => { await store.inspect(owner.id) })
    const record = await kept(subject, owner)
    t.equal(record.key, prefix + owner.id)
    near(t, subject, record.ttl, 50_000, 'the record')
    t.equal(await store.inspect(newOwner().id), undefined, 'there is nothing to see of a record that does not exist')
  })

  await t.test('destroying ends a record once', async (t) => {
    const { id } = await created(subject, { user: 'andrew' })
    t.equal(await store.destroy(id), true)
    t.equal(await store.inspect(id), undefined)
    t.equal(await store.destroy(id), false)
    t.equal(await store.destroy(newOwner().id), false)
  })

  await t.test('destroying with a digest needs one that owns the record', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    for (const digest of [newDigest(), '', owner.id, owner.digest.slice(1), owner.digest.toLowerCase()]) {
      await unchanged(t, subject, owner, JSON.stringify(digest), async () => {
        t.equal(await store.destroy(owner.id, digest), false)
      })
    }
    t.equal(await store.destroy(owner.id, owner.digest), true)
    t.equal(await store.inspect(owner.id), undefined)
    t.equal(await store.destroy(owner.id, owner.digest), false)
  })
}
