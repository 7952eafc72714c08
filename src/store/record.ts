/**
 * The layout of a record: which names are metadata, and which names data may use.
 *
 * A record is one hash. Three metadata fields have plain names because people read them with `HGETALL`; all others
 * begin with `@`, which no data field may do.
 */
import { NameError } from '../errors.js'

/** When the record was created: milliseconds since 1970 by the store's clock. */
export const CREATED_AT = 'created_at'
/** When the expiry was last extended: milliseconds since 1970 by the store's clock. */
export const LAST_ACCESSED_AT = 'last_accessed_at'
/** The idle timeout of this session: seconds. */
export const SESSION_TTL = 'session_ttl'
/** SHA-256 of the secret that owns the record, base64url. */
export const DIGEST = '@digest'
/** The absolute lifetime, seconds, where `remember()` gave this session its own. */
export const LIFETIME = '@lifetime'
/** `1` where `remember()` made the cookie persistent. */
export const PERSISTENT = '@persistent'
/** Routine renewal: digest of the successor that no request has used yet. */
export const NEXT = '@next'
/** Routine renewal: the successor's secret, sealed with the predecessor's. */
export const SEALED = '@sealed'
/** Routine renewal: digest of the predecessor. */
export const PREVIOUS = '@prev'
/** Routine renewal: until when the predecessor is still welcome, milliseconds since 1970. */
export const PREVIOUS_UNTIL = '@prev_until'
/**
 * Routine renewal: digest of the first secret of the lineage, which is what all secrets since the last `rotate()` have in
 * common. Absent while that first secret is still the current one.
 */
export const LINEAGE = '@lineage'
/** When the last routine renewal was confirmed, milliseconds since 1970. */
export const RENEWED = '@renewed'
/** When `rotate()` last replaced the secret, milliseconds since 1970. */
export const ROTATED = '@rotated'

/** What the last step that can be taken back has changed; see `Store.takeBack`. */
export const UNDO = '@undo'

/** The user whose session this is, as the key of the user's list has it. */
export const USER = '@user'
/** Ticket of the entry in that user's list under which this record is listed. */
export const TICKET = '@ticket'
/** Tickets whose writes shall not happen any more, each with the time until which that holds, separated by spaces. */
export const BARRED = '@barred'
/** When the session became its user's, or was last elevated, milliseconds since 1970. */
export const AUTHENTICATED = '@authenticated'
/** Until when the session is elevated, milliseconds since 1970. */
export const ELEVATED = '@elevated'
/** Browser and system with which the user logged in, where the option `devices` asks for it. */
export const DEVICE = '@device'
/** The network from which the user logged in, shortened, where the option `devices` asks for it. */
export const NETWORK = '@network'

/** What follows the prefix in the key of a user's list. No id begins like that. */
export const USER_KEY = '@user:'
/** What follows the prefix in the name of the channel on which ends are told. */
export const ENDED_CHANNEL = '@ended'

/** An id as this plugin makes them. */
const ID = /^[A-Za-z0-9_-]{21}[AQgw]$/

/** Whether a text can be a session's id. */
export function isId (text: string): boolean {
  return ID.test(text)
}

/**
 * What a request that was let in goes on with: all secrets that follow one another by routine renewal are of one lineage, so
 * a request outlives any number of renewals; `rotate()` begins a new lineage, and cuts off whoever is of the old one.
 *
 * @param textOf gives the text of a metadata field
 */
export function lineageOf (textOf: (name: string) => string | undefined): string | undefined {
  return textOf(LINEAGE) ?? textOf(DIGEST)
}

/** A record that was taken out of use, and not taken back, is kept for this long, milliseconds. */
export const RETIRED_FOR = 60_000

/** No record lives longer than this, milliseconds, whatever it was told: Redis refuses what does not fit its clock. */
export const MAX_TTL = 1e15

/** How long a record is kept that is to last so long: whole milliseconds, and not more than `MAX_TTL`. With 0 it ends at once. */
export function lasting (ms: number): number {
  return Math.max(0, Math.min(Math.ceil(ms), MAX_TTL))
}

/** Longest name of a data field, in bytes of UTF-8. */
export const MAX_NAME_BYTES = 256

/**
 * Whether a name belongs to the record itself and can never be a data field.
 *
 * @param name a field name
 */
export function isReserved (name: string): boolean {
  return name.charCodeAt(0) === 64 || name === CREATED_AT || name === LAST_ACCESSED_AT || name === SESSION_TTL
}

/**
 * Checks that what an application asks for by name is a name at all. Any string may be asked for.
 *
 * @throws NameError (`SESSION_NAME_INVALID`) for anything but a string; it says what came, not what was in it
 */
export function assertKey (key: unknown): asserts key is string {
  if (typeof key !== 'string') throw new NameError(`<${kindOf(key)}>`, 'a name is a string; pass one, such as \'cart\'')
}

/**
 * Checks that a list of names is one.
 *
 * @throws NameError (`SESSION_NAME_INVALID`) for anything but an array of strings
 */
export function assertKeys (keys: unknown): asserts keys is readonly string[] {
  if (!Array.isArray(keys)) throw new NameError(`<${kindOf(keys)}>`, 'names are passed as an array of strings, such as [\'cart\']')
  for (const key of keys) assertKey(key)
}

/**
 * Checks that a name can be a data field.
 *
 * @param name the name as the application gave it
 * @throws NameError (`SESSION_NAME_INVALID`) for anything but a string, reserved names, names over 256 bytes and lone surrogates
 */
export function assertName (name: string): void {
  assertKey(name)
  if (isReserved(name)) {
    throw new NameError(name.slice(0, 40), 'names beginning with @, created_at, last_accessed_at and session_ttl are reserved')
  }
  if (name.length > MAX_NAME_BYTES / 4 && Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw new NameError(`${name.slice(0, 40)}…`, `it is longer than ${MAX_NAME_BYTES} bytes`)
  }
  if (!name.isWellFormed()) throw new NameError('', 'it holds a lone surrogate, which UTF-8 cannot carry')
}

function kindOf (value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value
}
