import * as crypto from 'node:crypto'
import { test } from 'tap'
import { randomText } from '../../src/cookie/random.js'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

test('random texts have the length of their bytes in base64url', async (t) => {
  for (const bytes of [1, 2, 3, 15, 16, 17, 24, 32, 100, 1000, 8191, 8192]) {
    const text = randomText(bytes)
    t.equal(text.length, Math.ceil(bytes * 4 / 3), `${bytes} bytes`)
    t.match(text, /^[A-Za-z0-9_-]+$/)
    t.equal(Buffer.from(text, 'base64url').length, bytes)
  }
})

test('no text repeats, also where the supply has to be filled up', async (t) => {
  const seen = new Set<string>()
  for (let i = 0; i < 20_000; i++) seen.add(randomText(i % 2 === 0 ? 16 : 24))
  t.equal(seen.size, 20_000)
})

test('no part of a text is found in another one', async (t) => {
  // Six characters are 36 bits: among 8000 such pieces a repetition by chance has a probability of 1 in 2000.
  const pieces = new Set<string>()
  let count = 0
  for (let i = 0; i < 2000; i++) {
    const text = randomText(18)
    for (let at = 0; at < 24; at += 6, count++) pieces.add(text.slice(at, at + 6))
  }
  t.ok(count - pieces.size <= 1, `${count - pieces.size} repetitions`)
})

test('every character is as frequent as any other, at every position', async (t) => {
  const texts = Array.from({ length: 12_800 }, () => randomText(24))
  for (let position = 0; position < 32; position++) {
    const counts = new Map<string, number>()
    for (const text of texts) counts.set(text[position]!, (counts.get(text[position]!) ?? 0) + 1)
    t.equal(counts.size, 64)
    // Chi-square with 63 degrees of freedom: above 140 with a probability of about 1 in 10 million.
    const chi = [...ALPHABET].reduce((sum, character) => sum + ((counts.get(character) ?? 0) - 200) ** 2 / 200, 0)
    t.ok(chi < 140, `position ${position}: ${chi.toFixed(1)}`)
  }
})

test('bits are as often set as not, and neighbours do not depend on each other', async (t) => {
  const bytes = Buffer.from(Array.from({ length: 1000 }, () => randomText(24)).join(''), 'base64url')
  let set = 0
  let equal = 0
  let before = 0
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const now = (byte >> bit) & 1
      set += now
      if (now === before) equal++
      before = now
    }
  }
  const total = bytes.length * 8
  // Six standard deviations.
  const tolerance = 6 * Math.sqrt(total) / 2
  t.ok(Math.abs(set - total / 2) < tolerance, `${set} of ${total} bits`)
  t.ok(Math.abs(equal - total / 2) < tolerance, `${equal} of ${total} neighbours`)
})

test('the supply comes from the system\'s generator, and what was handed out is wiped from it', async (t) => {
  let supply: Buffer = Buffer.alloc(0)
  let fills = 0
  const { randomText } = await t.mockImport<typeof import('../../src/cookie/random.js')>('../../src/cookie/random.ts', {
    'node:crypto': {
      ...crypto,
      randomFillSync: (buffer: Buffer) => {
        fills++
        supply = buffer
        return crypto.randomFillSync(buffer)
      }
    }
  })
  let handedOut = 0
  for (let i = 0; i < 1000; i++) {
    const before = Buffer.from(supply)
    const filled = fills
    const bytes = i % 2 === 0 ? 16 : 24
    const text = randomText(bytes)
    if (fills > filled) handedOut = 0
    else if (text !== before.toString('base64url', handedOut, handedOut + bytes)) t.fail('each byte is handed out once')
    handedOut += bytes
    if (!supply.subarray(0, handedOut).every((byte) => byte === 0)) t.fail('not wiped')
  }
  t.equal(supply.length, 8192)
  t.equal(fills, 3, 'filled up when it was used up, not before')
})
