/**
 * Every header that a response gets because of its session, decided in one place: Set-Cookie, Cache-Control, Vary and
 * Retry-After. It may be written several times; what was written before is replaced.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isHijacked } from './held-reply.js'

/** What a response gets because of its session. */
export interface Answer {
  /** A token and, where its cookie outlives the browser, for how many seconds; or the order to drop the cookie. */
  readonly cookie: OwedCookie | undefined
  /** The application looked at the session: the response depends on the cookie (RFC 9110, section 12.5.5). */
  readonly looked: boolean
  /** The response is about this moment only. */
  readonly momentary: boolean
  /** The store made the answer impossible for now. */
  readonly comeAgain: boolean
}

/** What the browser is owed. */
export type OwedCookie = { readonly token: string, readonly maxAge: number | undefined } | 'clear'

/** What knows how the cookie is written. */
export interface CookieLines {
  readonly name: string
  /** The Set-Cookie lines for what is owed. */
  lines (owed: OwedCookie, request: FastifyRequest): readonly string[]
}

/** The lines that this plugin put into a response, by the cookie's name, so that they can be replaced or taken back. */
const kLines = Symbol('fastify-live-session.set-cookie')

interface ReplyWithLines extends FastifyReply { [kLines]?: Map<string, readonly string[]> }

/**
 * Writes the headers of a response.
 *
 * @param payload what will be sent, if that is known
 * @returns the payload; of a web `Response`, whose headers Fastify puts over all others, one with the right headers
 */
export function writeHeaders (reply: FastifyReply, cookie: CookieLines, answer: Answer, payload?: unknown): unknown {
  const hijacked = isHijacked(reply)
  if (hijacked && reply.raw.headersSent) return payload
  const headers = hijacked ? new RawHeaders(reply) : new ReplyHeaders(reply)
  const lines = answer.cookie === undefined ? NONE : cookie.lines(answer.cookie, reply.request)
  putLines(reply, headers, cookie.name, lines)
  const noStore = lines.length > 0 || answer.momentary
  restrict(headers, noStore, answer)
  return isWebResponse(payload) ? restricted(payload, noStore, answer) : payload
}

const NONE: readonly string[] = []

/** Whether a payload is a web `Response`, of whatever implementation: as Fastify finds out. */
export function isWebResponse (payload: unknown): payload is Response {
  return typeof payload === 'object' && payload !== null && Object.prototype.toString.call(payload) === '[object Response]'
}

/** Access to headers. */
interface Headers {
  get (name: string): number | string | string[] | null | undefined
  /** All that are there, in lower case. */
  names (): string[]
  /** Replaces what is there. */
  set (name: string, value: string | string[]): void
  remove (name: string): void
}

/** Those that Fastify will send. What a middleware put into the raw response is seen too, and removed with the rest. */
class ReplyHeaders implements Headers {
  readonly #reply: FastifyReply

  constructor (reply: FastifyReply) {
    this.#reply = reply
  }

  get (name: string): ReturnType<Headers['get']> {
    return this.#reply.getHeader(name)
  }

  names (): string[] {
    return Object.keys(this.#reply.getHeaders())
  }

  set (name: string, value: string | string[]): void {
    // Where a Set-Cookie is there, Fastify would add to it.
    if (this.#reply.hasHeader(name)) this.#reply.removeHeader(name)
    this.#reply.header(name, value)
  }

  remove (name: string): void {
    this.#reply.removeHeader(name)
  }
}

/** Those of a hijacked reply: it is written by hand, from the raw response; Fastify's own headers never get there. */
class RawHeaders implements Headers {
  readonly #raw: FastifyReply['raw']

  constructor ({ raw }: FastifyReply) {
    this.#raw = raw
  }

  get (name: string): ReturnType<Headers['get']> {
    return this.#raw.getHeader(name)
  }

  names (): string[] {
    return this.#raw.getHeaderNames()
  }

  set (name: string, value: string | string[]): void {
    this.#raw.setHeader(name, value)
  }

  remove (name: string): void {
    this.#raw.removeHeader(name)
  }
}

function putLines (reply: ReplyWithLines, headers: Headers, name: string, lines: readonly string[]): void {
  const before = reply[kLines]?.get(name)
  if (before === undefined && lines.length === 0) return
  const others = linesOf(headers.get('set-cookie')).filter((line) => before?.includes(line) !== true)
  const all = [...others, ...lines]
  if (all.length === 0) headers.remove('set-cookie')
  else headers.set('set-cookie', all.length === 1 ? all[0]! : all)
  reply[kLines] ??= new Map()
  reply[kLines].set(name, lines)
}

/** For some caches these outrank Cache-Control (RFC 9213; Surrogate-Control is its forerunner). */
const TARGETED = /^surrogate-control$|-cache-control$/

/** A response that brings a cookie must not be stored by any cache (OWASP Session Management; RFC 9111, section 5.2.2.5). */
function restrict (headers: Headers, noStore: boolean, { looked, comeAgain }: Answer): void {
  if (noStore) {
    if (!/(?:^|,)\s*no-store\s*(?:,|$)/i.test(String(headers.get('cache-control') ?? ''))) headers.set('cache-control', 'no-store')
    for (const name of headers.names()) if (TARGETED.test(name)) headers.remove(name)
  }
  if (looked) {
    const vary = headers.get('vary')
    const names = vary === undefined || vary === null ? '' : String(vary)
    if (names.trim() === '') headers.set('vary', 'Cookie')
    else if (names.trim() !== '*' && !/(?:^|,)\s*cookie\s*(?:,|$)/i.test(names)) headers.set('vary', `${names}, Cookie`)
  }
  // Spread over a few seconds, so that everybody does not come back in the same one.
  if (comeAgain) headers.set('retry-after', String(1 + Math.floor(Math.random() * 3)))
}

/** The same response with headers of its own that say no less than the reply's. */
function restricted (response: Response, noStore: boolean, answer: Answer): Response {
  const own = new globalThis.Headers(response.headers)
  restrict({
    get: (name) => own.get(name),
    names: () => [...own.keys()],
    // What it does not say, the reply says.
    set: (name, value) => { if (own.has(name)) own.set(name, String(value)) },
    remove: (name) => { own.delete(name) }
  }, noStore, answer)
  if ([...response.headers].every(([name, value]) => own.get(name) === value)) return response
  try {
    const { body, status, statusText } = response
    return new globalThis.Response(body, { status, statusText, headers: own })
  } catch {
    // Its body was read already, or its status is none: Fastify refuses it, and answers with an error.
    return response
  }
}

function linesOf (header: number | string | string[] | null | undefined): string[] {
  if (header === undefined || header === null) return []
  return Array.isArray(header) ? header : [String(header)]
}
