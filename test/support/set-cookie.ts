/**
 * What every Set-Cookie of every test has to look like.
 */

/** One Set-Cookie line, taken apart. */
export interface SetCookie {
  name: string
  value: string
  /** Lower-case names; `true` for attributes without a value. */
  attributes: Map<string, string | true>
}

/** RFC 6265bis, section 5.6.2: browsers cut longer ages down to 400 days. */
const MAX_AGE_LIMIT = 400 * 24 * 60 * 60
/** The value of a session cookie: a token. */
const TOKEN = /^[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{32}\.[A-Za-z0-9_-]{43}$/

/**
 * Takes a Set-Cookie line apart by the strict grammar for servers (RFC 6265bis, section 4.1.1), which is narrower than
 * what browsers accept.
 *
 * @throws where the line breaks a rule
 */
export function parseSetCookie (line: string): SetCookie {
  const [pair = '', ...rest] = line.split('; ')
  const match = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=([\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*)$/.exec(pair)
  if (match === null) throw new Error(`no cookie-pair: ${pair}`)
  if (Buffer.byteLength(pair) > 4096) throw new Error('name and value over 4096 bytes')
  const attributes = new Map<string, string | true>()
  for (const part of rest) {
    const [, name = '', value] = /^([A-Za-z-]+)(?:=([\x20-\x3a\x3c-\x7e]*))?$/.exec(part) ?? []
    const key = name.toLowerCase()
    if (!['expires', 'max-age', 'domain', 'path', 'secure', 'httponly', 'samesite', 'partitioned', 'priority'].includes(key)) throw new Error(`unknown attribute: ${part}`)
    if (attributes.has(key)) throw new Error(`attribute twice: ${part}`)
    if (['secure', 'httponly', 'partitioned'].includes(key) === (value !== undefined)) throw new Error(`a value too many or missing: ${part}`)
    if (key === 'max-age' && !(/^(?:0|[1-9]\d*)$/.test(value ?? '') && Number(value) <= MAX_AGE_LIMIT)) throw new Error(`no max-age: ${part}`)
    if (key === 'expires' && new Date(value ?? '').toUTCString() !== value) throw new Error(`no date: ${part}`)
    if (key === 'path' && !value?.startsWith('/')) throw new Error(`no path: ${part}`)
    if (key === 'samesite' && !['Lax', 'Strict', 'None'].includes(value ?? '')) throw new Error(`no SameSite: ${part}`)
    if ((value ?? '').length > 1024) throw new Error(`attribute value over 1024 bytes: ${key}`)
    attributes.set(key, value ?? true)
  }
  const [, name = '', value = ''] = match
  const secure = attributes.has('secure')
  if (attributes.get('samesite') === 'None' && !secure) throw new Error('SameSite=None without Secure')
  if (attributes.has('partitioned') && !secure) throw new Error('Partitioned without Secure')
  // Browsers compare prefixes without regard to case.
  if (/^__host-/i.test(name) && (!secure || attributes.get('path') !== '/' || attributes.has('domain'))) throw new Error('__Host- rules broken')
  if (/^__(?:secure|http)-/i.test(name) && !secure) throw new Error('__Secure- rules broken')
  return { name, value, attributes }
}

/** What of a response the rules are about. */
export interface Head {
  statusCode: number
  /** The lines of Set-Cookie. */
  setCookie: readonly string[]
  cacheControl: string
}

/**
 * Checks the Set-Cookie lines of a response: strict form, no cookie twice, no name with two values, none on a 503; and those
 * that issue or clear a session, by what browsers and caches need. Lines that drop cookies of the same name, but of another
 * domain or path, come first: some browsers take a domain and the same host without one for the same.
 *
 * @throws where one breaks a rule
 */
export function checkSetCookies ({ statusCode, setCookie, cacheControl }: Head): SetCookie[] {
  const cookies = setCookie.map(parseSetCookie)
  const told = cookies.map(({ name, attributes }) => [name, attributes.get('domain'), attributes.get('path')].join())
  if (new Set(told).size !== cookies.length) throw new Error('two Set-Cookie lines of one name, domain and path')
  cookies.forEach(({ name, attributes }, i) => {
    if (attributes.get('max-age') !== '0' && cookies.slice(i + 1).some((later) => later.name === name)) throw new Error('two Set-Cookie lines of one name')
  })
  if (cookies.length > 0 && statusCode === 503) throw new Error('a 503 sets a cookie')
  for (const { name, value, attributes } of cookies) {
    const cleared = value === '' && attributes.get('max-age') === '0'
    if (!TOKEN.test(value) && !(cleared && /(?:session|staff|admin)-id$/.test(name))) continue
    for (const required of ['path', 'samesite']) if (!attributes.has(required)) throw new Error(`a session cookie without ${required}`)
    if (!/(?:^|,)\s*no-store\s*(?:,|$)/i.test(cacheControl)) throw new Error('a response sets a session cookie and may be stored by caches')
  }
  return cookies
}

/** The Set-Cookie lines that another process sent, checked by the same rules. */
export function setCookiesOf ({ status, headers }: Response): SetCookie[] {
  return checkSetCookies({ statusCode: status, setCookie: headers.getSetCookie(), cacheControl: headers.get('cache-control') ?? '' })
}
