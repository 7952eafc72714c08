/**
 * A session as the index of users knows it, and the writes that may make it somebody's.
 */
import { TICKET, USER } from '../store/record.js'
import type { Write, Written } from '../store/store.js'
import type { Member } from '../users/user-index.js'
import type { SessionState } from './state.js'

/** What the index of users has to know of this session. */
export function memberOf (state: SessionState): Member {
  if (state.member !== undefined) return state.member
  const user = state.loaded?.fields.get(USER)
  state.member = {
    bound: user === undefined ? undefined : { user, ticket: state.loaded?.fields.get(TICKET) ?? '' },
    storedText: (name) => state.fields.storedText(name),
    get idleTimeout () { return state.idleTimeout },
    get replaces () { return state.replaced?.id },
    get authenticated () { return state.authenticated },
    get device () { return state.device }
  }
  return state.member
}

/** Creates or writes the record, which may make it a user's. */
export async function putRecord (state: SessionState, how: 'create' | 'write', write: Write): Promise<Written | undefined> {
  const { store, rules, users } = state.instance
  const member = users && memberOf(state)
  const before = member?.bound?.user
  const written = await (member === undefined
    ? store[how](state.id!, state.digest, write, rules)
    : users![how](state.id!, state.digest, write, member))
  if (written === undefined || written.refusal !== undefined || written.barred === true) return written
  if (member?.bound?.user !== before) {
    const user = member?.bound?.user
    state.authenticatedAt = user === undefined ? null : state.authenticated?.user === user ? state.authenticated!.at : written.now
    state.elevatedUntil = null
  }
  if (write.settings.elevate !== undefined) {
    state.authenticatedAt = written.now
    state.elevatedUntil = written.now + write.settings.elevate * 1000
  }
  return written
}
