/**
 * One record as a request works on it: who it is, what was loaded of it, what the request changed. After a regeneration or
 * an ending the request goes on with another one, and what was asked for before stays with this one. Nothing here asks the
 * store.
 */
import { digestOf, newId, newSecret, type Token } from '../cookie/token.js'
import { AUTHENTICATED, CREATED_AT, ELEVATED, LAST_ACCESSED_AT, LIFETIME, lineageOf, PERSISTENT, SESSION_TTL } from '../store/record.js'
import type { LoadedRecord, Seen, StoredFields, Write, Written } from '../store/store.js'
import type { SessionContext } from './context.js'
import { Membership } from './member.js'
import { Snapshot } from './snapshot.js'

/** What names a record, and what owns it. */
export interface Identity {
  readonly id: string
  /** What the browser has to show; the store knows its digest. */
  readonly secret: string
  /** By which the store knows a request that was let in; see `lineageOf`. */
  readonly lineage: string
}

/** The working copy that another one takes the place of. */
export interface Predecessor {
  readonly copy: WorkingCopy
  /** The fields that were carried over. */
  readonly keys: readonly string[]
}

export class WorkingCopy {
  readonly context: SessionContext
  /** What this one takes the place of as soon as it is stored. */
  readonly replaces: Predecessor | undefined
  readonly snapshot: Snapshot
  /**
   * new: no record backs it. stored: one does. gone: one did, and ended while this request was using it; nothing can be
   * saved any more, because whatever came in between (logout, another login) shall stand. over: this request ended it, or
   * took it out of use.
   */
  phase: 'new' | 'stored' | 'gone' | 'over' = 'new'
  #identity: Identity | undefined
  /** The store's clock and the milliseconds that the record had left, in the store's last answer. */
  clock = { now: 0, ttl: 0 }
  controller: AbortController | undefined
  /** The record as it was found. */
  #found: StoredFields | undefined
  /** Metadata that this request learnt since; `null` for absence. */
  #learnt: Map<string, string | null> | undefined
  #member: Membership | undefined

  constructor (context: SessionContext, replaces?: Predecessor) {
    this.context = context
    this.replaces = replaces
    this.snapshot = new Snapshot(context.instance.fieldRules)
  }

  /** The record's identity; made up where there is no record yet. */
  get identity (): Identity {
    if (this.#identity === undefined) {
      const secret = newSecret()
      this.#identity = { id: newId(), secret, lineage: digestOf(secret) }
    }
    return this.#identity
  }

  /** Another identity: that of before, or after, a rotation; or `undefined` to have a new one made up. */
  become (identity: Identity | undefined): void {
    this.#identity = identity
  }

  /** Begins with the record that a token was good for. */
  adopt ({ id, secret, digest }: Token, loaded: LoadedRecord): void {
    this.phase = 'stored'
    this.found(loaded)
    this.snapshot.load(loaded.fields)
    this.#identity = { id, secret, lineage: lineageOf((name) => loaded.fields.get(name)) ?? digest }
    if (loaded.touched) this.learn(LAST_ACCESSED_AT, String(loaded.now))
  }

  /** Takes over the record as it stands now. */
  found (seen: Seen): void {
    this.#found = seen.fields
    this.#learnt = this.#member = undefined
    this.clock = seen
  }

  /** Takes note of what a write that was carried out did to the metadata. */
  wrote ({ settings }: Write, { now, ttl }: Written, created: boolean): void {
    this.clock = { now, ttl }
    if (created) {
      this.phase = 'stored'
      this.learn(CREATED_AT, String(now))
      this.learn(LAST_ACCESSED_AT, String(now))
    }
    if (settings.idleTimeout !== undefined) this.learn(SESSION_TTL, String(settings.idleTimeout))
    if (settings.lifetime !== undefined) this.learn(LIFETIME, String(settings.lifetime))
    if (settings.persistent !== undefined) this.learn(PERSISTENT, settings.persistent ? '1' : null)
    if (settings.elevate !== undefined) {
      this.learn(AUTHENTICATED, String(now))
      this.learn(ELEVATED, String(now + settings.elevate * 1000))
    }
  }

  /** Takes note of a metadata field. */
  learn (name: string, text: string | null): void {
    this.#learnt ??= new Map()
    this.#learnt.set(name, text)
  }

  /** A metadata field of the record, as far as this request knows. */
  meta (name: string): string | undefined {
    const learnt = this.#learnt?.get(name)
    return learnt === undefined ? this.#found?.get(name) : learnt ?? undefined
  }

  /** A metadata field that holds a number. */
  number (name: string): number | undefined {
    const text = this.meta(name)
    return text === undefined ? undefined : Number(text)
  }

  /** Idle timeout, seconds, with what this request changed. */
  get idleTimeout (): number {
    return this.snapshot.setting('idleTimeout') ?? this.number(SESSION_TTL) ?? this.context.instance.rules.idleTimeout / 1000
  }

  /** Whether the cookie outlives the browser. */
  get persistent (): boolean {
    return this.context.instance.persistent || this.meta(PERSISTENT) === '1'
  }

  /** What the index of users has to know of this session. */
  get member (): Membership {
    this.#member ??= new Membership(this)
    return this.#member
  }

  /** This copy, and those whose place it takes, one after the other. */
  line (): WorkingCopy[] {
    return [this, ...this.replaces?.copy.line() ?? []]
  }

  /** The records that leave when this one is stored, and whether data of theirs were carried all the way. */
  leaving (): Array<{ copy: WorkingCopy, carried: boolean }> {
    let carried = true
    return this.line().flatMap(({ replaces }) => {
      if (replaces === undefined) return []
      const { copy, keys } = replaces
      carried &&= keys.length > 0
      return copy.phase === 'stored' || copy.phase === 'gone' ? [{ copy, carried }] : []
    })
  }
}
