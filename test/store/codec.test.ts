import { deepEqual, equal } from 'node:assert/strict'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { test } from 'tap'
import { decode, decodeJson, encode } from '../../src/store/codec.js'

const DEPTH = 16

/** Any string, often one that looks like JSON or like a number. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.constantFrom(...'0123456789-+.eE \t\n"[]{},:truefalsn\u00a0\ufeff\ud800\udc00\u2028') }),
  fc.json(),
  fc.tuple(fc.constantFrom('', ' ', '\t', '\n', '\u00a0', '\ufeff', '"', 'x'), fc.json(), fc.constantFrom('', ' ', '\n', 'x', '"', '\0')).map((parts) => parts.join('')),
  fc.double().map(String),
  fc.integer().map(String)
)

/** Whether a text is JSON, by the engine's own parser. */
function parse (text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) as unknown }
  } catch {
    return undefined
  }
}

test('the examples of the design', async (t) => {
  for (const [value, text] of [
    ['andrew', 'andrew'], [3, '3'], ['02134', '02134'], ['2134', '"2134"'], [true, 'true'], ['true', '"true"'], [false, 'false'], [null, 'null'], ['null', '"null"'],
    [[], '[]'], [{}, '{}'], [{ a: 1 }, '{"a":1}'], ['{"a":1}', '"{\\"a\\":1}"'], [[1, 'x', null], '[1,"x",null]'], ['', ''], [0, '0'], [-1.5, '-1.5'], [1e21, '1e+21'], ['[', '[']
  ] as Array<[unknown, string]>) {
    t.equal(encode('f', value, DEPTH), text)
    t.strictSame(decode(text), value)
  }
})

test('strings that are no JSON stand as they are, also those that look like it', async (t) => {
  for (const text of [
    'andrew', ' ', 'a b', '02134', '007', '+1', '.5', '1.', '1e', '0x10', '1_000', '1,5', '-', '--1', 'Infinity', 'NaN', 'True', 'trueish', 'nullable', 'falsehood', 'undefined', 'tru', 'n', 't', 'f',
    '{', '[', '[1,', '{a:1}', "{'a':1}", '"', '"unended', 'quoted "within"', '"a" b', '[1] [2]', '\u00a01', '1\u00a0', '\ufeff1', '\ufeff{}', '1\0', '\0', '12:30', '2024-01-01', '127.0.0.1', '1.2.3', '\u0663',
    'größe', '💥', '\u2028', '// 1', '/* 1 */1', '1;', 'a'.repeat(1000)
  ]) {
    t.equal(encode('f', text, DEPTH), text)
    t.equal(decode(text), text)
  }
})

test('strings that are JSON are quoted', async (t) => {
  for (const text of [
    '0', '-0', '1', '-1', '1.5', '1e5', '1E+5', '1e-5', '1e999', '12345678901234567890', ' 1', '1 ', '\t1\n', '\r1\r', 'true', 'false', 'null', ' true', 'null\n', '"a"', '""', ' "a" ',
    '{}', '[]', ' {}', '[ ]', '{"a":1}', '[1]', '{"__proto__":1}', '\n\n[]'
  ]) {
    const encoded = encode('f', text, DEPTH)
    t.equal(encoded, JSON.stringify(text))
    t.equal(decode(encoded), text)
  }
})

test('every string comes back, and stands as itself exactly where no parser would take it for something else', async () => {
  fc.assert(fc.property(anyText, (text) => {
    const encoded = encode('f', text, DEPTH)
    equal(decode(encoded), text)
    const parsed = parse(text)
    const plain = text.isWellFormed() && (parsed === undefined || parsed.value === text)
    equal(encoded, plain ? text : JSON.stringify(text))
    // What is stored has to survive UTF-8.
    equal(Buffer.from(encoded).toString(), encoded)
  }), { numRuns: 2500 })
})

test('every text decodes to its JSON value where it is JSON, else to itself', async () => {
  fc.assert(fc.property(anyText, (text) => {
    const parsed = parse(text)
    deepEqual(decode(text), parsed === undefined ? text : parsed.value)
    deepEqual(decodeJson(text), parsed?.value)
  }), { numRuns: 2500 })
})

test('every JSON value comes back', async () => {
  for (const options of [{}, { stringUnit: 'binary' }] as const) {
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 6, depthSize: 'small', ...options }), (value) => {
      // JSON writes -0 as 0.
      deepEqual(decode(encode('f', value, DEPTH)), JSON.parse(JSON.stringify(value)))
    }), { numRuns: 1500 })
  }
})

test('what is encoded is JSON.stringify of it, for all but strings', async () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    if (typeof value !== 'string') equal(encode('f', value, DEPTH), JSON.stringify(value))
  }), { numRuns: 1000 })
})

test('whatever is accepted comes back as JSON carries it; whatever is refused is refused by an error of ours', async () => {
  const anything = fc.anything({
    withBigInt: true, withBoxedValues: true, withDate: true, withMap: true, withNullPrototype: true, withObjectString: true, withSet: true, withSparseArray: true, withTypedArray: true, maxDepth: 4
  })
  fc.assert(fc.property(anything, (value) => {
    let encoded: string
    try {
      encoded = encode('f', value, DEPTH)
    } catch (error) {
      equal((error as { code?: string }).code, 'SESSION_VALUE_INVALID')
      return
    }
    // What went in as a string says what it says; all else is what JSON makes of it.
    deepEqual(decode(encoded), typeof value === 'string' ? value : JSON.parse(JSON.stringify(value)))
  }), { numRuns: 1500 })
})

const cyclic: { list: unknown[], self?: unknown } = { list: [] }
cyclic.self = cyclic
const cyclicArray: unknown[] = []
cyclicArray.push([cyclicArray])
const far: Record<string, unknown> = {}
far['a'] = { b: [{ c: far }] }

const REFUSED: Array<[string, unknown]> = [
  ['undefined', undefined],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
  ['a function', () => {}],
  ['a class', class {}],
  ['a symbol', Symbol('s')],
  ['a BigInt', 1n],
  ['a Map', new Map([['a', 1]])],
  ['a Set', new Set([1])],
  ['a WeakMap', new WeakMap()],
  ['a promise', Promise.resolve()],
  ['a regular expression', /a/],
  ['an error', new Error('e')],
  ['a Buffer', Buffer.from('b')],
  ['a typed array', new Uint8Array(2)],
  ['an ArrayBuffer', new ArrayBuffer(2)],
  ['undefined in an array', [1, undefined]],
  // eslint-disable-next-line no-sparse-arrays
  ['a hole in an array', [1, , 2]],
  ['a long array of holes', new Array(3)],
  ['a function in an array', [() => {}]],
  ['a function in an object', { a: () => {} }],
  ['a symbol in an object', { a: Symbol('s') }],
  ['a BigInt deep inside', { a: [{ b: 1n }] }],
  ['NaN deep inside', { a: [{ b: Number.NaN }] }],
  ['a Map deep inside', { a: [new Map()] }],
  ['an object that holds itself', cyclic],
  ['an array that holds itself', cyclicArray],
  ['an object that holds itself far away', far],
  ['an object whose toJSON gives nothing', { toJSON: () => undefined }],
  ['an object whose toJSON gives a BigInt', { a: { toJSON: () => 1n } }],
  ['an object whose toJSON gives a Map', [{ toJSON: () => new Map() }]],
  ['a boxed BigInt', Object(1n)],
  ['a boxed symbol', Object(Symbol('s'))],
  ['a boxed NaN', [Object(Number.NaN)]],
  ['an invalid date', new Date(Number.NaN)],
  ['Headers', new Headers({ a: 'b' })],
  ['URLSearchParams', new URLSearchParams('a=b')],
  ['FormData', new FormData()],
  ['a Blob', new Blob(['b'])],
  ['a Response', new Response('b')],
  ['an AbortController', new AbortController()],
  ['a DOMException', new DOMException('e')],
  ['a WeakRef', new WeakRef({})],
  ['a formatter', new Intl.NumberFormat()],
  ['Math', Math],
  ['an iterator of an array', [1].values()],
  ['an iterator of a Map', new Map([['a', 1]]).entries()],
  ['a generator', (function * () { yield 1 })()],
  ['an asynchronous generator', (async function * () { yield 1 })()],
  ['an empty argument list', (function () { return arguments })()],
  ['an instance without fields', new (class Cart {})()],
  ['an instance with private fields', new (class Cart { #items = [1]; get items () { return this.#items } })()],
  ['an object that inherits what it has', Object.create({ a: 1 })],
  ['a Map with fields', Object.assign(new Map([['a', 1]]), { b: 2 })],
  ['an error with fields', Object.assign(new Error('e'), { code: 'E' })],
  ['a Map behind a proxy', new Proxy(new Map([['a', 1]]), {})],
  ['Headers behind a proxy', new Proxy(new Headers({ a: 'b' }), {})],
  ['an instance behind a proxy', new Proxy(new (class Cart { #items = 1; get items () { return this.#items } })(), {})],
  ['a Map of another realm', runInNewContext('new Map([["a", 1]])')],
  ['an iterator of another realm', runInNewContext('[1].values()')],
  ['an instance of another realm', runInNewContext('new (class Cart {})')],
  ['Headers deep inside', { a: [{ b: new Headers() }] }],
  ['an iterator in an array', [[1].values()]],
  ['an object whose toJSON gives a Date, which nobody asks for its own', { toJSON: () => new Date(0) }],
  ['an object whose toJSON gives Headers', { a: { toJSON: () => new Headers() } }],
  ['a Map that knows its JSON', Object.assign(new Map(), { toJSON: () => [] })]
]

test('what JSON would drop or change is refused, and named', async (t) => {
  for (const [what, value] of REFUSED) {
    t.throws(() => encode('the-field', value, DEPTH), { code: 'SESSION_VALUE_INVALID', statusCode: 500, message: /"the-field"/ }, what)
  }
})

test('a refusal says of what class the value is', async (t) => {
  for (const [kind, value] of [
    ['Headers', new Headers()], ['Array Iterator', [1].values()], ['Cart', new (class Cart {})()], ['Map', new Map()], ['Object', new (class { static override = 1 })()], ['Uint8Array', Buffer.from('b')],
    ['Object', new (class { static name = Symbol('s') })()]
  ] as Array<[string, unknown]>) {
    t.throws(() => encode('f', value, DEPTH), { message: new RegExp(`of type ${kind}; store plain arrays and objects`) })
  }
})

test('what has all its content in fields is stored as a plain object, wherever it comes from', async (t) => {
  class Item { id = 7; note: string | undefined = undefined; get name (): string { return 'not a field' } }
  class Query { declare a?: string }
  Object.setPrototypeOf(Query.prototype, null)
  for (const [what, value, text] of [
    ['an instance', new Item(), '{"id":7}'],
    ['an instance whose only field is not set', new (class { a?: string = undefined })(), '{}'],
    ['instances in an array', [new Item(), new Item()], '[{"id":7},{"id":7}]'],
    ['an object without a prototype', Object.create(null), '{}'],
    ['an empty object as query string parsers make it', new Query(), '{}'],
    ['an object of another realm', runInNewContext('({ a: { b: 1 }, c: {} })'), '{"a":{"b":1},"c":{}}'],
    ['an array of another realm', runInNewContext('[[], {}]'), '[[],{}]'],
    ['an object without a prototype of another realm', runInNewContext('Object.create(null)'), '{}'],
    ['an object behind a proxy', new Proxy({ a: new Proxy({}, {}) }, {}), '{"a":{}}'],
    ['a frozen object', Object.freeze({}), '{}'],
    ['the arguments of a function', (function (..._: number[]) { return arguments })(1, 2), '{"0":1,"1":2}']
  ] as Array<[string, unknown, string]>) {
    t.equal(encode('f', value, DEPTH), text, what)
    t.equal(JSON.stringify(value), text, `${what}: as JSON has it`)
  }
})

test('no refusal tells a value', async (t) => {
  for (const value of [{ a: 'TOPSECRET', b: 1n }, ['TOPSECRET', Symbol('TOPSECRET')], Object.assign(() => {}, { a: 'TOPSECRET' }), new Map([['TOPSECRET', 'TOPSECRET']])]) {
    try {
      encode('f', value, DEPTH)
      t.fail('was expected to throw')
    } catch (error) {
      t.notMatch(String((error as Error).stack) + JSON.stringify(error), 'TOPSECRET')
    }
  }
})

test('an absent optional member is left out', async (t) => {
  t.equal(encode('f', { a: 1, b: undefined, c: { d: undefined } }, DEPTH), '{"a":1,"c":{}}')
})

test('objects that know their JSON are encoded by it', async (t) => {
  t.equal(encode('f', new Date(0), DEPTH), '"1970-01-01T00:00:00.000Z"')
  t.equal(encode('f', { at: new Date(0), all: [new Date(0)] }, DEPTH), '{"at":"1970-01-01T00:00:00.000Z","all":["1970-01-01T00:00:00.000Z"]}')
  t.equal(encode('f', new URL('http://localhost/'), DEPTH), '"http://localhost/"')
  t.equal(encode('f', { toJSON: () => ({ a: [1] }) }, DEPTH), '{"a":[1]}')
  const money = new (class Money { amount = 5; toJSON () { return this } })()
  const asked: string[] = []
  const curious = { toJSON (key: string) { asked.push(key); return key } }
  for (const [value, text] of [
    [money, '{"amount":5}'],
    [{ a: 1, toJSON () { return this } }, '{"a":1}'],
    [{ toJSON () { return this } }, '{}'],
    [{ price: money, prices: [money, money] }, '{"price":{"amount":5},"prices":[{"amount":5},{"amount":5}]}'],
    [{ toJSON: () => ({ b: 1, toJSON: undefined }) }, '{"b":1}'],
    [{ a: { toJSON: () => money } }, '{"a":{"amount":5}}'],
    [{ a: curious, b: [curious] }, '{"a":"a","b":["0"]}'],
    [{ a: { toJSON: () => 5 }, b: { toJSON: () => null } }, '{"a":5,"b":null}']
  ] as Array<[unknown, string]>) {
    t.equal(encode('f', value, DEPTH), text)
    t.equal(JSON.stringify(value), text, 'as JSON has it')
  }
  t.strictSame(asked.slice(0, 2), ['a', '0'], 'toJSON is told the key')
  t.throws(() => encode('f', { other () {}, toJSON () { return this } }, DEPTH), { code: 'SESSION_VALUE_INVALID', message: /function/ })
  t.equal(encode('f', { toJSON: () => [[1]] }, 2), '[[1]]', 'what stands for an object is as deep as it is itself')
  const endless = { toJSON: () => ({ again: endless }) }
  t.throws(() => encode('f', endless, DEPTH), { code: 'SESSION_VALUE_TOO_DEEP' })
  const cycle: object = { toJSON: () => cycle, inner: { get outer (): object { return cycle } } }
  t.throws(() => encode('f', cycle, DEPTH), { code: 'SESSION_VALUE_INVALID' })
})

test('the same object twice is no cycle', async (t) => {
  const shared = { a: 1 }
  t.equal(encode('f', [shared, shared, { shared }], DEPTH), '[{"a":1},{"a":1},{"shared":{"a":1}}]')
})

test('dangerous names are names like any other, and change no prototype', async (t) => {
  const text = '{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}},"toString":1,"hasOwnProperty":2}'
  const value = decode(text) as Record<string, unknown>
  t.equal(encode('f', value, DEPTH), text)
  t.strictSame(Object.keys(value), ['__proto__', 'constructor', 'toString', 'hasOwnProperty'])
  t.equal(Object.getPrototypeOf(value), Object.prototype)
  t.equal(({} as Record<string, unknown>)['admin'], undefined)
  t.equal(encode('f', Object.assign(Object.create(null) as object, { a: 1 }), DEPTH), '{"a":1}')
})

test('lone surrogates come back, within JSON and alone', async (t) => {
  for (const value of ['\ud800', '\udc00x', 'x\ud83d', ['\ud800'], { '\udfff': '\ud800' }]) {
    const encoded = encode('f', value, DEPTH)
    t.equal(Buffer.from(encoded).toString(), encoded, 'as well-formed text')
    t.strictSame(decode(encoded), value)
  }
  t.equal(encode('f', '💥', DEPTH), '💥')
})

test('the depth of nesting is limited, arrays and objects alike', async (t) => {
  const arrays = (depth: number): unknown => depth === 0 ? 1 : [arrays(depth - 1)]
  const objects = (depth: number): unknown => depth === 0 ? 1 : { a: objects(depth - 1) }
  for (const nested of [arrays, objects]) {
    for (const limit of [1, 2, 16, 100]) {
      t.strictSame(decode(encode('f', nested(limit), limit)), nested(limit), `${limit} within ${limit}`)
      t.throws(() => encode('the-field', nested(limit + 1), limit), { code: 'SESSION_VALUE_TOO_DEEP', message: new RegExp(`"the-field".*\\(${limit}\\)`) }, `${limit + 1} within ${limit}`)
    }
  }
  t.equal(encode('f', 'scalar', 1), 'scalar')
  t.equal(encode('f', [[], {}, [], {}], 2), '[[],{},[],{}]', 'siblings do not add up')
  let bottomless: unknown = []
  for (let i = 0; i < 100_000; i++) bottomless = [bottomless]
  t.throws(() => encode('f', bottomless, DEPTH), { code: 'SESSION_VALUE_TOO_DEEP' }, 'far too deep is refused before the stack overflows')
})

test('what others wrote never makes decoding throw', async (t) => {
  for (const text of ['['.repeat(100_000), '{"a":'.repeat(100_000), '"\\ud800"', '"\\u0000"', '1'.repeat(100_000), '"' + 'x'.repeat(1_000_000), '{"a":1}}', '\ufffd', '[1e999]']) {
    t.doesNotThrow(() => { decode(text) }, text.slice(0, 10))
    t.doesNotThrow(() => { decodeJson(text) }, text.slice(0, 10))
  }
  t.equal(decode('['.repeat(100_000)), '['.repeat(100_000))
  t.equal(decodeJson('not JSON'), undefined)
  t.equal(decodeJson(''), undefined)
  t.equal(decodeJson('null'), null)
  t.strictSame(decodeJson(' {"a":[]} '), { a: [] })
})
