/** How many fields and bytes a record may have. */
import { created, dataOf, delta, increment, type Part, remove, replace, RULES, set, take, clear, apart } from './kit.js'

export const limiting: Part = async (t, subject) => {
  const { store } = subject

  await t.test('a record may have exactly as many fields as the limit says, metadata not counted', async (t) => {
    const rules = { ...RULES, maxFields: 2 }
    const owner = await created(subject, { a: '1' }, { lifetime: 900, persistent: true }, rules)
    t.equal((await store.write(owner.id, owner.digest, delta([set('b', '2')]), rules))?.refusal, undefined)
    t.match(await store.write(owner.id, owner.digest, delta([set('c', '3')]), rules), { refusal: { refused: 'fields', field: 'c' } })
    t.equal((await store.write(owner.id, owner.digest, delta([set('b', '4'), increment('a')]), rules))?.refusal, undefined)
    t.strictSame(await dataOf(subject, owner), { a: '2', b: '4' })
  })

  await t.test('a record may have exactly as many bytes as the limit says, names and texts as UTF-8, metadata not counted', async (t) => {
    // é is 2 bytes, 💥 is 4: 2 + 4 + 1 + 3 = 10
    const rules = { ...RULES, maxRecordSize: 10 }
    const owner = await created(subject, { é: '💥' }, { lifetime: 900, persistent: true }, rules)
    t.match(await store.write(owner.id, owner.digest, delta([set('a', 'xxxx')]), rules), { refusal: { refused: 'size', field: 'a' } })
    t.equal((await store.write(owner.id, owner.digest, delta([set('a', 'xxx')]), rules))?.refusal, undefined)
    t.match(await store.write(owner.id, owner.digest, delta([set('', 'y')]), rules), { refusal: { refused: 'size', field: '' } })
    t.match(await store.write(owner.id, owner.digest, delta([set('a', 'xxé')]), rules), { refusal: { refused: 'size', field: 'a' } })
    t.equal((await store.write(owner.id, owner.digest, delta([set('a', 'xé')]), rules))?.refusal, undefined)
    t.strictSame(await dataOf(subject, owner), { é: '💥', a: 'xé' })
  })

  await t.test('numbers count by their text, however compactly they are kept', async (t) => {
    const rules = { ...RULES, maxFields: 1000, maxRecordSize: 2000 }
    const { id, digest } = await created(subject)
    let size = 0
    let refused = false
    for (let i = 10; i < 200 && !refused; i++) {
      const written = await store.write(id, digest, delta([set(`f${i}`, '1234567890123456789')]), rules)
      refused = written?.refusal?.refused === 'size'
      if (!refused) size += `f${i}`.length + 19
    }
    t.ok(refused)
    t.equal(size, 90 * 22, 'until there is no room left')
  })

  await t.test('creation is bound by the limits too', async (t) => {
    const { id, digest } = await created(subject)
    await store.destroy(id)
    const rules = { ...RULES, maxFields: 2, maxRecordSize: 10 }
    t.match(await store.create(id, digest, delta([set('a', '1'), set('b', '2'), set('c', '3')]), rules), { refusal: { refused: 'fields', field: 'c' } })
    t.match(await store.create(id, digest, delta([set('a', '1'), set('b', '12345678')]), rules), { refusal: { refused: 'size', field: 'b' } })
    t.equal(await store.inspect(id), undefined)
    const few = { ...RULES, maxFields: 2, maxRecordSize: 10_000 }
    t.match(await store.create(id, digest, delta([set('a', '1'), set('b', '2'), set('c', '3')]), few), { refusal: { refused: 'fields', field: 'c' } })
    t.equal(await store.inspect(id), undefined)
    t.strictSame((await store.create(id, digest, delta([set('a', '1'), set('b', '1234567')]), rules))?.results, [true, true])
  })

  await t.test('what a write removes first makes room for what it adds', async (t) => {
    const rules = { ...RULES, maxFields: 2, maxRecordSize: 10 }
    const full = { a: '1234', b: '1234' }
    for (const [what, room] of [
      ['delete', remove('a')], ['take', take('a')], ['replace', replace('a', '1234', null)], ['clear', clear()]
    ] as const) {
      const { id, digest } = await created(subject, full, {}, rules)
      t.match(await store.write(id, digest, delta([set('c', '1234'), room]), rules), { refusal: { field: 'c' } }, `${what} afterwards`)
      t.equal((await store.write(id, digest, delta([room, set('c', '1234')]), rules))?.refusal, undefined, `${what} beforehand`)
    }
    const { id, digest } = await created(subject, full, {}, rules)
    t.equal((await store.write(id, digest, delta([set('a', ''), set('b', '12345678')]), rules))?.refusal, undefined, 'a shorter text')
  })

  await t.test('what is refused takes no room from what comes after it', async (t) => {
    const rules = { ...RULES, maxFields: 2, maxRecordSize: 10 }
    const owner = await created(subject, { a: '1' }, {}, rules)
    const written = await store.write(owner.id, owner.digest, apart(set('b', '12345678'), set('c', '1234567'), set('d', '')), rules)
    t.strictSame(written?.results, [{ refused: 'size' }, true, { refused: 'fields' }])
    t.strictSame(await dataOf(subject, owner), { a: '1', c: '1234567' })
  })

  await t.test('a record beyond limits that were lowered may shrink and stay as it is, but not grow', async (t) => {
    const owner = await created(subject, { a: '123456', b: '123456', c: '1' })
    const rules = { ...RULES, maxFields: 2, maxRecordSize: 10 }
    const refused = async (...args: Parameters<typeof delta>) => (await store.write(owner.id, owner.digest, delta(...args), rules))?.refusal?.refused
    t.equal(await refused([set('a', '1234567')]), 'size', 'a longer text')
    t.equal(await refused([set('a', '12'), set('a', '123')]), 'size', 'a text that grows again')
    t.equal(await refused([set('d', '')]), 'fields', 'one more field')
    t.equal(await refused([remove('c'), set('d', '1')]), 'fields', 'another field, where there are still as many as the limit says')
    t.equal(await refused([increment('c', '9')]), 'size', 'a longer number')
    t.equal(await refused([set('a', '654321'), increment('c', '8')]), undefined, 'other texts of the same length')
    t.equal(await refused([set('b', '12')]), undefined, 'a shorter text')
    t.equal(await refused([remove('a')]), undefined, 'a field less')
    t.strictSame(await dataOf(subject, owner), { b: '12', c: '9' })
    t.equal(await refused([set('c', '1234567')]), 'size', 'the limit holds again')
    t.equal(await refused([set('c', '123456')]), undefined, 'up to which it may grow again')
  })
}
