import { test } from 'tap'
import * as record from '../../src/store/record.js'

const { assertName, isReserved } = record
// Applications without types pass anything.
const assertKey: (key: unknown) => void = record.assertKey
const assertKeys: (keys: unknown) => void = record.assertKeys

test('every name of the record\'s own is reserved', async (t) => {
  const own = Object.entries(record).filter(([, value]) => typeof value === 'string')
  t.equal(own.length, 23)
  for (const [constant, name] of own) {
    t.ok(isReserved(name as string), constant)
    t.throws(() => { assertName(name as string) }, { code: 'SESSION_NAME_INVALID', message: /reserved/ }, constant)
  }
})

test('names beginning with @ are reserved, also those without a meaning yet', async (t) => {
  for (const name of ['@', '@@', '@x', '@digest2', '@größe', `@${'x'.repeat(1000)}`]) {
    t.ok(isReserved(name))
    t.throws(() => { assertName(name) }, { code: 'SESSION_NAME_INVALID', message: /reserved/ })
  }
})

test('all other names are free', async (t) => {
  for (const name of [
    '', ' ', 'user', ' @digest', 'a@b', '\u0000@', '\uff20digest', 'Created_At', 'CREATED_AT', 'created_at ', ' created_at', 'created_at2', 'last_accessed', 'session_ttl_', 'session-ttl',
    '__proto__', 'constructor', 'toString', 'then', 'destroy', 'id', 'größe', '💥', '\u2028', 'a'.repeat(256), 'ö'.repeat(128), '💥'.repeat(64)
  ]) {
    t.notOk(isReserved(name))
    t.doesNotThrow(() => { assertName(name) })
  }
})

test('a name takes 256 bytes of UTF-8 at most', async (t) => {
  for (const name of ['a'.repeat(257), 'ö'.repeat(129), `${'ö'.repeat(128)}a`, '名'.repeat(86), '💥'.repeat(65), 'x'.repeat(1_000_000)]) {
    t.throws(() => { assertName(name) }, { code: 'SESSION_NAME_INVALID', message: /256 bytes/ })
  }
})

test('an error names no more of a name than its beginning', async (t) => {
  for (const name of ['x'.repeat(1_000_000), `@${'x'.repeat(1_000_000)}`]) {
    try {
      assertName(name)
      t.fail('was expected to throw')
    } catch (error) {
      t.ok((error as Error).message.length < 300)
    }
  }
})

test('a name with a lone surrogate is refused, for UTF-8 cannot carry it', async (t) => {
  for (const name of ['\ud800', 'a\udc00', '\ud83d\ud83d', 'x\ud800y']) {
    t.throws(() => { assertName(name) }, { code: 'SESSION_NAME_INVALID', message: /surrogate/ })
  }
})

const NO_STRINGS: Array<[string, unknown]> = [
  ['undefined', undefined], ['null', null], ['number', 5], ['boolean', true], ['bigint', 5n], ['symbol', Symbol('TOPSECRET')], ['function', () => 'TOPSECRET'],
  ['object', { toString: () => 'TOPSECRET' }], ['object', Object.create(null)], ['object', Object('cart')], ['array', ['TOPSECRET']]
]

test('a key that is no string is refused by an error that says so, and not what came', async (t) => {
  for (const [kind, key] of NO_STRINGS) {
    for (const check of [() => { assertKey(key) }, () => { assertName(key as string) }, () => { assertKeys(['cart', key]) }]) {
      t.throws(check, { code: 'SESSION_NAME_INVALID', message: new RegExp(`"<${kind}>" cannot be used: a name is a string`) })
      t.throws(check, { message: /^(?!.*TOPSECRET)/s })
    }
  }
  for (const key of ['cart', '', '@digest', 'x'.repeat(1000)]) t.doesNotThrow(() => { assertKey(key) }, 'whatever may be asked for')
})

test('a list of keys is an array', async (t) => {
  for (const [kind, keys] of [...NO_STRINGS.filter(([kind]) => kind !== 'array'), ['string', 'TOPSECRET'], ['object', new Set(['TOPSECRET'])], ['object', { 0: 'TOPSECRET', length: 1 }]] as Array<[string, unknown]>) {
    t.throws(() => { assertKeys(keys) }, { code: 'SESSION_NAME_INVALID', message: new RegExp(`"<${kind}>" cannot be used: .*\\['cart'\\]`) })
    t.throws(() => { assertKeys(keys) }, { message: /^(?!.*TOPSECRET)/s })
  }
  t.doesNotThrow(() => { assertKeys([]) })
  t.doesNotThrow(() => { assertKeys(['cart', 'locale']) })
  // eslint-disable-next-line no-sparse-arrays
  t.throws(() => { assertKeys(['cart', , 'locale']) }, { code: 'SESSION_NAME_INVALID' }, 'a hole is no name')
})
