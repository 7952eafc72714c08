/**
 * Sessions in the memory of this process: for development, tests and demos. Same contract as the Redis store.
 */
import { StoreUnavailableError } from '../errors.js'
import { applyOperations, reservedName } from './operations.js'
import * as record from './record.js'
import { MemoryLists } from './memory-lists.js'
import type {
  Announced, Announcement, Binding, Bound, Description, EndListener, EndReason, Entry as ListEntry, LoadedRecord, RawRecord, Rules,
  Seen, Settings, Standing, Store, StoreStatus, Subscription, UserList, Write, Written
} from './store.js'

/** How long a ticket stays barred, milliseconds: longer than any write that carries it can be under way. */
const BARRED_FOR = 60_000

interface Entry {
  /** All fields, metadata included. */
  fields: Map<string, string>
  /** When the record expires, milliseconds by this store's clock. */
  expiresAt: number
  /** What the entry was before the last step that can be taken back. */
  before?: Entry & { mark: string } | undefined
}

export class MemoryStore implements Store {
  readonly #entries = new Map<string, Entry>()
  readonly #lists: MemoryLists
  readonly #listeners = new Set<EndListener>()
  /** By id, tickets whose writes shall not happen any more, and until when. */
  readonly #barred = new Map<string, Map<string, number>>()
  readonly #maxRecords: number
  readonly #prefix: string
  readonly #now: () => number

  /**
   * @param options.prefix what `inspect` puts in front of an id. Default `session:`
   * @param options.maxRecords how many records are kept at most; creating more is refused like a full Redis refuses it,
   *   because dropping somebody's live session would be a silent logout. Default 10,000
   * @param options.now the store's clock in milliseconds; for tests. Default `Date.now`
   */
  constructor (options: { prefix?: string | undefined, maxRecords?: number | undefined, now?: (() => number) | undefined } = {}) {
    this.#prefix = options.prefix ?? 'session:'
    this.#maxRecords = options.maxRecords ?? 10_000
    this.#now = options.now ?? Date.now
    this.#lists = new MemoryLists(this.#now)
  }

  async load (id: string, digest: string, touch: boolean, rules: Rules): Promise<LoadedRecord | undefined> {
    const entry = this.#inUse(id)
    if (entry === undefined) return undefined
    const now = this.#now()
    const fields = new MapFields(new Map(entry.fields))
    const standing = this.#present(id, entry, digest, now, rules)
    if (standing === undefined) return undefined
    const owned = rules.users === true && entry.fields.has(record.USER)
    const touched = touch && !owned && standing !== 'reused' && this.#extend(entry, now, rules, 'due')
    const ttl = Math.max(0, entry.expiresAt - now)
    return { standing, now, ttl, touched, due: owned && standing !== 'reused' && ttl < idleTimeout(entry.fields), fields }
  }

  async create (id: string, digest: string, write: Write, rules: Rules): Promise<Written | undefined> {
    const problem = reservedName(write)
    if (problem !== undefined) throw problem
    const now = this.#now()
    const applied = applyOperations(new Map(), write, rules)
    if (applied.refusal !== undefined) return { now, ttl: 0, results: [], refusal: applied.refusal }
    if (this.#find(id) !== undefined) return undefined
    const { binding } = write
    if (binding !== undefined && this.#isBarred(id, binding.ticket)) return { now, ttl: 0, results: [], barred: true }
    if (this.#entries.size >= this.#maxRecords) this.#sweep()
    if (this.#entries.size >= this.#maxRecords) throw new StoreUnavailableError(`the memory store is full: ${this.#maxRecords} sessions`)
    const fields = new Map([
      [record.CREATED_AT, String(now)],
      [record.LAST_ACCESSED_AT, String(now)],
      [record.SESSION_TTL, String(rules.idleTimeout / 1000)],
      [record.DIGEST, digest]
    ])
    changeSettings(fields, { ...write.settings, digest: undefined }, now)
    if (binding !== undefined) changeOwner(fields, binding, now)
    elevate(fields, write.settings, now)
    for (const [field, text] of applied.data) fields.set(field, text)
    const entry = { fields, expiresAt: now + record.lasting(Math.min(idleTimeout(fields), lifetimeLeft(fields, now, rules))) }
    this.#entries.set(id, entry)
    return { now, ttl: entry.expiresAt - now, results: applied.results, ...binding !== undefined && { left: 'nothing' as const } }
  }

  async write (id: string, lineage: string, write: Write, rules: Rules): Promise<Written | undefined> {
    const problem = reservedName(write)
    if (problem !== undefined) throw problem
    const entry = this.#inUse(id, lineage)
    if (entry === undefined) return undefined
    const now = this.#now()
    const data = new Map([...entry.fields].filter(([name]) => !record.isReserved(name)))
    const applied = applyOperations(data, write, rules)
    if (applied.refusal !== undefined) return { now, ttl: entry.expiresAt - now, results: [], refusal: applied.refusal }
    const { binding } = write
    const bound = boundOf(entry.fields)
    const moved = (): Written => {
      const texts = (binding?.when ?? []).map(([name]) => data.get(name) ?? null)
      return { now, ttl: entry.expiresAt - now, results: [], moved: { bound, texts } }
    }
    const fits = binding?.when.every(([name, text]) => (applied.data.get(name) ?? null) === text) === true
    if (binding !== undefined) {
      if (!fits && binding.when.some(([name]) => applied.data.get(name) !== data.get(name))) return moved()
      if (fits && binding.kept === true && (bound?.user !== binding.user || bound.ticket !== binding.ticket)) return moved()
      if (fits && this.#isBarred(id, binding.ticket)) return { now, ttl: 0, results: [], barred: true }
    }
    const held = fits ? binding!.ticket : bound?.ticket ?? ''
    const unannounced = rules.users === true && held !== '' && write.announced !== held
    const { settings } = write
    if (unannounced && (write.touch === 'always' || settings.idleTimeout !== undefined || settings.lifetime !== undefined)) return moved()
    if (settings.digest !== undefined) remember(entry, settings.digest)
    for (const name of data.keys()) if (!applied.data.has(name)) entry.fields.delete(name)
    for (const [name, text] of applied.data) entry.fields.set(name, text)
    if (fits) changeOwner(entry.fields, binding!, now)
    elevate(entry.fields, settings, now)
    if (changeSettings(entry.fields, settings, now)) {
      entry.fields.set(record.LAST_ACCESSED_AT, String(now))
      entry.expiresAt = now + record.lasting(Math.min(idleTimeout(entry.fields), lifetimeLeft(entry.fields, now, rules)))
    } else if (write.touch !== 'never' && !unannounced) {
      this.#extend(entry, now, rules, write.touch)
    }
    return { now, ttl: entry.expiresAt - now, results: applied.results, ...fits && { left: bound ?? 'nothing' } }
  }

  async read (id: string, lineage: string, names: readonly string[]): Promise<Array<Buffer | null> | undefined> {
    const entry = this.#inUse(id, lineage)
    if (entry === undefined) return undefined
    return names.map((name) => {
      const text = record.isReserved(name) ? undefined : entry.fields.get(name)
      return text === undefined ? null : Buffer.from(text)
    })
  }

  async look (id: string, lineage: string): Promise<Seen | undefined> {
    const entry = this.#inUse(id, lineage)
    if (entry === undefined) return undefined
    const now = this.#now()
    return { now, ttl: entry.expiresAt - now, fields: new MapFields(new Map(entry.fields)) }
  }

  async stands (id: string, digest: string): Promise<boolean> {
    const fields = this.#inUse(id)?.fields
    return fields?.get(record.DIGEST) === digest || fields?.get(record.NEXT) === digest
  }

  async renew (id: string, digest: string, nextDigest: string, sealed: string): Promise<string | undefined> {
    const entry = this.#inUse(id)
    if (entry === undefined || entry.fields.get(record.DIGEST) !== digest) return undefined
    if (!entry.fields.has(record.NEXT)) {
      entry.fields.set(record.NEXT, nextDigest)
      entry.fields.set(record.SEALED, sealed)
    }
    return entry.fields.get(record.SEALED)
  }

  async retire (id: string, mark: string, lineage?: string): Promise<boolean> {
    const entry = this.#inUse(id, lineage)
    if (entry === undefined) return false
    remember(entry, mark)
    for (const name of SECRETS) entry.fields.delete(name)
    entry.expiresAt = Math.min(entry.expiresAt, this.#now() + record.RETIRED_FOR)
    return true
  }

  async finalize (id: string, mark: string): Promise<boolean> {
    const entry = this.#find(id)
    if (entry?.before?.mark !== mark) return false
    entry.before = undefined
    return !entry.fields.has(record.DIGEST) && this.#end(id, 'destroyed')
  }

  async takeBack (id: string, mark: string): Promise<boolean> {
    const entry = this.#find(id)
    if (entry?.before?.mark !== mark) return false
    this.#entries.set(id, entry.before)
    return this.#find(id) !== undefined
  }

  async destroy (id: string, lineage?: string): Promise<boolean> {
    return (lineage === undefined ? this.#find(id) : this.#inUse(id, lineage)) !== undefined && this.#end(id, 'destroyed')
  }

  async end (id: string, ticket?: string): Promise<boolean> {
    const entry = this.#find(id)
    if (entry !== undefined && (ticket === undefined || ticket === entry.fields.get(record.TICKET))) return this.#end(id, 'ended')
    if (ticket !== undefined) this.#bar(id, ticket)
    return false
  }

  async announce (user: string, announcement: Announcement): Promise<Announced> {
    return this.#lists.announce(user, announcement)
  }

  async leave (user: string, entries: ReadonlyArray<Pick<ListEntry, 'id' | 'ticket'>>): Promise<void> {
    this.#lists.leave(user, entries)
  }

  async entries (user: string, ending?: { except: string | undefined, keep: number }): Promise<UserList> {
    return this.#lists.entries(user, ending)
  }

  async describe (ids: readonly string[]): Promise<Array<Description | undefined>> {
    return ids.map((id) => {
      const entry = this.#inUse(id)
      return entry === undefined ? undefined : describe(id, entry, this.#now())
    })
  }

  async * scan (): AsyncGenerator<string[]> {
    for (const id of [...this.#entries.keys()]) if (this.#inUse(id) !== undefined) yield [id]
  }

  subscribe (listener: EndListener): Subscription {
    this.#listeners.add(listener)
    queueMicrotask(() => { listener.connected() })
    return { close: async () => { this.#listeners.delete(listener) } }
  }

  async inspect (id: string): Promise<RawRecord | undefined> {
    const entry = this.#inUse(id)
    if (entry === undefined) return undefined
    return { key: this.#prefix + id, ttl: entry.expiresAt - this.#now(), fields: Object.fromEntries(entry.fields) }
  }

  /** Always ready: this process' memory does not go away. */
  status (): StoreStatus {
    return 'ready'
  }

  async close (): Promise<void> {
    this.#entries.clear()
    this.#barred.clear()
    this.#lists.clear()
  }

  #end (id: string, reason: EndReason): boolean {
    if (!this.#drop(id)) return false
    for (const listener of this.#listeners) listener.ended(id, reason)
    return true
  }

  /** Takes a record away, with the bars that were about it. */
  #drop (id: string): boolean {
    this.#barred.delete(id)
    return this.#entries.delete(id)
  }

  #bar (id: string, ticket: string): void {
    const now = this.#now()
    for (const [other, bars] of this.#barred) {
      for (const [barred, until] of bars) if (until <= now) bars.delete(barred)
      if (bars.size === 0) this.#barred.delete(other)
    }
    const bars = this.#barred.get(id) ?? new Map<string, number>()
    this.#barred.set(id, bars.set(ticket, now + BARRED_FOR))
  }

  #isBarred (id: string, ticket: string): boolean {
    return (this.#barred.get(id)?.get(ticket) ?? 0) > this.#now()
  }

  /** The live entry of an id; an expired one is dropped on the way, as Redis does it. */
  #find (id: string): Entry | undefined {
    const entry = this.#entries.get(id)
    if (entry === undefined || entry.expiresAt > this.#now()) return entry
    this.#drop(id)
    return undefined
  }

  /** The live entry of an id that nobody retired, where given only if it is of a lineage. */
  #inUse (id: string, lineage?: string): Entry | undefined {
    const entry = this.#find(id)
    if (entry?.fields.has(record.DIGEST) !== true) return undefined
    return lineage === undefined || record.lineageOf((name) => entry.fields.get(name)) === lineage ? entry : undefined
  }

  /** Decides what a presented digest is worth, confirming or ending a renewal on the way. */
  #present (id: string, entry: Entry, digest: string, now: number, rules: Rules): Standing | undefined {
    const { fields } = entry
    if (digest === fields.get(record.NEXT)) {
      fields.set(record.PREVIOUS, fields.get(record.DIGEST) ?? '')
      fields.set(record.PREVIOUS_UNTIL, String(now + rules.rotateGrace))
      if (!fields.has(record.LINEAGE)) fields.set(record.LINEAGE, fields.get(record.DIGEST) ?? '')
      fields.set(record.DIGEST, digest)
      fields.set(record.RENEWED, String(now))
      fields.delete(record.NEXT)
      return 'current'
    }
    if (digest === fields.get(record.DIGEST)) {
      if (fields.has(record.NEXT)) return 'superseded'
      const since = Math.max(...[record.CREATED_AT, record.ROTATED, record.RENEWED].map((name) => Number(fields.get(name) ?? 0)))
      return rules.rotateEvery > 0 && now - since >= rules.rotateEvery ? 'due' : 'current'
    }
    if (!fields.has(record.PREVIOUS)) return undefined
    if (digest === fields.get(record.PREVIOUS)) {
      if (now <= Number(fields.get(record.PREVIOUS_UNTIL))) return 'superseded'
    } else if (fields.has(record.ROTATED)) {
      return undefined
    }
    this.#end(id, 'reused')
    return 'reused'
  }

  /** Extends the expiry where that is due; says whether it did. */
  #extend (entry: Entry, now: number, rules: Rules, touch: 'due' | 'always'): boolean {
    const idle = idleTimeout(entry.fields)
    if (touch === 'due' && entry.expiresAt - now >= idle) return false
    const slack = Math.min(rules.touchInterval, idle * rules.touchInterval / rules.idleTimeout)
    const ttl = record.lasting(Math.min(idle + slack, lifetimeLeft(entry.fields, now, rules)))
    if (touch === 'due' && now + ttl <= entry.expiresAt) return false
    entry.expiresAt = now + ttl
    entry.fields.set(record.LAST_ACCESSED_AT, String(now))
    return true
  }

  #sweep (): void {
    for (const id of this.#entries.keys()) this.#find(id)
  }
}

/** A record's fields where they are a Map already. */
class MapFields {
  readonly #map: ReadonlyMap<string, string>

  constructor (map: ReadonlyMap<string, string>) {
    this.#map = map
  }

  get (name: string): string | undefined {
    return this.#map.get(name)
  }

  names (): Iterable<string> {
    return this.#map.keys()
  }
}

/** What says who owns a record; `@renewed` and `@rotated` only say when that changed. */
const SECRETS = [record.DIGEST, record.LINEAGE, record.NEXT, record.SEALED, record.PREVIOUS, record.PREVIOUS_UNTIL]

/** Keeps what it takes to undo a step that is about to be taken. */
function remember (entry: Entry, mark: string): void {
  entry.before = { ...entry, mark, fields: new Map(entry.fields) }
}

/** Writes changed settings into the metadata; says whether the expiry has to be computed anew. */
function changeSettings (fields: Map<string, string>, settings: Settings, now: number): boolean {
  if (settings.idleTimeout !== undefined) fields.set(record.SESSION_TTL, String(settings.idleTimeout))
  if (settings.lifetime !== undefined) fields.set(record.LIFETIME, String(settings.lifetime))
  if (settings.persistent === true) fields.set(record.PERSISTENT, '1')
  if (settings.persistent === false) fields.delete(record.PERSISTENT)
  if (settings.digest !== undefined) {
    for (const name of SECRETS) fields.delete(name)
    fields.set(record.DIGEST, settings.digest)
    fields.set(record.ROTATED, String(now))
  }
  return settings.idleTimeout !== undefined || settings.lifetime !== undefined
}

/** Writes into the metadata whose the session is from now on. */
function changeOwner (fields: Map<string, string>, { user, ticket, authenticatedAt, device }: Binding, now: number): void {
  if (fields.get(record.USER) !== (user ?? undefined)) {
    for (const name of [record.AUTHENTICATED, record.ELEVATED, record.DEVICE, record.NETWORK]) fields.delete(name)
    if (user !== null) {
      fields.set(record.AUTHENTICATED, String(authenticatedAt ?? now))
      if (device !== undefined && device.label !== '') fields.set(record.DEVICE, device.label)
      if (device !== undefined && device.network !== '') fields.set(record.NETWORK, device.network)
    }
  }
  if (user === null) {
    fields.delete(record.USER)
    fields.delete(record.TICKET)
  } else {
    fields.set(record.USER, user).set(record.TICKET, ticket)
  }
}

function elevate (fields: Map<string, string>, settings: Settings, now: number): void {
  if (settings.elevate === undefined) return
  fields.set(record.AUTHENTICATED, String(now)).set(record.ELEVATED, String(now + Math.ceil(settings.elevate * 1000)))
}

function boundOf (fields: ReadonlyMap<string, string>): Bound | undefined {
  const user = fields.get(record.USER)
  return user === undefined ? undefined : { user, ticket: fields.get(record.TICKET) ?? '' }
}

function describe (id: string, { fields, expiresAt }: Entry, now: number): Description {
  const authenticated = fields.get(record.AUTHENTICATED)
  return {
    id,
    now,
    ttl: expiresAt - now,
    createdAt: Number(fields.get(record.CREATED_AT)),
    lastAccessedAt: Number(fields.get(record.LAST_ACCESSED_AT)),
    bound: boundOf(fields),
    authenticatedAt: authenticated === undefined ? undefined : Number(authenticated),
    device: fields.get(record.DEVICE),
    network: fields.get(record.NETWORK)
  }
}

function idleTimeout (fields: ReadonlyMap<string, string>): number {
  return Number(fields.get(record.SESSION_TTL)) * 1000
}

function lifetimeLeft (fields: ReadonlyMap<string, string>, now: number, rules: Rules): number {
  const own = fields.get(record.LIFETIME)
  return Number(fields.get(record.CREATED_AT)) + (own === undefined ? rules.lifetime : Number(own) * 1000) - now
}
