/** The sessions of users, from the command line. */
import { newSecret } from '../cookie/token.js'
import { resolveOptions } from '../options.js'
import { UserField, userKey } from '../users/user-field.js'
import { UserIndex } from '../users/user-index.js'
import { TIMEOUT, type Connection } from './connection.js'
import { UsageError } from './command.js'

/**
 * The index of users, as far as listing and ending go. How long the app's sessions live is not known here, where its code
 * says it; so as long as anybody's: then a list is kept for longer than need be, and doubted more often, which costs a look
 * through all records and misses nothing.
 */
export function userIndex ({ store }: Connection): UserIndex {
  const { rules } = resolveOptions({ secret: newSecret(), idleTimeout: 86_400, touchInterval: 3600, lifetime: 90 * 86_400 }, {})
  return new UserIndex({ store, rules, timeout: TIMEOUT, field: new UserField('user'), maxSessions: 0, onLimit: 'refuse' })
}

/**
 * A user of the command line as the store takes it. Whether the app has a number or a text cannot be seen from here: a
 * number is both.
 *
 * @throws UsageError
 */
export function userKeys (command: string, text: string): string[] {
  if (text.length > 1000) throw new UsageError(`${command}: --user is too long`)
  const number = /^-?\d{1,15}$/.test(text) && String(Number(text)) === text ? [userKey(Number(text))] : []
  return [userKey(text), ...number]
}
