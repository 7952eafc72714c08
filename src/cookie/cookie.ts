/**
 * How the cookie is written, and where browsers send it.
 */
import { isIP } from 'node:net'
import type { SerializeOptions } from '@fastify/cookie'
import type { FastifyRequest } from 'fastify'
import type { CookieOptions } from '../options.js'
import type { CookieLines, OwedCookie } from '../response/headers.js'
import { DUPLICATE, findCookie } from './header.js'

/** RFC 6265bis, section 5.6.2: browsers cut longer ages down to 400 days. */
const MAX_AGE_LIMIT = 400 * 24 * 60 * 60
/** Of a host's parents and of a path's prefixes, so many are tried where a cookie of another domain or path has to go. */
const MAX_VARIANTS = 4

/** One plugin instance's cookie. */
export class SessionCookie implements CookieLines {
  readonly name: string
  /** Browsers send it to this path and below. */
  readonly path: string
  /** Everything behind the value. It never changes, so it is written once. */
  readonly #attributes: string
  readonly #clearingLine: string
  readonly #options: CookieOptions
  readonly #serialize: Serialize
  #explained = false

  /**
   * @param options checked cookie options
   * @param serialize the serializer of @fastify/cookie
   */
  constructor (options: CookieOptions, serialize: Serialize) {
    this.name = options.name
    this.path = options.path
    this.#options = options
    this.#serialize = serialize
    this.#attributes = serialize(options.name, '', this.#serializeOptions()).slice(options.name.length + 1)
    this.#clearingLine = this.#expired(options.domain, options.path)
  }

  /**
   * Whether browsers send the cookie with this request (RFC 6265bis, section 5.1.4). By the path as the router decodes it:
   * what leads to the same route is treated alike.
   */
  reaches (request: FastifyRequest): boolean {
    if (this.path === '/') return true
    const path = decodedPath(request.raw.url ?? '')
    return path !== undefined && path.startsWith(this.path) &&
      (path.length === this.path.length || this.path.endsWith('/') || path[this.path.length] === '/')
  }

  /** The Set-Cookie lines for what the browser is owed: the last one is the cookie's own. */
  lines (owed: OwedCookie, request: FastifyRequest): string[] {
    // Browsers would go on sending both, and both would be ignored. Which one is which they do not say.
    const { cookie } = request.raw.headers
    const strays = cookie !== undefined && findCookie(cookie, this.name) === DUPLICATE ? this.#strays(request) : []
    if (owed === 'clear') return [...strays, this.#clearingLine]
    if (this.#options.secure && !this.#explained) this.#explainPlainHttp(request)
    const { token, maxAge } = owed
    const age = maxAge === undefined ? '' : `; Max-Age=${Math.min(Math.max(1, Math.floor(maxAge)), MAX_AGE_LIMIT)}`
    return [...strays, `${this.name}=${token}${this.#attributes}${age}`]
  }

  /**
   * Lines that have the browser drop cookies of this name that were set for another domain or path: by an earlier
   * configuration, or by somebody else. Name, domain and path are what browsers tell cookies apart by.
   */
  #strays (request: FastifyRequest): string[] {
    if (this.name.startsWith('__Host-')) return [] // bound to the host and to /
    const { domain, path } = this.#options
    return [undefined, ...domainsOf(request.hostname)].flatMap((otherDomain) =>
      pathsOf(decodedPath(request.raw.url ?? '') ?? '/', path)
        .filter((otherPath) => otherDomain !== domain?.replace(/^\./, '').toLowerCase() || otherPath !== path)
        .map((otherPath) => this.#expired(otherDomain, otherPath)))
  }

  #expired (domain: string | undefined, path: string): string {
    return this.#serialize(this.name, '', { ...this.#serializeOptions(), domain, path, maxAge: 0, expires: new Date(0) } as SerializeOptions)
  }

  #serializeOptions (): SerializeOptions {
    const { domain, path, httpOnly, secure, sameSite, partitioned, priority } = this.#options
    return { domain, path, httpOnly, secure, sameSite, partitioned, priority }
  }

  /** Says once why a browser that came over plain http will not send the cookie back: a classic hour lost. */
  #explainPlainHttp ({ protocol, headers, log }: FastifyRequest): void {
    // A hint for the log only, so that a proxy which ends TLS gives no false alarm; nothing else looks at this header.
    if (protocol === 'https' || headers['x-forwarded-proto'] === 'https') return
    this.#explained = true
    log.warn(`The session cookie "${this.name}" is marked Secure, but this request came over plain http: most clients ` +
      'drop such a cookie without a word, and the next request is anonymous again. Use https, or for development only set ' +
      'cookie.secure to false (SESSION_COOKIE_SECURE=false). Behind a proxy that ends TLS all is well; trustProxy ends this message.')
  }
}

type Serialize = (name: string, value: string, options: SerializeOptions) => string

/** The path of a request's target, decoded but for characters that would mean something else then. */
function decodedPath (url: string): string | undefined {
  try {
    return decodeURI(/^[^?#]*/.exec(url)![0])
  } catch {
    return undefined
  }
}

/** The host and its parents, as far as a cookie can be set for them. */
function domainsOf (host: string | undefined): string[] {
  const labels = (host ?? '').toLowerCase().split('.')
  if (isIP(host ?? '') !== 0 || !labels.every((label) => /^[a-z0-9_-]+$/.test(label))) return []
  return labels.slice(0, -1).map((_, i) => labels.slice(i).join('.')).slice(0, MAX_VARIANTS)
}

/** The paths for which a cookie that came with a request can have been set, `/` and our own first. */
function pathsOf (path: string, own: string): string[] {
  const prefixes = path.split('/').slice(1, MAX_VARIANTS).map((_, i, segments) => `/${segments.slice(0, i + 1).join('/')}`)
  return [...new Set(['/', own, ...prefixes])].filter((prefix) => /^\/[\x21-\x3a\x3c-\x7e]*$/.test(prefix))
}
