/**
 * A session as the index of users knows it, and the writes that may make it somebody's.
 */
import { AUTHENTICATED, ELEVATED, TICKET, USER } from '../store/record.js'
import type { Bound, Write, Written } from '../store/store.js'
import type { Member } from '../users/user-index.js'
import type { WorkingCopy } from './working-copy.js'

export class Membership implements Member {
  readonly #copy: WorkingCopy
  bound: Bound | undefined
  readonly entered = new Set<string>()

  constructor (copy: WorkingCopy) {
    this.#copy = copy
    const user = copy.meta(USER)
    this.bound = user === undefined ? undefined : { user, ticket: copy.meta(TICKET) ?? '' }
  }

  storedText (name: string): string | null {
    return this.#copy.snapshot.storedText(name)
  }

  get idleTimeout (): number {
    return this.#copy.idleTimeout
  }

  get replaces (): string[] {
    return this.#copy.line().slice(1).filter(({ phase }) => phase !== 'new').map(({ identity }) => identity.id)
  }

  /** The user has to be carried over: whoever logs in again is authenticated anew. */
  get authenticated (): Member['authenticated'] {
    const { replaces, context: { instance: { users } } } = this.#copy
    if (replaces === undefined || replaces.copy.phase === 'new') return undefined
    const user = replaces.copy.member.bound?.user
    const at = replaces.copy.number(AUTHENTICATED)
    return user !== undefined && at !== undefined && replaces.keys.some((key) => users?.decides(key)) ? { user, at } : undefined
  }

  get device (): Member['device'] {
    return this.#copy.context.device
  }
}

/** Creates or writes the record, which may make it a user's. */
export async function putRecord (copy: WorkingCopy, how: 'create' | 'write', write: Write): Promise<Written | undefined> {
  const { store, rules, users } = copy.context.instance
  const { id, lineage } = copy.identity
  const member = users && copy.member
  const before = member?.bound?.user
  const authenticated = member?.authenticated
  const written = await (member === undefined ? store[how](id, lineage, write, rules) : users![how](id, lineage, write, member))
  if (written === undefined || written.refusal !== undefined || written.barred === true) return written
  const user = member?.bound?.user
  if (user !== before) {
    copy.learn(AUTHENTICATED, user === undefined ? null : String(authenticated?.user === user ? authenticated.at : written.now))
    copy.learn(ELEVATED, null)
  }
  copy.wrote(write, written, how === 'create')
  return written
}
