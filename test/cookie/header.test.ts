import fc from 'fast-check'
import { test } from 'tap'
import { DUPLICATE, findCookie } from '../../src/cookie/header.js'

const NAME = '__Host-session-id'

/** A text in ASCII, for titles. */
function shown (text: string): string {
  return JSON.stringify(text).replace(/[^ -~]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`).slice(0, 100)
}

test('a cookie is found wherever it stands', async (t) => {
  for (const header of [
    `${NAME}=value`, `a=1; ${NAME}=value`, `${NAME}=value; a=1`, `a=1; ${NAME}=value; b=2`, `a=1;${NAME}=value;b=2`, `a=1 ;\t ${NAME}=value`,
    `; ${NAME}=value`, `;;${NAME}=value;;`, `a; ${NAME}=value`, `=; ${NAME}=value`, `a==b; ${NAME}=value`, ` ${NAME}=value`, `\t${NAME}=value\t`
  ]) {
    t.equal(findCookie(header, NAME), 'value', shown(header))
  }
})

test('there is none where none of that name came', async (t) => {
  for (const header of ['', ' ', ';', 'a=1', NAME, `${NAME};`, `a=${NAME}`, `a=1; ${NAME}; b=2`, 'session-id=value', `${NAME}2=value`, `x${NAME}=value`]) {
    t.equal(findCookie(header, NAME), undefined, shown(header))
  }
})

test('names that only look like ours are others', async (t) => {
  for (const name of [
    '__host-session-id', '__HOST-session-id', `${NAME} `, `${NAME}\t`, `x ${NAME}`, `"${NAME}"`, `${NAME}[]`, '%5F_Host-session-id', `a.${NAME}`, `a-${NAME}`, `$${NAME}`, `=${NAME}`,
    // What parsers that trim generously take for white space (Cookie Chaos, PortSwigger 2025), as Node hands over bytes.
    `\u00a0${NAME}`, `\u2028${NAME}`, `\u2000${NAME}`, `\u00e2\u0080\u0080${NAME}`, `\u0085${NAME}`, `\u000b${NAME}`, `\u000c${NAME}`, `\r${NAME}`, `\n${NAME}`, `\ufeff${NAME}`, `\0${NAME}`,
    `${NAME}\u00a0`, `${NAME}\u000b`
  ]) {
    t.equal(findCookie(`${name}=evil`, NAME), undefined, shown(name))
    t.equal(findCookie(`a=1; ${name}=evil; ${NAME}=good`, NAME), 'good', `${shown(name)} before ours`)
    t.equal(findCookie(`${NAME}=good; ${name}=evil`, NAME), 'good', `${shown(name)} after ours`)
  }
})

test('our name within the value of another cookie is no cookie', async (t) => {
  for (const header of [`a=${NAME}=evil`, `a= ${NAME}=evil`, `a="; ${NAME}`, `a=b ${NAME}=evil`, `a=b,${NAME}=evil`, `$Version="1", ${NAME}=evil`]) {
    t.equal(findCookie(header, NAME), undefined, shown(header))
    t.equal(findCookie(`${header}; ${NAME}=good`, NAME), 'good', `${shown(header)} and ours`)
  }
})

test('a semicolon ends a pair even within quotes, as for browsers', async (t) => {
  t.equal(findCookie(`a="x; ${NAME}=value"`, NAME), 'value"')
})

test('the value comes as it was sent: not unquoted, not decoded', async (t) => {
  for (const value of ['"quoted"', '""', '%61%3B', 'a=b=c', '=', 'a b', 'a,b', "a'b", '\\"', '+', '\u00e4\u00f6', '%', '%zz', '\u00a0x\u00a0', '__proto__']) {
    t.equal(findCookie(`a=1; ${NAME}=${value}; b=2`, NAME), value, shown(value))
    t.equal(findCookie(`${NAME}=${value}`, NAME), value, shown(value))
  }
})

test('spaces and tabs after the value are not part of it; those before it are', async (t) => {
  t.equal(findCookie(`${NAME}=value \t ; a=1`, NAME), 'value')
  t.equal(findCookie(`${NAME}=value \t`, NAME), 'value')
  t.equal(findCookie(`${NAME}= value`, NAME), ' value', 'and no token begins with a space')
})

test('an empty value is a value', async (t) => {
  t.equal(findCookie(`${NAME}=`, NAME), '')
  t.equal(findCookie(`${NAME}=; a=1`, NAME), '')
  t.equal(findCookie(`a=1; ${NAME}=  ;`, NAME), '')
})

test('several cookies of our name are told apart from one, in any order and number', async (t) => {
  for (const header of [
    `${NAME}=evil; ${NAME}=good`, `${NAME}=good; ${NAME}=evil`, `${NAME}=same; ${NAME}=same`, `${NAME}=; ${NAME}=good`, `${NAME}=good; ${NAME}=`,
    `a=1; ${NAME}=x; b=2; ${NAME}=y; c=3`, `${NAME}=x;${NAME}=y`, `${NAME}=x ;\t ${NAME}=y`, Array.from({ length: 50 }, (_, i) => `${NAME}=${i}`).join('; '),
    `${NAME}=x; ${NAME}2=y; x${NAME}=z; ${NAME}=w`
  ]) {
    t.equal(findCookie(header, NAME), DUPLICATE, shown(header))
  }
})

test('names with characters that mean something in patterns are compared as they are', async (t) => {
  for (const name of ['a.b', 'a*b', '$a', 'a|b', '^a', "a'b"]) {
    t.equal(findCookie(`${name}=1`, name), '1', name)
    t.equal(findCookie('aab=1; axb=2; a=3; b=4', name), undefined, name)
  }
})

test('a header of 17 kB is read to its end, quickly', async (t) => {
  const others = Array.from({ length: 1000 }, (_, i) => `other-cookie-${i}=x`).join('; ')
  t.ok(others.length > 17_000)
  t.equal(findCookie(`${others}; ${NAME}=value`, NAME), 'value')
  t.equal(findCookie(`${NAME}=value; ${others}`, NAME), 'value')
  t.equal(findCookie(`${NAME}=value; ${others}; ${NAME}=value`, NAME), DUPLICATE)
  const hostile = [`${NAME} `.repeat(1000), `${' '.repeat(17_000)}${NAME}`, `${NAME}`.repeat(1000), `a=1;${' '.repeat(17_000)}x${NAME}=`, ';'.repeat(17_000)]
  const start = performance.now()
  for (const header of hostile) for (let i = 0; i < 100; i++) findCookie(header, NAME)
  t.ok(performance.now() - start < 2000)
})

test('what is found is what a parser by the letter of RFC 6265bis finds', async () => {
  const name = fc.constantFrom('sid', 'sid2', 'xsid', 'Sid', 'a', '', ' sid', 'sid ', '\u00a0sid')
  const value = fc.constantFrom('', 'x', '"x"', 'a=b', 'sid=x', ' x ', 'sid', '=')
  const pair = fc.tuple(name, value, fc.boolean()).map(([name, value, bare]) => bare ? name : `${name}=${value}`)
  fc.assert(fc.property(fc.array(pair), fc.constantFrom(';', '; ', ' ;\t', ';;'), (pairs, separator) => {
    const header = pairs.join(separator)
    const found: string[] = []
    for (const part of header.split(';')) {
      const at = part.indexOf('=')
      // Leading and trailing spaces and tabs of a pair are no part of it; nothing else is removed.
      if (at !== -1 && part.slice(0, at).replace(/^[ \t]+/, '') === 'sid') found.push(part.slice(at + 1).replace(/[ \t]+$/, ''))
    }
    const expected = found.length > 1 ? DUPLICATE : found[0]
    if (findCookie(header, 'sid') !== expected) throw new Error(`${JSON.stringify(header)}: expected ${String(expected)}, found ${String(findCookie(header, 'sid'))}`)
  }), { numRuns: 2000 })
})
