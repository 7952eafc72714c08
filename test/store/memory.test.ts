/** What the memory store does beside the contract. */
import { test } from 'tap'
import { created, delta, newOwner, RULES, set, type Subject } from '../contract/kit.js'
import { MemoryStore } from '../../src/store/memory.js'

test('a full store refuses new records, and drops none that is alive', async (t) => {
  const store = new MemoryStore({ maxRecords: 3 })
  const subject = { store } as unknown as Subject
  const owners = [await created(subject), await created(subject), await created(subject)]
  const { id, digest } = newOwner()
  await t.rejects(store.create(id, digest, delta([set('a', '1')]), RULES), { code: 'SESSION_STORE_UNAVAILABLE', statusCode: 503, message: /full: 3 sessions/ })
  t.equal(await store.inspect(id), undefined)
  for (const owner of owners) {
    t.ok(await store.load(owner.id, owner.digest, true, RULES))
    t.ok(await store.write(owner.id, owner.digest, delta([set('a', '1')]), RULES), 'records that are there can be written')
  }
  t.equal(await store.create(owners[0]!.id, digest, delta(), RULES), undefined, 'an id that is taken is told as such')
  await store.destroy(owners[0]!.id)
  t.ok(await store.create(id, digest, delta([set('a', '1')]), RULES), 'there is room again')
})

test('expired records make room', async (t) => {
  let now = 1_700_000_000_000
  const store = new MemoryStore({ maxRecords: 3, now: () => now })
  const subject = { store } as unknown as Subject
  await created(subject)
  await created(subject)
  const last = await created(subject, {}, { idleTimeout: 500 })
  now += 200_000
  t.ok(await created(subject))
  t.ok(await created(subject))
  t.ok(await store.load(last.id, last.digest, false, RULES), 'those that are alive stay')
  await t.rejects(created(subject), { code: 'SESSION_STORE_UNAVAILABLE' })
})

test('10,000 records fit by default, and no more', async (t) => {
  const store = new MemoryStore()
  const subject = { store } as unknown as Subject
  for (let i = 0; i < 10_000; i++) await created(subject)
  await t.rejects(created(subject), { code: 'SESSION_STORE_UNAVAILABLE', message: /10000 sessions/ })
})

test('the clock is the machine\'s by default, the prefix session:', async (t) => {
  const store = new MemoryStore()
  const { id, digest } = newOwner()
  const before = Date.now()
  const written = await store.create(id, digest, delta(), RULES)
  t.ok(Number(written?.now) >= before && Number(written?.now) <= Date.now())
  t.equal((await store.inspect(id))?.key, `session:${id}`)
  t.equal((await new MemoryStore({ prefix: 'x' }).inspect(id)), undefined)
})

test('closing forgets everything, may be repeated, and leaves a store that works', async (t) => {
  const store = new MemoryStore()
  const owner = await created({ store } as unknown as Subject)
  await store.close()
  await store.close()
  t.equal(await store.inspect(owner.id), undefined)
  t.equal(await store.load(owner.id, owner.digest, true, RULES), undefined)
})

test('two stores share nothing', async (t) => {
  const one = new MemoryStore()
  const other = new MemoryStore()
  const { id, digest } = await created({ store: one } as unknown as Subject)
  t.equal(await other.load(id, digest, true, RULES), undefined)
})

test('what expired is not named by scan(), and an entry of a list ends when its time is up', async (t) => {
  let now = 1_700_000_000_000
  const store = new MemoryStore({ now: () => now })
  const subject = { store } as unknown as Subject
  const [short, long] = [await created(subject), await created(subject, {}, { idleTimeout: 500 })]
  await store.announce('andrew', { id: short.id, lasts: 100_000, keep: 1_000_000 })
  now += 99_999
  t.equal((await store.entries('andrew')).entries.length, 1)
  now += 1
  t.equal((await store.entries('andrew')).entries.length, 0)
  const found: string[] = []
  for await (const ids of store.scan()) found.push(...ids)
  t.strictSame(found, [long.id])
})
