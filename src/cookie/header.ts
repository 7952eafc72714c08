/**
 * Finding our cookie in a Cookie header.
 *
 * Parsers that return an object keep the first of several cookies of one name. In cookie tossing, where a sibling host
 * sets a cookie of our name with a longer path, the first is the attacker's. So this one tells the cases apart.
 */

/** Several cookies of our name came in one request. */
export const DUPLICATE = Symbol('duplicate')

/**
 * The value of a cookie (RFC 6265bis, section 4.2.1), exactly as it was sent: not unquoted, not percent-decoded.
 *
 * @param header the Cookie header; Node joins several with `; `
 * @param name the cookie's name, compared by case
 * @returns the value, `undefined` where there is none of that name, `DUPLICATE` where there are several
 */
export function findCookie (header: string, name: string): string | typeof DUPLICATE | undefined {
  const first = indexOfCookie(header, name, 0)
  if (first === -1) return undefined
  const start = first + name.length + 1
  let end = header.indexOf(';', start)
  if (end === -1) end = header.length
  else if (indexOfCookie(header, name, end) !== -1) return DUPLICATE
  return header.slice(start, trimEnd(header, start, end))
}

/** Where `name=` stands at the beginning of a pair, at or after `from`. */
function indexOfCookie (header: string, name: string, from: number): number {
  for (let at = header.indexOf(name, from); at !== -1; at = header.indexOf(name, at + 1)) {
    if (header.charCodeAt(at + name.length) === 0x3d && beginsPair(header, at)) return at
  }
  return -1
}

/** Only spaces and tabs may stand between a `;` and the name: other white space is part of another name. */
function beginsPair (header: string, at: number): boolean {
  let before = at - 1
  while (before >= 0 && isBlank(header.charCodeAt(before))) before--
  return before < 0 || header.charCodeAt(before) === 0x3b
}

function trimEnd (header: string, start: number, end: number): number {
  while (end > start && isBlank(header.charCodeAt(end - 1))) end--
  return end
}

function isBlank (code: number): boolean {
  return code === 0x20 || code === 0x09
}
