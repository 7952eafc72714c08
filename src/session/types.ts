/**
 * The types that users see on `request.session`.
 */
/**
 * The data fields of a session. Empty here: applications declare theirs.
 *
 * ```ts
 * declare module 'fastify-live-session' {
 *   interface SessionData { userId?: string, count?: number }
 * }
 * ```
 */

export interface SessionData {}

/** The names of declared data fields. */
export type FieldName = Extract<keyof SessionData, string>

/** A callback in Node's style, as older client plugins pass it. */
export type Callback = (error?: Error | null) => void

/** What `remember()` sets. Seconds. */
export interface RememberOptions {
  /** Idle timeout of this session, seconds. Default: as it is. */
  idleTimeout?: number | undefined
  /** Absolute lifetime of this session, seconds, counted from its creation. Default: as it is. */
  lifetime?: number | undefined
}

/**
 * One field, read from and written to the store at the moment of the call.
 *
 * Reads answer from the store, not from this request's snapshot. Writes are atomic and guarded like a save: on a session
 * that ended they throw `SESSION_GONE`. Each is one round trip; several in one turn share one. Where the session has no
 * record yet, a write creates it. All of them throw `SESSION_STORE_UNAVAILABLE` where the store is away.
 */
export interface LiveAttribute<T = unknown> {
  /** The bytes as stored, or `null` where the field is absent. */
  readonly raw: Promise<Buffer | null>
  /** The text; a JSON string without its quotes. `''` where absent. */
  readonly str: Promise<string>
  /** A whole number up to 2^53-1. `0` where absent or anything else. */
  readonly int: Promise<number>
  /** Whether the text is `true` or `True`. `false` where absent or anything else. */
  readonly bool: Promise<boolean>
  /** The parsed JSON. `{}` where absent or no JSON. */
  readonly json: Promise<unknown>
  /** Whether the field is absent. */
  readonly none: Promise<boolean>
  /** The value as a property read would give it, but fresh. `undefined` where absent. */
  get (): Promise<T | undefined>
  /**
   * Stores a value; `undefined` removes the field.
   *
   * @throws `SESSION_VALUE_INVALID`, `SESSION_SCHEMA_MISMATCH` and the limits' errors, as a property write does
   */
  set (value: T | undefined): Promise<void>
  /** Stores a value where the field is absent, and says whether it did. */
  setIfAbsent (value: T): Promise<boolean>
  /**
   * Adds to a number, atomically and exactly (decimals too). An absent field counts as 0. The sum has to fit the option
   * `schema`; where that asks for more of the field than a type and bounds (a union, `multipleOf`, …), the sum is checked and
   * stored as `update` does it.
   *
   * @param by default 1
   * @returns the new value
   * @throws `SESSION_NOT_A_NUMBER`, `SESSION_NUMBER_RANGE`, `SESSION_SCHEMA_MISMATCH`; where it goes as with `update` also
   *   `SESSION_UPDATE_CONFLICT`; the field is as it was then
   */
  incr (by?: number): Promise<number>
  /** Removes the field, and says whether it existed. */
  delete (): Promise<boolean>
  /** Removes the field and answers its value: of many callers at once exactly one gets it, the others `undefined`. */
  take (): Promise<T | undefined>
  /**
   * Replaces the value by `fn(value)`, and tries again with the newer value where somebody was faster.
   *
   * @param fn gets `undefined` where absent; returns the new value, or `undefined` to remove. May be called several
   *   times, so it should do nothing but compute. Where it throws for a value that is not the newest, it is called again
   * @returns the new value
   * @throws `SESSION_UPDATE_CONFLICT` after 10 attempts
   */
  update (fn: (value: T | undefined) => T | undefined): Promise<T | undefined>
}

/** A live attribute per declared field; while `SessionData` declares none, for every name. */
export type LiveAttributes = [FieldName] extends [never]
  ? { readonly [name: string]: LiveAttribute }
  : { readonly [Name in FieldName]-?: LiveAttribute<NonNullable<SessionData[Name]>> }

/** What every session object can do, beside holding data. */
export interface SessionMethods {
  /** Names the record; safe to log; authenticates nobody. */
  readonly id: string
  /** No stored record backs this session (yet): the visitor is anonymous. */
  readonly isNew: boolean
  /**
   * The store did not answer, and the route (or the option `onStoreError`) wants to go on without it: this session is
   * empty, whoever the visitor is, and cannot be changed.
   */
  readonly degraded: boolean
  /** When the record was created, by the store's clock. */
  readonly createdAt: Date | undefined
  /** When the record's expiry was last extended, by the store's clock; accurate to `touchInterval`. */
  readonly lastAccessedAt: Date | undefined
  /** When the record ends if nobody uses it any more, by the store's clock; accurate to what a reply of Redis takes, at most `timeout`. */
  readonly expiresAt: Date | undefined
  /** The idle timeout of this session, seconds. Assign to change it; it counts from the moment of saving. */
  idleTimeout: number
  /** When the session became its user's, or was last elevated, by the store's clock; `undefined` before either. */
  readonly authenticatedAt: Date | undefined
  /** Until when the session is elevated, by the store's clock; `undefined` where it never was. Activity does not extend it. */
  readonly elevatedUntil: Date | undefined
  /**
   * Aborts when the session ends, wherever that happens, with an `errors.EndedError` as its reason. It is live until the
   * response is over, or the WebSocket closed. The first use in a process opens one more connection to Redis.
   */
  readonly signal: AbortSignal
  /** The fields, read and written in the store at the moment of the call. */
  readonly live: LiveAttributes

  /**
   * The value of a field, `undefined` where absent. Works for every name.
   *
   * @throws `SESSION_NAME_INVALID` where the key is no string
   */
  get<Name extends FieldName> (key: Name): SessionData[Name] | undefined
  get (key: string): unknown
  /**
   * Sets a field; `undefined` removes it. Works for every name.
   *
   * @throws `SESSION_NAME_INVALID`, `SESSION_VALUE_INVALID`, `SESSION_SCHEMA_MISMATCH`, `SESSION_VALUE_TOO_DEEP`,
   *   `SESSION_FIELD_TOO_LARGE`, `SESSION_SEALED`; nothing has changed then
   */
  set<Name extends FieldName> (key: Name, value: SessionData[Name] | undefined): void
  set (key: string, value: unknown): void
  /**
   * Whether a field is there.
   *
   * @throws `SESSION_NAME_INVALID` where the key is no string
   */
  has (key: string): boolean
  /** A copy of all fields as a plain object. */
  data (): Partial<SessionData> & Record<string, unknown>
  /** The same as `data()`: what JSON.stringify takes. */
  toJSON (): Record<string, unknown>

  /**
   * Stores what changed so far, instead of waiting for the response. Creates the record where there is none and data
   * were written.
   *
   * @throws `SESSION_GONE` where the session ended meanwhile, `SESSION_STORE_UNAVAILABLE`, the limits' errors,
   *   `SESSION_HEADERS_SENT` where a cookie would be needed that cannot be sent any more
   */
  save (callback?: Callback): Promise<void>
  /**
   * Reads all fields anew and drops unsaved changes.
   *
   * @throws `SESSION_GONE` where the session ended meanwhile, `SESSION_STORE_UNAVAILABLE`
   */
  reload (callback?: Callback): Promise<void>
  /** Extends the expiry when the session is saved, also on routes with `touch: false`. */
  touch (): void
  /** Removes all fields. The session itself goes on. */
  clear (): void
  /**
   * Ends the session everywhere, at once, and has the browser drop its cookie. The object goes on as a new, anonymous
   * session.
   *
   * @throws `SESSION_STORE_UNAVAILABLE`; the cookie is left alone then
   */
  destroy (callback?: Callback): Promise<void>
  /**
   * Replaces the secret: same record, same data, new cookie. The old cookie is dead when the response is sent. It happens
   * when the session is saved, in one step with what changed; if the handler fails, the old cookie stays good.
   */
  rotate (callback?: Callback): Promise<void>
  /**
   * For right after the user has been authenticated once more: now becomes the time of that, and the session is elevated,
   * for routes that ask for it. The session gets a new secret in the same step, as by `rotate()`.
   *
   * @param seconds how long it is elevated, whatever happens meanwhile
   * @throws `SESSION_TIMEOUT_INVALID`
   */
  elevate (seconds: number, callback?: Callback): Promise<void>
  /**
   * Goes on with a new, empty record and a new cookie; the old record ends. For every login: nothing that was planted
   * before survives it. It happens when the session is saved; if the handler fails, the old session stays. What
   * `remember()`, `elevate()` and `idleTimeout` asked for the old one is dropped: call them afterwards.
   *
   * @param keys fields to carry over; absent ones are skipped
   * @throws `SESSION_NAME_INVALID` where that is no array of strings; `SESSION_HEADERS_SENT`; nothing has changed then
   */
  regenerate (keys?: readonly string[], callback?: Callback): Promise<void>
  regenerate (callback?: Callback): Promise<void>
  /**
   * A persistent cookie, and limits of its own, for this session.
   *
   * @throws `SESSION_TIMEOUT_INVALID` where the lifetime is shorter than the idle timeout
   */
  remember (options?: RememberOptions): void
}

/** `request.session`: declared data fields as properties, and the methods. */
export type Session = SessionMethods & Omit<SessionData, keyof SessionMethods>
