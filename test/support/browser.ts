/**
 * A client with a cookie jar, and what every Set-Cookie of every test has to look like.
 */
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'

/** One Set-Cookie line, taken apart. */
export interface SetCookie {
  name: string
  value: string
  /** Lower-case names; `true` for attributes without a value. */
  attributes: Map<string, string | true>
}

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
    if (key === 'max-age' && !/^(?:0|[1-9]\d*)$/.test(value ?? '')) throw new Error(`no max-age: ${part}`)
    if (key === 'samesite' && !['Lax', 'Strict', 'None'].includes(value ?? '')) throw new Error(`no SameSite: ${part}`)
    if ((value ?? '').length > 1024) throw new Error(`attribute value over 1024 bytes: ${key}`)
    attributes.set(key, value ?? true)
  }
  if (attributes.get('samesite') === 'None' && !attributes.has('secure')) throw new Error('SameSite=None without Secure')
  if (match[1]!.startsWith('__Host-') && (!attributes.has('secure') || attributes.get('path') !== '/' || attributes.has('domain'))) throw new Error('__Host- rules broken')
  return { name: match[1]!, value: match[2]!, attributes }
}

/** The Set-Cookie lines of a response, checked: strict form, and no name twice. */
export function setCookies (response: LightMyRequestResponse): SetCookie[] {
  const header = response.headers['set-cookie'] ?? []
  const cookies = (Array.isArray(header) ? header : [header]).map(parseSetCookie)
  if (new Set(cookies.map(({ name }) => name)).size !== cookies.length) throw new Error('two Set-Cookie lines of one name')
  if (cookies.length > 0 && response.statusCode === 503) throw new Error('a 503 sets a cookie')
  return cookies
}

/** Sends requests into an app and keeps its cookies, as a browser would. */
export class Browser {
  readonly jar = new Map<string, string>()
  readonly #app: FastifyInstance

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  /** What this browser would send as Cookie header. */
  get cookie (): string {
    return [...this.jar].map(([name, value]) => `${name}=${value}`).join('; ')
  }

  /** The session cookie's value, whatever its name. */
  get token (): string | undefined {
    return [...this.jar].find(([name]) => name.endsWith('session-id'))?.[1]
  }

  /** Another browser with the same cookies: a thief, or the same person a moment ago. */
  clone (app: FastifyInstance = this.#app): Browser {
    const clone = new Browser(app)
    for (const [name, value] of this.jar) clone.jar.set(name, value)
    return clone
  }

  async get (url: string, options: InjectOptions = {}): Promise<LightMyRequestResponse> {
    const headers = { ...(this.jar.size > 0 && { cookie: this.cookie }), ...options.headers }
    const response = await this.#app.inject({ url, ...options, headers })
    for (const { name, value, attributes } of setCookies(response)) {
      if (attributes.get('max-age') === '0') this.jar.delete(name)
      else this.jar.set(name, value)
    }
    return response
  }

  /** The parsed JSON of an answer that has to be a 200. */
  async json (url: string, options: InjectOptions = {}): Promise<any> {
    const response = await this.get(url, options)
    if (response.statusCode !== 200) throw new Error(`${url}: ${response.statusCode} ${response.body}`)
    return response.json()
  }
}

/** Holds requests at a point until a test lets them go: forced overlaps instead of sleeping and hoping. */
export class Gate {
  readonly #waiting = new Set<() => void>()
  #arrivals: Array<{ count: number, resolve: () => void }> = []
  #open = false

  /** Called by a handler: waits here until the gate is opened. */
  async pass (): Promise<void> {
    if (this.#open) return
    await new Promise<void>((resolve) => {
      this.#waiting.add(resolve)
      this.#arrivals = this.#arrivals.filter(({ count, resolve: arrived }) => {
        if (this.#waiting.size < count) return true
        arrived()
        return false
      })
    })
  }

  /** Waits until so many handlers stand at the gate. */
  async arrived (count: number): Promise<void> {
    if (this.#waiting.size >= count) return
    await new Promise<void>((resolve) => { this.#arrivals.push({ count, resolve }) })
  }

  /** Lets everybody through, now and later. */
  open (): void {
    this.#open = true
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}
