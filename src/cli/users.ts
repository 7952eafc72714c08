/** The sessions of users, from the command line. */
import { USER_KEY } from '../store/record.js'
import type { Description } from '../store/store.js'
import { UserField, userKey } from '../users/user-field.js'
import { UserIndex } from '../users/user-index.js'
import { TIMEOUT, type Connection } from './connection.js'
import { CommandError, type Context } from './command.js'
import { counted } from './output.js'

const HOUR = 3_600_000

/**
 * The index of users, as far as listing and ending go. How long the app's sessions live is not known here, where its code
 * says it; so as long as anybody's: then a list is kept for longer than need be, and doubted more often, which costs a look
 * through all records and misses nothing. Whose a session is, its record says.
 */
export function userIndex ({ store }: Connection): UserIndex {
  const rules = { idleTimeout: 24 * HOUR, touchInterval: HOUR, lifetime: 90 * 24 * HOUR, rotateEvery: 0, rotateGrace: 0, maxFields: 0, maxRecordSize: 0 }
  return new UserIndex({ store, rules, timeout: TIMEOUT, field: new UserField(() => undefined), maxSessions: 0, onLimit: 'refuse' })
}

/** What an unusual user is in the key of its list, as `redis-cli` shows it: the way to name one that cannot be typed. */
const HASHED = /^#[A-Za-z0-9_-]{43}$/

/**
 * The users that a text of the command line can mean, as the store takes them. Whether the app has a number or a text
 * cannot be seen from here: a number is both.
 */
export function userKeys (text: string): string[] {
  const keys = [userKey(text)]
  // Only as JavaScript writes it: another spelling may be another number after rounding.
  if (Number.isFinite(Number(text)) && String(Number(text)) === text) keys.push(userKey(Number(text)))
  if (HASHED.test(text)) keys.push(text)
  return keys
}

/** What there is of a user. */
export interface Found {
  /** The keys under which something is. */
  keys: string[]
  /** Sessions that say they are this user's, where no list does. */
  unlisted: Description[]
}

/**
 * Looks for a user: for a list of sessions, and where there is none, which may have been lost, through all sessions. It only
 * reads: a user who does not exist, perhaps by a slip of the keyboard, leaves no trace.
 *
 * @param keys what the user may be called
 * @throws CommandError where the key of a list holds something else
 */
export async function findUser ({ store, prefix }: Connection, keys: readonly string[], { progress }: Pick<Context, 'progress'>): Promise<Found> {
  const listed: string[] = []
  for (const key of keys) {
    const { since, entries } = await store.entries(key).catch((error: Error & { code?: string }) => {
      if (error.code !== 'SESSION_RECORD_INVALID') throw error
      throw new CommandError(`the key ${prefix}${USER_KEY}${key} holds another type than a user's list; it was left as it is`)
    })
    if (since !== undefined || entries.length > 0) listed.push(key)
  }
  if (listed.length > 0) return { keys: listed, unlisted: [] }
  const unlisted: Description[] = []
  let looked = 0
  for await (const ids of store.scan()) {
    progress(`${counted(looked += ids.length, 'session')} …`)
    for (const description of await store.describe(ids)) {
      if (description?.bound !== undefined && keys.includes(description.bound.user)) unlisted.push(description)
    }
  }
  progress('')
  return { keys: [...new Set(unlisted.map(({ bound }) => bound!.user))], unlisted }
}
