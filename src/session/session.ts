/**
 * The session of one request: where it stands, what it changed, and how that gets into the store.
 *
 * The store's operations of one session run one after the other, in the order of the calls. What the response needs (a
 * cookie to issue or to clear) happens as soon as the store has done its part, never before.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SessionCookie } from '../cookie/cookie.js'
import { open, seal } from '../cookie/successor.js'
import { digestOf, newId, newSecret, type Token, type TokenSigner } from '../cookie/token.js'
import { DegradedError, DisabledError, EndedError, GoneError, HeadersSentError, SealedError, StoreUnavailableError, TimeoutError } from '../errors.js'
import { MAX_TIMEOUT } from '../options.js'
import { isRefusal } from '../store/operations.js'
import { AUTHENTICATED, CREATED_AT, ELEVATED, LAST_ACCESSED_AT, LIFETIME, PERSISTENT, SEALED, SESSION_TTL, TICKET, USER } from '../store/record.js'
import type { Bound, LoadedRecord, Operation, OperationResult, Rules, Settings, Store, Write, Written } from '../store/store.js'
import { deviceLabel, networkOf } from '../users/device.js'
import type { Member, UserIndex } from '../users/user-index.js'
import type { Authentication, AuthenticationRule } from './authentication.js'
import { Batch } from './batch.js'
import type { Endings } from './endings.js'
import { Fields, type FieldRules } from './fields.js'
import { liveAttributes, type LiveSession } from './live.js'
import { refusalError } from './refusal.js'
import type { NumberRange } from './schema.js'
import type { Callback, LiveAttributes, RememberOptions, Session as PublicSession } from './types.js'

/** What all sessions of one plugin instance share. */
export interface SessionInstance {
  readonly store: Store
  readonly rules: Rules
  readonly fieldRules: FieldRules
  readonly signer: TokenSigner
  readonly cookie: Pick<SessionCookie, 'name' | 'issue' | 'clear'>
  /** The option `cookie.persistent`. */
  readonly persistent: boolean
  /** Where sessions of another library are moved; see the option `migrateFrom`. */
  readonly migrations: { end (header: string): Promise<void> } | undefined
  /** Where the option `userField` says whose a session is. */
  readonly users: UserIndex | undefined
  /** The option `devices`. */
  readonly devices: boolean
  readonly endings: Endings
}

/** What a route's `config.session`, or `config.<decoratorName>`, says. */
export type RouteSession = false | { touch?: boolean, onStoreError?: OnStoreError } & AuthenticationRule | undefined

/** What the option `onStoreError` says. */
export type OnStoreError = 'fail' | 'anonymous'

/** How often a new id is tried. Two equal ids of 128 random bits mean a broken generator. */
const CREATE_ATTEMPTS = 3

const EXACT_RANGE: NumberRange = { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }

/** A record that ends when the one that takes its place is stored. */
interface Replaced { id: string, digest: string, carried: boolean, bound: Bound | undefined }

export class Session implements LiveSession {
  readonly #instance: SessionInstance
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #route: RouteSession

  /**
   * new: no record backs it. stored: one does. gone: one did, and ended while this request was using it; nothing can be
   * saved any more, because whatever came in between (logout, another login) shall stand.
   */
  #state: 'new' | 'stored' | 'gone' = 'new'
  #id: string | undefined
  #secret = ''
  #digest = ''
  /** The record as loaded. */
  #loaded: LoadedRecord | undefined
  /** The store's clock and the milliseconds that the record had left, in the store's last answer. */
  #clock = { now: 0, ttl: 0 }
  #createdAt: number | undefined
  #fields: Fields
  #settings: Settings | undefined
  /** Idle timeout and lifetime of this session, seconds, where this request stored new ones. */
  #idleTimeout: number | undefined
  #lifetime: number | undefined
  #persistent: boolean
  #touch = false
  #rotating = false
  #ending = false
  /** The record that this session replaces: it ends when the new one is stored. */
  #replaced: Replaced | undefined
  /** Whose this session is; known to the index of users. */
  #member: Member | undefined
  /** Who was authenticated in the session that this one replaces, and when, where the user was carried over. */
  #authenticated: Member['authenticated']
  /** What this request changed about the user's authentication, milliseconds by the store's clock; `null` for absence. */
  #authenticatedAt: number | null | undefined
  #elevatedUntil: number | null | undefined
  #controller: AbortController | undefined
  /** A new token is to be issued as soon as nothing can go wrong any more. */
  #tokenDue = false
  #renewalDue = false
  /** The secret of a token that the browser should get anew with the response, if that token is still good then. */
  #reissued: string | undefined
  #cookieCame = false
  #failure: Error | undefined
  /** The record could not be loaded: this session is neither anonymous nor anything else. */
  #unreadable = false
  /** The record could not be loaded, and the route goes on without it. */
  #degraded = false
  #sealed = false
  #live: LiveAttributes | undefined
  #batch: Batch | undefined
  /** The store operation under way; the next one waits for it. It never rejects. */
  #busy: Promise<void> | undefined

  constructor (instance: SessionInstance, request: FastifyRequest, reply: FastifyReply, route: RouteSession) {
    this.#instance = instance
    this.#request = request
    this.#reply = reply
    this.#route = route
    this.#persistent = instance.persistent
    this.#fields = new Fields(instance.fieldRules)
  }

  // ---- For the plugin's hooks. The proxy shows none of this to applications.

  /** What applications see; made when somebody looks at the session. */
  view: PublicSession | undefined

  /** Takes note that a cookie of ours came, whatever it is worth: `destroy()` clears it. */
  noteCookie (): void {
    this.#cookieCame = true
  }

  /**
   * Looks up the record of a genuine token. By callbacks, because every request with a session comes this way.
   *
   * @param done called when the session can be used; with `true` where the record was ended because an old secret was
   *   used again
   * @param fail called with a StoreUnavailableError or RecordError; reading the session throws the same from then on
   * @param moved another library's session was moved there just now: nobody has listed it yet
   */
  begin (token: Token, done: (reused: boolean) => void, fail: (error: Error) => void, moved = false): void {
    this.#unreadable = true
    const { store, rules, users } = this.#instance
    const failed = (error: Error): void => {
      this.#failure = error
      fail(error)
    }
    store.load(token.id, token.digest, this.#touches, rules).then((loaded) => {
      if (users !== undefined && loaded !== undefined && (loaded.due || loaded.touched || moved) && loaded.standing !== 'reused') {
        this.#claim(users, token, loaded).then(() => { done(false) }, failed)
        return
      }
      this.#unreadable = false
      const reused = loaded?.standing === 'reused'
      if (loaded !== undefined && !reused) this.#adopt(token, loaded)
      done(reused)
    }, failed)
  }

  /** What a route's rule about authentication is held against. */
  get authentication (): Authentication {
    return {
      now: this.#clock.now,
      authenticatedAt: this.authenticatedAt?.getTime(),
      elevatedUntil: this.elevatedUntil?.getTime()
    }
  }

  /**
   * Looks up the record that the session of another library was moved to. Its secret follows from the old cookie, and is
   * renewed at the end of the request as in routine renewal: parallel requests with the old cookie get the same successor.
   *
   * @param moving settles with the record's token, or with nothing where there is no session to move
   * @param done as for `begin`; gets the record's id as well
   * @param fail as for `begin`
   */
  inherit (moving: Promise<Token | undefined>, done: (id: string | undefined, reused: boolean) => void, fail: (error: Error) => void): void {
    this.#unreadable = true
    moving.then((token) => {
      if (token === undefined) {
        this.#unreadable = false
        done(undefined, false)
        return
      }
      this.begin(token, (reused) => {
        this.#renewalDue = this.#state === 'stored'
        done(token.id, reused)
      }, fail, true)
    }, (error: Error) => {
      this.#failure = error
      fail(error)
    })
  }

  /**
   * Goes on as an empty session that cannot be changed, although the record could not be loaded, where that is wanted.
   *
   * @param otherwise what holds where the route does not say
   * @returns whether it is wanted
   */
  degrade (otherwise: OnStoreError): boolean {
    const wanted = this.#route === false ? undefined : this.#route?.onStoreError
    this.#degraded = (wanted ?? otherwise) === 'anonymous'
    if (this.#degraded) this.#unreadable = false
    return this.#degraded
  }

  /**
   * Whether saving at the end of the request has anything to do. Asked first, because for most requests it has not.
   */
  get unsaved (): boolean {
    return this.#batch !== undefined || this.#busy !== undefined || this.#renewalDue || this.#reissued !== undefined || this.#ending || this.#touch ||
      this.#rotating || this.#tokenDue || this.#settings !== undefined || this.#replaced !== undefined || !this.#fields.pristine
  }

  /**
   * Saves at the end of the request.
   *
   * @param failed the handler failed: what it changed is dropped
   * @throws what `save` throws
   */
  async finish (failed: boolean): Promise<void> {
    this.#flush()
    while (this.#busy !== undefined) await this.#busy
    if (failed) this.#discard()
    // In the queue like everything else: a live write that nobody waited for may come meanwhile.
    await this.#enqueue(() => this.#commit())
    if (this.#headersSent) return
    if (this.#renewalDue) await this.#enqueue(() => this.#renew())
    else if (this.#reissued !== undefined) await this.#enqueue(() => this.#reissue())
  }

  /** From now on changes would be lost: they throw. */
  seal (): void {
    this.#sealed = true
  }

  get sealed (): boolean {
    return this.#sealed
  }

  /** Whether this request changed something that nobody saved. */
  get dirty (): boolean {
    if (this.#busy !== undefined || this.#state === 'gone') return false
    if (this.#ending || this.#rotating || this.#settings !== undefined || this.#replaced !== undefined) return true
    try {
      return this.#fields.changes().length > 0
    } catch {
      return true // there is a change, even if no store would take it
    }
  }

  /** Ends the session when it is saved: `request.session = null`. */
  endLater (): void {
    this.#assertWritable()
    this.#ending = true
    this.#fields.clear()
  }

  /** The error with which the store failed an earlier operation of this request, if it did. */
  get failure (): Error | undefined {
    return this.#failure
  }

  // ---- For live attributes.

  get fields (): Fields {
    return this.#fields
  }

  get rules (): Rules {
    return this.#instance.rules
  }

  rangeOf (name: string): NumberRange {
    return this.#instance.fieldRules.schema?.rangeOf(name) ?? EXACT_RANGE
  }

  async operate (operation: Operation): Promise<OperationResult> {
    this.#assertReadable()
    if (operation.type !== 'get') this.#assertChangeable()
    if (this.#batch === undefined) {
      this.#batch = new Batch()
      queueMicrotask(() => { this.#flush() })
    }
    if (operation.type !== 'get' && 'field' in operation) {
      for (const change of this.#fields.changesOf(operation.field)) this.#batch.precede(change)
    }
    return await this.#batch.add(operation)
  }

  // ---- For applications; documented in types.ts.

  get id (): string {
    this.#assertReadable()
    if (this.#id === undefined) this.#newIdentity()
    return this.#id!
  }

  get isNew (): boolean {
    this.#assertReadable()
    return this.#state === 'new'
  }

  get degraded (): boolean {
    return this.#degraded
  }

  get createdAt (): Date | undefined {
    this.#assertReadable()
    return toDate(this.#createdAt ?? this.#meta(CREATED_AT))
  }

  get lastAccessedAt (): Date | undefined {
    this.#assertReadable()
    if (this.#state === 'new') return undefined
    const extended = this.#loaded === undefined || this.#loaded.touched
    return toDate(extended ? this.#clock.now : this.#meta(LAST_ACCESSED_AT))
  }

  get expiresAt (): Date | undefined {
    this.#assertReadable()
    return this.#state === 'new' ? undefined : toDate(this.#clock.now + this.#clock.ttl)
  }

  get idleTimeout (): number {
    this.#assertReadable()
    return this.#settings?.idleTimeout ?? this.#idleTimeout ?? this.#meta(SESSION_TTL) ?? this.#instance.rules.idleTimeout / 1000
  }

  set idleTimeout (seconds: number) {
    this.#assertWritable()
    assertTimeout('idleTimeout', seconds)
    this.#settings = { ...this.#settings, idleTimeout: seconds }
  }

  get authenticatedAt (): Date | undefined {
    this.#assertReadable()
    return toDate(this.#authenticatedAt === undefined ? this.#meta(AUTHENTICATED) : this.#authenticatedAt ?? undefined)
  }

  get elevatedUntil (): Date | undefined {
    this.#assertReadable()
    return toDate(this.#elevatedUntil === undefined ? this.#meta(ELEVATED) : this.#elevatedUntil ?? undefined)
  }

  get signal (): AbortSignal {
    this.#assertReadable()
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#state === 'gone') this.#controller.abort(new EndedError('ended'))
      else if (this.#state === 'stored') this.#watch(this.#controller)
    }
    return this.#controller.signal
  }

  get live (): LiveAttributes {
    this.#live ??= liveAttributes(this)
    return this.#live
  }

  get (key: string): unknown {
    this.#assertReadable()
    return this.#fields.get(key)
  }

  set (key: string, value: unknown): void {
    this.#assertWritable()
    this.#fields.set(key, value)
  }

  has (key: string): boolean {
    return this.get(key) !== undefined
  }

  /** Names of the data fields. */
  names (): string[] {
    this.#assertReadable()
    return this.#fields.names()
  }

  data (): Record<string, unknown> {
    // Unlike assignment, this takes __proto__ for a name like any other.
    return Object.fromEntries(this.names().map((name) => [name, this.#fields.get(name)]))
  }

  toJSON (): Record<string, unknown> {
    return this.data()
  }

  save (callback?: Callback): Promise<void> {
    this.#assertReadable()
    this.#flush()
    return settle(this.#enqueue(() => this.#commit()), callback)
  }

  reload (callback?: Callback): Promise<void> {
    this.#assertReadable()
    this.#assertNotDegraded()
    this.#flush()
    return settle(this.#enqueue(() => this.#reload()), callback)
  }

  touch (): void {
    this.#assertWritable()
    this.#touch = true
  }

  clear (): void {
    this.#assertWritable()
    this.#fields.clear()
  }

  destroy (callback?: Callback): Promise<void> {
    this.#assertReadable()
    // Nobody may take this for a logout: the record is still there.
    this.#assertNotDegraded()
    this.#flush()
    return settle(this.#enqueue(() => this.#end()), callback)
  }

  rotate (callback?: Callback): Promise<void> {
    this.#assertWritable()
    if (this.#state === 'stored') {
      this.#assertCookiePossible()
      this.#rotating = true
    }
    return settle(Promise.resolve(), callback)
  }

  elevate (seconds: number, callback?: Callback): Promise<void> {
    this.#assertWritable()
    assertTimeout('elevate()', seconds)
    this.#settings = { ...this.#settings, elevate: seconds }
    return this.rotate(callback)
  }

  regenerate (keys?: readonly string[] | Callback, callback?: Callback): Promise<void> {
    if (typeof keys === 'function') return this.regenerate([], keys)
    this.#assertWritable()
    this.#assertCookiePossible()
    const carried = (keys ?? []).map((key) => [key, this.#fields.get(key)] as const).filter(([, value]) => value !== undefined)
    const { users } = this.#instance
    const bound = users === undefined || this.#state === 'new' ? undefined : this.#asMember().bound
    const replaced = this.#state === 'new' ? this.#replaced : { id: this.#id!, digest: this.#digest, carried: carried.length > 0, bound }
    const at = this.authenticatedAt?.getTime()
    const authenticated = bound !== undefined && at !== undefined && carried.some(([key]) => users!.decides(key)) ? { user: bound.user, at } : undefined
    this.#becomeNew()
    this.#replaced = replaced
    this.#authenticated = authenticated
    for (const [key, value] of carried) this.#fields.set(key, value)
    return settle(Promise.resolve(), callback)
  }

  remember ({ idleTimeout, lifetime }: RememberOptions = {}): void {
    this.#assertWritable()
    if (idleTimeout !== undefined) assertTimeout('remember() idleTimeout', idleTimeout)
    if (lifetime !== undefined) assertTimeout('remember() lifetime', lifetime)
    const { rules } = this.#instance
    const total = lifetime ?? this.#settings?.lifetime ?? this.#lifetime ?? this.#meta(LIFETIME) ?? rules.lifetime / 1000
    const idle = idleTimeout ?? this.idleTimeout
    if (total < idle) throw new TimeoutError('remember()', `the lifetime (${total} s) is shorter than the idle timeout (${idle} s); give both`)
    this.#settings = { ...this.#settings, ...(idleTimeout !== undefined && { idleTimeout }), ...(lifetime !== undefined && { lifetime }), persistent: true }
  }

  // ---- Inside.

  get #touches (): boolean {
    return this.#route === undefined || this.#route === false || this.#route.touch !== false
  }

  get #headersSent (): boolean {
    // The answer to a WebSocket upgrade is written by hand and takes no cookie.
    return this.#reply.raw.headersSent || (this.#request as { ws?: boolean }).ws === true
  }

  #assertReadable (): void {
    if (this.#unreadable) throw this.#failure ?? new StoreUnavailableError('the session is still being loaded')
  }

  #assertWritable (): void {
    this.#assertReadable()
    this.#assertChangeable()
    if (this.#sealed) throw new SealedError()
  }

  #assertChangeable (): void {
    if (this.#route === false) throw new DisabledError()
    this.#assertNotDegraded()
  }

  #assertNotDegraded (): void {
    if (this.#degraded) throw new DegradedError()
  }

  #assertCookiePossible (): void {
    if (this.#headersSent) throw new HeadersSentError()
  }

  /** A number among the metadata of the loaded record. */
  #meta (name: string): number | undefined {
    const text = this.#loaded?.fields.get(name)
    return text === undefined ? undefined : Number(text)
  }

  /** Takes over a record after what the index of users has to do about it, which may find that the session ended. */
  async #claim (users: UserIndex, token: Token, loaded: LoadedRecord): Promise<void> {
    const { alive, bound } = await users.claim(token.id, token.digest, loaded, this.#touches)
    this.#unreadable = false
    if (!alive) return
    this.#adopt(token, loaded)
    this.#asMember().bound = bound
    if (bound !== undefined) this.#authenticatedAt = this.#meta(AUTHENTICATED) ?? this.#meta(CREATED_AT)
  }

  /** What the index of users has to know of this session. */
  #asMember (): Member {
    if (this.#member !== undefined) return this.#member
    const user = this.#loaded?.fields.get(USER)
    const session = this
    this.#member = {
      bound: user === undefined ? undefined : { user, ticket: this.#loaded?.fields.get(TICKET) ?? '' },
      storedText: (name) => this.#fields.storedText(name),
      get idleTimeout () { return session.idleTimeout },
      get replaces () { return session.#replaced?.id },
      get authenticated () { return session.#authenticated },
      get device () { return session.#device }
    }
    return this.#member
  }

  get #device (): Member['device'] {
    // Without a request there is no device.
    if (!this.#instance.devices || this.#request.headers === undefined) return undefined
    return { label: deviceLabel(this.#request.headers['user-agent']), network: networkOf(this.#request.ip) }
  }

  /** Creates or writes the record, which may make it a user's. */
  async #put (how: 'create' | 'write', write: Write): Promise<Written | undefined> {
    const { store, rules, users } = this.#instance
    const member = users && this.#asMember()
    const before = member?.bound?.user
    const written = await (member === undefined
      ? store[how](this.#id!, this.#digest, write, rules)
      : users![how](this.#id!, this.#digest, write, member))
    if (written === undefined || written.refusal !== undefined || written.barred === true) return written
    if (member?.bound?.user !== before) {
      const user = member?.bound?.user
      this.#authenticatedAt = user === undefined ? null : this.#authenticated?.user === user ? this.#authenticated!.at : written.now
      this.#elevatedUntil = null
    }
    if (write.settings.elevate !== undefined) {
      this.#authenticatedAt = written.now
      this.#elevatedUntil = written.now + write.settings.elevate * 1000
    }
    return written
  }

  /** Has the signal abort when the session ends, as long as there is somebody on the other side. */
  #watch (controller: AbortController): void {
    const stop = this.#instance.endings.watch(this.#id!, this.#clock.ttl, (reason) => { controller.abort(new EndedError(reason)) })
    const connection = (this.#request as { ws?: boolean }).ws === true ? this.#request.raw.socket : this.#reply.raw
    if (connection.destroyed) stop()
    else connection.once('close', stop)
  }

  #adopt (token: Token, loaded: LoadedRecord): void {
    this.#id = token.id
    this.#secret = token.secret
    this.#digest = token.digest
    this.#state = 'stored'
    this.#loaded = loaded
    this.#clock = loaded
    this.#fields.load(loaded.fields)
    if (loaded.standing === 'superseded') this.#passOnSuccessor(loaded)
    else if (loaded.standing === 'due') this.#renewalDue = true
    if (loaded.touched && loaded.fields.get(PERSISTENT) === '1') this.#persistent = true
    // A persistent cookie has to outlive the extension; one with an old signature has to outlive its key.
    else if (!token.outdated && !(loaded.touched && this.#persistent)) return
    if (loaded.standing !== 'superseded') this.#reissued = this.#secret
  }

  /** Everybody who still comes with the old secret is given the same successor. */
  #passOnSuccessor (loaded: LoadedRecord): void {
    const sealed = loaded.fields.get(SEALED)
    const successor = sealed === undefined ? undefined : open(this.#id!, this.#secret, sealed)
    if (successor === undefined) return
    this.#persistent ||= loaded.fields.get(PERSISTENT) === '1'
    this.#reissued = successor
  }

  /**
   * Gives the browser a token that it should have, unless the record ended or was rotated while the handler ran: then
   * another response may have set, or cleared, the cookie already, and this one must not undo that. Like a renewal it is
   * nobody's wish.
   */
  async #reissue (): Promise<void> {
    const secret = this.#reissued
    this.#reissued = undefined
    if (secret === undefined) return
    try {
      if (await this.#instance.store.read(this.#id!, digestOf(secret), []) !== undefined) this.#issueToken(secret)
    } catch (error) {
      this.#request.log.warn({ sessionId: this.#id, code: (error as { code?: string }).code }, 'the session cookie could not be sent anew; the next request will try again')
    }
  }

  /** Routine renewal. It is nobody's wish, so its failure is nobody's failure: the next request tries again. */
  async #renew (): Promise<void> {
    this.#renewalDue = false
    const offered = newSecret()
    try {
      const sealed = await this.#instance.store.renew(this.#id!, this.#digest, digestOf(offered), seal(this.#id!, this.#secret, offered))
      const successor = sealed === undefined ? undefined : open(this.#id!, this.#secret, sealed)
      if (successor === undefined) return
      this.#persistent ||= this.#loaded?.fields.get(PERSISTENT) === '1'
      this.#issueToken(successor)
    } catch (error) {
      this.#request.log.warn({ sessionId: this.#id, code: (error as { code?: string }).code }, 'the session secret could not be renewed; the next request will try again')
    }
  }

  #newIdentity (): void {
    this.#id = newId()
    this.#secret = newSecret()
    this.#digest = digestOf(this.#secret)
  }

  #becomeNew (): void {
    this.#state = 'new'
    this.#id = undefined
    this.#loaded = undefined
    this.#createdAt = undefined
    this.#fields = new Fields(this.#instance.fieldRules)
    this.#settings = this.#idleTimeout = this.#lifetime = undefined
    this.#persistent = this.#instance.persistent
    this.#touch = this.#rotating = this.#ending = this.#tokenDue = this.#renewalDue = false
    this.#replaced = this.#reissued = this.#member = this.#authenticated = this.#authenticatedAt = this.#elevatedUntil = this.#controller = undefined
  }

  #discard (): void {
    this.#fields.discard()
    this.#settings = undefined
    this.#touch = this.#rotating = this.#ending = false
    if (this.#state === 'new') this.#replaced = undefined
  }

  /** Runs a store operation of this session after those that were asked for before. */
  #enqueue<T> (operation: () => Promise<T>): Promise<T> {
    const result = this.#busy === undefined ? operation() : this.#busy.then(operation)
    const busy = result.then(nothing, (error: Error) => {
      if (error instanceof StoreUnavailableError) this.#failure = error
    }).then(() => {
      if (this.#busy === busy) this.#busy = undefined
    })
    this.#busy = busy
    return result
  }

  /** Sends the live operations that were gathered in this turn. */
  #flush (): void {
    const batch = this.#batch
    if (batch === undefined) return
    this.#batch = undefined
    // The callers get their results, or the error, one by one; the queue itself never rejects.
    this.#enqueue(async () => {
      try {
        batch.settle(await this.#execute(batch.operations))
      } catch (error) {
        batch.fail(error)
        throw error
      }
    }).catch(nothing)
  }

  async #execute (operations: Operation[]): Promise<Array<OperationResult | Error>> {
    if (this.#state === 'new' && !operations.some(creates)) return operations.map(resultWithoutRecord)
    if (this.#state === 'gone') return operations.map(resultWhenGone)
    const { store } = this.#instance
    if (operations.every(({ type }) => type === 'get')) {
      const names = operations.map((operation) => (operation as { field: string }).field)
      const texts = await store.read(this.#id!, this.#digest, names)
      if (texts === undefined) this.#state = 'gone'
      return texts ?? operations.map(resultWhenGone)
    }
    const write: Write = { operations, settings: {}, touch: this.#touches ? 'due' : 'never', mode: 'apart' }
    const written = this.#state === 'new'
      ? await this.#insert(write)
      : await this.#put('write', write)
    if (written === undefined) {
      this.#state = 'gone'
      return operations.map(resultWhenGone)
    }
    this.#clock = written
    written.results.forEach((result, i) => { this.#learn(operations[i]!, result) })
    await this.#settleCookie()
    return written.results
  }

  /** Has the snapshot show what a live operation left in the store. */
  #learn (operation: Operation, result: OperationResult): void {
    if (isRefusal(result)) return
    switch (operation.type) {
      case 'set': this.#fields.learn(operation.field, operation.text); break
      case 'setIfAbsent': if (result === true) this.#fields.learn(operation.field, operation.text); break
      case 'increment': this.#fields.learn(operation.field, result as string); break
      case 'delete': case 'take': this.#fields.learn(operation.field, null); break
      case 'replace': if ((result as { done: boolean }).done) this.#fields.learn(operation.field, operation.text); break
      case 'clear': this.#fields.stored([operation]); break
    }
  }

  async #commit (): Promise<void> {
    if (this.#ending) {
      await this.#end()
      return
    }
    if (this.#state === 'new') await this.#create()
    else await this.#update()
    await this.#settleCookie()
  }

  async #create (): Promise<void> {
    const changes = this.#fields.changes()
    const operations = changes.filter(({ type }) => type === 'set')
    if (operations.length === 0) return
    const written = await this.#insert({ operations, settings: this.#settings ?? {}, touch: 'never', mode: 'together' })
    this.#clock = written
    // Also what there was nothing to do for: left pending, a clear() would remove all of it with the next save.
    this.#fields.stored(changes)
  }

  /** Creates the record under an id that nobody has. */
  async #insert (write: Write): Promise<Written> {
    this.#assertCookiePossible()
    const { rules } = this.#instance
    for (let attempt = 0; attempt < CREATE_ATTEMPTS; attempt++) {
      if (this.#id === undefined) this.#newIdentity()
      const written = await this.#put('create', write)
      if (written === undefined) {
        this.#id = undefined
        continue
      }
      if (written.refusal !== undefined) throw refusalError(written.refusal.refused, written.refusal.field, rules)
      if (written.barred === true) {
        // All sessions of the user were ended while this one was beginning.
        this.#state = 'gone'
        this.#discard()
        throw new GoneError()
      }
      this.#state = 'stored'
      this.#createdAt = written.now
      this.#tokenDue = true
      this.#settle(write.settings)
      if (this.#controller !== undefined) {
        this.#clock = written
        this.#watch(this.#controller)
      }
      return written
    }
    throw new StoreUnavailableError('every new id is taken')
  }

  async #update (): Promise<void> {
    const operations = this.#fields.changes()
    const settings = this.#settings ?? {}
    const changing = operations.length > 0 || this.#settings !== undefined || this.#rotating
    if (!changing && !this.#touch) return
    if (this.#state === 'gone') {
      if (changing) throw new GoneError()
      return
    }
    if (this.#rotating || settings.persistent === true) this.#assertCookiePossible()
    const secret = this.#rotating ? newSecret() : undefined
    const digest = secret === undefined ? undefined : digestOf(secret)
    const touch = this.#touch ? 'always' : this.#touches ? 'due' : 'never'
    const { rules } = this.#instance
    const written = await this.#put('write', { operations, settings: { ...settings, digest }, touch, mode: 'together' })
    if (written === undefined) {
      this.#state = 'gone'
      this.#discard()
      if (changing) throw new GoneError()
      return
    }
    if (written.refusal !== undefined) throw refusalError(written.refusal.refused, written.refusal.field, rules)
    this.#clock = written
    this.#touch = false
    this.#fields.stored(operations)
    this.#settle(settings)
    if (secret !== undefined && digest !== undefined) {
      this.#secret = secret
      this.#digest = digest
      this.#rotating = this.#renewalDue = false
      this.#tokenDue = true
    }
  }

  /** Takes note that settings are stored. */
  #settle (settings: Settings): void {
    if (settings.persistent === true) this.#persistent = this.#tokenDue = true
    this.#idleTimeout = settings.idleTimeout ?? this.#idleTimeout
    this.#lifetime = settings.lifetime ?? this.#lifetime
    if (settings === this.#settings) this.#settings = undefined
  }

  /** Ends the record that a regeneration left behind, and only then hands out the token of the new one. */
  async #settleCookie (): Promise<void> {
    if (this.#replaced !== undefined) await this.#retire(this.#replaced)
    if (!this.#tokenDue) return
    this.#tokenDue = false
    this.#reissued = undefined
    this.#issueToken()
  }

  async #retire (replaced: Replaced): Promise<void> {
    const ended = await this.#destroy(replaced.id, replaced.bound, replaced.digest)
    this.#replaced = undefined
    if (this.#state === 'new') {
      // Regenerated, and nothing to store: the session ended.
      this.#clearCookie()
    } else if (!ended && replaced.carried) {
      // It ended while this request was carrying its data over. They must not live on.
      this.#state = 'gone'
      this.#tokenDue = false
      await this.#destroy(this.#id!, this.#member?.bound)
      throw new GoneError()
    }
  }

  async #reload (): Promise<void> {
    if (this.#state !== 'stored') {
      if (this.#state === 'gone') throw new GoneError()
      this.#fields.discard()
      return
    }
    const loaded = await this.#instance.store.load(this.#id!, this.#digest, false, this.#instance.rules)
    if (loaded === undefined || loaded.standing === 'reused') {
      this.#state = 'gone'
      throw new GoneError()
    }
    this.#loaded = loaded
    this.#clock = loaded
    this.#idleTimeout = this.#lifetime = this.#member = this.#authenticatedAt = this.#elevatedUntil = undefined
    this.#fields = new Fields(this.#instance.fieldRules)
    this.#fields.load(loaded.fields)
  }

  async #end (): Promise<void> {
    const issued = this.#state === 'stored'
    const { users } = this.#instance
    // First, so that whatever fails leaves a session that can still be ended.
    if (this.#cookieCame) await this.#instance.migrations?.end(this.#request.raw.headers.cookie ?? '')
    if (this.#state === 'stored') await this.#destroy(this.#id!, users === undefined ? undefined : this.#asMember().bound)
    if (this.#replaced !== undefined) await this.#destroy(this.#replaced.id, this.#replaced.bound)
    this.#becomeNew()
    if (issued || this.#cookieCame) this.#clearCookie()
  }

  /** Ends a record, and tells whoever has to know. */
  async #destroy (id: string, bound: Bound | undefined, digest?: string): Promise<boolean> {
    const { store, users, endings } = this.#instance
    const ended = await store.destroy(id, digest)
    if (ended) endings.ended(id, 'destroyed')
    if (bound !== undefined) await users!.forget(id, bound)
    return ended
  }

  #issueToken (secret: string = this.#secret): void {
    if (this.#headersSent) return
    const { cookie, signer } = this.#instance
    cookie.issue(this.#reply, signer.sign(this.#id!, secret), this.#persistent ? this.#clock.ttl / 1000 : undefined)
  }

  #clearCookie (): void {
    if (!this.#headersSent) this.#instance.cookie.clear(this.#reply)
  }
}

/** Whether an operation needs a record to happen to. */
function creates (operation: Operation): boolean {
  switch (operation.type) {
    case 'set': case 'setIfAbsent': case 'increment': return true
    case 'replace': return operation.expected === null && operation.text !== null
    default: return false
  }
}

/** What an operation that needs no record finds where there is none. */
function resultWithoutRecord (operation: Operation): OperationResult {
  switch (operation.type) {
    case 'delete': return false
    case 'clear': return true
    case 'replace': return { done: operation.expected === null, current: null }
    default: return null
  }
}

/** Whoever only reads gets an answer from a session that ended; whoever writes has to know. */
function resultWhenGone (operation: Operation): OperationResult | Error {
  return operation.type === 'get' ? null : new GoneError()
}

function assertTimeout (what: string, seconds: number): void {
  if (!(seconds >= 1 && seconds <= MAX_TIMEOUT)) throw new TimeoutError(what, `expected a number of seconds from 1 to ${MAX_TIMEOUT}`)
}

function toDate (ms: number | undefined): Date | undefined {
  return ms === undefined ? undefined : new Date(ms)
}

function nothing (): void {}

/** Serves callers with a callback and callers that await. */
function settle (promise: Promise<void>, callback: Callback | undefined): Promise<void> {
  if (callback === undefined) return promise
  promise.then(() => { callback(null) }, (error: Error) => { callback(error) })
  return Promise.resolve()
}
