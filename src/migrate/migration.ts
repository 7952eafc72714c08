/**
 * Moving the sessions of another library, one by one, when their browsers come with the old cookie.
 *
 * The old record and the new one may live on different nodes of a Cluster, so no step can change both. Their order makes
 * every state in between harmless, and the old key decides every race:
 *
 * 1. Look at the old key: a session, a pointer (then go on with 4), or nothing.
 * 2. Create a new record under an id of its own. Nobody knows it yet.
 * 3. Put a pointer to it in the place of the old session, unless a pointer stands there already. Of many requests at once
 *    one wins. The others end the record that they made, and follow the pointer, too. Where the old session ended
 *    meanwhile, nobody wins, and what was made ends.
 * 4. Load the record, by the secret that follows from the old cookie (see cookie.ts).
 *
 * A crash, or a Redis that goes away, between 2 and 3 leaves the old session as it was, and a record that nobody can
 * reach until it expires. After 3 everything is done: whoever comes with the old cookie follows the pointer, for as long
 * as the old session would have lasted. A logout ends the record, so that the pointer leads nowhere.
 *
 * From there on it is a routine renewal: the secret that follows from the old cookie is the predecessor, the browser gets
 * a successor, and once that was used the old cookie is soon worth nothing.
 *
 * With `keep` the old session stays, so there is no place for a pointer. There the id follows from the old cookie as well:
 * one record is made, whoever comes first, and step 3 is to see whether the old session is still there. If it is not, it
 * ended meanwhile, and what was made of it ends, too.
 */
import { digestOf, newId, type Token } from '../cookie/token.js'
import { MAX_TIMEOUT } from '../options.js'
import { StoreUnavailableError } from '../errors.js'
import { Snapshot, type FieldRules } from '../session/snapshot.js'
import type { Rules, Settings, Store } from '../store/store.js'
import { inheritance, OldCookieReader, type OldCookie } from './cookie.js'
import { pointedTo, readSession, type OldSession } from './formats.js'
import type { OldRecords } from './old-records.js'
import type { ResolvedMigration } from './options.js'

/** What a migration needs of the plugin. */
export interface MigrationContext {
  /** Where sessions move to. */
  store: Store
  records: OldRecords
  rules: Rules
  fieldRules: FieldRules
  /** Writes a warning into the log: what happened, and to which old system or field. */
  warn: (what: string, details: Record<string, unknown>) => void
}

/** What the plugin's hooks, and a session that ends, know of all this. */
export class Migrations {
  readonly #migrations: Migration[]

  constructor (options: readonly ResolvedMigration[], context: MigrationContext) {
    this.#migrations = options.map((one) => new Migration(one, context))
  }

  /**
   * Moves the session of an old cookie.
   *
   * @param header the Cookie header
   * @returns `undefined` where no genuine old cookie came; else the token of the record, or `undefined` where there is
   *   no session to move
   * @throws StoreUnavailableError
   */
  move (header: string): Promise<Token | undefined> | undefined {
    const came = this.#cameIn(header)
    return came.length === 0 ? undefined : moveFirst(came)
  }

  /**
   * Ends the old sessions of the old cookies in a request: it logs out.
   *
   * @throws StoreUnavailableError
   */
  async end (header: string): Promise<void> {
    for (const { migration, cookie } of this.#cameIn(header)) await migration.end(cookie)
  }

  #cameIn (header: string): Came[] {
    return this.#migrations.flatMap((migration) => {
      const cookie = migration.cookieIn(header)
      return cookie === undefined ? [] : [{ migration, cookie }]
    })
  }
}

/** A genuine old cookie, and the system that it is from. */
interface Came { migration: Migration, cookie: OldCookie }

async function moveFirst (came: Came[]): Promise<Token | undefined> {
  for (const { migration, cookie } of came) {
    const token = await migration.move(cookie)
    if (token !== undefined) return token
  }
  return undefined
}

/** One old system. */
class Migration {
  readonly #options: ResolvedMigration
  readonly #context: MigrationContext
  readonly #reader: OldCookieReader

  constructor (options: ResolvedMigration, context: MigrationContext) {
    this.#options = options
    this.#context = context
    this.#reader = new OldCookieReader(options)
  }

  /** The genuine old cookie in a Cookie header, while it is time. */
  cookieIn (header: string): OldCookie | undefined {
    return Date.now() < this.#options.until ? this.#reader.read(header) : undefined
  }

  async move (cookie: OldCookie): Promise<Token | undefined> {
    const key = this.#options.prefix + cookie.id
    const stored = await this.#context.records.look(key)
    if (stored === undefined) return undefined
    if (typeof stored === 'string') {
      this.#leave(stored === 'large' ? 'it is too large to be read' : 'its key is neither a string nor a hash')
      return undefined
    }
    const { secret, id: derived } = inheritance(cookie, this.#options.prefix)
    const digest = digestOf(secret)
    const tokenOf = (id: string): Token => ({ id, secret, digest, outdated: false })
    const pointed = pointedTo(stored)
    if (pointed !== undefined) return tokenOf(pointed)

    const old = readSession(stored)
    if (old === undefined) return undefined
    const id = this.#options.keep ? derived : newId()
    const ttl = await this.#create(id, digest, old)
    if (ttl === undefined) return undefined
    const standing = await this.#settle(key, id, old, stored.type, ttl)
    if (standing !== id) await this.#context.store.destroy(id, digest)
    return standing === undefined ? undefined : tokenOf(standing)
  }

  async end (cookie: OldCookie): Promise<void> {
    await this.#context.records.end(this.#options.prefix + cookie.id)
  }

  /**
   * Step 2.
   *
   * @returns milliseconds that the record may live; `undefined` where there is nothing that could be stored
   */
  async #create (id: string, digest: string, old: OldSession): Promise<number | undefined> {
    const { store, rules } = this.#context
    const data = this.#dataOf(old)
    const operations = data.operationsOf(data.take())
    if (operations.length === 0) return undefined
    const settings = settingsFor(old, rules)
    const written = await store.create(id, digest, { operations, settings, touch: 'never', mode: 'together' }, rules)
    if (written === undefined) {
      // With `keep` somebody was faster. Otherwise two equal ids of 128 random bits: a broken generator.
      if (!this.#options.keep) throw new StoreUnavailableError('every new id is taken')
    } else if (written.refusal !== undefined) {
      this.#leave(written.refusal.refused === 'fields' ? 'it has more than maxFields fields' : 'it is larger than maxRecordSize allows')
      return undefined
    }
    return old.ttl ?? rules.lifetime
  }

  /** Step 3. Answers the id of the record that the session is in now, or `undefined` where it ended meanwhile. */
  async #settle (key: string, id: string, { pointer }: OldSession, type: 'string' | 'hash', ttl: number): Promise<string | undefined> {
    const { records } = this.#context
    if (this.#options.keep) return await records.exists(key) ? id : undefined
    return await records.move(key, type, pointer, id, ttl)
  }

  /** The data that a record can hold. What it cannot is left out: better than to log somebody out. */
  #dataOf (old: OldSession): Snapshot {
    const fields = new Snapshot(this.#context.fieldRules)
    let data: Record<string, unknown> | undefined
    try {
      data = this.#options.transform(old.data)
    } catch (error) {
      this.#leave(`transform threw ${error instanceof Error ? error.name : 'something'}`)
    }
    for (const [name, value] of Object.entries(data ?? {})) {
      try {
        fields.set(name, value)
      } catch (error) {
        this.#context.warn('a field of a session that moved was left out', { format: this.#options.format, field: name.slice(0, 40), code: (error as { code?: string }).code })
      }
    }
    return fields
  }

  /** Takes note that a session stays where it is. */
  #leave (reason: string): void {
    this.#context.warn('a session was not moved, and is left as it is', { format: this.#options.format, reason })
  }
}

/**
 * Limits of its own for a session that had more time left than a new one gets: moving shortens nothing. One that had
 * less gets what a new one gets, because this request uses it.
 */
function settingsFor ({ ttl = 0, persistent }: OldSession, rules: Rules): Settings {
  const seconds = Math.min(Math.ceil(ttl / 1000), MAX_TIMEOUT)
  return {
    ...(ttl > rules.idleTimeout && { idleTimeout: seconds }),
    ...(ttl > rules.lifetime && { lifetime: seconds }),
    ...(persistent && { persistent })
  }
}
