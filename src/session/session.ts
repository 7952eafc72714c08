/**
 * The session of one request, as the plugin's hooks and, through the proxy, applications see it: what may be called when,
 * and what it means. Getting it into the store is the business of persistence.ts.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Token } from '../cookie/token.js'
import { DegradedError, DisabledError, EndedError, HeadersSentError, SealedError, StoreUnavailableError, TimeoutError } from '../errors.js'
import { MAX_TIMEOUT } from '../options.js'
import { assertKey, assertKeys, AUTHENTICATED, CREATED_AT, ELEVATED, LAST_ACCESSED_AT, LIFETIME } from '../store/record.js'
import type { Operation, OperationResult, Rules } from '../store/store.js'
import type { Authentication } from './authentication.js'
import type { Fields } from './fields.js'
import { liveAttributes, type LiveSession } from './live.js'
import { memberOf } from './member.js'
import { Persistence } from './persistence.js'
import type { FieldSchema } from './schema.js'
import { SessionState, type OnStoreError, type RouteSession, type SessionInstance } from './state.js'
import type { Callback, LiveAttributes, RememberOptions, Session as PublicSession } from './types.js'

export class Session implements LiveSession {
  readonly #state: SessionState
  readonly #persistence: Persistence
  #sealed = false
  #live: LiveAttributes | undefined

  constructor (instance: SessionInstance, request: FastifyRequest, reply: FastifyReply, route: RouteSession) {
    this.#state = new SessionState(instance, request, reply, route)
    this.#persistence = new Persistence(this.#state)
  }

  // ---- For the plugin's hooks. The proxy shows none of this to applications.

  /** What applications see; made when somebody looks at the session. */
  view: PublicSession | undefined

  /** Takes note that a cookie of ours came, whatever it is worth: `destroy()` clears it. */
  noteCookie (): void {
    this.#state.cookieCame = true
  }

  /** Loads the record of a genuine token; see `Persistence.begin`. */
  begin (token: Token, done: (reused: boolean) => void, fail: (error: Error) => void): void {
    this.#persistence.begin(token, done, fail)
  }

  /** What a route's rule about authentication is held against. */
  get authentication (): Authentication {
    return {
      now: this.#state.clock.now,
      authenticatedAt: this.authenticatedAt?.getTime(),
      elevatedUntil: this.elevatedUntil?.getTime()
    }
  }

  /** Loads the record that the session of another library was moved to; see `Persistence.inherit`. */
  inherit (moving: Promise<Token | undefined>, done: (id: string | undefined, reused: boolean) => void, fail: (error: Error) => void): void {
    this.#persistence.inherit(moving, done, fail)
  }

  /**
   * Goes on as an empty session that cannot be changed, although the record could not be loaded, where that is wanted.
   *
   * @param otherwise what holds where the route does not say
   * @returns whether it is wanted
   */
  degrade (otherwise: OnStoreError): boolean {
    const wanted = this.#state.route === false ? undefined : this.#state.route?.onStoreError
    this.#state.degraded = (wanted ?? otherwise) === 'anonymous'
    if (this.#state.degraded) this.#state.unreadable = false
    return this.#state.degraded
  }

  /**
   * Whether saving at the end of the request has anything to do. Asked first, because for most requests it has not.
   */
  get unsaved (): boolean {
    return this.#persistence.unsaved
  }

  /**
   * Saves at the end of the request.
   *
   * @param failed the handler failed: what it changed is dropped
   * @throws what `save` throws
   */
  finish (failed: boolean): Promise<void> {
    return this.#persistence.finish(failed)
  }

  /** From now on changes would be lost: they throw. */
  seal (): void {
    this.#sealed = true
  }

  get sealed (): boolean {
    return this.#sealed
  }

  /** Whether it can be looked at: it is loaded, or there was nothing to load. */
  get readable (): boolean {
    return !this.#state.unreadable
  }

  /** Whether this request changed something that nobody saved. */
  get dirty (): boolean {
    if (this.#persistence.busy || this.#state.phase === 'gone') return false
    if (this.#state.ending || this.#state.rotating || this.#state.settings !== undefined || this.#state.replaced !== undefined) return true
    try {
      return this.#state.fields.changes().length > 0
    } catch {
      return true // there is a change, even if no store would take it
    }
  }

  /** Ends the session when it is saved: `request.session = null`. */
  endLater (): void {
    this.#assertWritable()
    this.#state.ending = true
    this.#state.fields.clear()
  }

  /** The error with which the store failed an earlier operation of this request, if it did. */
  get failure (): Error | undefined {
    return this.#state.failure
  }

  // ---- For live attributes.

  get fields (): Fields {
    return this.#state.fields
  }

  get rules (): Rules {
    return this.#state.instance.rules
  }

  get schema (): FieldSchema | undefined {
    return this.#state.instance.fieldRules.schema
  }

  async operate (operation: Operation): Promise<OperationResult> {
    this.#assertReadable()
    if (operation.type !== 'get') this.#assertChangeable()
    return await this.#persistence.operate(operation)
  }

  // ---- For applications; documented in types.ts.

  get id (): string {
    this.#assertReadable()
    if (this.#state.id === undefined) this.#state.newIdentity()
    return this.#state.id!
  }

  get isNew (): boolean {
    this.#assertReadable()
    return this.#state.phase === 'new'
  }

  get degraded (): boolean {
    return this.#state.degraded
  }

  get createdAt (): Date | undefined {
    this.#assertReadable()
    return toDate(this.#state.createdAt ?? this.#state.meta(CREATED_AT))
  }

  get lastAccessedAt (): Date | undefined {
    this.#assertReadable()
    if (this.#state.phase === 'new') return undefined
    const extended = this.#state.loaded === undefined || this.#state.loaded.touched
    return toDate(extended ? this.#state.clock.now : this.#state.meta(LAST_ACCESSED_AT))
  }

  get expiresAt (): Date | undefined {
    this.#assertReadable()
    return this.#state.phase === 'new' ? undefined : toDate(this.#state.clock.now + this.#state.clock.ttl)
  }

  get idleTimeout (): number {
    this.#assertReadable()
    return this.#state.idleTimeout
  }

  set idleTimeout (seconds: number) {
    this.#assertWritable()
    assertTimeout('idleTimeout', seconds)
    this.#state.settings = { ...this.#state.settings, idleTimeout: seconds }
  }

  get authenticatedAt (): Date | undefined {
    this.#assertReadable()
    return toDate(this.#state.authenticatedAt === undefined ? this.#state.meta(AUTHENTICATED) : this.#state.authenticatedAt ?? undefined)
  }

  get elevatedUntil (): Date | undefined {
    this.#assertReadable()
    return toDate(this.#state.elevatedUntil === undefined ? this.#state.meta(ELEVATED) : this.#state.elevatedUntil ?? undefined)
  }

  get signal (): AbortSignal {
    this.#assertReadable()
    if (this.#state.controller === undefined) {
      this.#state.controller = new AbortController()
      if (this.#state.phase === 'gone') this.#state.controller.abort(new EndedError('ended'))
      else if (this.#state.phase === 'stored') this.#persistence.watch(this.#state.controller)
    }
    return this.#state.controller.signal
  }

  get live (): LiveAttributes {
    this.#live ??= liveAttributes(this)
    return this.#live
  }

  get (key: string): unknown {
    assertKey(key)
    this.#assertReadable()
    return this.#state.fields.get(key)
  }

  set (key: string, value: unknown): void {
    this.#assertWritable()
    this.#state.fields.set(key, value)
  }

  has (key: string): boolean {
    return this.get(key) !== undefined
  }

  /** Names of the data fields. */
  names (): string[] {
    this.#assertReadable()
    return this.#state.fields.names()
  }

  data (): Record<string, unknown> {
    // Unlike assignment, this takes __proto__ for a name like any other.
    return Object.fromEntries(this.names().map((name) => [name, this.#state.fields.get(name)]))
  }

  toJSON (): Record<string, unknown> {
    return this.data()
  }

  save (callback?: Callback): Promise<void> {
    this.#assertReadable()
    return settle(this.#persistence.save(), callback)
  }

  reload (callback?: Callback): Promise<void> {
    this.#assertReadable()
    this.#assertNotDegraded()
    return settle(this.#persistence.reload(), callback)
  }

  touch (): void {
    this.#assertWritable()
    this.#state.touch = true
  }

  clear (): void {
    this.#assertWritable()
    this.#state.fields.clear()
  }

  destroy (callback?: Callback): Promise<void> {
    this.#assertReadable()
    // Nobody may take this for a logout: the record is still there.
    this.#assertNotDegraded()
    return settle(this.#persistence.end(), callback)
  }

  rotate (callback?: Callback): Promise<void> {
    this.#assertWritable()
    if (this.#state.phase === 'stored') {
      this.#assertCookiePossible()
      this.#state.rotating = true
    }
    return settle(Promise.resolve(), callback)
  }

  elevate (seconds: number, callback?: Callback): Promise<void> {
    this.#assertWritable()
    assertTimeout('elevate()', seconds)
    this.#state.settings = { ...this.#state.settings, elevate: seconds }
    return this.rotate(callback)
  }

  regenerate (keys?: readonly string[] | Callback, callback?: Callback): Promise<void> {
    if (typeof keys === 'function') return this.regenerate([], keys)
    this.#assertWritable()
    this.#assertCookiePossible()
    const names = keys ?? []
    assertKeys(names)
    const carried = names.map((key) => [key, this.#state.fields.get(key)] as const).filter(([, value]) => value !== undefined)
    const { users } = this.#state.instance
    const bound = users === undefined || this.#state.phase === 'new' ? undefined : memberOf(this.#state).bound
    const replaced = this.#state.phase === 'new' ? this.#state.replaced : { id: this.#state.id!, digest: this.#state.digest, carried: carried.length > 0, bound }
    const at = this.authenticatedAt?.getTime()
    const authenticated = bound !== undefined && at !== undefined && carried.some(([key]) => users!.decides(key)) ? { user: bound.user, at } : undefined
    this.#state.becomeNew()
    this.#state.replaced = replaced
    this.#state.authenticated = authenticated
    for (const [key, value] of carried) this.#state.fields.set(key, value)
    return settle(Promise.resolve(), callback)
  }

  remember ({ idleTimeout, lifetime }: RememberOptions = {}): void {
    this.#assertWritable()
    if (idleTimeout !== undefined) assertTimeout('remember() idleTimeout', idleTimeout)
    if (lifetime !== undefined) assertTimeout('remember() lifetime', lifetime)
    const { rules } = this.#state.instance
    const total = lifetime ?? this.#state.settings?.lifetime ?? this.#state.ownLifetime ?? this.#state.meta(LIFETIME) ?? rules.lifetime / 1000
    const idle = idleTimeout ?? this.idleTimeout
    if (total < idle) throw new TimeoutError('remember()', `the lifetime (${total} s) is shorter than the idle timeout (${idle} s); give both`)
    this.#state.settings = { ...this.#state.settings, ...(idleTimeout !== undefined && { idleTimeout }), ...(lifetime !== undefined && { lifetime }), persistent: true }
  }

  // ---- Inside.

  #assertReadable (): void {
    if (this.#state.unreadable) throw this.#state.failure ?? new StoreUnavailableError('the session is still being loaded')
  }

  #assertWritable (): void {
    this.#assertReadable()
    this.#assertChangeable()
    if (this.#sealed) throw new SealedError()
  }

  #assertChangeable (): void {
    if (this.#state.route === false) throw new DisabledError()
    this.#assertNotDegraded()
  }

  #assertNotDegraded (): void {
    if (this.#state.degraded) throw new DegradedError()
  }

  #assertCookiePossible (): void {
    if (this.#state.headersSent) throw new HeadersSentError()
  }
}

function assertTimeout (what: string, seconds: number): void {
  if (!(seconds >= 1 && seconds <= MAX_TIMEOUT)) throw new TimeoutError(what, `expected a number of seconds from 1 to ${MAX_TIMEOUT}`)
}

function toDate (ms: number | undefined): Date | undefined {
  return ms === undefined ? undefined : new Date(ms)
}

/** Serves callers with a callback and callers that await. */
function settle (promise: Promise<void>, callback: Callback | undefined): Promise<void> {
  if (callback === undefined) return promise
  promise.then(() => { callback(null) }, (error: Error) => { callback(error) })
  return Promise.resolve()
}
