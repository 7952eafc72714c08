import { equal } from 'node:assert/strict'
import fc from 'fast-check'
import { test } from 'tap'
import { ready } from '../contract/redis-subject.js'
import { apart, increment, newOwner, RULES, set } from '../contract/kit.js'
import { addDecimals } from '../../src/store/decimal.js'
import { MemoryStore } from '../../src/store/memory.js'
import { RedisStore } from '../../src/store/redis.js'
import { startRedis } from '../support/redis-process.js'

const EXACT = 2n ** 53n - 1n

/** The sum, or why there is none, in one word. */
function sum (text: string, by: string): string {
  const added = addDecimals(text, by)
  return typeof added === 'string' ? added : added.sum
}

test('sums are exact', async (t) => {
  for (const [a, b, expected] of [
    ['1', '2', '3'], ['0', '0', '0'], ['-0', '0', '0'], ['-0', '-0', '0'], ['-5', '5', '0'], ['-0.5', '0.5', '0'],
    ['0.1', '0.2', '0.3'], ['0.7', '0.1', '0.8'], ['1.1', '2.2', '3.3'], ['0.3', '-0.1', '0.2'], ['-0.3', '0.1', '-0.2'], ['0.01', '0.001', '0.011'], ['1.005', '0', '1.005'],
    ['10.50', '0.5', '11'], ['1.50', '0', '1.5'], ['100', '0.01', '100.01'], ['0.10', '0.20', '0.3'], ['9.99', '0.01', '10'], ['-9.99', '-0.01', '-10'],
    ['1e3', '1', '1001'], ['1E3', '1', '1001'], ['1e+3', '1', '1001'], ['1.5e1', '0', '15'], ['15e-1', '0', '1.5'], ['1e-3', '0', '0.001'], ['0e5', '1', '1'], ['0.000', '1', '1'], ['0e999', '1', '1'],
    ['1e-9', '1e-9', '0.000000002'], ['-1e-9', '0', '-0.000000001'], ['1e-300', '0', `0.${'0'.repeat(299)}1`],
    ['9007199254740990', '1', '9007199254740991'], ['-9007199254740990', '-1', '-9007199254740991'], ['9007199254740991', '-9007199254740991', '0'],
    ['900719925474.0991', '0', '900719925474.0991'], ['9007199254740991e-2', '0', '90071992547409.91'], ['9007199254740990e-1', '0', '900719925474099'],
    ['0.9007199254740991', '0', '0.9007199254740991'], ['1e15', '1', '1000000000000001'], ['123456789012345600', '0', 'range'], ['1234567890123456', '0.5', 'range'], ['123456789012345', '0.5', '123456789012345.5']
  ] as const) {
    t.equal(sum(a, b), expected, `${a} + ${b}`)
    t.equal(sum(b, a), expected, `${b} + ${a}`)
  }
})

test('what cannot be held exactly is out of range', async (t) => {
  for (const [a, b] of [
    ['9007199254740991', '1'], ['9007199254740991', '0.1'], ['9007199254740992', '0'], ['9007199254740993', '0'], ['-9007199254740992', '0'], ['-9007199254740991', '-1'],
    ['1e16', '0'], ['1e15', '0.1'], ['1e308', '0'], ['1e999', '0'], ['1e-300', '1'], ['1e-17', '1'], ['0.1234567890123456789', '0'], ['12345678901234567', '0'], ['4503599627370496', '4503599627370496'],
    ['0.30000000000000004', '0'], ['0.9007199254740992', '0']
  ] as const) {
    t.equal(sum(a, b), 'range', `${a} + ${b}`)
    t.equal(sum(b, a), 'range', `${b} + ${a}`)
  }
})

test('what is no JSON number is no number', async (t) => {
  for (const text of [
    '', ' ', 'x', '1x', 'x1', '1.', '.5', '01', '-01', '00', '+1', '--1', '- 1', '1e', '1e+', 'e5', '1e1.5', '1.2.3', '1,5', ' 1', '1 ', '1\n', '\t1', '0x10', '1_0', '"1"', 'true', 'null', '[]', '{}',
    'NaN', 'Infinity', '-Infinity', '\u0661', '１', '1\0', '-', '1e1000', '1e-1000', '1e+0001'
  ]) {
    t.equal(sum(text, '1'), 'not-a-number', JSON.stringify(text))
    t.equal(sum('1', text), 'not-a-number', JSON.stringify(text))
  }
  t.equal(sum('x', '1e999'), 'not-a-number', 'rather than out of range')
})

/** A number as digits and a count of decimals, without trailing zeros. */
interface Plain { digits: bigint, decimals: number }

function plain ({ digits, decimals }: Plain): Plain {
  let [left, places] = [digits, decimals]
  if (left === 0n) return { digits: 0n, decimals: 0 }
  for (; left % 10n === 0n; places--) left /= 10n
  return { digits: left, decimals: places }
}

/** The sum in arithmetic without limits, refused where an operand or the sum is no whole multiple of the unit within 2^53-1. */
function exactSum (a: Plain, b: Plain): string {
  const [x, y] = [plain(a), plain(b)]
  const decimals = Math.max(x.decimals, y.decimals, 0)
  const units = [x, y].map(({ digits, decimals: own }) => digits * 10n ** BigInt(decimals - own))
  const total = units[0]! + units[1]!
  if ([...units, total].some((n) => n > EXACT || n < -EXACT)) return 'range'
  const text = String(total < 0n ? -total : total).padStart(decimals + 1, '0')
  const [whole, fraction] = [text.slice(0, text.length - decimals), text.slice(text.length - decimals).replace(/0+$/, '')]
  return (total < 0n ? '-' : '') + whole + (fraction === '' ? '' : `.${fraction}`)
}

const digits = fc.oneof(
  fc.bigInt({ min: -1000n, max: 1000n }),
  fc.bigInt({ min: -(10n ** 17n), max: 10n ** 17n }),
  fc.bigInt({ min: EXACT - 20n, max: EXACT + 20n }),
  fc.tuple(fc.bigInt({ min: -9n, max: 9n }), fc.nat({ max: 18 })).map(([digit, zeros]) => digit * 10n ** BigInt(zeros))
)
const number = fc.record({ digits, decimals: fc.oneof(fc.integer({ min: 0, max: 6 }), fc.integer({ min: -17, max: 25 })) })

/** One of the ways to write a number. */
const written: fc.Arbitrary<[Plain, string]> = fc.tuple(number, fc.constantFrom('point', 'exponent', 'both'), fc.nat({ max: 3 }), fc.constantFrom('e', 'E'), fc.constantFrom('', '+'))
  .map(([value, form, zeros, e, plus]) => {
    const sign = value.digits < 0n ? '-' : ''
    const all = String(value.digits < 0n ? -value.digits : value.digits)
    const exponent = (n: number): string => n === 0 ? '' : `${e}${n > 0 ? plus : ''}${n}`
    if (form === 'point' && value.decimals >= 0) {
      const padded = all.padStart(value.decimals + 1, '0')
      const fraction = padded.slice(padded.length - value.decimals) + '0'.repeat(zeros)
      return [value, sign + padded.slice(0, padded.length - value.decimals) + (fraction === '' ? '' : `.${fraction}`)]
    }
    if (form === 'both' && all.length > 1) {
      return [value, `${sign}${all[0]!}.${all.slice(1)}${'0'.repeat(zeros)}${exponent(all.length - 1 - value.decimals)}`]
    }
    return [value, sign + all + exponent(-value.decimals)]
  })

test('any two numbers, however written, give the sum of exact arithmetic or are out of range', async () => {
  fc.assert(fc.property(written, written, ([a, textA], [b, textB]) => {
    equal(sum(textA, textB), exactSum(a, b), `${textA} + ${textB}`)
  }), { numRuns: 20_000 })
})

test('every sum can be added to again', async () => {
  fc.assert(fc.property(written, written, ([, a], [, b]) => {
    const first = sum(a, b)
    if (first === 'range') return
    equal(sum(first, '0'), first)
    equal(JSON.stringify(JSON.parse(first)) === first || first.includes('.') || first.startsWith('0'), true, `${first} is how JSON writes it`)
  }), { numRuns: 5000 })
})

test('Redis counts as this process does', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const stores = [new MemoryStore(), new RedisStore(await ready(redis.client()), { timeout: 3000 })]
  const text = fc.oneof(
    { weight: 6, arbitrary: written.map(([, text]) => text) },
    { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom(...'0123456789-+.eE ') }) },
    { weight: 1, arbitrary: fc.constantFrom('', 'x', '1.', '.5', '01', '+1', '1e', '0x10', ' 1', '1 ', '1\n', 'NaN', 'Infinity', 'nan', 'inf', '-inf', '1e999', '1e1000', '0e999', '-0', '1\0', '\0', '%d') }
  )
  const limits = fc.constantFrom(['-9007199254740991', '9007199254740991'], ['0', '100'], ['-1', '1'], ['0.5', '0.75'], ['-Infinity', 'Infinity'], ['-1e+308', '5e-324'])
  await fc.assert(fc.asyncProperty(fc.array(fc.tuple(text, text, limits), { minLength: 300, maxLength: 300 }), async (batch) => {
    const operations = batch.flatMap(([text, by, [min, max]]) => [set('n', text), increment('n', by, min, max)])
    const [ours, theirs] = await Promise.all(stores.map(async (store) => {
      const { id, digest } = newOwner()
      await store.create(id, digest, apart(), RULES)
      return (await store.write(id, digest, apart(...operations), RULES))?.results
    }))
    batch.forEach(([text, by, [min, max]], i) => {
      equal(JSON.stringify(theirs?.[2 * i + 1]), JSON.stringify(ours?.[2 * i + 1]), `${JSON.stringify(text)} + ${JSON.stringify(by)} in [${min}, ${max}]`)
    })
  }), { numRuns: 15 })
})
