/** Who may do what: the guard of every operation, and that what is gone stays gone. */
import type { Test } from 'tap'
import { apart, created, dataOf, delta, everyOperation, get, newDigest, newOwner, type Part, RULES, set, type Subject, unchanged } from './kit.js'
import type { Write } from '../../src/store/store.js'

/** Writes of every kind. */
function everyWrite (): Array<[string, Write]> {
  return [
    ...everyOperation('user').flatMap((operation): Array<[string, Write]> => [
      [`${operation.type}, together`, delta([operation])],
      [`${operation.type}, apart`, apart(operation)]
    ]),
    ['all operations', delta(everyOperation('user'))],
    ['no operation at all', delta()],
    ['touch', delta([], { touch: 'always' })],
    ['touch where due', delta([], { touch: 'due' })],
    ['settings', delta([], { settings: { idleTimeout: 500, lifetime: 5000, persistent: true } })],
    ['rotation', delta([], { settings: { digest: newDigest() } })],
    ['everything', delta([set('a', '1')], { touch: 'always', settings: { idleTimeout: 500, lifetime: 5000, persistent: true, digest: newDigest() } })]
  ]
}

/** Calls everything that takes a digest, and checks that each answers that it has no such record. */
async function refusedEverything (t: Test, { store }: Subject, id: string, digest: string): Promise<void> {
  t.equal(await store.load(id, digest, true, RULES), undefined, 'load with touch')
  t.equal(await store.load(id, digest, false, RULES), undefined, 'load without touch')
  t.equal(await store.read(id, digest, ['user']), undefined, 'read')
  t.equal(await store.look(id, digest), undefined, 'look')
  t.equal(await store.retire(id, 'mark', digest), false, 'retire')
  t.equal(await store.finalize(id, digest), false, 'finalize')
  t.equal(await store.takeBack(id, digest), false, 'takeBack')
  t.equal(await store.renew(id, digest, newDigest(), 'sealed'), undefined, 'renew')
  t.equal(await store.destroy(id, digest), false, 'destroy')
  for (const [what, write] of everyWrite()) t.equal(await store.write(id, digest, write, RULES), undefined, `write: ${what}`)
}

export const guarding: Part = async (t, subject) => {
  const { store } = subject

  await t.test('with a digest that does not own the record nothing happens', async (t) => {
    const owner = await created(subject, { user: 'andrew' })
    await subject.pass(owner.id, 50_000)
    const other = await created(subject)
    for (const digest of [newDigest(), other.digest, '', '-', 'false', owner.id, owner.digest.slice(0, -1), `${owner.digest} `, owner.digest.toLowerCase()]) {
      await unchanged(t, subject, owner, JSON.stringify(digest), async () => {
        await refusedEverything(t, subject, owner.id, digest)
      })
    }
  })

  await t.test('a record that never was is not created by using it', async (t) => {
    const { id, digest } = newOwner()
    await refusedEverything(t, subject, id, digest)
    t.equal(await store.inspect(id), undefined)
  })

  await t.test('a record that was destroyed is never created again', async (t) => {
    const { id, digest } = await created(subject, { user: 'andrew' })
    await store.destroy(id)
    await refusedEverything(t, subject, id, digest)
    t.equal(await store.inspect(id), undefined)
  })

  await t.test('a record that expired is never created again', async (t) => {
    const { id, digest } = await created(subject, { user: 'andrew' })
    await subject.pass(id, 100_001)
    await refusedEverything(t, subject, id, digest)
    t.equal(await store.inspect(id), undefined)
    t.equal(await store.destroy(id), false)
  })

  await t.test('records do not know each other', async (t) => {
    const one = await created(subject, { user: 'andrew' })
    const other = await created(subject, { user: 'barbara' })
    await unchanged(t, subject, other, 'the other record', async () => {
      await store.write(one.id, one.digest, delta([set('user', 'carol')], { touch: 'always', settings: { idleTimeout: 700 } }), RULES)
    })
    await store.destroy(one.id)
    t.strictSame(await dataOf(subject, other), { user: 'barbara' })
  })

  await t.test('loading finds the texts of all fields', async (t) => {
    const { id, digest } = await created(subject, { user: 'andrew', empty: '', count: '3' })
    const loaded = await store.load(id, digest, false, RULES)
    t.equal(loaded?.standing, 'current')
    t.equal(loaded?.touched, false)
    t.equal(loaded?.fields.get('user'), 'andrew')
    t.equal(loaded?.fields.get('empty'), '')
    t.equal(loaded?.fields.get('count'), '3')
    t.equal(loaded?.fields.get('created_at'), (await store.inspect(id))?.fields['created_at'])
    t.equal(loaded?.fields.get('session_ttl'), '100')
    for (const absent of ['User', 'use', 'users', 'andrew', '', '3', '__proto__', 'constructor', 'toString']) {
      t.equal(loaded?.fields.get(absent), undefined, absent)
    }
    t.strictSame([...loaded?.fields.names() ?? []].sort(),
      ['@digest', 'count', 'created_at', 'empty', 'last_accessed_at', 'session_ttl', 'user'])
    t.equal(loaded?.fields.get('user'), 'andrew', 'and again')
  })

  await t.test('what was loaded stays as it was at that moment', async (t) => {
    const { id, digest } = await created(subject, { user: 'andrew', count: '3' })
    const loaded = await store.load(id, digest, false, RULES)
    await store.write(id, digest, delta([set('user', 'barbara'), set('new', '1')]), RULES)
    await store.destroy(id)
    t.equal(loaded?.fields.get('user'), 'andrew')
    t.equal(loaded?.fields.get('count'), '3')
    t.equal(loaded?.fields.get('new'), undefined)
  })

  await t.test('reading answers bytes, or null, name by name', async (t) => {
    const owner = await created(subject, { user: 'andrew', empty: '', umlaut: 'größe' })
    const { id, digest } = owner
    await unchanged(t, subject, owner, 'reading', async () => {
      t.strictSame(await store.read(id, digest, ['umlaut', 'absent', 'user', 'empty', 'user']),
        [Buffer.from('größe'), null, Buffer.from('andrew'), Buffer.from(''), Buffer.from('andrew')])
    })
    t.strictSame(await store.read(id, digest, []), [])
  })

  await t.test('reading sees what was written a moment ago', async (t) => {
    const { id, digest } = await created(subject, { user: 'andrew' })
    await store.write(id, digest, apart(set('user', 'barbara')), RULES)
    t.strictSame(await store.read(id, digest, ['user']), [Buffer.from('barbara')])
    t.strictSame((await store.write(id, digest, apart(get('user')), RULES))?.results, [Buffer.from('barbara')])
  })
}
