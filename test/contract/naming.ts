/** Names and texts of all kinds. */
import { apart, clear, created, dataOf, delta, get, increment, kept, type Part, remove, replace, RULES, set, setIfAbsent, take, unchanged } from './kit.js'
import type { Operation } from '../../src/store/store.js'

const NAMES = [
  '', ' ', '0', '-', '+', '$', '*', '.', '{a}', 'a.b', 'a b', 'a\nb', 'a\0b', "a'b", 'a"b', 'a\\b', '%s', '\u007f',
  '__proto__', 'constructor', 'prototype', 'hasOwnProperty', 'toString', 'valueOf', 'then', 'get', 'size', 'length', 'destroy',
  'created_at ', 'Created_at', 'a@digest', ' @digest', 'größe', 'имя', '名前', '💥', 'e\u0301', '\u00a0', '\ufeff', '\uffff', 'n'.repeat(256)
]

const TEXTS = [
  '', ' ', '-', '+', '0', 'null', 'false', 'nil', 'refused', 'ok', 'a\r\nb', '\0', 'a\0b\u0001\u001f\u007f\u0080\u00ff', '$1', '{"a":[1]}', '"quoted"',
  'größe', '名前', '💥', '\ufeffbom', '\u2028', '\uffff', '\\ud800', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(255), 'x'.repeat(256), 'ö'.repeat(70_000)
]

const RESERVED = ['@digest', '@next', '@', '@anything', 'created_at', 'last_accessed_at', 'session_ttl']

/** Limits that these names and texts do not reach. */
const WIDE = { ...RULES, maxFields: 1000, maxRecordSize: 4_000_000 }

export const naming: Part = async (t, subject) => {
  const { store } = subject

  await t.test('every name is a name like any other', async (t) => {
    const { id, digest } = await created(subject)
    const operations = NAMES.map((name, i) => set(name, `text ${i}`))
    t.equal((await store.write(id, digest, delta(operations), WIDE))?.refusal, undefined)
    const loaded = await store.load(id, digest, true, WIDE)
    t.strictSame(NAMES.map((name) => loaded?.fields.get(name)), NAMES.map((_, i) => `text ${i}`), 'load')
    const names = new Set(loaded?.fields.names())
    t.strictSame(NAMES.filter((name) => !names.has(name)), [], 'names')
    t.strictSame((await store.read(id, digest, NAMES))?.map(String), NAMES.map((_, i) => `text ${i}`), 'read')
    const { fields } = await kept(subject, { id, digest })
    t.strictSame(NAMES.map((name) => Object.getOwnPropertyDescriptor(fields, name)?.value as unknown), NAMES.map((_, i) => `text ${i}`), 'inspect')
    t.equal(Object.getPrototypeOf(fields), Object.prototype, 'what inspect shows is a plain object')
    t.notOk('text 19' in Object.prototype)
  })

  await t.test('every operation works on every name', async (t) => {
    for (const name of NAMES) {
      const { id, digest } = await created(subject)
      const written = await store.write(id, digest, apart(
        get(name), remove(name), setIfAbsent(name, '4'), increment(name), replace(name, '5', 'x'), set(name, '6'), take(name), increment(name), clear(), get(name)
      ), WIDE)
      t.strictSame(written?.results, [
        null, false, true, '5', { done: true, current: 'x' }, true, Buffer.from('6'), '1', true, null
      ], JSON.stringify(name))
    }
  })

  await t.test('every text comes back as it went in', async (t) => {
    const { id, digest } = await created(subject)
    const names = TEXTS.map((_, i) => `f${i}`)
    t.equal((await store.write(id, digest, delta(TEXTS.map((text, i) => set(`f${i}`, text))), WIDE))?.refusal, undefined)
    const loaded = await store.load(id, digest, true, WIDE)
    t.strictSame(names.map((name) => loaded?.fields.get(name)), TEXTS, 'load')
    t.strictSame((await store.read(id, digest, names))?.map(String), TEXTS, 'read')
    const data = await dataOf(subject, { id, digest })
    t.strictSame(names.map((name) => data[name]), TEXTS, 'inspect')
    const swapped = TEXTS.map((text, i) => replace(`f${i}`, text, `${text}!`))
    t.strictSame((await store.write(id, digest, delta(swapped), WIDE))?.results, TEXTS.map((text) => ({ done: true, current: `${text}!` })), 'replace')
    t.strictSame((await store.write(id, digest, delta(names.map(take)), WIDE))?.results.map(String), TEXTS.map((text) => `${text}!`), 'take')
  })

  await t.test('a text of a megabyte is a text like any other', async (t) => {
    const huge = 'größer als alles '.repeat(60_000)
    const { id, digest } = await created(subject)
    await store.write(id, digest, delta([set('huge', huge), set('after', '1')]), WIDE)
    const loaded = await store.load(id, digest, true, WIDE)
    t.ok(loaded?.fields.get('huge') === huge)
    t.equal(loaded?.fields.get('after'), '1')
    t.ok(String((await store.read(id, digest, ['huge']))?.[0]) === huge)
  })

  await t.test('a record of a thousand fields is a record like any other', async (t) => {
    const { id, digest } = await created(subject)
    const names = Array.from({ length: 1000 }, (_, i) => `field ${i}`)
    t.equal((await store.write(id, digest, delta(names.map((name) => set(name, name))), WIDE))?.refusal, undefined)
    const loaded = await store.load(id, digest, true, WIDE)
    t.strictSame(names.filter((name) => loaded?.fields.get(name) !== name), [])
    t.equal([...loaded?.fields.names() ?? []].length, 1004)
    t.equal((await store.write(id, digest, delta([clear()]), WIDE))?.refusal, undefined)
    t.strictSame(await dataOf(subject, { id, digest }), {})
  })

  await t.test('metadata cannot be read or changed as if they were data', async (t) => {
    const owner = await created(subject, { user: 'andrew' }, { lifetime: 900 })
    const { id, digest } = owner
    await unchanged(t, subject, owner, 'reserved names', async () => {
      t.strictSame(await store.read(id, digest, [...RESERVED, 'user']), [...RESERVED.map(() => null), Buffer.from('andrew')], 'read')
      for (const name of RESERVED) {
        const attempts: Operation[] = [set(name, '1'), setIfAbsent(name, '1'), increment(name), remove(name), take(name), replace(name, null, '1'), get(name)]
        for (const operation of attempts) {
          // Refusing by an error is fine; answering with metadata, or changing them, is not.
          const written = await store.write(id, digest, apart(operation), RULES).catch((error: { code?: string }) => {
            t.equal(error.code, 'SESSION_NAME_INVALID', `${operation.type} ${name}`)
          })
          if (operation.type === 'get' || operation.type === 'take') t.notMatch(written, { results: [Buffer] }, `${operation.type} ${name}`)
        }
      }
    })
  })
}
