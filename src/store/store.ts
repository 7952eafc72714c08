/**
 * The contract between the plugin and whatever keeps the records.
 *
 * Two stores fulfil it, Redis and memory, and pass the same contract suite. Rules that hold for every operation:
 *
 * - **One step.** An operation happens as a whole or not at all; no other operation is ever seen half-way.
 * - **Guarded.** Two doors lead to a record. `load` is for who arrives: it takes the digest of the presented secret, and
 *   decides what that is worth. Everything else is for who is in: it takes the `lineage` that `load` found (see
 *   `lineageOf`), which any number of routine renewals leave as it is, and acts only while the record exists and is of that
 *   lineage. Otherwise it changes nothing and says so by `undefined` or `false`. It never creates what is gone.
 * - **Reversible where a browser may be left with nothing.** A write with a new digest, and `retire`, leave behind what it
 *   takes to undo them, under a mark, until `finalize` or `takeBack` say which it shall be.
 * - **The store's clock decides.** Times are milliseconds since 1970 as the store sees them; expiry is the store's alone.
 * - **Errors are of three kinds.** `StoreUnavailableError`: it is unknown whether anything happened, or nothing did.
 *   `RecordError`: the key holds no session record; it is left untouched. Any other error: the operation was refused
 *   before it changed anything.
 */

/** What one plugin instance demands of its records. Times are milliseconds. */
export interface Rules {
  /** The idle timeout of a record that sets none of its own. */
  readonly idleTimeout: number
  /**
   * An extension may exceed the idle timeout by this much, so that not every request has to write. It is for records
   * with the default idle timeout, and shrinks in proportion for records with a shorter one.
   */
  readonly touchInterval: number
  /** The absolute lifetime of a record that sets none of its own. */
  readonly lifetime: number
  /** Routine renewal of the secret is due this long after the last one; 0: never. */
  readonly rotateEvery: number
  /** How long a predecessor stays welcome after its successor was first used. */
  readonly rotateGrace: number
  /** How many data fields a record may have. */
  readonly maxFields: number
  /** How many bytes the names and texts of a record's data fields may take together. */
  readonly maxRecordSize: number
  /**
   * Users' sessions are listed. Then a record that is a user's is extended only by a write that carries the ticket under
   * which the extension was announced in the user's list; see src/users/user-index.ts.
   */
  readonly users?: boolean
}

/** The texts of a record's fields, metadata included, as they stood at one moment. */
export interface StoredFields {
  /** The text of a field, or `undefined` where the record has none of that name. */
  get (name: string): string | undefined
  /** All names, metadata included. */
  names (): Iterable<string>
}

/**
 * How the presented secret relates to the record:
 * - `current`: it owns the record;
 * - `due`: it owns the record, and routine renewal is due;
 * - `superseded`: it is still good, but a successor exists (sealed in the record) and the browser should get it;
 * - `reused`: it is the predecessor of a renewal and came after its grace. The record was ended: a sign of theft.
 */
export type Standing = 'current' | 'due' | 'superseded' | 'reused'

/** A record as found by `load`. */
export interface LoadedRecord {
  standing: Standing
  /** The store's clock at the moment of loading. */
  now: number
  /** Milliseconds until the record expires, after any extension by this very load. */
  ttl: number
  /** Whether this load extended the expiry. */
  touched: boolean
  /** The record is a user's, and has less than one idle timeout left: extending it, after announcing that, is the caller's. */
  due: boolean
  /** As they stood before this load. */
  fields: StoredFields
}

/** A record as `look` finds it. */
export type Seen = Pick<LoadedRecord, 'now' | 'ttl' | 'fields'>

/** One change to, or look at, a data field. Texts are as the codec makes them. */
export type Operation =
  /** Answers the text as a Buffer, or `null`. */
  | { type: 'get', field: string }
  /** Answers `true`. */
  | { type: 'set', field: string, text: string }
  /** Answers whether the field was absent and is set now. */
  | { type: 'setIfAbsent', field: string, text: string }
  /** Adds a decimal number. Answers the new text; refuses non-numbers and what leaves [min, max]. An absent field counts as 0. */
  | { type: 'increment', field: string, by: string, min: string, max: string }
  /** Answers whether the field existed. */
  | { type: 'delete', field: string }
  /** Removes the field and answers its text as a Buffer, or `null`: of many callers exactly one gets it. */
  | { type: 'take', field: string }
  /** Sets (or with `text: null` removes) the field if its text is `expected` (`null`: if it is absent). Answers a `ReplaceResult`. */
  | { type: 'replace', field: string, expected: string | null, text: string | null }
  /** Removes all data fields. Answers `true`. */
  | { type: 'clear' }

/** What `replace` found: done, or the text (or absence) that stood there instead. */
export interface ReplaceResult { done: boolean, current: string | null }

/** Why one operation of several was refused. It changed nothing; the others are not affected. */
export interface Refusal { refused: 'not-a-number' | 'range' | 'fields' | 'size' }

/** Answer of one operation, see `Operation`. */
export type OperationResult = Buffer | string | boolean | null | ReplaceResult | Refusal

/** What a write changes beside data. */
export interface Settings {
  /** New idle timeout of this session, seconds. */
  idleTimeout?: number
  /** New absolute lifetime of this session, seconds, counted from its creation. */
  lifetime?: number
  /** The cookie of this session outlives the browser. */
  persistent?: boolean
  /**
   * Digest of a new secret: the old secrets stop working in the same step (`rotate`). Until `finalize`, the whole write can
   * be taken back, with this digest as the mark.
   */
  digest?: string
  /**
   * The user has just been authenticated again: now becomes the time of that, whatever a binding says, and the session is
   * elevated for so many seconds.
   */
  elevate?: number
}

/** The entry in a user's list that stands for a session. */
export interface Bound {
  /** The user, as `announce` took it. */
  user: string
  ticket: string
}

/** Whose session a write makes this. The announcement comes first; see `announce`. */
export interface Binding {
  /** `null`: nobody's any more. */
  user: string | null
  /** As `announce` answered it; or the one that the record carries already. Empty with `user: null`. */
  ticket: string
  /** The ticket is the one under which the record is this user's already; where it is not, nothing happens and the answer is `moved`. */
  kept?: boolean
  /**
   * What the fields that decide on the user have to hold after the operations, `null` for absence. Where they hold it, the
   * session becomes the user's. Where they do not, and this write has changed one of them, nothing happens and the answer
   * is `moved`. Where this write did not change any of them, the session stays whose it is.
   */
  when: ReadonlyArray<readonly [field: string, text: string | null]>
  /** When the user was authenticated, milliseconds by the store's clock. Default: now, where the user is another one. */
  authenticatedAt?: number
  /** Of the device, where such facts are kept. */
  device?: { label: string, network: string }
}

/** A guarded delta. */
export interface Write {
  operations: readonly Operation[]
  settings: Settings
  /**
   * `due` extends the expiry where less than one idle timeout is left, `always` in any case, `never` leaves it alone
   * (unless the settings change it).
   */
  touch: 'due' | 'always' | 'never'
  /**
   * Together: if one operation is refused, nothing of this write happens and `refusal` says why.
   * Apart: every operation stands alone; refusals are among the results.
   */
  mode: 'together' | 'apart'
  binding?: Binding
  /** The ticket under which an extension of the expiry by this write was announced. Only that lets a user's record be extended. */
  announced?: string
}

/** Answer to a write or a creation. */
export interface Written {
  now: number
  ttl: number
  /** One per operation, in order. */
  results: OperationResult[]
  /** Set where a write of mode `together` was refused: nothing happened, and `now` and `ttl` mean nothing. */
  refusal?: Refusal & { field: string }
  /** Set where a write had a binding that came into effect: the entry that the record was listed under before. */
  left?: Bound | 'nothing'
  /**
   * Set where somebody else was faster: nothing happened. What the record says now: whose it is, and the texts of the
   * fields in `binding.when`, in their order.
   */
  moved?: { bound: Bound | undefined, texts: Array<string | null> }
  /** Set where the ticket was barred, because all sessions of the user were ended meanwhile: nothing happened. */
  barred?: true
}

/** An entry of a user's list. */
export interface Entry {
  id: string
  ticket: string
  /** When the ticket was made, milliseconds by the clock of whoever keeps the list. */
  since: number
}

/** What is to be entered in a user's list. */
export interface Announcement {
  id: string
  /** The ticket of an entry that is announced again, because its record is about to be extended. Without it, a new ticket is made. */
  ticket?: string
  /** No later than after so many milliseconds the record will have ended, unless it is announced again. */
  lasts: number
  /** For so long after its last change, at least, the list is kept, milliseconds. */
  keep: number
  /** Since when this session is the user's, for one that never was announced: it is compared with `ended`. Default: the ticket's time. */
  since?: number
  /** How many sessions the user may have, and what to do with more: answer `full`, or enter it and answer which ones have to end. */
  limit?: { max: number, then: 'ask' | 'refuse' | 'end-oldest' }
  /** The ids of sessions that this one takes the place of: they do not count. */
  replaces?: readonly string[]
}

/**
 * Answer to `announce`.
 * - `entered`: the list has the entry; `entries` have to be ended before the record is written.
 * - `full`: it has not; `entries` are those that stand in the way.
 * - `ended`: it has not, because the session is one of those that were ended with all of the user's.
 */
export interface Announced {
  outcome: 'entered' | 'full' | 'ended'
  ticket: string
  /** The store's clock. */
  now: number
  entries: Entry[]
}

/** A user's list. */
export interface UserList {
  /** The store's clock. */
  now: number
  /** When the list began: no earlier entry can be in it. `undefined` where there was none. */
  since: number | undefined
  entries: Entry[]
}

/** How a session ended: by itself or its browser, by somebody else, by time, or because an old secret was used again. */
export type EndReason = 'destroyed' | 'ended' | 'expired' | 'reused'

/** What a record says about itself, data aside. */
export interface Description {
  id: string
  /** The store's clock. */
  now: number
  /** Milliseconds until it expires. */
  ttl: number
  createdAt: number
  lastAccessedAt: number
  bound: Bound | undefined
  authenticatedAt: number | undefined
  device: string | undefined
  network: string | undefined
}

/** Whom ends are told. */
export interface EndListener {
  /** Called for every end, of any session. */
  ended (id: string, reason: EndReason): void
  /** Called when ends are told from now on: at first, and whenever some may have been missed. */
  connected (): void
}

/** A subscription to ends. */
export interface Subscription { close (): Promise<void> }

/** Answer to `inspect`. */
export interface RawRecord {
  /** The record's key, as `redis-cli` needs it. */
  key: string
  /** Milliseconds until it expires. */
  ttl: number
  /** Every field with its text, metadata included. */
  fields: Record<string, string>
}

/**
 * Whether a store can be used, as far as it knows:
 * - `ready`: nothing speaks against it;
 * - `degraded`: some operations fail, or some did a moment ago;
 * - `down`: all fail, for now.
 *
 * What was only observed, like a refused command, is forgotten after a few seconds: where nobody asks a store that is
 * `down`, nothing would ever show that it is back.
 */
export type StoreStatus = 'ready' | 'degraded' | 'down'

export interface Store {
  /**
   * Finds a record by id and digest, extends its expiry where `touch` is set and less than one idle timeout is left,
   * and confirms a renewal where the presented digest is that of the successor.
   *
   * @returns the record, or `undefined` where there is none that this digest owns
   */
  load (id: string, digest: string, touch: boolean, rules: Rules): Promise<LoadedRecord | undefined>

  /**
   * Creates a record: insert only.
   *
   * @param write what goes into it, over `rules.idleTimeout`; its `touch` and `settings.digest` mean nothing here
   * @returns `undefined` where a record of this id exists already, retired ones included; that one is left untouched
   */
  create (id: string, digest: string, write: Write, rules: Rules): Promise<Written | undefined>

  /**
   * Applies a delta to an existing record.
   *
   * @returns `undefined` where the record is gone or of another lineage by now; nothing was changed
   */
  write (id: string, lineage: string, write: Write, rules: Rules): Promise<Written | undefined>

  /**
   * Reads fields as they stand now, without extending the expiry.
   *
   * @returns one Buffer or `null` per name, or `undefined` where the record is gone
   */
  read (id: string, lineage: string, names: readonly string[]): Promise<Array<Buffer | null> | undefined>

  /**
   * The whole record as it stands now, for who is in already: nothing is extended, confirmed or ended by it.
   *
   * @returns `undefined` where the record is gone
   */
  look (id: string, lineage: string): Promise<Seen | undefined>

  /** Whether a secret of this digest is the record's current one or its unconfirmed successor, and no predecessor. */
  stands (id: string, digest: string): Promise<boolean>

  /**
   * Offers a successor for a routine renewal. The first offer wins. Only the current secret may offer one, not a successor
   * or predecessor.
   *
   * @param nextDigest digest of the offered secret
   * @param sealed the offered secret, sealed for whoever holds the current one
   * @returns the sealed successor that stands, this one or an earlier one; `undefined` where the digest does not own the record
   */
  renew (id: string, digest: string, nextDigest: string, sealed: string): Promise<string | undefined>

  /**
   * Takes a record out of use: from now on there is no such record for anybody, until it is taken back. For the record that
   * another one takes the place of. If nothing follows, it is gone for good a minute later.
   *
   * @param mark names this step for `finalize` and `takeBack`
   * @param lineage where given, only if the record is of that lineage
   * @returns whether there was a record
   */
  retire (id: string, mark: string, lineage?: string): Promise<boolean>

  /**
   * Decides that the step of this mark stands. A retired record ends, and subscribers are told.
   *
   * @param mark of `retire`, or the digest of a write that rotated
   * @returns whether a record ended by it
   */
  finalize (id: string, mark: string): Promise<boolean>

  /**
   * Undoes the step of this mark, exactly: the record is what it was before, data, secrets and expiry. Nobody but whoever
   * took the step can have changed the record since, because nobody else knows its new secret.
   *
   * @param mark as for `finalize`
   * @returns whether there was such a step to undo
   */
  takeBack (id: string, mark: string): Promise<boolean>

  /**
   * Ends a record for good, a retired one too, and tells subscribers.
   *
   * @param lineage where given, only if the record is of that lineage
   * @returns whether there was something to end
   */
  destroy (id: string, lineage?: string): Promise<boolean>

  /**
   * Ends a record that somebody else uses, and tells subscribers.
   *
   * @param ticket where given, only if the record carries it; otherwise the ticket is barred for the next minute, or as long as
   *   the record lasts: no write to this id that carries it happens any more, also where the record does not exist yet
   * @returns whether there was something to end
   */
  end (id: string, ticket?: string): Promise<boolean>

  /**
   * Puts a session into a user's list, which is one step of its own: it comes before the write that makes the session the
   * user's, or that extends it. The list drops entries whose time has passed.
   */
  announce (user: string, announcement: Announcement): Promise<Announced>

  /** Takes entries out of a user's list. */
  leave (user: string, entries: ReadonlyArray<Pick<Entry, 'id' | 'ticket'>>): Promise<void>

  /**
   * A user's list: where it exists, it names every record that carries one of its tickets, and perhaps some that do not
   * (yet, or any more).
   *
   * @param ending says at the same time that all sessions of the user, but for the one of the id `except`, end now: those
   *   that the list does not know are refused by `announce`
   */
  entries (user: string, ending?: { except: string | undefined, keep: number }): Promise<UserList>

  /** What records say about themselves, in the order of the ids; `undefined` where there is none. Nothing is extended. */
  describe (ids: readonly string[]): Promise<Array<Description | undefined>>

  /**
   * The ids of all records, in small steps. What exists from beginning to end is named; what comes or goes meanwhile may be
   * named or not, and an id may be named twice. So may ids of what is none any more, which `describe` tells apart.
   */
  scan (): AsyncIterable<string[]>

  /**
   * Has ends told, from any process, until closed. Nothing is told of those that expire.
   */
  subscribe (listener: EndListener): Subscription

  /** The record as it is kept, for people to look at; nothing is extended. */
  inspect (id: string): Promise<RawRecord | undefined>

  /** Whether the store can be used, from what is known already: nothing is asked, nothing is waited for. Never throws. */
  status (): StoreStatus

  /** Releases what the store opened itself. Never throws, never hangs. */
  close (): Promise<void>
}
