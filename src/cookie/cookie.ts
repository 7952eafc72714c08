/**
 * Issuing and clearing the cookie: one Set-Cookie line of ours per response, and the caching headers that go with it.
 */
import type { FastifyReply } from 'fastify'
import type { SerializeOptions } from '@fastify/cookie'
import { isHijacked } from '../held-reply.js'
import type { CookieOptions } from '../options.js'

/** RFC 6265bis, section 5.6.2: browsers cut longer ages down to 400 days. */
const MAX_AGE_LIMIT = 400 * 24 * 60 * 60

/** The line that this plugin put into a response, so that it can be replaced or taken back. */
const kLine = Symbol('fastify-live-session.set-cookie')

interface ReplyWithLine extends FastifyReply { [kLine]?: Map<string, string> }

/** One plugin instance's cookie. */
export class SessionCookie {
  readonly name: string
  /** Everything behind the value. It never changes, so it is written once. */
  readonly #attributes: string
  readonly #clearingLine: string
  readonly #secure: boolean
  #explained = false

  /**
   * @param options checked cookie options
   * @param serialize the serializer of @fastify/cookie
   */
  constructor (options: CookieOptions, serialize: (name: string, value: string, options: SerializeOptions) => string) {
    this.name = options.name
    this.#secure = options.secure
    const attributes: SerializeOptions = {
      domain: options.domain,
      path: options.path,
      httpOnly: options.httpOnly,
      secure: options.secure,
      sameSite: options.sameSite,
      partitioned: options.partitioned,
      priority: options.priority
    }
    this.#attributes = serialize(options.name, '', attributes).slice(options.name.length + 1)
    this.#clearingLine = serialize(options.name, '', { ...attributes, maxAge: 0, expires: new Date(0) })
  }

  /**
   * Puts the cookie into the response, in place of one that is there already.
   *
   * @param maxAge seconds for a persistent cookie; `undefined`: it ends with the browser
   */
  issue (reply: FastifyReply, token: string, maxAge: number | undefined): void {
    if (this.#secure && !this.#explained) this.#explainPlainHttp(reply)
    const age = maxAge === undefined ? '' : `; Max-Age=${Math.min(Math.max(1, Math.floor(maxAge)), MAX_AGE_LIMIT)}`
    this.#put(reply, `${this.name}=${token}${this.#attributes}${age}`)
  }

  /** Has the browser drop its cookie: same name, domain and path, or it would keep it. */
  clear (reply: FastifyReply): void {
    this.#put(reply, this.#clearingLine)
  }

  /** Takes back what `issue` or `clear` put into a response that turned out to be another one. */
  withdraw (reply: FastifyReply): void {
    const line = (reply as ReplyWithLine)[kLine]?.get(this.name)
    if (line === undefined) return
    const headers = headersOf(reply)
    const others = linesOf(headers.get(reply, 'set-cookie')).filter((other) => other !== line)
    headers.remove(reply, 'set-cookie')
    if (others.length > 0) headers.set(reply, 'set-cookie', others);
    (reply as ReplyWithLine)[kLine]?.delete(this.name)
  }

  /** Says once why a browser that came over plain http will not send the cookie back: a classic hour lost. */
  #explainPlainHttp (reply: FastifyReply): void {
    const { protocol, headers } = reply.request
    // A hint for the log only, so that a proxy which ends TLS gives no false alarm; nothing else looks at this header.
    if (protocol === 'https' || headers['x-forwarded-proto'] === 'https') return
    this.#explained = true
    reply.log.warn(`The session cookie "${this.name}" is marked Secure, but this request came over plain http: most clients ` +
      'drop such a cookie without a word, and the next request is anonymous again. Use https, or for development only set ' +
      'cookie.secure to false (SESSION_COOKIE_SECURE=false). Behind a proxy that ends TLS all is well; trustProxy ends this message.')
  }

  /** The last word on a response that carries our cookie, after the application set its own caching headers. */
  settle (reply: FastifyReply): void {
    if ((reply as ReplyWithLine)[kLine]?.has(this.name) === true) forbidStoring(reply)
  }

  #put (reply: FastifyReply, line: string): void {
    this.withdraw(reply)
    const headers = headersOf(reply)
    const others = linesOf(headers.get(reply, 'set-cookie'))
    headers.set(reply, 'set-cookie', others.length === 0 ? line : [...others, line])
    const lines = (reply as ReplyWithLine)[kLine] ??= new Map<string, string>()
    lines.set(this.name, line)
    forbidStoring(reply)
  }
}

/** Access to the headers that a reply will be sent with. */
interface Headers {
  get (reply: FastifyReply, name: string): number | string | string[] | undefined
  /** Replaces what is there. */
  set (reply: FastifyReply, name: string, value: string | string[]): void
  remove (reply: FastifyReply, name: string): void
}

/** The usual case. What a middleware put into the raw response is seen too, and removed with the rest. */
const BY_FASTIFY: Headers = {
  get: (reply, name) => reply.getHeader(name),
  set: (reply, name, value) => {
    // Where a Set-Cookie is there, Fastify would add to it.
    if (reply.hasHeader(name)) reply.removeHeader(name)
    reply.header(name, value)
  },
  remove: (reply, name) => { reply.removeHeader(name) }
}

/** A hijacked reply is written by hand, from the raw response; Fastify's own headers never get there. */
const BY_HAND: Headers = {
  get: (reply, name) => reply.raw.getHeader(name),
  set: (reply, name, value) => { reply.raw.setHeader(name, value) },
  remove: (reply, name) => { reply.raw.removeHeader(name) }
}

/** Nothing can be changed any more. */
const SENT: Headers = { get: () => undefined, set: () => {}, remove: () => {} }

function headersOf (reply: FastifyReply): Headers {
  if (!isHijacked(reply)) return BY_FASTIFY
  return reply.raw.headersSent ? SENT : BY_HAND
}

/**
 * Marks a response as dependent on the session, for caches (RFC 9110, section 12.5.5).
 */
export function varyByCookie (reply: FastifyReply): void {
  const vary = reply.getHeader('vary')
  if (vary === undefined) {
    reply.header('vary', 'Cookie')
    return
  }
  const names = String(vary)
  if (names.trim() !== '*' && !/(?:^|,)\s*cookie\s*(?:,|$)/i.test(names)) reply.header('vary', `${names}, Cookie`)
}

/** A response that sets a cookie must not be stored by any cache (OWASP Session Management; RFC 9111, section 5.2.2.5). */
export function forbidStoring (reply: FastifyReply): void {
  const headers = headersOf(reply)
  const control = headers.get(reply, 'cache-control')
  if (control === undefined || !/(?:^|,)\s*no-store\s*(?:,|$)/i.test(String(control))) headers.set(reply, 'cache-control', 'no-store')
}

function linesOf (header: number | string | string[] | undefined): string[] {
  if (header === undefined) return []
  return Array.isArray(header) ? header : [String(header)]
}
