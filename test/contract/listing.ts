/** Users' lists, and records that are a user's: the steps by themselves. The order in which they are taken is tested in test/users. */
import { randomUUID } from 'node:crypto'
import { created, delta, get, kept, near, newDigest, newOwner, type Owner, type Part, remove, RULES, set, unchanged, type Subject } from './kit.js'
import { until } from '../support/until.js'
import type { Announcement, Binding, Bound, Rules } from '../../src/store/store.js'

const USERS: Rules = { ...RULES, users: true }
const KEEP = 1_000_000

const someone = (): string => randomUUID()

async function announced ({ store }: Subject, user: string, id: string, more: Partial<Announcement> = {}): Promise<string> {
  const { outcome, ticket } = await store.announce(user, { id, lasts: 130_000, keep: KEEP, ...more })
  if (outcome !== 'entered') throw new Error(outcome)
  return ticket
}

/** A record that is a user's. */
async function owned (subject: Subject, user: string): Promise<Owner & Bound> {
  const owner = newOwner()
  const ticket = await announced(subject, user, owner.id)
  const binding: Binding = { user, ticket, when: [['user', 'andrew']] }
  const written = await subject.store.create(owner.id, owner.digest, delta([set('user', 'andrew')], { binding }), USERS)
  if (written?.left !== 'nothing') throw new Error('the record was not created')
  return { ...owner, user, ticket }
}

export const listing: Part = async (t, subject) => {
  const { store } = subject
  const ids = async (user: string): Promise<string[]> => (await store.entries(user)).entries.map(({ id }) => id).sort()

  await t.test('a list has what was announced, until it leaves', async (t) => {
    const user = someone()
    t.match(await store.entries(user), { since: undefined, entries: [] })
    const [one, two] = [newOwner(), newOwner()]
    const ticket = await announced(subject, user, one.id)
    const again = await announced(subject, user, one.id)
    await announced(subject, user, two.id)
    t.not(ticket, again, 'every announcement has a ticket of its own')
    t.match((await store.entries(user)).entries.find((entry) => entry.ticket === ticket), { id: one.id, ticket, since: Number(ticket.split(':')[1]) })
    t.equal(typeof (await store.entries(user)).since, 'number')
    t.equal(await announced(subject, user, one.id, { ticket }), ticket, 'unless it is announced again')
    t.strictSame(await ids(user), [one.id, one.id, two.id].sort())
    await store.leave(user, [{ id: one.id, ticket }, { id: one.id, ticket: 'other:1' }])
    t.strictSame(await ids(user), [one.id, two.id].sort(), 'one entry, not all of the session')
    t.strictSame(await ids(someone()), [])
  })

  await t.test('an entry drops out by itself', async (t) => {
    const user = someone()
    const { id } = newOwner()
    await announced(subject, user, id, { lasts: 1 })
    await subject.pass(id, 50)
    await until('it is gone', 3000, async () => (await ids(user)).length === 0)
    const long = await announced(subject, user, id, { lasts: 100_000 })
    await announced(subject, user, id, { ticket: long, lasts: 1 })
    await subject.pass(id, 50)
    t.strictSame(await ids(user), [id], 'announcing again never shortens')
  })

  await t.test('the limit counts sessions, not entries', async (t) => {
    const user = someone()
    const owners = [newOwner(), newOwner(), newOwner()] as const
    for (const { id } of owners.slice(0, 2)) {
      await announced(subject, user, id)
      await announced(subject, user, id)
    }
    const next = { id: owners[2].id, lasts: 1000, keep: KEEP }
    t.match(await store.announce(user, { ...next, limit: { max: 3, then: 'refuse' } }), { outcome: 'entered', entries: [] })
    await store.leave(user, (await store.entries(user)).entries.filter(({ id }) => id === owners[2].id))
    for (const then of ['ask', 'refuse'] as const) {
      const answer = await store.announce(user, { ...next, limit: { max: 2, then } })
      t.equal(answer.outcome, 'full')
      t.equal(answer.entries.length, 4)
      t.notOk((await ids(user)).includes(next.id))
    }
    for (const id of [owners[0].id, owners[1].id]) {
      t.match(await store.announce(user, { ...next, id, limit: { max: 2, then: 'refuse' } }), { outcome: 'entered' }, 'one that is in')
    }
    t.match(await store.announce(user, { ...next, replaces: [owners[0].id], limit: { max: 2, then: 'refuse' } }), { outcome: 'entered' })
    const { entries } = await store.announce(user, { ...next, id: newOwner().id, limit: { max: 1, then: 'end-oldest' } })
    t.equal(new Set(entries.map(({ id }) => id)).size, 3, 'all that are too many')
    for (const entry of entries) t.strictSame(Object.keys(entry).sort(), ['id', 'since', 'ticket'])
  })

  await t.test('what was told to have ended is not announced again, but for the one that goes on and new ones', async (t) => {
    const user = someone()
    const [one, two, three] = [newOwner(), newOwner(), newOwner()]
    const tickets = [await announced(subject, user, one.id), await announced(subject, user, two.id)] as const
    t.equal((await store.entries(user, { except: two.id, keep: KEEP })).entries.length, 2)
    t.equal(await announced(subject, user, one.id, { ticket: tickets[0] }), tickets[0], 'as long as it is in the list')
    await store.leave(user, [{ id: one.id, ticket: tickets[0] }, { id: two.id, ticket: tickets[1] }])
    const again = (id: string, ticket: string): Announcement => ({ id, ticket, lasts: 1000, keep: KEEP })
    t.match(await store.announce(user, again(one.id, tickets[0])), { outcome: 'ended' })
    t.match(await store.announce(user, again(two.id, tickets[1])), { outcome: 'entered' })
    t.match(await store.announce(user, { id: three.id, lasts: 1000, keep: KEEP, since: 1 }), { outcome: 'ended' }, 'one that is as old, and new in the list')
    t.match(await store.announce(user, { id: three.id, lasts: 1000, keep: KEEP }), { outcome: 'entered' }, 'a login since')
    await store.entries(user, { except: undefined, keep: KEEP })
    await store.leave(user, (await store.entries(user)).entries)
    t.match(await store.announce(user, again(two.id, tickets[1])), { outcome: 'ended' }, 'the next time nobody was excepted')
  })

  await t.test('what is told to have ended is kept as long as anybody asked for', async (t) => {
    const user = someone()
    const { id } = newOwner()
    for (const except of [undefined, newOwner().id, undefined]) {
      await store.entries(user, { except, keep: KEEP })
      await store.entries(user, { except, keep: 1 })
      await subject.pass(id, 20)
      await new Promise((resolve) => setTimeout(resolve, 20))
      t.match(await store.announce(user, { id, lasts: 1000, keep: 1, since: 1 }), { outcome: 'ended' })
    }
  })

  await t.test('a binding comes with the write, or not at all', async (t) => {
    const user = someone()
    const owner = await created(subject, { a: '1' })
    const binding: Binding = { user, ticket: await announced(subject, user, owner.id), when: [['user', 'andrew']], device: { label: 'Firefox', network: '203.0.113.0/24' } }
    await unchanged(t, subject, owner, 'refused', async () => {
      t.match(await store.write(owner.id, owner.digest, delta([set('user', 'andrew'), set('big', 'x'.repeat(2000))], { binding }), USERS), { refusal: { refused: 'size' } })
    })
    await unchanged(t, subject, owner, 'moved', async () => {
      t.strictSame((await store.write(owner.id, owner.digest, delta([set('user', 'barbara')], { binding }), USERS))?.moved, { bound: undefined, texts: [null] })
    })
    const skipped = await store.write(owner.id, owner.digest, delta([set('a', '2')], { binding }), USERS)
    t.strictSame([skipped?.left, skipped?.moved, (await kept(subject, owner)).fields['@user']], [undefined, undefined, undefined], 'it changed none of what decides')
    t.match(await store.write(owner.id, owner.digest, delta([set('user', 'andrew'), get('a')], { binding }), USERS), { left: 'nothing', results: [true, Buffer.from('2')] })
    const [description] = await store.describe([owner.id])
    t.match(description, { id: owner.id, bound: { user, ticket: binding.ticket }, device: 'Firefox', network: '203.0.113.0/24', authenticatedAt: Number })
    near(t, subject, description?.ttl, 100_000, 'not extended')

    const next = { ...binding, user: someone(), ticket: 'next:1' }
    t.match(await store.write(owner.id, owner.digest, delta([set('user', 'andrew')], { binding: next }), USERS), { left: { user, ticket: binding.ticket } })
    t.match((await store.write(owner.id, owner.digest, delta([set('user', 'andrew')], { binding: { ...binding, kept: true } }), USERS))?.moved,
      { bound: { user: next.user, ticket: 'next:1' }, texts: ['andrew'] }, 'a ticket that is not the record’s any more')
    t.match(await store.write(owner.id, owner.digest, delta([remove('user')], { binding: { user: null, ticket: '', when: [['user', null]] } }), USERS), { left: { ticket: 'next:1' } })
    t.strictSame(Object.keys((await kept(subject, owner)).fields).filter((name) => name.startsWith('@')), ['@digest'], 'nothing of the user stays')
  })

  await t.test('a session that is nobody\'s says nothing of a device, and what is not known of one is left out', async (t) => {
    const user = someone()
    const device = { label: 'Firefox', network: '203.0.113.0/24' }
    const facts = async (owner: Owner): Promise<unknown[]> => (await store.describe([owner.id])).map((found) => [found?.bound?.user, found?.device, found?.network])
    const bind = async (owner: Owner, more: Partial<Binding>): Promise<void> => {
      const ticket = more.user === null ? '' : await announced(subject, user, owner.id)
      t.equal((await store.write(owner.id, owner.digest, delta([], { binding: { user, ticket, when: [], device, ...more } }), USERS))?.moved, undefined)
    }
    const owner = await created(subject)
    await bind(owner, {})
    t.strictSame(await facts(owner), [[user, 'Firefox', '203.0.113.0/24']])
    await bind(owner, { user: null })
    t.strictSame(await facts(owner), [[undefined, undefined, undefined]])
    await bind(owner, { device: { ...device, network: '' } })
    t.strictSame(await facts(owner), [[user, 'Firefox', undefined]])
    for (const label of ['', 'Firefox']) {
      const fresh = newOwner()
      const ticket = await announced(subject, user, fresh.id)
      await store.create(fresh.id, fresh.digest, delta([], { binding: { user, ticket, when: [], device: { label, network: '' } } }), USERS)
      t.strictSame(await facts(fresh), [[user, label === '' ? undefined : label, undefined]])
      t.notOk(Object.hasOwn((await kept(subject, fresh)).fields, '@network'))
    }
    const nobody = newOwner()
    await store.create(nobody.id, nobody.digest, delta([], { binding: { user: null, ticket: '', when: [], device } }), USERS)
    t.strictSame(await facts(nobody), [[undefined, undefined, undefined]])
  })

  await t.test('a user\'s record is extended under its ticket only', async (t) => {
    const user = someone()
    const owner = await owned(subject, user)
    await subject.pass(owner.id, 50_000)
    const loaded = await store.load(owner.id, owner.digest, true, USERS)
    t.strictSame([loaded?.touched, loaded?.due], [false, true])
    near(t, subject, loaded?.ttl, 50_000, 'not by a load')
    await store.write(owner.id, owner.digest, delta([set('a', '1')], { touch: 'due' }), USERS)
    await store.write(owner.id, owner.digest, delta([set('a', '2')], { touch: 'due', announced: 'other:1' }), USERS)
    near(t, subject, (await kept(subject, owner)).ttl, 50_000, 'not by the way')
    for (const write of [delta([], { touch: 'always' }), delta([], { settings: { idleTimeout: 500 } }), delta([], { settings: { lifetime: 5000 }, announced: 'other:1' })]) {
      t.match((await store.write(owner.id, owner.digest, write, USERS))?.moved, { bound: { user, ticket: owner.ticket }, texts: [] })
    }
    near(t, subject, (await kept(subject, owner)).ttl, 50_000, 'nor where it is asked for')
    const written = await store.write(owner.id, owner.digest, delta([], { touch: 'due', announced: owner.ticket }), USERS)
    near(t, subject, written?.ttl, 110_000, 'announced')
    t.equal((await store.load(owner.id, owner.digest, true, USERS))?.due, false)
    await subject.pass(owner.id, 50_000)
    t.equal((await store.load(owner.id, owner.digest, true, RULES))?.touched, true, 'without users all is as ever')
  })

  await t.test('ending by ticket: the record that carries it, and whatever is under way with it', async (t) => {
    const owner = await owned(subject, someone())
    t.equal(await store.end(owner.id, 'other:1'), false)
    t.ok(await store.inspect(owner.id))
    t.equal(await store.end(owner.id, owner.ticket), true)
    t.equal(await store.inspect(owner.id), undefined)

    const user = someone()
    const anonymous = await created(subject, { a: '1' })
    const ticket = await announced(subject, user, anonymous.id)
    t.equal(await store.end(anonymous.id, ticket), false)
    const binding: Binding = { user, ticket, when: [['user', 'andrew']] }
    t.match(await store.write(anonymous.id, anonymous.digest, delta([set('user', 'andrew')], { binding }), USERS), { barred: true })
    t.match(await store.write(anonymous.id, anonymous.digest, delta([set('user', 'andrew')], { binding: { ...binding, ticket: 'next:2' } }), USERS), { left: 'nothing' })

    const fresh = newOwner()
    const early = await announced(subject, user, fresh.id)
    t.equal(await store.end(fresh.id, early), false)
    t.equal(await store.inspect(fresh.id), undefined, 'what bars a ticket is no record')
    t.strictSame(await store.describe([fresh.id]), [undefined])
    t.equal(await store.load(fresh.id, fresh.digest, true, USERS), undefined)
    t.equal(await store.destroy(fresh.id), false)
    t.match(await store.create(fresh.id, fresh.digest, delta([set('user', 'andrew')], { binding: { ...binding, ticket: early } }), USERS), { results: [], barred: true })
    t.equal(await store.inspect(fresh.id), undefined)
    t.equal(await store.end(newOwner().id), false)
  })

  await t.test('a ticket stays barred for a minute, whatever its age and whatever is barred after it, and for one id', async (t) => {
    const user = someone()
    const barred = async (owner: Owner, ticket: string): Promise<boolean> =>
      (await store.write(owner.id, owner.digest, delta([], { binding: { user, ticket, when: [] } }), USERS))?.barred === true
    const [one, other] = [await created(subject), await created(subject)]
    const old = `old:${Date.now() - 1e9}`
    const fresh = await announced(subject, user, one.id)
    t.equal(await store.end(one.id, old), false)
    t.equal(await store.end(one.id, fresh), false)
    t.strictSame([await barred(one, old), await barred(one, fresh)], [true, true])
    t.strictSame([await barred(other, old), await barred(other, fresh)], [false, false])
    await subject.pass(one.id, 40_000)
    t.strictSame([await barred(one, old), await barred(one, fresh)], [true, true])
    t.equal(await store.end(one.id, 'third:1'), false)
    await subject.pass(one.id, 30_000)
    t.strictSame([await barred(one, old), await barred(one, 'third:1')], [false, true], 'each for a minute of its own')
  })

  await t.test('where there is nothing but a bar, a record can be created, and the bar holds for it', async (t) => {
    const user = someone()
    for (const binding of [undefined, { user, ticket: 'other:1', when: [] }]) {
      const { id, digest } = newOwner()
      const ticket = await announced(subject, user, id)
      await store.end(id, ticket)
      t.match(await store.create(id, digest, delta([set('a', '1')], { ...binding !== undefined && { binding } }), USERS), { results: [true] })
      t.equal((await store.load(id, digest, true, RULES))?.fields.get('a'), '1')
      t.match(await store.write(id, digest, delta([], { binding: { user, ticket, when: [] } }), USERS), { barred: true })
      t.equal(await store.create(id, newDigest(), delta([], { binding: { user, ticket, when: [] } }), USERS), undefined, 'a second creation')
    }
  })

  await t.test('elevation', async (t) => {
    const owner = await owned(subject, someone())
    const { now } = (await store.write(owner.id, owner.digest, delta([], { settings: { elevate: 60 } }), USERS))!
    t.match((await kept(subject, owner)).fields, { '@authenticated': String(now), '@elevated': String(now + 60_000) })
    near(t, subject, (await kept(subject, owner)).ttl, 100_000, 'it extends nothing')
    const fresh = newOwner()
    const created = await store.create(fresh.id, fresh.digest, delta([set('a', '1')], { settings: { elevate: 1 } }), USERS)
    t.match((await kept(subject, fresh)).fields, { a: '1', '@authenticated': String(created?.now), '@elevated': String(created!.now + 1000) })
  })

  await t.test('elevation and a login in one write: both are kept, and a login by itself ends an elevation', async (t) => {
    const user = someone()
    const owner = await created(subject, { a: '1' })
    const ticket = await announced(subject, user, owner.id)
    const binding: Binding = { user, ticket, when: [['user', 'andrew']] }
    const written = (await store.write(owner.id, owner.digest, delta([set('user', 'andrew')], { binding, settings: { elevate: 60 } }), USERS))!
    t.equal(written.left, 'nothing')
    t.match((await kept(subject, owner)).fields, { '@authenticated': String(written.now), '@elevated': String(written.now + 60_000) })

    const next = someone()
    const change: Binding = { user: next, ticket: await announced(subject, next, owner.id), when: [['user', 'barbara']] }
    await store.write(owner.id, owner.digest, delta([set('user', 'barbara')], { binding: change }), USERS)
    t.equal((await kept(subject, owner)).fields['@elevated'], undefined)

    const fresh = newOwner()
    const first: Binding = { user, ticket: await announced(subject, user, fresh.id), when: [['user', 'andrew']] }
    const { now } = (await store.create(fresh.id, fresh.digest, delta([set('user', 'andrew')], { binding: first, settings: { elevate: 60 } }), USERS))!
    t.match((await kept(subject, fresh)).fields, { '@authenticated': String(now), '@elevated': String(now + 60_000) })
  })

  await t.test('who is elevated was authenticated just now, also where a binding knows of an earlier time', async (t) => {
    const user = someone()
    const fresh = newOwner()
    const earlier = async (id: string): Promise<Binding> => ({ user, ticket: await announced(subject, user, id), when: [], authenticatedAt: 1_600_000_000_000 })
    const { now } = (await store.create(fresh.id, fresh.digest, delta([], { binding: await earlier(fresh.id), settings: { elevate: 60.5 } }), USERS))!
    t.match((await kept(subject, fresh)).fields, { '@authenticated': String(now), '@elevated': String(now + 60_500) })
    const plain = newOwner()
    await store.create(plain.id, plain.digest, delta([], { binding: await earlier(plain.id) }), USERS)
    t.match((await kept(subject, plain)).fields, { '@authenticated': '1600000000000' }, 'without an elevation the earlier time counts')

    const owner = await created(subject)
    const written = (await store.write(owner.id, owner.digest, delta([], { binding: await earlier(owner.id), settings: { elevate: 1.23456 } }), USERS))!
    t.match((await kept(subject, owner)).fields, { '@authenticated': String(written.now), '@elevated': String(written.now + 1235) }, 'whole milliseconds')
  })

  await t.test('going through all records, and hearing of ends', async (t) => {
    const heard: Array<[string, string]> = []
    let connected = 0
    const subscription = store.subscribe({ ended: (id, reason) => { heard.push([id, reason]) }, connected: () => { connected++ } })
    await until('ends are told', 5000, () => connected === 1)
    const [one, two, three] = [await owned(subject, someone()), await created(subject, { a: '1' }), await created(subject, { a: '1' })]
    const found: string[] = []
    for await (const some of store.scan()) found.push(...some)
    for (const { id } of [one, two, three]) t.ok(found.includes(id))
    t.ok(found.every((id) => id.length === 22), 'nothing but ids')
    await store.destroy(one.id)
    await store.end(two.id)
    await store.destroy(two.id)
    await until('both were told of', 5000, () => heard.length === 2)
    t.strictSame(Object.fromEntries(heard), { [one.id]: 'destroyed', [two.id]: 'ended' }, 'in whatever order: on a Cluster two nodes tell')
    await subscription.close()
    await store.destroy(three.id)
    await new Promise((resolve) => setTimeout(resolve, 20))
    t.equal(heard.length, 2)
  })
}
