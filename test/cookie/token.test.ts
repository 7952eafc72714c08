import { createHash, createHmac } from 'node:crypto'
import { test } from 'tap'
import { digestOf, hasTokenForm, newId, newSecret, TokenSigner } from '../../src/cookie/token.js'

const KEY = 'the first key of these tests, 0123456789'
const OLD_KEY = 'the second key of these tests, 0123456789'
const OLDER_KEY = 'the third key of these tests, 0123456789'
const CHARACTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/.= %"\0\u00e4'

/** A token made by hand, by nothing but the description of its form. */
function tokenBy (key: string, id: string, secret: string): string {
  const signature = createHmac('sha256', key).update(`${id}.${secret}`).digest('base64url')
  return `${id}.${secret}.${signature}`
}

/** The same bytes in the other alphabet. */
function toBase64 (signature: string): string {
  return Buffer.from(signature, 'base64url').toString('base64').slice(0, 43)
}

test('ids and secrets have the form that the design fixes', async (t) => {
  for (let i = 0; i < 1000; i++) {
    const id = newId()
    const secret = newSecret()
    if (!/^[A-Za-z0-9_-]{22}$/.test(id) || Buffer.from(id, 'base64url').toString('base64url') !== id) t.fail(id)
    if (!/^[A-Za-z0-9_-]{32}$/.test(secret)) t.fail(secret)
  }
  t.equal(Buffer.from(newId(), 'base64url').length, 16)
  t.equal(Buffer.from(newSecret(), 'base64url').length, 24)
})

test('10,000 ids and secrets are all different', async (t) => {
  t.equal(new Set(Array.from({ length: 10_000 }, newId)).size, 10_000)
  t.equal(new Set(Array.from({ length: 10_000 }, newSecret)).size, 10_000)
})

test('the last character of an id has four forms only, each as frequent', async (t) => {
  const counts = new Map<string, number>()
  for (let i = 0; i < 4000; i++) counts.set(newId().slice(-1), (counts.get(newId().slice(-1)) ?? 0) + 1)
  t.strictSame([...counts.keys()].sort(), ['A', 'Q', 'g', 'w'])
  t.ok([...counts.values()].every((count) => count > 800 && count < 1200), [...counts.values()].join(' '))
})

test('a digest is the SHA-256 of the secret as text, in base64url', async (t) => {
  const secret = newSecret()
  t.equal(digestOf(secret), createHash('sha256').update(secret).digest('base64url'))
  t.match(digestOf(secret), /^[A-Za-z0-9_-]{43}$/)
})

test('a token is id, secret and HMAC-SHA256 of both', async (t) => {
  const id = newId()
  const secret = newSecret()
  const token = new TokenSigner([KEY]).sign(id, secret)
  t.equal(token, tokenBy(KEY, id, secret))
  t.match(token, /^[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{32}\.[A-Za-z0-9_-]{43}$/)
})

test('what was signed is verified, and taken apart', async (t) => {
  const signer = new TokenSigner([KEY])
  for (let i = 0; i < 100; i++) {
    const id = newId()
    const secret = newSecret()
    t.strictSame({ ...signer.verify(signer.sign(id, secret)) }, { id, secret, digest: digestOf(secret), outdated: false })
  }
})

test('no single character of a token can be changed', async (t) => {
  const signer = new TokenSigner([KEY])
  const token = signer.sign(newId(), newSecret())
  // Also after the genuine one was seen, and remembered.
  for (const round of ['before', 'after']) {
    let accepted = 0
    for (let at = 0; at < token.length; at++) {
      for (const character of CHARACTERS) {
        if (character !== token[at] && signer.verify(token.slice(0, at) + character + token.slice(at + 1)) !== undefined) accepted++
      }
    }
    t.equal(accepted, 0, `${round} the genuine token was seen`)
    t.ok(signer.verify(token))
  }
})

test('no truncated, extended or rearranged token is accepted', async (t) => {
  const signer = new TokenSigner([KEY])
  const token = signer.sign(newId(), newSecret())
  const other = signer.sign(newId(), newSecret())
  t.ok(signer.verify(token))
  const [id = '', secret = '', signature = ''] = token.split('.')
  const [otherId = '', otherSecret = '', otherSignature = ''] = other.split('.')
  const forged: string[] = [
    '', '.', '..', 'x', id, `${id}.${secret}`, `${id}.${secret}.`, `.${secret}.${signature}`, `${secret}.${id}.${signature}`,
    `${otherId}.${secret}.${signature}`, `${id}.${otherSecret}.${signature}`, `${id}.${secret}.${otherSignature}`,
    `${token}=`, `${token} `, ` ${token}`, `"${token}"`, `${token}\0`, `${token}.`, `.${token}`, `${token}.${signature}`, token + token,
    `${id}.${secret}.${'A'.repeat(43)}`, `${id}.${secret}.${'='.repeat(43)}`, token.replaceAll('.', ':'), token.toUpperCase(), token.toLowerCase(),
    `${id}.${secret}.${toBase64(signature)}`.replace(/[+/]?$/, '+'), `"${token.slice(1, -1)}"`, encodeURIComponent(token).replace(/.$/, '%41').slice(0, 99), 'x'.repeat(99), '.'.repeat(99),
    'x'.repeat(17_000), '\u00e4'.repeat(99), '\u{1f4a5}'.repeat(50)
  ]
  for (let length = 0; length < token.length; length++) forged.push(token.slice(0, length), token.slice(token.length - length))
  t.strictSame(forged.filter((value) => value !== token && signer.verify(value) !== undefined), [])
})

test('a token signed by anybody else is not accepted', async (t) => {
  const signer = new TokenSigner([KEY])
  const id = newId()
  const secret = newSecret()
  for (const key of [OLD_KEY, '', `${KEY} `, KEY.slice(1), KEY.toUpperCase()]) {
    t.equal(signer.verify(tokenBy(key, id, secret)), undefined, JSON.stringify(key))
  }
  for (let i = 0; i < 20; i++) {
    const token = tokenBy(KEY, newId(), newSecret())
    const base64 = token.slice(0, 56) + toBase64(token.slice(56))
    if (base64 !== token) t.equal(signer.verify(base64), undefined, 'base64 instead of base64url')
  }
  for (const data of [id, secret, `${id}${secret}`, `${secret}.${id}`, `${id}.${secret}.`]) {
    const signature = createHmac('sha256', KEY).update(data).digest('base64url')
    t.equal(signer.verify(`${id}.${secret}.${signature}`), undefined, 'a signature of something else')
  }
  t.equal(signer.verify(`${id}.${secret}.${createHash('sha256').update(KEY + `${id}.${secret}`).digest('base64url')}`), undefined, 'a hash instead of an HMAC')
})

test('an id has exactly one spelling, even where the signature is genuine', async (t) => {
  const signer = new TokenSigner([KEY])
  const id = `${newId().slice(0, 21)}A`
  const secret = newSecret()
  t.ok(signer.verify(tokenBy(KEY, id, secret)))
  for (const last of 'BCDEFGHIJKLMNOPRSTUVWXYZabcdefhijklmnopqrstuvxyz0123456789-_') {
    const alias = id.slice(0, 21) + last
    t.equal(signer.verify(tokenBy(KEY, alias, secret)), undefined, last)
  }
})

test('a signature has exactly one spelling: the bits that do not count are none', async (t) => {
  const signer = new TokenSigner([KEY])
  const token = signer.sign(newId(), newSecret())
  const bytes = Buffer.from(token.slice(56), 'base64url')
  const aliases = [...CHARACTERS].map((last) => token.slice(0, -1) + last).filter((alias) => alias !== token && Buffer.from(alias.slice(56), 'base64url').equals(bytes))
  t.ok(aliases.length >= 3, `${aliases.length} spellings decode to the same`)
  t.strictSame(aliases.filter((alias) => signer.verify(alias) !== undefined || hasTokenForm(alias)), [])
})

test('a token consists of characters that nobody encodes, quotes or folds on the way', async (t) => {
  const signer = new TokenSigner([KEY])
  for (let i = 0; i < 200; i++) {
    const token = signer.sign(newId(), newSecret())
    if (encodeURIComponent(token) !== token || !/^[A-Za-z0-9._~-]+$/.test(token)) t.fail(token)
  }
  t.pass('200 tokens')
})

test('a genuine signature does not excuse another form', async (t) => {
  const signer = new TokenSigner([KEY])
  const id = newId()
  const secret = newSecret()
  for (const [a, b] of [
    [id.slice(1), `${secret}x`], [`${id}x`, secret.slice(1)], [`${id.slice(0, 20)}.A`, secret], [id, `${secret.slice(0, 31)}.`], [id, `${secret.slice(0, 31)}+`],
    [id, `${secret.slice(0, 31)}/`], [id, `${secret.slice(0, 31)} `], [`../${id.slice(0, 18)}A`, secret], [`{a}${id.slice(0, 18)}A`, secret], [`*${id.slice(1)}`, secret],
    [`\n${id.slice(1)}`, secret], [id, '\0'.repeat(32)]
  ] as const) {
    const token = tokenBy(KEY, a, b)
    t.equal(token.length, 99)
    t.equal(signer.verify(token), undefined, JSON.stringify(token.slice(0, 55)))
  }
})

test('several keys: the first signs, all verify, and the others are outdated', async (t) => {
  const signer = new TokenSigner([KEY, OLD_KEY, OLDER_KEY])
  const id = newId()
  const secret = newSecret()
  t.equal(signer.sign(id, secret), tokenBy(KEY, id, secret))
  for (const round of ['first', 'second']) {
    t.match(signer.verify(tokenBy(KEY, id, secret)), { id, secret, outdated: false }, `${round} time`)
    t.match(signer.verify(tokenBy(OLD_KEY, id, secret)), { id, secret, outdated: true }, `${round} time`)
    t.match(signer.verify(tokenBy(OLDER_KEY, id, secret)), { id, secret, outdated: true }, `${round} time`)
    t.equal(signer.verify(tokenBy('a key that was never used here, 0123456789', id, secret)), undefined)
  }
  t.equal(new TokenSigner([KEY]).verify(tokenBy(OLD_KEY, id, secret)), undefined, 'a key that was retired')
  t.match(new TokenSigner([OLD_KEY]).verify(tokenBy(OLD_KEY, id, secret)), { outdated: false })
})

test('one signer knows nothing of what another one has seen', async (t) => {
  const one = new TokenSigner([KEY])
  const token = one.sign(newId(), newSecret())
  t.ok(one.verify(token))
  t.equal(new TokenSigner([OLD_KEY]).verify(token), undefined)
})

test('remembering tokens changes no answer, however many come', async (t) => {
  const signer = new TokenSigner([KEY, OLD_KEY])
  const tokens = Array.from({ length: 6000 }, (_, i) => {
    const id = newId()
    const secret = newSecret()
    return { id, secret, outdated: i % 3 === 0, token: tokenBy(i % 3 === 0 ? OLD_KEY : KEY, id, secret) }
  })
  let wrong = 0
  for (let round = 0; round < 3; round++) {
    for (const { token, ...said } of tokens) {
      const answer = signer.verify(token)
      if (answer?.id !== said.id || answer.secret !== said.secret || answer.digest !== digestOf(said.secret) || answer.outdated !== said.outdated) wrong++
      const last = token.endsWith('A') ? 'E' : 'A'
      if (signer.verify(token.slice(0, -1) + last) !== undefined) wrong++
    }
  }
  t.equal(wrong, 0)
})
