/**
 * What the stores of other session libraries wrote into Redis, and the pointer that takes its place.
 *
 * - connect-redis (under express-session and @fastify/session): a string, JSON of an object: `cookie` and the data keys.
 * - fastify-redis-session: a string, JSON of an array: the data and when they expire, in milliseconds since 1970, or null.
 * - @mgcrea/fastify-session-redis-store: a hash: `data`, JSON, and `expiry`, milliseconds since 1970 or empty.
 */
import { isId } from '../store/record.js'

/** What stands under a key of the old store. */
export interface Stored {
  type: 'string' | 'hash'
  /** The string, or the hash's field `data`. */
  text: string
  /** The hash's field `expiry`. */
  expiry: string
  /** Milliseconds that the key has left; -1: it has no expiry. */
  ttl: number
  /** Redis' clock, milliseconds since 1970. */
  now: number
}

/** A session, taken apart. */
export interface OldSession {
  data: Record<string, unknown>
  /** Milliseconds left; `undefined`: it never expires. */
  ttl: number | undefined
  /** Whether the old cookie outlives the browser. */
  persistent: boolean
  /** The text around the id in the pointer that may take its place. */
  pointer: Pointer
}

/** The text of a pointer is `head`, id, `tail`. */
export interface Pointer { head: string, tail: string }

/**
 * Written in place of a session that moved. To its old library it is a session without data, so that a process of the old
 * version that is still there treats the visitor as anonymous, instead of failing.
 */
const POINTERS = {
  object: { head: '{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"@moved":"', tail: '"}' },
  array: { head: '[{"@moved":"', tail: '"},null]' },
  hash: { head: '{"@moved":"', tail: '"}' }
} satisfies Record<string, Pointer>

/**
 * The id of the record to which a session moved.
 *
 * @returns `undefined` where no pointer stands there
 */
export function pointedTo ({ text }: Stored): string | undefined {
  for (const { head, tail } of Object.values(POINTERS)) {
    if (!text.startsWith(head) || !text.endsWith(tail)) continue
    const id = text.slice(head.length, -tail.length)
    if (isId(id)) return id
  }
  return undefined
}

/**
 * Takes a stored session apart.
 *
 * The time that is left is what the key has left: what the record says goes stale when a session is used without being
 * changed. Two exceptions: a key without an expiry; and fastify-redis-session, which gives keys too much time, never
 * extends a session that is not changed, and whose library goes by what the record says.
 *
 * @returns `undefined` where it is no session, or has expired
 */
export function readSession (stored: Stored): OldSession | undefined {
  const value = parse(stored.text)
  if (stored.type === 'hash') {
    if (!isObject(value)) return undefined
    return session(value, stored, toTime(stored.expiry === '' ? null : Number(stored.expiry)), POINTERS.hash)
  }
  if (Array.isArray(value)) {
    const [data, expiry] = value as unknown[]
    if (value.length !== 2 || !isObject(data)) return undefined
    return session(data, stored, toTime(expiry), POINTERS.array, true)
  }
  if (!isObject(value) || !isObject(value['cookie'])) return undefined
  const { cookie, ...data } = value
  const { expires } = cookie as Record<string, unknown>
  return session(data, stored, toTime(typeof expires === 'string' ? Date.parse(expires) : expires), POINTERS.object)
}

function session (data: Record<string, unknown>, { ttl, now }: Stored, expiresAt: number | undefined, pointer: Pointer, exact = false): OldSession | undefined {
  const persistent = expiresAt !== undefined
  const said = persistent && (exact || ttl < 0) ? expiresAt - now : Infinity
  const left = Math.min(ttl < 0 ? Infinity : ttl, said)
  if (left <= 0) return undefined
  return { data, ttl: Number.isFinite(left) ? left : undefined, persistent, pointer }
}

function toTime (value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
