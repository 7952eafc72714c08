/** What each operation does, alone, one after another, and when one of several is refused. */
import { deepEqual, equal } from 'node:assert/strict'
import fc from 'fast-check'
import {
  apart, clear, created, dataOf, delta, get, increment, kept, near, newDigest, newOwner, type Part, remove, replace, RULES,
  set, setIfAbsent, take, unchanged, withoutMetadata
} from './kit.js'
import type { Operation, OperationResult, Refusal, Rules, Write } from '../../src/store/store.js'

type Data = Record<string, string>

/** Title, data before, operations, their results, data after. */
type Example = readonly [string, Data, Operation[], OperationResult[], Data]

const bytes = (text: string): Buffer => Buffer.from(text)

const EXAMPLES: readonly Example[] = [
  ['get answers the text as bytes', { a: 'x' }, [get('a')], [bytes('x')], { a: 'x' }],
  ['get answers an empty text as no bytes', { a: '' }, [get('a')], [bytes('')], { a: '' }],
  ['get answers null where the field is absent', { a: 'x' }, [get('b')], [null], { a: 'x' }],

  ['set adds a field', { a: 'x' }, [set('b', 'y')], [true], { a: 'x', b: 'y' }],
  ['set replaces a text', { a: 'x' }, [set('a', 'y')], [true], { a: 'y' }],
  ['set takes the text that is there', { a: 'x' }, [set('a', 'x')], [true], { a: 'x' }],
  ['set stores an empty text', { a: 'x' }, [set('a', '')], [true], { a: '' }],

  ['setIfAbsent sets where the field is absent', {}, [setIfAbsent('a', 'x')], [true], { a: 'x' }],
  ['setIfAbsent leaves a field that is there', { a: 'x' }, [setIfAbsent('a', 'y')], [false], { a: 'x' }],
  ['setIfAbsent takes an empty text for a field that is there', { a: '' }, [setIfAbsent('a', 'y')], [false], { a: '' }],

  ['increment adds to a number', { n: '41' }, [increment('n')], ['42'], { n: '42' }],
  ['increment takes an absent field for 0', {}, [increment('n', '-5')], ['-5'], { n: '-5' }],
  ['increment by 0 stores a 0', {}, [increment('n', '0')], ['0'], { n: '0' }],
  ['increment adds decimals exactly', { n: '0.1' }, [increment('n', '0.2')], ['0.3'], { n: '0.3' }],
  ['increment reads every form of a JSON number', { n: '1.50e1' }, [increment('n', '2E-1')], ['15.2'], { n: '15.2' }],
  ['increment goes exactly to 2^53-1', { n: '9007199254740990' }, [increment('n')], ['9007199254740991'], { n: '9007199254740991' }],
  ['increment goes exactly to -(2^53-1)', { n: '-9007199254740990' }, [increment('n', '-1')], ['-9007199254740991'], { n: '-9007199254740991' }],
  ['increment may reach the given limits', { n: '9' }, [increment('n', '1', '0', '10'), increment('n', '-10', '0', '10')], ['10', '0'], { n: '0' }],

  ['delete removes a field', { a: 'x', b: 'y' }, [remove('a')], [true], { b: 'y' }],
  ['delete removes an empty text', { a: '' }, [remove('a')], [true], {}],
  ['delete says where there was nothing to remove', { a: 'x' }, [remove('b')], [false], { a: 'x' }],

  ['take removes a field and answers its text', { a: 'x', b: 'y' }, [take('a')], [bytes('x')], { b: 'y' }],
  ['take answers an empty text', { a: '' }, [take('a')], [bytes('')], {}],
  ['take answers null where the field is absent', { a: 'x' }, [take('b')], [null], { a: 'x' }],

  ['replace sets where the text is the expected one', { a: 'x' }, [replace('a', 'x', 'y')], [{ done: true, current: 'y' }], { a: 'y' }],
  ['replace says what stands there instead', { a: 'z' }, [replace('a', 'x', 'y')], [{ done: false, current: 'z' }], { a: 'z' }],
  ['replace says that nothing stands there', {}, [replace('a', 'x', 'y')], [{ done: false, current: null }], {}],
  ['replace sets where absence was expected', {}, [replace('a', null, 'y')], [{ done: true, current: 'y' }], { a: 'y' }],
  ['replace leaves a field where absence was expected', { a: '' }, [replace('a', null, 'y')], [{ done: false, current: '' }], { a: '' }],
  ['replace removes', { a: 'x' }, [replace('a', 'x', null)], [{ done: true, current: null }], {}],
  ['replace removes nothing that is not the expected text', { a: 'z' }, [replace('a', 'x', null)], [{ done: false, current: 'z' }], { a: 'z' }],
  ['replace of absence by absence is done', {}, [replace('a', null, null)], [{ done: true, current: null }], {}],
  ['replace tells an empty text from absence', { a: '' }, [replace('a', '', 'y')], [{ done: true, current: 'y' }], { a: 'y' }],
  ['replace sets an empty text', { a: 'x' }, [replace('a', 'x', '')], [{ done: true, current: '' }], { a: '' }],
  ['replace tells - from absence', { a: '-' }, [replace('a', '-', '+'), replace('a', '+', '-'), replace('a', null, '-')],
    [{ done: true, current: '+' }, { done: true, current: '-' }, { done: false, current: '-' }], { a: '-' }],

  ['clear removes all fields', { a: 'x', b: '', c: '3' }, [clear()], [true], {}],
  ['clear has nothing to do in an empty record', {}, [clear()], [true], {}],

  ['several operations on one field happen in their order', { n: '1' },
    [set('n', '5'), increment('n', '2'), get('n'), setIfAbsent('n', '0'), replace('n', '7', '8'), take('n'), get('n'), setIfAbsent('n', '9'), remove('n'), remove('n'), increment('n')],
    [true, '7', bytes('7'), false, { done: true, current: '8' }, bytes('8'), null, true, true, false, '1'], { n: '1' }],
  ['what is set and removed in one write never was', { a: 'x' }, [set('b', 'y'), remove('b')], [true, true], { a: 'x' }],
  ['what is removed and set in one write is there', { a: 'x' }, [remove('a'), set('a', 'y')], [true, true], { a: 'y' }],
  ['the last of several texts stays', {}, [set('a', '1'), set('a', '2'), set('a', '3')], [true, true, true], { a: '3' }],
  ['clear removes what the same write set before it', { a: 'x' }, [set('b', 'y'), clear(), get('b')], [true, true, null], {}],
  ['clear leaves what the same write sets after it', { a: 'x', b: 'y' }, [clear(), set('a', 'z'), get('b')], [true, true, null], { a: 'z' }],
  ['a write without operations changes nothing', { a: 'x' }, [], [], { a: 'x' }],
  ['texts that could be answers of the store are texts', { a: 'refused' }, [get('a'), replace('a', 'refused', 'size'), take('a')],
    [bytes('refused'), { done: true, current: 'size' }, bytes('size')], {}]
]

/** Operations that are refused, on a record that holds `{ text: 'x', n: '5' }`. */
const REFUSED: ReadonlyArray<readonly [string, Operation, Refusal['refused']]> = [
  ['a text that is no number', increment('text'), 'not-a-number'],
  ['a sum above its limit', increment('n', '6', '0', '10'), 'range'],
  ['a sum below its limit', increment('n', '-6', '0', '10'), 'range'],
  ['a sum above 2^53-1', increment('n', '9007199254740991'), 'range'],
  ['a sum that is not exact', increment('n', '0.0000000000000001'), 'range'],
  ['a field too many by set', set('new', '1'), 'fields'],
  ['a field too many by setIfAbsent', setIfAbsent('new', '1'), 'fields'],
  ['a field too many by increment', increment('new'), 'fields'],
  ['a field too many by replace', replace('new', null, '1'), 'fields'],
  ['a text too large by set', set('text', 'x'.repeat(95)), 'size'],
  ['a text too large by replace', replace('text', 'x', 'x'.repeat(95)), 'size']
]

/** Two fields and 100 bytes: `text`, `n` and `5` are 6 of them. */
const TIGHT = { ...RULES, maxFields: 2, maxRecordSize: 100 }

export const operating: Part = async (t, subject) => {
  const { store } = subject

  for (const mode of ['together', 'apart'] as const) {
    await t.test(`examples, ${mode}`, async (t) => {
      for (const [title, before, operations, results, after] of EXAMPLES) {
        const owner = await created(subject, before)
        const written = await store.write(owner.id, owner.digest, delta(operations, { mode }), RULES)
        t.strictSame(written?.results, results, title)
        t.equal(written?.refusal, undefined, title)
        near(t, subject, written?.ttl, 100_000, title)
        t.strictSame(await dataOf(subject, owner), after, `${title}: what is kept`)
      }
    })
  }

  await t.test('a write answers the clock of the store', async (t) => {
    const { id, digest } = await created(subject)
    const before = Number((await store.inspect(id))?.fields['created_at'])
    const written = await store.write(id, digest, apart(set('a', '1')), RULES)
    near(t, subject, before + subject.slack, (written?.now ?? 0) + subject.slack, 'the clock')
    t.ok(Number(written?.now) >= before)
  })

  await t.test('clear leaves metadata and settings as they are', async (t) => {
    const owner = await created(subject, { a: '1' }, { idleTimeout: 50, lifetime: 500, persistent: true })
    const before = (await kept(subject, owner)).fields
    await store.write(owner.id, owner.digest, delta([clear()]), RULES)
    const { a, ...metadata } = before
    t.equal(a, '1')
    t.strictSame((await kept(subject, owner)).fields, metadata)
  })

  await t.test('together: where one operation is refused, nothing of the write happens', async (t) => {
    for (const [title, operation, reason] of REFUSED) {
      const owner = await created(subject, { text: 'x', n: '5' })
      await subject.pass(owner.id, 50_000)
      await unchanged(t, subject, owner, title, async () => {
        const write = delta([set('n', '6'), set('n', '5'), operation, remove('n')], {
          touch: 'always', settings: { idleTimeout: 70, lifetime: 700, persistent: true, digest: newDigest() }
        })
        const written = await store.write(owner.id, owner.digest, write, TIGHT)
        t.strictSame(written?.refusal, { refused: reason, field: (operation as { field: string }).field }, title)
        t.strictSame(written?.results, [], title)
      })
      t.ok(await store.load(owner.id, owner.digest, false, RULES), `${title}: and the secret is still good`)
    }
  })

  await t.test('together: the first refusal is the one that is told', async (t) => {
    const { id, digest } = await created(subject, { text: 'x', n: '5' })
    const written = await store.write(id, digest, delta([increment('n', '9', '0', '10'), increment('text'), set('new', '1')]), TIGHT)
    t.strictSame(written?.refusal, { refused: 'range', field: 'n' })
  })

  await t.test('apart: what is refused changes nothing, and the others happen', async (t) => {
    for (const [title, operation, reason] of REFUSED) {
      const owner = await created(subject, { text: 'x', n: '5' })
      await subject.pass(owner.id, 50_000)
      const write = delta([set('n', '5'), operation, increment('n'), get('text'), get('new')], {
        mode: 'apart', touch: 'always', settings: { idleTimeout: 70 }
      })
      const written = await store.write(owner.id, owner.digest, write, TIGHT)
      t.equal(written?.refusal, undefined, title)
      t.strictSame(written?.results, [true, { refused: reason }, '6', bytes('x'), null], title)
      t.strictSame(await dataOf(subject, owner), { text: 'x', n: '6' }, title)
      t.equal((await kept(subject, owner)).fields['session_ttl'], '70', title)
    }
  })

  await t.test('apart: a write of which everything is refused still touches', async (t) => {
    const owner = await created(subject, { text: 'x' })
    await subject.pass(owner.id, 50_000)
    const written = await store.write(owner.id, owner.digest, delta([increment('text')], { mode: 'apart', touch: 'due' }), RULES)
    near(t, subject, written?.ttl, 110_000, 'the answer')
    near(t, subject, (await kept(subject, owner)).ttl, 110_000, 'the record')
  })

  await t.test('a write of very many operations happens like any other', async (t) => {
    const { id, digest } = await created(subject, { n: '0' })
    const increments = Array.from({ length: 10_000 }, () => increment('n'))
    const written = await store.write(id, digest, apart(...increments), RULES)
    t.equal(written?.results.length, 10_000)
    t.equal(written?.results.at(-1), '10000')
    const passing = Array.from({ length: 9000 }, (_, i) => [set(`f${i}`, '1'), remove(`f${i}`)]).flat()
    t.equal((await store.write(id, digest, delta([...passing, set('last', '1')]), RULES))?.results.length, 18_001)
    t.strictSame(await dataOf(subject, { id, digest }), { n: '10000', last: '1' })
    t.equal((await store.read(id, digest, Array.from({ length: 10_000 }, () => 'n')))?.length, 10_000)
  })

  await t.test('increments give what exact arithmetic gives', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(decimal, decimal), { minLength: 20, maxLength: 20 }), async (pairs) => {
      const { id, digest } = newOwner()
      const operations = pairs.flatMap(([text, by]) => [set('n', text), increment('n', by)])
      const written = await store.create(id, digest, apart(...operations), RULES)
      pairs.forEach(([text, by], i) => { deepEqual(written?.results[2 * i + 1], exactSum(text, by), `${text} + ${by}`) })
    }), { numRuns: 20 })
  })

  for (const [what, rules] of [['in little room', LITTLE_ROOM], ['in ample room', AMPLE_ROOM]] as const) {
    await t.test(`any operations in any order do what a simple model says, ${what}`, async () => {
      await fc.assert(fc.asyncProperty(fc.oneof(scenario(anyOperation), scenario(plainOperation)), async (writes) => {
        const { id, digest } = newOwner()
        let data = new Map<string, string>()
        for (const [i, { operations, mode }] of writes.entries()) {
          const write = delta(operations, { mode })
          const written = i === 0 ? await store.create(id, digest, write, rules) : await store.write(id, digest, write, rules)
          const expected = simulate(data, operations, mode, rules)
          deepEqual(written?.results, expected.results)
          deepEqual(written?.refusal, expected.refusal)
          data = expected.data
          // A creation that was refused left nothing to go on with.
          if (i === 0 && expected.refusal !== undefined) return
        }
        const record = await store.inspect(id)
        deepEqual(withoutMetadata(record?.fields ?? {}), Object.fromEntries(data))
        equal(record?.fields['@digest'], digest)
      }), { numRuns: 80 })
    })
  }
}

/** A decimal number as JSON may write it, often near the limits of what is exact. */
const decimal = fc.oneof(
  fc.integer({ min: -1000, max: 1000 }).map(String),
  fc.maxSafeInteger().map(String),
  fc.tuple(fc.integer({ min: -999, max: 999 }), fc.integer({ min: 0, max: 99999 }), fc.integer({ min: -20, max: 20 }))
    .map(([whole, fraction, exponent]) => `${whole}.${fraction}${exponent === 0 ? '' : `e${exponent}`}`),
  fc.constantFrom('0', '-0', '0.0', '9007199254740991', '-9007199254740991', '9007199254740992', '0.1', '1e15', '1e16', '1E+2',
    '123456789012345678', '1e-9', '1e-200', '', 'x', '1.', '.5', '01', '+1', '1e', '0x10', ' 1', '1 ', '"1"', 'true', 'Infinity', 'NaN', '1e999', '-')
)

/** The sum by arithmetic without limits, held against the limits afterwards. */
function exactSum (text: string, by: string): string | Refusal {
  const a = parse(text)
  const b = parse(by)
  if (a === undefined || b === undefined) return { refused: 'not-a-number' }
  // What is refused here is refused by definition: both numbers, and the sum, as whole multiples of the smallest unit.
  const unit = Math.min(a.exponent, b.exponent, 0)
  const units = [a, b].map(({ digits, exponent }) => digits * 10n ** BigInt(exponent - unit))
  const sum = units[0]! + units[1]!
  const exact = (n: bigint): boolean => n >= -(2n ** 53n - 1n) && n <= 2n ** 53n - 1n
  if (![...units, sum].every(exact)) return { refused: 'range' }
  const negative = sum < 0n
  const places = -unit
  const all = String(negative ? -sum : sum).padStart(places + 1, '0')
  const whole = all.slice(0, all.length - places)
  const fraction = all.slice(all.length - places).replace(/0+$/, '')
  return `${negative ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`
}

/** A JSON number as digits and exponent, without trailing zeros. */
function parse (text: string): { digits: bigint, exponent: number } | undefined {
  try {
    if (typeof JSON.parse(text) !== 'number' || text.trim() !== text) return undefined
  } catch {
    return undefined
  }
  const [mantissa = '', exponent = '0'] = text.toLowerCase().split('e')
  const [whole = '', fraction = ''] = mantissa.split('.')
  let digits = BigInt(whole + fraction)
  let power = Number(exponent) - fraction.length
  if (digits === 0n) return { digits, exponent: 0 }
  for (; digits % 10n === 0n; power++) digits /= 10n
  return { digits, exponent: power }
}

/** Limits that a few small fields reach, and limits that only their number reaches. */
const LITTLE_ROOM = { ...RULES, maxFields: 3, maxRecordSize: 24 }
const AMPLE_ROOM = { ...RULES, maxFields: 4, maxRecordSize: 10_000 }

const field = fc.constantFrom('a', 'b', 'cc', 'é', '__proto__')
const text = fc.constantFrom('', '1', '-7', '"5"', 'text', 'größe', '9007199254740991', '0123456789')
const anyOperation: fc.Arbitrary<Operation> = fc.oneof(
  field.map(get),
  fc.tuple(field, text).map(([f, x]) => set(f, x)),
  fc.tuple(field, text).map(([f, x]) => setIfAbsent(f, x)),
  fc.tuple(field, fc.constantFrom('1', '-3', '9007199254740991')).map(([f, by]) => increment(f, by)),
  field.map(remove),
  field.map(take),
  fc.tuple(field, fc.option(text), fc.option(text)).map(([f, expected, x]) => replace(f, expected, x)),
  fc.constant(clear())
)
/** What most writes consist of. */
const plainOperation: fc.Arbitrary<Operation> = fc.oneof(fc.tuple(field, text).map(([f, x]) => set(f, x)), field.map(remove))

function scenario (operation: fc.Arbitrary<Operation>) {
  return fc.array(fc.record({
    operations: fc.array(operation, { maxLength: 8 }),
    mode: fc.constantFrom('together' as const, 'apart' as const)
  }), { minLength: 1, maxLength: 4 })
}

interface Simulated { data: Map<string, string>, results: OperationResult[], refusal: (Refusal & { field: string }) | undefined }

/** What a write has to do, in the simplest terms: each operation says what the data are afterwards, if it may. */
function simulate (before: ReadonlyMap<string, string>, operations: readonly Operation[], mode: Write['mode'], rules: Rules): Simulated {
  let data = new Map(before)
  const results: OperationResult[] = []
  for (const operation of operations) {
    const after = new Map(data)
    let result: OperationResult = true
    if (operation.type === 'clear') {
      after.clear()
    } else {
      const { field } = operation
      const current = data.get(field)
      const found = current === undefined ? null : Buffer.from(current)
      switch (operation.type) {
        case 'get': result = found; break
        case 'set': after.set(field, operation.text); break
        case 'setIfAbsent': result = current === undefined; if (result) after.set(field, operation.text); break
        case 'delete': result = after.delete(field); break
        case 'take': result = found; after.delete(field); break
        case 'increment': result = exactSum(current ?? '0', operation.by); if (typeof result === 'string') after.set(field, result); break
        case 'replace': {
          const done = (current ?? null) === operation.expected
          result = { done, current: done ? operation.text : current ?? null }
          if (done && operation.text === null) after.delete(field)
          else if (done) after.set(field, operation.text!)
        }
      }
      const size = sizeOf(after)
      if (after.size > data.size && after.size > rules.maxFields) result = { refused: 'fields' }
      else if (size > sizeOf(data) && size > rules.maxRecordSize) result = { refused: 'size' }
    }
    const refused = typeof result === 'object' && result !== null && 'refused' in result
    if (refused && mode === 'together') {
      return { data: new Map(before), results: [], refusal: { ...(result as Refusal), field: (operation as { field: string }).field } }
    }
    if (!refused) data = after
    results.push(result)
  }
  return { data, results, refusal: undefined }
}

function sizeOf (data: ReadonlyMap<string, string>): number {
  return [...data].reduce((size, [name, text]) => size + Buffer.byteLength(name) + Buffer.byteLength(text), 0)
}
