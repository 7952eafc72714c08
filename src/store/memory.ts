/**
 * Sessions in the memory of this process: for development, tests and demos. Same contract as the Redis store.
 */
import { StoreUnavailableError } from '../errors.js'
import { applyOperations, reservedName } from './operations.js'
import * as record from './record.js'
import { MAX_TTL } from './record.js'
import type { LoadedRecord, RawRecord, Rules, Settings, Standing, Store, StoreStatus, Write, Written } from './store.js'

interface Entry {
  /** All fields, metadata included. */
  fields: Map<string, string>
  /** When the record expires, milliseconds by this store's clock. */
  expiresAt: number
}

export class MemoryStore implements Store {
  readonly #entries = new Map<string, Entry>()
  readonly #maxRecords: number
  readonly #prefix: string
  readonly #now: () => number

  /**
   * @param options.prefix what `inspect` puts in front of an id. Default `session:`
   * @param options.maxRecords how many records are kept at most; creating more is refused like a full Redis refuses it,
   *   because dropping somebody's live session would be a silent logout. Default 10,000
   * @param options.now the store's clock in milliseconds; for tests. Default `Date.now`
   */
  constructor (options: { prefix?: string, maxRecords?: number, now?: () => number } = {}) {
    this.#prefix = options.prefix ?? 'session:'
    this.#maxRecords = options.maxRecords ?? 10_000
    this.#now = options.now ?? Date.now
  }

  async load (id: string, digest: string, touch: boolean, rules: Rules): Promise<LoadedRecord | undefined> {
    const entry = this.#find(id)
    if (entry === undefined) return undefined
    const now = this.#now()
    const standing = this.#present(id, entry, digest, now, rules)
    if (standing === undefined) return undefined
    const touched = touch && standing !== 'reused' && this.#extend(entry, now, rules, 'due')
    return { standing, now, ttl: Math.max(0, entry.expiresAt - now), touched, fields: new MapFields(new Map(entry.fields)) }
  }

  async create (id: string, digest: string, write: Write, rules: Rules): Promise<Written | undefined> {
    const problem = reservedName(write)
    if (problem !== undefined) throw problem
    if (this.#find(id) !== undefined) return undefined
    if (this.#entries.size >= this.#maxRecords) this.#sweep()
    if (this.#entries.size >= this.#maxRecords) throw new StoreUnavailableError(`the memory store is full: ${this.#maxRecords} sessions`)
    const now = this.#now()
    const applied = applyOperations(new Map(), write, rules)
    if (applied.refusal !== undefined) return { now, ttl: 0, results: [], refusal: applied.refusal }
    const fields = new Map([
      [record.CREATED_AT, String(now)],
      [record.LAST_ACCESSED_AT, String(now)],
      [record.SESSION_TTL, String(rules.idleTimeout / 1000)],
      [record.DIGEST, digest]
    ])
    changeSettings(fields, { ...write.settings, digest: undefined }, now)
    for (const [field, text] of applied.data) fields.set(field, text)
    const entry = { fields, expiresAt: now + Math.min(idleTimeout(fields), lifetimeLeft(fields, now, rules), MAX_TTL) }
    this.#entries.set(id, entry)
    return { now, ttl: entry.expiresAt - now, results: applied.results }
  }

  async write (id: string, digest: string, write: Write, rules: Rules): Promise<Written | undefined> {
    const problem = reservedName(write)
    if (problem !== undefined) throw problem
    const entry = this.#find(id)
    if (entry === undefined || !owns(entry, digest)) return undefined
    const now = this.#now()
    const data = new Map([...entry.fields].filter(([name]) => !record.isReserved(name)))
    const applied = applyOperations(data, write, rules)
    if (applied.refusal !== undefined) return { now, ttl: entry.expiresAt - now, results: [], refusal: applied.refusal }
    for (const name of data.keys()) if (!applied.data.has(name)) entry.fields.delete(name)
    for (const [name, text] of applied.data) entry.fields.set(name, text)
    if (changeSettings(entry.fields, write.settings, now)) {
      entry.fields.set(record.LAST_ACCESSED_AT, String(now))
      entry.expiresAt = now + Math.min(idleTimeout(entry.fields), lifetimeLeft(entry.fields, now, rules), MAX_TTL)
    } else if (write.touch !== 'never') {
      this.#extend(entry, now, rules, write.touch)
    }
    return { now, ttl: entry.expiresAt - now, results: applied.results }
  }

  async read (id: string, digest: string, names: readonly string[]): Promise<Array<Buffer | null> | undefined> {
    const entry = this.#find(id)
    if (entry === undefined || !owns(entry, digest)) return undefined
    return names.map((name) => {
      const text = record.isReserved(name) ? undefined : entry.fields.get(name)
      return text === undefined ? null : Buffer.from(text)
    })
  }

  async renew (id: string, digest: string, nextDigest: string, sealed: string): Promise<string | undefined> {
    const entry = this.#find(id)
    if (entry === undefined || entry.fields.get(record.DIGEST) !== digest) return undefined
    if (!entry.fields.has(record.NEXT)) {
      entry.fields.set(record.NEXT, nextDigest)
      entry.fields.set(record.SEALED, sealed)
    }
    return entry.fields.get(record.SEALED)
  }

  async destroy (id: string, digest?: string): Promise<boolean> {
    const entry = this.#find(id)
    if (entry === undefined || (digest !== undefined && !owns(entry, digest))) return false
    return this.#entries.delete(id)
  }

  async inspect (id: string): Promise<RawRecord | undefined> {
    const entry = this.#find(id)
    if (entry === undefined) return undefined
    return { key: this.#prefix + id, ttl: entry.expiresAt - this.#now(), fields: Object.fromEntries(entry.fields) }
  }

  /** Always ready: this process' memory does not go away. */
  status (): StoreStatus {
    return 'ready'
  }

  async close (): Promise<void> {
    this.#entries.clear()
  }

  /** The live entry of an id; an expired one is dropped on the way, as Redis does it. */
  #find (id: string): Entry | undefined {
    const entry = this.#entries.get(id)
    if (entry === undefined || entry.expiresAt > this.#now()) return entry
    this.#entries.delete(id)
    return undefined
  }

  /** Decides what a presented digest is worth, confirming or ending a renewal on the way. */
  #present (id: string, entry: Entry, digest: string, now: number, rules: Rules): Standing | undefined {
    const { fields } = entry
    if (digest === fields.get(record.NEXT)) {
      fields.set(record.PREVIOUS, fields.get(record.DIGEST) ?? '')
      fields.set(record.PREVIOUS_UNTIL, String(now + rules.rotateGrace))
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
    this.#entries.delete(id)
    return 'reused'
  }

  /** Extends the expiry where that is due; says whether it did. */
  #extend (entry: Entry, now: number, rules: Rules, touch: 'due' | 'always'): boolean {
    const idle = idleTimeout(entry.fields)
    if (touch === 'due' && entry.expiresAt - now >= idle) return false
    const slack = Math.min(rules.touchInterval, idle * rules.touchInterval / rules.idleTimeout)
    const ttl = Math.min(idle + slack, lifetimeLeft(entry.fields, now, rules), MAX_TTL)
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

function owns (entry: Entry, digest: string): boolean {
  return digest === entry.fields.get(record.DIGEST) || digest === entry.fields.get(record.NEXT) ||
    digest === entry.fields.get(record.PREVIOUS)
}

/** Writes changed settings into the metadata; says whether the expiry has to be computed anew. */
function changeSettings (fields: Map<string, string>, settings: Settings, now: number): boolean {
  if (settings.idleTimeout !== undefined) fields.set(record.SESSION_TTL, String(settings.idleTimeout))
  if (settings.lifetime !== undefined) fields.set(record.LIFETIME, String(settings.lifetime))
  if (settings.persistent === true) fields.set(record.PERSISTENT, '1')
  if (settings.persistent === false) fields.delete(record.PERSISTENT)
  if (settings.digest !== undefined) {
    for (const name of [record.NEXT, record.SEALED, record.PREVIOUS, record.PREVIOUS_UNTIL]) fields.delete(name)
    fields.set(record.DIGEST, settings.digest)
    fields.set(record.ROTATED, String(now))
  }
  return settings.idleTimeout !== undefined || settings.lifetime !== undefined
}

function idleTimeout (fields: ReadonlyMap<string, string>): number {
  return Number(fields.get(record.SESSION_TTL)) * 1000
}

function lifetimeLeft (fields: ReadonlyMap<string, string>, now: number, rules: Rules): number {
  const own = fields.get(record.LIFETIME)
  return Number(fields.get(record.CREATED_AT)) + (own === undefined ? rules.lifetime : Number(own) * 1000) - now
}
