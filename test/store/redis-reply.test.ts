import { deepEqual, equal } from 'node:assert/strict'
import fc from 'fast-check'
import { test } from 'tap'
import { readRecord } from '../../src/store/redis-reply.js'
import { startRedis } from '../support/redis-process.js'

/** MessagePack by the letter of its specification: https://github.com/msgpack/msgpack/blob/master/spec.md */
function packText (text: string | Buffer): Buffer {
  const bytes = Buffer.from(text as string)
  const { length } = bytes
  if (length < 32) return Buffer.concat([Buffer.from([0xa0 | length]), bytes])
  if (length < 0x100) return Buffer.concat([Buffer.from([0xd9, length]), bytes])
  if (length < 0x10000) return Buffer.concat([Buffer.from([0xda, length >> 8, length & 0xff]), bytes])
  const head = Buffer.alloc(5, 0xdb)
  head.writeUInt32BE(length, 1)
  return Buffer.concat([head, bytes])
}

function packInteger (value: number): Buffer {
  const big = BigInt(value)
  const head = (code: number, size: number, write: (buffer: Buffer) => void): Buffer => {
    const buffer = Buffer.alloc(1 + size, code)
    write(buffer)
    return buffer
  }
  if (value >= 0) {
    if (value < 0x80) return Buffer.from([value])
    if (value < 0x100) return Buffer.from([0xcc, value])
    if (value < 0x1_0000) return head(0xcd, 2, (buffer) => { buffer.writeUInt16BE(value, 1) })
    if (value < 0x1_0000_0000) return head(0xce, 4, (buffer) => { buffer.writeUInt32BE(value, 1) })
    return head(0xcf, 8, (buffer) => { buffer.writeBigUInt64BE(big, 1) })
  }
  if (value >= -32) return Buffer.from([value + 0x100])
  if (value >= -0x80) return head(0xd0, 1, (buffer) => { buffer.writeInt8(value, 1) })
  if (value >= -0x8000) return head(0xd1, 2, (buffer) => { buffer.writeInt16BE(value, 1) })
  if (value >= -0x8000_0000) return head(0xd2, 4, (buffer) => { buffer.writeInt32BE(value, 1) })
  return head(0xd3, 8, (buffer) => { buffer.writeBigInt64BE(big, 1) })
}

function packList (items: Array<string | Buffer>): Buffer {
  const { length } = items
  const head = length < 16
    ? Buffer.from([0x90 | length])
    : length < 0x10000 ? Buffer.from([0xdc, length >> 8, length & 0xff]) : Buffer.from([0xdd, length >>> 24, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff])
  return Buffer.concat([head, ...items.map(packText)])
}

function packRecord (standing: string, touched: number, now: number, ttl: number, fields: ReadonlyArray<readonly [string, string]>): Buffer {
  return Buffer.concat([packText(standing), packInteger(touched), packInteger(now), packInteger(ttl), packList(fields.flat())])
}

/** Checks that a reply says what was packed. */
function says (reply: Buffer, standing: string, touched: number, now: number, ttl: number, fields: ReadonlyArray<readonly [string, string]>): void {
  const record = readRecord(reply)
  deepEqual([record.standing, record.touched, record.now, record.ttl], [standing, touched === 1, now, ttl])
  deepEqual([...record.fields.names()], fields.map(([name]) => name))
  // In another order than they stand there, and twice.
  for (const [name, text] of [...fields].reverse()) equal(record.fields.get(name), text)
  for (const [name, text] of fields) equal(record.fields.get(name), text)
  equal(record.fields.get('a name that no field has'), undefined)
}

const STANDINGS = ['current', 'due', 'superseded', 'reused'] as const
/** Well-formed text of any length, ASCII more often than not, as most fields are. */
const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 50 }) },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 50 }).map((text) => text.toWellFormed()) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('a', 'ö', '名', '💥'), fc.constantFrom(31, 32, 255, 256, 65535, 65536)).map(([unit, length]) => unit.repeat(Math.ceil(length / Buffer.byteLength(unit)))) }
)
const integer = fc.oneof(fc.integer({ min: -40, max: 300 }), fc.maxSafeInteger(), fc.constantFrom(...[7, 8, 15, 16, 31, 32, 52].flatMap((bits) => [2 ** bits - 1, 2 ** bits, -(2 ** bits), -(2 ** bits) - 1])))
const fields = fc.uniqueArray(fc.tuple(text, text), { selector: ([name]) => name, maxLength: 40 })

test('a reply that was packed by the specification says what was packed', async () => {
  fc.assert(fc.property(fc.constantFrom(...STANDINGS), fc.constantFrom(0, 1), integer, integer, fields, (standing, touched, now, ttl, fields) => {
    says(packRecord(standing, touched, now, ttl, fields), standing, touched, now, ttl, fields)
  }), { numRuns: 500 })
})

test('every form of lengths and numbers is understood', async () => {
  for (const length of [0, 1, 31, 32, 255, 256, 65535, 65536, 100_000]) {
    for (const unit of ['a', 'ö']) says(packRecord('current', 0, 1, 2, [[unit.repeat(length), 'x'], ['f', unit.repeat(length)]]), 'current', 0, 1, 2, [[unit.repeat(length), 'x'], ['f', unit.repeat(length)]])
  }
  for (const count of [0, 1, 7, 8, 9, 200, 40_000]) {
    const fields = Array.from({ length: count }, (_, i) => [`f${i}`, String(i)] as const)
    const record = readRecord(packRecord('due', 1, 1, 2, fields))
    deepEqual([...record.fields.names()].length, count)
    equal(record.fields.get(`f${count - 1}`), count === 0 ? undefined : String(count - 1))
  }
  for (const number of [0, 1, 127, 128, 255, 256, 65535, 65536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, -1, -32, -33, -128, -129, -32768, -32769, -(2 ** 31), -(2 ** 31) - 1, -(2 ** 53) + 1]) {
    says(packRecord('current', 0, number, number, []), 'current', 0, number, number, [])
  }
})

test('Redis packs as the specification says', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const client = redis.client()
  const script = `
    local fields = {}
    for i = 5, #ARGV do fields[i - 4] = ARGV[i] end
    return cmsgpack.pack(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), fields)`
  await fc.assert(fc.asyncProperty(fc.constantFrom(...STANDINGS), fc.constantFrom(0, 1), integer, integer, fields, async (standing, touched, now, ttl, fields) => {
    const reply = await client.callBuffer('EVAL', script, '0', standing, String(touched), String(now), String(ttl), ...fields.flat())
    // What the script language makes of a list without items, it makes of a map without items, too.
    if (fields.length > 0) says(reply as Buffer, standing, touched, now, ttl, fields)
  }), { numRuns: 100 })
})

test('names are compared by their bytes, and texts are not taken for names', async (t) => {
  const fields = [['a', 'b'], ['b', 'a'], ['ö', 'Ã¶'], ['Ã¶', 'ö'], ['', 'empty'], ['ab', ''], ['e\u0301', 'two'], ['\u00e9', 'one'], ['__proto__', 'p'], ['length', 'l'], ['text', 'f'], ['f', 'text']] as const
  says(packRecord('current', 0, 1, 2, fields), 'current', 0, 1, 2, fields)
  const { fields: found } = readRecord(packRecord('current', 0, 1, 2, fields))
  for (const absent of ['empty', 'two', 'p', 'aa', 'A', 'o', 'constructor', 'toString', '\u00f6\u00f6', 'Ã']) t.equal(found.get(absent), undefined, absent)
})

test('bytes that are no UTF-8 become replacement characters, and disturb nothing else', async (t) => {
  const reply = Buffer.concat([packText('current'), packInteger(0), packInteger(1), packInteger(2), packList(['a', '1', 'b', Buffer.from([0xff, 0x41, 0xfe]), 'c', '3'])])
  const { fields } = readRecord(reply)
  t.equal(fields.get('c'), '3')
  t.equal(fields.get('b'), '\ufffdA\ufffd')
  t.equal(fields.get('a'), '1')
  t.strictSame([...fields.names()], ['a', 'b', 'c'])
})

test('several records are read independently of each other', async (t) => {
  const one = readRecord(packRecord('current', 0, 1, 2, [['a', 'one'], ['b', 'x']]))
  const other = readRecord(packRecord('due', 1, 3, 4, [['b', 'y'], ['a', 'other']]))
  t.equal(one.fields.get('b'), 'x')
  t.equal(other.fields.get('a'), 'other')
  t.equal(one.fields.get('a'), 'one')
  t.strictSame([...other.fields.names(), ...one.fields.names()], ['b', 'a', 'a', 'b'])
})

/** Reads all of a record. */
function readAll (reply: Buffer): void {
  const { fields } = readRecord(reply)
  for (const name of fields.names()) fields.get(name)
}

test('a reply that ends too early is an error of the record, wherever it ends', async (t) => {
  for (const fields of [[['user', 'andrew'], ['n', '3']], [['user', 'x'.repeat(100)]], [['user', 'x'.repeat(300)]], [['user', 'x'.repeat(70_000)]], Array.from({ length: 20 }, (_, i) => [`f${i}`, 'x'])] as Array<Array<[string, string]>>) {
    const reply = packRecord('current', 1, 1_700_000_000_000, 100_000, fields)
    readAll(reply)
    for (let length = 0; length < reply.length; length += length < 400 ? 1 : 997) {
      try {
        readAll(reply.subarray(0, length))
        t.fail(`${length} of ${reply.length} bytes were expected to be refused`)
      } catch (error) {
        if ((error as { code?: string }).code !== 'SESSION_RECORD_INVALID') t.fail(`${length} of ${reply.length} bytes: ${String(error)}`)
      }
    }
  }
})

test('a reply of another form is an error of the record, and nothing worse', async () => {
  const valid = packRecord('current', 1, 1_700_000_000_000, 100_000, [['user', 'andrew'], ['größe', 'x'.repeat(40)]])
  const damaged = fc.oneof(
    fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
    fc.tuple(fc.nat({ max: valid.length - 1 }), fc.nat({ max: 255 })).map(([at, byte]) => {
      const bytes = Buffer.from(valid)
      bytes[at] = byte
      return bytes
    })
  )
  fc.assert(fc.property(damaged, (reply) => {
    try {
      readAll(reply)
    } catch (error) {
      equal((error as { code?: string }).code, 'SESSION_RECORD_INVALID', String(error))
    }
  }), { numRuns: 3000 })
})
