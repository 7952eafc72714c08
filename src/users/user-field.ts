/**
 * Whose a session is: what the option `userField` makes of its data.
 */
import { createHash } from 'node:crypto'
import { OptionError, ValueError } from '../errors.js'
import type { FieldName, SessionData } from '../session/types.js'
import { decode, encode } from '../store/codec.js'

/** The option: a field's name, of which editors offer those that are declared, or a function of the data. */
export type UserFieldOption = FieldName | (string & {}) | ((data: Readonly<Partial<SessionData> & Record<string, unknown>>) => string | number | undefined)

/** A user as a value, as the data have it. */
export type UserValue = string | number

/** A user, and what that was derived from. */
export interface Derived {
  /** As the store takes it; `null` where the session is nobody's. */
  user: string | null
  /** The fields that were looked at, with the texts they had; `null` for absence. */
  when: Array<readonly [field: string, text: string | null]>
}

/** What stands in a key as it is. Braces would decide where a Cluster keeps the key, and long texts make long keys. */
const PLAIN = /^[A-Za-z0-9_.@+"-]{1,64}$/

/**
 * A user as the store takes it: as the codec writes it, so that the number 5 and the string `5` are two users; where that is
 * long or unusual, its hash.
 *
 * @param value what `userField` gave, or an application asks for
 * @param field where it was found, for the error
 * @throws ValueError (`SESSION_VALUE_INVALID`) for anything but a string or a finite number
 */
export function userKey (value: UserValue, field = 'user'): string {
  if (value === '' || !(typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value)))) {
    throw new ValueError(field, 'a user is a string that is not empty, or a finite number')
  }
  const text = encode(field, value, 0)
  return PLAIN.test(text) ? text : `#${createHash('sha256').update(text).digest('base64url')}`
}

export class UserField {
  readonly #read: (data: Readonly<Partial<SessionData> & Record<string, unknown>>) => unknown
  /** Every field that ever had a say. A write to none of them leaves the session whose it is. */
  readonly #names = new Set<string>()

  /** @throws OptionError (`SESSION_OPTION_INVALID`) where a function fails on a session without data */
  constructor (option: UserFieldOption) {
    this.#read = typeof option === 'function' ? option : (data) => data[option]
    try {
      this.derive(() => null)
    } catch (error) {
      throw new OptionError('userField', `the function has to take any data, also none, and read fields by their names (${(error as Error).message})`)
    }
  }

  /** Whether a field has a say in whose the session is. */
  decides (name: string): boolean {
    return this.#names.has(name)
  }

  /** The fields that have a say. */
  get names (): Iterable<string> {
    return this.#names
  }

  /**
   * Whose a session with these fields is.
   *
   * @param textOf gives a field's text, `null` where absent
   * @throws ValueError (`SESSION_VALUE_INVALID`) where it is neither text nor number
   */
  derive (textOf: (name: string) => string | null): Derived {
    const when = new Map<string, string | null>()
    const look = (name: string | symbol): unknown => {
      if (typeof name !== 'string') return undefined
      if (!when.has(name)) when.set(name, textOf(name))
      this.#names.add(name)
      const text = when.get(name) ?? null
      return text === null ? undefined : decode(text)
    }
    const data = new Proxy(Object.create(null) as Record<string, unknown>, {
      get: (_, name) => look(name),
      has: (_, name) => look(name) !== undefined,
      set: () => false,
      ownKeys: () => { throw new Error('userField reads fields by their names') }
    })
    const value = this.#read(data)
    const user = value === undefined || value === null || value === '' ? null : userKey(value as UserValue, [...when.keys()].join(', ') || undefined)
    return { user, when: [...when] }
  }
}
