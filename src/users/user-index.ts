/**
 * The sessions of a user: which they are, how they end, and how many there may be.
 *
 * Every user has a list, every session of the user an entry in it. List and record are two keys, on a Cluster on two nodes, so
 * no step can change both. What holds at every moment all the same:
 *
 * **A record that is a user's carries the ticket of an entry in the user's list, and ends before that entry does.** It holds
 * because of the order of the steps of every write that makes a session a user's (or another one's, or nobody's):
 *
 * 1. *Announce*: an entry with a new ticket is put into the list, with a time by which the record will have ended.
 * 2. *Write*: one step sets the data, the user and the ticket in the record, under the guard of every write.
 * 3. *Leave*: the entry that the write displaced is taken out of the list it was in.
 *
 * Extending a record is announced first in the same way, under the ticket it has: the store does not extend a record of a
 * user's otherwise. What a crash leaves behind:
 *
 * - after 1: an entry whose ticket no record carries. It counts for nobody, is dropped by whoever reads the list once the
 *   write can no longer be under way (`STALE`), and drops out by itself at its time;
 * - after 2: the same for the displaced entry. A record that ended without anybody telling the list is just that, too.
 *
 * **Ending all** reads the list and notes in it when that was, ends every record that carries its entry's ticket, and bars the
 * ticket everywhere else: a login between its steps 1 and 2 finds its ticket barred and fails. It goes on until the list is
 * empty; a login whose step 1 comes after that began after it.
 *
 * **A lost list** (evicted, deleted, its node replaced by an empty one). Sessions enter again when a request finds them due
 * for extension, and those of before the note end there instead. A session that is not due yet was extended, hence announced,
 * within the last `touchInterval`; if the list does not have it, the list was lost since then. So a list that is missing, or
 * younger than that, is the only one in doubt, and then ending all looks through all records. Whoever has no session has no
 * list either, which looks the same; therefore a list is kept for one lifetime after its last entry. What this does not see is
 * a list of which only the last entries are lost, as by a failover of its node alone: those sessions enter again, or end, when
 * they are due.
 *
 * On a Cluster the clocks of two nodes are never compared, and no step waits for a time to come; `STALE` and the time of an
 * entry leave room for the clocks of a master and its successor to differ by ten seconds.
 */
import { ConflictError, LimitError, StoreUnavailableError } from '../errors.js'
import { applyOperations } from '../store/operations.js'
import { CREATED_AT, LIFETIME, lineageOf, SESSION_TTL, TICKET, USER } from '../store/record.js'
import type { Binding, Bound, Description, Entry, LoadedRecord, Operation, Rules, Store, Write, Written } from '../store/store.js'
import type { Derived, UserField } from './user-field.js'

/** A write is sent within this after its announcement, or not at all; milliseconds. */
const FENCE = 10_000
/** A write happens within this after it was sent, or not at all; milliseconds, beside the store's timeout. See `RedisStore`. */
const DELAY = 7000
/** An entry that is older, and that no record carries, never will be carried; milliseconds, beside the store's timeout. */
const STALE = FENCE + DELAY + 10_000
/** An entry lasts longer than its record by this, milliseconds: the write may come later than the announcement. */
const MARGIN = 30_000
/** How often a write is tried that others keep overtaking, and how many rounds ending all takes at most. */
const ATTEMPTS = 10
const ROUNDS = 100
/** Records looked at in one go. */
const STEP = 100

/** What happens when a user with `maxSessionsPerUser` sessions logs in. */
export type OnLimit = 'end-oldest' | 'refuse'

/** How an index works. */
export interface UserIndexOptions {
  store: Store
  rules: Rules
  /** Milliseconds that an operation of the store may take. */
  timeout: number
  field: UserField
  /** 0: any number. */
  maxSessions: number
  onLimit: OnLimit
}

/** What the index has to know of a session that writes. */
export interface Member {
  /** Whose the record is, as far as this request knows. The index keeps it up to date. */
  bound: Bound | undefined
  /** The users in whose lists this request put an entry of the record, or may have. If the record is undone, they have to leave. */
  readonly entered: Set<string>
  /** Text of a field in the store, as far as this request knows; `null` where absent. */
  storedText (name: string): string | null
  /** Seconds. */
  readonly idleTimeout: number
  /** The ids of the sessions that this one takes the place of: while it is being stored, they may be listed still. */
  readonly replaces: readonly string[]
  /** Who was authenticated before, and when by the store's clock, in the session that this one takes the place of. */
  readonly authenticated: { user: string, at: number } | undefined
  /** What is to be kept of the device. */
  readonly device: Binding['device']
}

/** A session that is ready for its step 2. */
interface Ticket { user: string, ticket: string, isNew: boolean, announced: boolean, lasts: number, sent: number }

export class UserIndex {
  readonly #store: Store
  readonly #rules: Rules
  readonly #options: UserIndexOptions
  readonly #field: UserField
  /** Who is looked for by the next pass over all records. Those who ask meanwhile share it. */
  #wanted = new Map<string, Array<string | undefined>>()
  #pass: Promise<unknown> | undefined
  #nextPass: Promise<Description[]> | undefined

  constructor (options: UserIndexOptions) {
    this.#store = options.store
    this.#rules = options.rules
    this.#options = options
    this.#field = options.field
  }

  /** Whether a field has a say in whose the session is. */
  decides (name: string): boolean {
    return this.#field.decides(name)
  }

  /**
   * `Store.create`, by the three steps where the new session is somebody's.
   *
   * @throws LimitError (`SESSION_LIMIT_REACHED`)
   */
  async create (id: string, digest: string, write: Write, member: Member): Promise<Written | undefined> {
    const { user, when } = this.#predict(write.operations, () => null)
    if (user === null) return await this.#store.create(id, digest, write, this.#rules)
    member.entered.add(user)
    const entry = await this.#enter(user, id, this.#lasts(write, member), member.replaces)
    const binding = { user, ticket: entry.ticket, when, ...this.#facts(user, member) }
    this.#assertInTime(entry)
    const written = await this.#store.create(id, digest, { ...write, binding }, this.#rules)
    if (written?.left === undefined) await this.#leave(user, [{ id, ticket: entry.ticket }])
    else member.bound = { user, ticket: entry.ticket }
    return written
  }

  /**
   * `Store.write`, by the three steps where the write may make the session somebody else's, and by the first two where it
   * extends a user's session.
   *
   * @throws LimitError (`SESSION_LIMIT_REACHED`); ConflictError (`SESSION_UPDATE_CONFLICT`) where others were faster every time
   */
  async write (id: string, lineage: string, write: Write, member: Member): Promise<Written | undefined> {
    const decides = write.operations.some((operation) => this.#decides(operation))
    const extends_ = write.touch === 'always' || write.settings.idleTimeout !== undefined || write.settings.lifetime !== undefined
    if (!decides && !(extends_ && member.bound !== undefined)) {
      const written = await this.#store.write(id, lineage, write, this.#rules)
      if (written?.moved === undefined) return written
      // It became a user's meanwhile.
      member.bound = written.moved.bound
    }
    const newer = new Map<string, string | null>()
    const textOf = (name: string): string | null => newer.has(name) ? newer.get(name)! : member.storedText(name)
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { bound } = member
      const predicted = decides ? this.#predict(write.operations, textOf) : undefined
      const user = predicted === undefined ? bound?.user ?? null : predicted.user
      const entry = user === null ? undefined : await this.#ready(user, id, write, member, extends_)
      if (user !== null && entry === undefined) return undefined
      const binding = predicted && { user, ticket: entry?.ticket ?? '', when: predicted.when, ...entry?.isNew === false && { kept: true }, ...this.#facts(user, member) }
      if (entry !== undefined) this.#assertInTime(entry)
      const written = await this.#store.write(id, lineage, {
        ...write, ...binding && { binding }, ...entry?.announced === true && { announced: entry.ticket }
      }, this.#rules)
      // What was announced for nothing. Where the outcome is unknown, the error got past here, and the entry stays.
      if (entry?.isNew === true && written?.left === undefined) await this.#leave(entry.user, [{ id, ticket: entry.ticket }])
      if (written?.barred === true) return undefined
      if (written?.moved === undefined) {
        if (written?.left !== undefined) await this.#settle(id, member, entry, written)
        return written
      }
      member.bound = written.moved.bound
      predicted?.when.forEach(([name], i) => newer.set(name, written.moved!.texts[i] ?? null))
    }
    throw new ConflictError([...this.#field.names].join(', '), ATTEMPTS)
  }

  /**
   * Sees to a session that a request just loaded: announces the extension that is due, and then extends it. A session that
   * is not listed yet, although its data name a user, is.
   *
   * @param touch whether this request extends sessions
   * @param moved the session comes from another library, just now: nobody knows when its user was authenticated
   * @returns whether the session still exists
   */
  async claim (id: string, loaded: LoadedRecord, touch: boolean, moved: boolean): Promise<{ alive: boolean, bound: Bound | undefined }> {
    const lineage = lineageOf((name) => loaded.fields.get(name)) ?? ''
    const user = loaded.fields.get(USER)
    const bound = user === undefined ? undefined : { user, ticket: loaded.fields.get(TICKET) ?? '' }
    if (bound === undefined) return await this.#adopt(id, lineage, loaded, moved)
    const idle = Number(loaded.fields.get(SESSION_TTL)) * 1000
    const sent = performance.now()
    const { outcome } = await this.#store.announce(bound.user, { id, ticket: bound.ticket, lasts: this.#bound(idle), keep: this.#rules.lifetime })
    if (outcome === 'ended') {
      await this.#store.end(id, bound.ticket)
      return { alive: false, bound: undefined }
    }
    if (!touch || lifetimeLeft(loaded, this.#rules) <= loaded.ttl + 1) return { alive: true, bound }
    this.#assertInTime({ sent })
    const write: Write = { operations: [], settings: {}, touch: 'due', mode: 'together', announced: bound.ticket }
    const written = await this.#store.write(id, lineage, write, this.#rules)
    if (written === undefined) return { alive: false, bound: undefined }
    Object.assign(loaded, { now: written.now, ttl: written.ttl, touched: true })
    return { alive: true, bound }
  }

  /** Lists a session whose data name a user that its record does not: others wrote them, or before there were lists. */
  async #adopt (id: string, lineage: string, loaded: LoadedRecord, moved: boolean): Promise<{ alive: boolean, bound: Bound | undefined }> {
    let derived: Derived
    try {
      derived = this.#field.derive((name) => loaded.fields.get(name) ?? null)
    } catch {
      // Somebody stored what no user can be.
      return { alive: true, bound: undefined }
    }
    const { user, when } = derived
    if (user === null) return { alive: true, bound: undefined }
    const lasts = this.#bound(Math.max(loaded.ttl, Number(loaded.fields.get(SESSION_TTL)) * 1000))
    const since = Number(loaded.fields.get(CREATED_AT))
    const sent = performance.now()
    const { outcome, ticket } = await this.#store.announce(user, { id, lasts, keep: this.#rules.lifetime, since })
    if (outcome === 'ended') {
      await this.#store.end(id)
      return { alive: false, bound: undefined }
    }
    this.#assertInTime({ sent })
    const binding = { user, ticket, when, authenticatedAt: moved ? 0 : since }
    const written = await this.#store.write(id, lineage, { operations: [], settings: {}, touch: 'never', mode: 'together', binding }, this.#rules)
    if (written?.left !== undefined) return { alive: true, bound: { user, ticket } }
    await this.#leave(user, [{ id, ticket }])
    return { alive: written !== undefined && written.barred === undefined, bound: written?.moved?.bound }
  }

  /**
   * Takes a session that ended off its user's list.
   *
   * @throws StoreUnavailableError: its entry stays until it is found to be dead
   */
  async forget (id: string, bound: Bound | undefined): Promise<void> {
    if (bound !== undefined) await this.#store.leave(bound.user, [{ id, ticket: bound.ticket }])
  }

  /**
   * Takes what was announced for a record off the lists of users, whatever came of it: for one that was not created, or not to be.
   *
   * @throws StoreUnavailableError
   */
  async withdraw (id: string, users: Iterable<string>): Promise<void> {
    for (const user of users) {
      const { entries } = await this.#store.entries(user)
      await this.#store.leave(user, entries.filter((entry) => entry.id === id))
    }
  }

  /**
   * Takes back what a write did to lists that was taken back itself.
   *
   * @param before under what the session is listed again
   * @param after under what it is not any more
   * @param idleTimeout seconds
   */
  async takeBack (id: string, before: Bound | undefined, after: Bound | undefined, idleTimeout: number): Promise<void> {
    if (before?.ticket === after?.ticket) return
    if (after !== undefined) await this.forget(id, after)
    if (before === undefined) return
    const { outcome } = await this.#store.announce(before.user, { id, ticket: before.ticket, lasts: this.#bound(idleTimeout * 1000), keep: this.#rules.lifetime })
    if (outcome === 'ended') await this.#store.end(id, before.ticket)
  }

  /** What is known of the sessions of a user. */
  async list (user: string): Promise<Description[]> {
    const { now, entries } = await this.#store.entries(user)
    return await this.#verify(user, entries, now)
  }

  /**
   * Ends all sessions of a user; none is alive when this returns, apart from those that began meanwhile or later.
   *
   * @param except the id of one that goes on
   * @returns how many were ended
   * @throws StoreUnavailableError: some may be left
   */
  async endAll (user: string, except?: string): Promise<number> {
    const ended = new Set<string>()
    let known: number | undefined | null = null
    for (let round = 0; round < ROUNDS; round++) {
      const { now, since, entries } = await this.#store.entries(user, { except, keep: this.#rules.lifetime })
      const inDoubt = since === undefined || now - since <= this.#rules.touchInterval + FENCE + DELAY + this.#options.timeout
      if (inDoubt && since !== known) {
        for (const id of await this.#search(user, except)) ended.add(id)
        known = since
        continue
      }
      // From now on another beginning means that the list was lost again.
      known = since
      const leaving = entries.filter(({ id }) => id !== except)
      if (leaving.length === 0) return ended.size
      for (let first = 0; first < leaving.length; first += STEP) {
        const some = leaving.slice(first, first + STEP)
        const alive = await Promise.all(some.map(({ id, ticket }) => this.#store.end(id, ticket)))
        some.forEach(({ id }, i) => { if (alive[i] === true) ended.add(id) })
        await this.#store.leave(user, some)
      }
    }
    throw new StoreUnavailableError('the user logs in faster than the sessions can be ended')
  }

  /** Ends one session. */
  async end (id: string): Promise<boolean> {
    const [description] = await this.#store.describe([id])
    const ended = await this.#store.end(id)
    await this.forget(id, description?.bound).catch(() => {})
    return ended
  }

  #decides (operation: Operation): boolean {
    return operation.type === 'clear' || (operation.type !== 'get' && this.#field.decides(operation.field))
  }

  /** Whose the session will be after these operations, if the store holds what is thought. */
  #predict (operations: readonly Operation[], textOf: (name: string) => string | null): Derived {
    const before = new Map<string, string>()
    const involved = new Set<string>()
    for (const operation of operations) {
      if (!('field' in operation)) continue
      involved.add(operation.field)
      const text = textOf(operation.field)
      if (text !== null) before.set(operation.field, text)
    }
    const limitless = { ...this.#rules, maxFields: Number.POSITIVE_INFINITY, maxRecordSize: Number.POSITIVE_INFINITY }
    const { data } = applyOperations(before, { operations, settings: {}, touch: 'never', mode: 'apart' }, limitless)
    const cleared = operations.some(({ type }) => type === 'clear')
    return this.#field.derive((name) => cleared || involved.has(name) ? data.get(name) ?? null : textOf(name))
  }

  /** Step 1 of a write, as far as it needs one. */
  async #ready (user: string, id: string, write: Write, member: Member, extends_: boolean): Promise<Ticket | undefined> {
    const lasts = this.#lasts(write, member)
    const { bound } = member
    if (bound?.user !== user) {
      member.entered.add(user)
      return await this.#enter(user, id, lasts, member.replaces)
    }
    const sent = performance.now()
    if (extends_) {
      const { outcome } = await this.#store.announce(user, { id, ticket: bound.ticket, lasts, keep: this.#rules.lifetime })
      if (outcome === 'ended') {
        await this.#store.end(id, bound.ticket)
        return undefined
      }
    }
    return { user, ticket: bound.ticket, isNew: false, announced: extends_, lasts, sent }
  }

  /** Step 1 with a new ticket, within the limit. */
  async #enter (user: string, id: string, lasts: number, replaces: readonly string[]): Promise<Ticket> {
    const { maxSessions: max, onLimit } = this.#options
    const announcement = { id, lasts, keep: this.#rules.lifetime, ...replaces.length > 0 && { replaces } }
    let sent = performance.now()
    const first = await this.#store.announce(user, { ...announcement, ...max > 0 && { limit: { max, then: 'ask' } } })
    if (first.outcome === 'entered') return { user, ticket: first.ticket, isNew: true, announced: true, lasts, sent }
    // Some of those in the way may have ended without telling. Then the list decides.
    await this.#verify(user, first.entries, first.now)
    sent = performance.now()
    const second = await this.#store.announce(user, { ...announcement, limit: { max, then: onLimit } })
    if (second.outcome !== 'entered') throw new LimitError(max)
    await Promise.all(second.entries.map((entry) => this.#store.end(entry.id, entry.ticket)))
    await this.#leave(user, second.entries)
    return { user, ticket: second.ticket, isNew: true, announced: true, lasts, sent }
  }

  /** Step 3. */
  async #settle (id: string, member: Member, entry: Ticket | undefined, { left, ttl }: Written): Promise<void> {
    member.bound = entry === undefined ? undefined : { user: entry.user, ticket: entry.ticket }
    if (left !== 'nothing' && left !== undefined && left.ticket !== entry?.ticket) await this.#leave(left.user, [{ id, ticket: left.ticket }])
    // Another request gave the session a longer idle timeout than this one knew of.
    if (entry !== undefined && ttl + MARGIN > entry.lasts) {
      await this.#store.announce(entry.user, { id, ticket: entry.ticket, lasts: ttl + MARGIN, keep: this.#rules.lifetime })
    }
  }

  /** What became of entries; those that are dead are dropped. */
  async #verify (user: string, entries: readonly Entry[], now: number): Promise<Description[]> {
    const alive: Description[] = []
    const dead: Entry[] = []
    for (let first = 0; first < entries.length; first += STEP) {
      const some = entries.slice(first, first + STEP)
      const descriptions = await this.#store.describe(some.map(({ id }) => id))
      some.forEach((entry, i) => {
        const description = descriptions[i]
        if (description?.bound?.user === user && description.bound.ticket === entry.ticket) alive.push(description)
        else if (now - entry.since > STALE + this.#options.timeout) dead.push(entry)
      })
    }
    await this.#leave(user, dead)
    return alive
  }

  /** Ends the sessions of a user that a pass over all records finds. */
  async #search (user: string, except: string | undefined): Promise<string[]> {
    const excepted = this.#wanted.get(user) ?? []
    excepted.push(except)
    this.#wanted.set(user, excepted)
    this.#nextPass ??= (this.#pass ?? Promise.resolve()).then(async () => {
      const wanted = this.#wanted
      this.#wanted = new Map()
      this.#nextPass = undefined
      const pass = this.#passOver(wanted)
      this.#pass = pass.catch(() => {})
      return await pass
    })
    return (await this.#nextPass).filter(({ bound }) => bound?.user === user).map(({ id }) => id)
  }

  /** Ends all sessions of these users, but for those whose ids each of a user's callers excepts. Answers what it ended. */
  async #passOver (wanted: ReadonlyMap<string, ReadonlyArray<string | undefined>>): Promise<Description[]> {
    const found: Description[] = []
    for await (const ids of this.#store.scan()) {
      const leaving = (await this.#store.describe(ids)).flatMap((description) => {
        const excepted = description?.bound === undefined ? undefined : wanted.get(description.bound.user)
        return excepted?.some((id) => id !== description!.id) === true ? [description!] : []
      })
      const ended = await Promise.all(leaving.map(({ id, bound }) => this.#store.end(id, bound!.ticket)))
      found.push(...leaving.filter((_, i) => ended[i]))
    }
    return found
  }

  /** Step 3, and tidying. Entries that stay because it failed do no harm. */
  async #leave (user: string, entries: ReadonlyArray<Pick<Entry, 'id' | 'ticket'>>): Promise<void> {
    if (entries.length > 0) await this.#store.leave(user, entries).catch(() => {})
  }

  #lasts ({ settings }: Write, member: Member): number {
    return this.#bound((settings.idleTimeout ?? member.idleTimeout) * 1000)
  }

  /** By when a record with this idle timeout will have ended if it is extended now, milliseconds from now. */
  #bound (idleTimeout: number): number {
    return idleTimeout + this.#rules.touchInterval + MARGIN
  }

  #facts (user: string | null, { authenticated, device }: Member): Partial<Binding> {
    return { ...authenticated?.user === user && { authenticatedAt: authenticated!.at }, ...device !== undefined && { device } }
  }

  #assertInTime ({ sent }: { sent: number }): void {
    if (performance.now() - sent > FENCE) throw new StoreUnavailableError('this process was too busy to write in time')
  }
}

/** Milliseconds of the lifetime that a loaded record has left. */
function lifetimeLeft ({ fields, now }: LoadedRecord, rules: Rules): number {
  const own = fields.get(LIFETIME)
  return Number(fields.get(CREATED_AT)) + (own === undefined ? rules.lifetime : Number(own) * 1000) - now
}
