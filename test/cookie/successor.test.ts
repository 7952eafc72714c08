import { test } from 'tap'
import { open, seal } from '../../src/cookie/successor.js'
import { digestOf, newId, newSecret } from '../../src/cookie/token.js'

test('a sealed successor opens with its predecessor and id', async (t) => {
  for (let i = 0; i < 50; i++) {
    const id = newId()
    const predecessor = newSecret()
    const successor = newSecret()
    const sealed = seal(id, predecessor, successor)
    t.match(sealed, /^[A-Za-z0-9_-]{54}$/)
    t.equal(open(id, predecessor, sealed), successor)
    t.equal(open(id, predecessor, seal(id, predecessor, successor)), successor, 'sealed by another process')
  }
})

test('it opens with no other secret, and for no other record', async (t) => {
  const id = newId()
  const predecessor = newSecret()
  const successor = newSecret()
  const sealed = seal(id, predecessor, successor)
  for (const wrong of [newSecret(), successor, digestOf(predecessor), digestOf(successor), '', predecessor.slice(1), `${predecessor} `, predecessor.toLowerCase(), id]) {
    t.equal(open(id, wrong, sealed), undefined, wrong)
  }
  for (const wrong of [newId(), '', id.slice(1), `${id} `, id.toLowerCase()]) t.equal(open(wrong, predecessor, sealed), undefined, wrong)
})

test('id and secret do not run into each other', async (t) => {
  const sealed = seal('ab', 'c', newSecret())
  t.equal(open('a', 'bc', sealed), undefined)
  t.equal(open('abc', '', sealed), undefined)
})

test('what was changed on the way does not open', async (t) => {
  const id = newId()
  const predecessor = newSecret()
  const successor = newSecret()
  const sealed = seal(id, predecessor, successor)
  const bytes = Buffer.from(sealed, 'base64url')
  for (let at = 0; at < bytes.length; at++) {
    for (const bit of [1, 0x80]) {
      const changed = Buffer.from(bytes)
      changed[at] = changed[at]! ^ bit
      t.equal(open(id, predecessor, changed.toString('base64url')), undefined, `byte ${at}`)
    }
  }
  for (let length = 0; length < bytes.length; length++) {
    t.equal(open(id, predecessor, bytes.subarray(0, length).toString('base64url')), undefined, `${length} bytes`)
    t.equal(open(id, predecessor, bytes.subarray(bytes.length - length).toString('base64url')), undefined, `the last ${length} bytes`)
  }
  for (const other of ['', '-', '\u00e4', 'x'.repeat(54), `${sealed}AAAA`, 'A'.repeat(10_000)]) t.equal(open(id, predecessor, other), undefined, other.slice(0, 60))
})

test('what is kept tells neither secret', async (t) => {
  const id = newId()
  const predecessor = newSecret()
  const successor = newSecret()
  const sealed = Buffer.from(seal(id, predecessor, successor), 'base64url')
  for (const secret of [predecessor, successor, digestOf(predecessor), digestOf(successor)]) {
    t.notOk(sealed.includes(secret))
    t.notOk(sealed.includes(Buffer.from(secret, 'base64url')))
  }
})

test('each predecessor seals differently', async (t) => {
  const id = newId()
  const successor = newSecret()
  t.equal(new Set(Array.from({ length: 100 }, () => seal(id, newSecret(), successor))).size, 100)
  const predecessor = newSecret()
  t.equal(new Set(Array.from({ length: 100 }, () => seal(newId(), predecessor, successor))).size, 100)
})
