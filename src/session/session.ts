/**
 * The session of one request, as the plugin's hooks and, through the proxy, applications see it: what may be called when,
 * what it means, and in which order it happens.
 *
 * There is one working copy at a time, and one queue. What is asked for is asked of the copy of that moment, with the changes
 * made so far, and waits for what was asked before. So it does not matter whether the program waits for the answer.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Token } from '../cookie/token.js'
import { DegradedError, EndedError, GoneError, HeadersSentError, RecordError, SealedError, StoreUnavailableError, TimeoutError } from '../errors.js'
import { MAX_TIMEOUT } from '../options.js'
import { writeHeaders, type Answer } from '../response/headers.js'
import { assertKey, assertKeys, AUTHENTICATED, CREATED_AT, ELEVATED, LAST_ACCESSED_AT, LIFETIME } from '../store/record.js'
import type { Operation, OperationResult, Rules } from '../store/store.js'
import { Asked } from './asked.js'
import type { Authentication } from './authentication.js'
import { Batch } from './batch.js'
import type { Changes } from './changes.js'
import { SessionContext, type SessionInstance } from './context.js'
import { liveAttributes, type LiveRecord, type LiveSession } from './live.js'
import { Persistence, type OwedToken } from './persistence.js'
import type { OnStoreError, RouteSession } from './route.js'
import type { FieldSchema } from './schema.js'
import type { Callback, LiveAttributes, RememberOptions, Session as PublicSession } from './types.js'
import { WorkingCopy } from './working-copy.js'

export class Session implements LiveSession {
  readonly #context: SessionContext
  readonly #persistence: Persistence
  #current: WorkingCopy
  /** What `destroy()` was asked to end and did not end yet. */
  #ending: WorkingCopy[] = []
  #batch: Batch | undefined
  /** The operation under way; the next one waits for it. It never rejects. */
  #busy: Promise<void> | undefined
  /** What was asked for and is not answered yet. */
  readonly #open = new Set<Asked<unknown>>()
  /** What failed, in case nobody was waiting for it. */
  #failed: Array<{ asked: Asked<unknown>, error: Error }> = []
  #loading = false
  #sealed = false
  /** What the response will be is decided: nobody can be told by it any more. */
  #decided = false
  /** The record could not be loaded. */
  #degraded = false
  /** The store failed an operation of this request. */
  #storeFailed = false
  #live: LiveAttributes | undefined

  constructor (instance: SessionInstance, request?: FastifyRequest, reply?: FastifyReply, route?: RouteSession) {
    this.#context = new SessionContext(instance, request, reply, route)
    this.#persistence = new Persistence(this.#context)
    this.#current = new WorkingCopy(this.#context)
  }

  // ---- For the plugin's hooks. The proxy shows none of this to applications.

  /** What applications see; made when somebody looks at the session. */
  view: PublicSession | undefined

  /** Takes note that a cookie of ours came, whatever it is worth: `destroy()` clears it. */
  noteCookie (): void {
    this.#persistence.cookieCame = true
  }

  /** Whether it can be looked at: it is loaded, or there was nothing to load. */
  get readable (): boolean {
    return !this.#loading
  }

  /**
   * Looks up the record of a genuine token.
   *
   * @param done called when the session can be used; with `true` where the record was ended because an old secret was
   *   used again
   * @param fail called with a StoreUnavailableError or RecordError: the session is empty and cannot be changed
   * @param moved another library's session was moved there just now
   */
  load (token: Token, done: (reused: boolean) => void, fail: (error: Error) => void, moved = false): void {
    this.#loading = true
    this.#persistence.load(this.#current, token, (reused) => {
      this.#loading = false
      done(reused)
    }, (error) => { this.failLoading(error, fail) }, moved)
  }

  /** Goes on as an empty session that cannot be changed: whose it is cannot be told. */
  failLoading (error: Error, fail: (error: Error) => void): void {
    this.#loading = false
    this.#degraded = true
    this.#storeFailed = error instanceof StoreUnavailableError
    fail(error)
  }

  /** Whether the route goes on where the store does not answer. */
  goesOnWithout (otherwise: OnStoreError): boolean {
    const { route } = this.#context
    return ((typeof route === 'object' ? route.onStoreError : undefined) ?? otherwise) === 'anonymous'
  }

  /** What a route's rule about authentication is held against. */
  get authentication (): Authentication {
    return {
      now: this.#current.clock.now,
      authenticatedAt: this.authenticatedAt?.getTime(),
      elevatedUntil: this.elevatedUntil?.getTime()
    }
  }

  /** Whether finishing has anything to do. Asked first, because for most requests it has not. */
  get unfinished (): boolean {
    return this.#batch !== undefined || this.#busy !== undefined || this.#open.size > 0 || this.#failed.length > 0 || this.#ending.length > 0 ||
      this.#persistence.refreshes || this.#persistence.steps.open || this.#current.replaces !== undefined || !this.#current.snapshot.pristine
  }

  /** From now on changes would be lost: they are refused. */
  seal (): void {
    this.#sealed = true
    this.#decided = !this.unfinished
  }

  get sealed (): boolean {
    return this.#sealed
  }

  /**
   * Finishes what the request asked for, and decides whether it stands.
   *
   * @param status of the response
   * @param failed the handler failed: what it changed and did not save itself is dropped
   * @throws what `save` throws, and what failed without anybody waiting for it. What counts only with its cookie was taken
   *   back where the store failed, or the session had ended
   */
  async finish (status: number, failed: boolean): Promise<void> {
    try {
      if (this.#isBusy) await this.#idle()
      if (failed) {
        await this.#discard()
        await this.#enqueue(async () => { await this.#end(this.#ending) })
      } else {
        this.#assertNothingFailed()
        await this.#enqueue(async () => { await this.#commit(this.#current, this.#take()) })
        if (this.#isBusy) await this.#idle()
        this.#assertNothingFailed()
      }
      // Whatever 503 it is: a client that is told to come again comes with the cookie that it has.
      if (status === 503) await this.#takeBack()
      else if (this.#persistence.refreshes && !this.#context.headersSent) await this.#enqueue(async () => { await this.#persistence.refresh(this.#current) })
    } catch (error) {
      // Any other error leaves alone what an earlier save stored.
      if (error instanceof GoneError || error instanceof StoreUnavailableError || error instanceof RecordError) await this.#takeBack()
      else await this.#persistence.settle()
      // Whoever still reads shall not see what came to nothing.
      this.#goBack()
      this.#current.snapshot.discard()
      throw error
    } finally {
      this.#decided = true
    }
    if (this.#persistence.steps.open) await this.#persistence.settle()
  }

  /** What a response of this status gets because of its session. */
  answer (status: number): Answer {
    const { owed } = this.#persistence
    const comeAgain = this.#storeFailed && status === 503
    return {
      // Never on a 503: whoever is told to come again comes with the cookie that he has.
      cookie: status === 503 ? undefined : typeof owed === 'object' ? this.#cookieFor(owed) : owed,
      looked: this.view !== undefined,
      momentary: comeAgain || this.#degraded,
      comeAgain
    }
  }

  #cookieFor ({ copy, secret }: OwedToken): Answer['cookie'] {
    const { identity: { id }, persistent, clock: { ttl } } = copy
    return { token: this.#context.instance.signer.sign(id, secret), maxAge: persistent ? ttl / 1000 : undefined }
  }

  /** Says so where this request changed something that nobody saved, although the response is over. */
  warnOfLostChanges (): void {
    if (this.#dirty) this.#context.warn('the session was changed and not saved: before writing to a hijacked reply, await session.save()')
  }

  get #dirty (): boolean {
    if (this.#busy !== undefined || this.#current.phase === 'gone') return false
    const { snapshot, replaces } = this.#current
    if (this.#ending.length > 0 || replaces !== undefined) return true
    try {
      return snapshot.changed().length > 0 || Object.keys(snapshot.pending.settings).length > 0 || snapshot.pending.rotate
    } catch {
      return true // there is a change, even if no store would take it
    }
  }

  /** Ends the session when it is saved, or when another one is stored in its place: `request.session = null`. */
  endLater (): void {
    if (this.#mayChange()) this.#goOn(new WorkingCopy(this.#context, { copy: this.#current, keys: [] }))
  }

  // ---- For live attributes.

  get rules (): Rules {
    return this.#context.instance.rules
  }

  get schema (): FieldSchema | undefined {
    return this.#context.instance.fieldRules.schema
  }

  askRecord<T> (run: (record: LiveRecord) => Promise<T>): Promise<T> {
    const copy = this.#current
    return this.ask(async () => await run({
      snapshot: copy.snapshot,
      operate: async (operation) => await this.#operate(copy, operation)
    }))
  }

  async #operate (copy: WorkingCopy, operation: Operation): Promise<OperationResult> {
    this.#assertLoaded()
    if (operation.type !== 'get') this.#assertChangeable()
    if (this.#batch !== undefined && this.#batch.copy !== copy) this.#flush()
    if (this.#batch === undefined) {
      this.#batch = new Batch(copy)
      queueMicrotask(() => { this.#flush() })
    }
    return await this.#batch.add(operation)
  }

  /**
   * Answers what a program asks for.
   *
   * @param run begins at once. It is an async function, so that what fails before it begins is told in the same way
   * @param again where the store fails, finishing tries it again
   */
  ask<T> (run: () => Promise<T>, again = false): Promise<T> {
    const asked = Asked.to(run(), (error) => {
      this.#open.delete(asked)
      // What is tried again at the end may still succeed.
      if (error !== undefined && !(again && !this.#decided && error instanceof StoreUnavailableError)) this.#noteFailure(asked, error)
    })
    this.#open.add(asked)
    return asked
  }

  /** The same for methods that take a callback instead. */
  #call (run: () => Promise<void>, callback: Callback | undefined, again = false): Promise<void> {
    const asked = this.ask(run, again)
    if (callback === undefined) return asked
    asked.then(() => { callback(null) }, callback)
    return Promise.resolve()
  }

  // ---- For applications; documented in types.ts.

  get id (): string {
    this.#assertLoaded()
    return this.#current.identity.id
  }

  get isNew (): boolean {
    this.#assertLoaded()
    return this.#current.phase === 'new'
  }

  get degraded (): boolean {
    return this.#degraded
  }

  get createdAt (): Date | undefined {
    return this.#time(CREATED_AT)
  }

  get lastAccessedAt (): Date | undefined {
    return this.#time(LAST_ACCESSED_AT)
  }

  get expiresAt (): Date | undefined {
    this.#assertLoaded()
    const { phase, clock } = this.#current
    return phase === 'new' ? undefined : new Date(clock.now + clock.ttl)
  }

  get idleTimeout (): number {
    this.#assertLoaded()
    return this.#current.idleTimeout
  }

  set idleTimeout (seconds: number) {
    if (!this.#mayChange()) return
    assertTimeout('idleTimeout', seconds)
    this.#current.snapshot.pending.settings.idleTimeout = seconds
  }

  get authenticatedAt (): Date | undefined {
    return this.#time(AUTHENTICATED)
  }

  get elevatedUntil (): Date | undefined {
    return this.#time(ELEVATED)
  }

  get signal (): AbortSignal {
    this.#assertLoaded()
    const copy = this.#current
    if (copy.controller === undefined) {
      copy.controller = new AbortController()
      if (copy.phase === 'stored') this.#persistence.watch(copy, copy.controller)
      else if (copy.phase !== 'new') copy.controller.abort(new EndedError('ended'))
    }
    return copy.controller.signal
  }

  get live (): LiveAttributes {
    this.#live ??= liveAttributes(this)
    return this.#live
  }

  get (key: string): unknown {
    assertKey(key)
    this.#assertLoaded()
    return this.#current.snapshot.get(key)
  }

  set (key: string, value: unknown): void {
    if (this.#mayChange()) this.#current.snapshot.set(key, value)
  }

  has (key: string): boolean {
    return this.get(key) !== undefined
  }

  /** Names of the data fields. */
  names (): string[] {
    this.#assertLoaded()
    return this.#current.snapshot.names()
  }

  data (): Record<string, unknown> {
    // Unlike assignment, this takes __proto__ for a name like any other.
    return Object.fromEntries(this.names().map((name) => [name, this.#current.snapshot.get(name)]))
  }

  toJSON (): Record<string, unknown> {
    return this.data()
  }

  save (callback?: Callback): Promise<void> {
    return this.#call(async () => {
      this.#assertLoaded()
      this.#flush()
      const copy = this.#current
      const changes = this.#take()
      const ending = [...this.#ending]
      await this.#enqueue(async () => { await this.#commit(copy, changes, ending) })
    }, callback, true)
  }

  reload (callback?: Callback): Promise<void> {
    return this.#call(async () => {
      this.#assertLoaded()
      this.#assertNotDegraded()
      this.#flush()
      const copy = this.#current
      const setAside = copy.snapshot.setAside()
      await this.#enqueue(async () => { await this.#persistence.reload(copy, setAside) })
    }, callback)
  }

  touch (): void {
    if (this.#mayChange()) this.#current.snapshot.pending.touch = true
  }

  clear (): void {
    if (this.#mayChange()) this.#current.snapshot.clear()
  }

  destroy (callback?: Callback): Promise<void> {
    return this.#call(async () => {
      this.#assertLoaded()
      // Nobody may take this for a logout: the record is still there.
      this.#assertChangeable()
      this.#ending.push(this.#current)
      this.#goOn(new WorkingCopy(this.#context))
      const ending = [...this.#ending]
      await this.#enqueue(async () => { await this.#end(ending) })
    }, callback, true)
  }

  rotate (callback?: Callback): Promise<void> {
    return this.#call(async () => {
      if (this.#mayChange()) this.#rotate()
    }, callback)
  }

  elevate (seconds: number, callback?: Callback): Promise<void> {
    return this.#call(async () => {
      if (!this.#mayChange()) return
      assertTimeout('elevate()', seconds)
      this.#rotate()
      this.#current.snapshot.pending.settings.elevate = seconds
    }, callback)
  }

  regenerate (keys?: readonly string[] | Callback, callback?: Callback): Promise<void> {
    if (typeof keys === 'function') return this.regenerate([], keys)
    return this.#call(async () => {
      if (!this.#mayChange()) return
      this.#assertCookiePossible()
      const names = keys ?? []
      assertKeys(names)
      this.#flush()
      const old = this.#current
      const carried = names.map((key) => [key, old.snapshot.get(key)] as const).filter(([, value]) => value !== undefined)
      const copy = new WorkingCopy(this.#context, { copy: old, keys: carried.map(([key]) => key) })
      for (const [key, value] of carried) copy.snapshot.set(key, value)
      this.#warnOfDropped(old, names)
      this.#goOn(copy)
    }, callback)
  }

  remember ({ idleTimeout, lifetime }: RememberOptions = {}): void {
    if (!this.#mayChange()) return
    if (idleTimeout !== undefined) assertTimeout('remember() idleTimeout', idleTimeout)
    if (lifetime !== undefined) assertTimeout('remember() lifetime', lifetime)
    const { snapshot } = this.#current
    const total = lifetime ?? snapshot.setting('lifetime') ?? this.#current.number(LIFETIME) ?? this.rules.lifetime / 1000
    const idle = idleTimeout ?? this.idleTimeout
    if (total < idle) throw new TimeoutError('remember()', `the lifetime (${total} s) is shorter than the idle timeout (${idle} s); give both`)
    Object.assign(snapshot.pending.settings, { ...(idleTimeout !== undefined && { idleTimeout }), ...(lifetime !== undefined && { lifetime }), persistent: true })
  }

  // ---- The order of things.

  /** Runs an operation after those that were asked for before. */
  #enqueue (operation: () => Promise<void>): Promise<void> {
    const result = this.#busy === undefined ? this.#carryOut(operation) : this.#busy.then(async () => { await this.#carryOut(operation) })
    const over = (): void => {
      if (this.#busy === busy) this.#busy = undefined
    }
    const busy = result.then(over, over)
    this.#busy = busy
    return result
  }

  /** Runs an operation. Where nothing runs at the end of the response, what it did stands, or does not, at once. */
  async #carryOut (operation: () => Promise<void>): Promise<void> {
    const { byHand, reply, instance: { cookie } } = this.#context
    try {
      await operation()
    } catch (error) {
      if (error instanceof StoreUnavailableError) {
        this.#storeFailed = true
        if (byHand) await this.#takeBack()
      }
      throw error
    }
    if (!byHand) return
    const status = reply?.raw.statusCode ?? 200
    if (status === 503) await this.#takeBack()
    else await this.#persistence.settle()
    if (reply !== undefined) writeHeaders(reply, cookie, this.answer(status))
  }

  /** Whether anything is under way, or about to be. */
  get #isBusy (): boolean {
    return this.#busy !== undefined || this.#open.size > 0 || this.#batch !== undefined
  }

  /** Waits until nothing is under way. */
  async #idle (): Promise<void> {
    this.#flush()
    while (this.#busy !== undefined || this.#open.size > 0) {
      await this.#busy
      await Promise.all([...this.#open].map(async ({ settled }) => { await settled }))
      this.#flush()
    }
  }

  /** Sends the live operations that were gathered in this turn. */
  #flush (): void {
    const batch = this.#batch
    if (batch === undefined) return
    this.#batch = undefined
    // The callers get their results, or the error, one by one; the queue itself never rejects.
    this.#enqueue(async () => { await this.#persistence.execute(batch) }).catch(nothing)
  }

  #rotate (): void {
    // A record that does not exist yet gets a new secret anyway.
    if (this.#current.phase === 'stored') this.#assertCookiePossible()
    this.#current.snapshot.pending.rotate = true
  }

  /** What changed so far; see `Snapshot.take`. */
  #take (): Changes {
    try {
      return this.#current.snapshot.take()
    } catch (error) {
      this.#goBack()
      throw error
    }
  }

  /** Goes on with another record. What was asked of the one so far stays its own. */
  #goOn (copy: WorkingCopy): void {
    this.#flush()
    this.#persistence.leave()
    this.#current = copy
  }

  async #end (copies: readonly WorkingCopy[]): Promise<void> {
    const left = copies.filter((copy) => this.#ending.includes(copy))
    if (left.length === 0) return
    await this.#persistence.end(left)
    this.#ending = this.#ending.filter((copy) => !left.includes(copy))
  }

  /** Stores what a copy changed, after ending what was to be ended. */
  async #commit (copy: WorkingCopy, changes: Changes, ending: readonly WorkingCopy[] = this.#ending): Promise<void> {
    try {
      if (ending.length > 0) await this.#end(ending)
    } catch (error) {
      copy.snapshot.returned(changes, true)
      throw error
    }
    try {
      await this.#persistence.save(copy, changes)
    } catch (error) {
      // What was refused has no effect: the session that was to be replaced goes on.
      if (!(error instanceof StoreUnavailableError) && copy === this.#current && copy.phase === 'new') this.#goBack()
      throw error
    }
  }

  /** Drops what was changed and not saved, and what was saved by half. */
  async #discard (): Promise<void> {
    this.#goBack()
    while (this.#current.phase === 'stored' && this.#current.leaving().length > 0) {
      await this.#persistence.undo(this.#current)
      this.#current = this.#current.replaces!.copy
      this.#goBack()
    }
    this.#current.snapshot.discard()
  }

  /** Back to the last working copy that has a record. */
  #goBack (): void {
    while (this.#current.phase === 'new' && this.#current.replaces !== undefined) {
      this.#current = this.#current.replaces.copy
      this.#current.snapshot.discard()
    }
  }

  async #takeBack (): Promise<void> {
    await this.#persistence.takeBack()
  }

  // ---- Failures.

  /** Takes note of what failed, in case nobody waits for it. */
  #noteFailure (asked: Asked<unknown>, error: Error): void {
    if (!this.#decided && !this.#context.byHand) {
      this.#failed.push({ asked, error })
      return
    }
    // Whoever waits for it has said so within this turn.
    setImmediate(() => {
      if (!asked.awaited) this.#context.warn('something that was asked of the session failed, and nobody was waiting for it', { code: (error as { code?: string }).code })
    })
  }

  #assertNothingFailed (): void {
    const failed = this.#failed
    this.#failed = []
    const unseen = failed.find(({ asked }) => !asked.awaited)
    if (unseen !== undefined) throw unseen.error
  }

  #warnOfDropped (copy: WorkingCopy, keys: readonly string[]): void {
    let fields: string[] = []
    try {
      fields = copy.snapshot.changed().filter((name) => !keys.includes(name))
    } catch {
      // Something that could not be stored anyway.
    }
    const settings = Object.keys(copy.snapshot.pending.settings)
    if (fields.length + settings.length === 0) return
    this.#context.warn('regenerate() dropped what this request had changed before: change it afterwards, or name the fields to carry over', { fields: fields.map((name) => name.slice(0, 40)), settings })
  }

  // ---- What may be done.

  #time (name: string): Date | undefined {
    this.#assertLoaded()
    const ms = this.#current.number(name)
    return ms === undefined ? undefined : new Date(ms)
  }

  #assertLoaded (): void {
    if (this.#loading) throw new StoreUnavailableError('the session is still being loaded')
  }

  /**
   * Whether a change can be made.
   *
   * @returns `false` after the response has left: the change is dropped, with a warning, because throwing where nobody
   *   expects it would end the process
   * @throws SealedError before that, and what `#assertChangeable` throws
   */
  #mayChange (): boolean {
    this.#assertLoaded()
    this.#assertChangeable()
    if (!this.#sealed) return true
    if (this.#context.reply?.raw.headersSent !== true) throw new SealedError()
    this.#context.warn('the session was changed after the response had left: the change was dropped. Change it earlier, or write with session.live')
    return false
  }

  #assertChangeable (): void {
    const { obstacle } = this.#context
    if (obstacle !== undefined) throw obstacle
    this.#assertNotDegraded()
  }

  #assertNotDegraded (): void {
    if (this.#degraded) throw new DegradedError()
  }

  #assertCookiePossible (): void {
    if (this.#context.headersSent) throw new HeadersSentError()
  }
}

function assertTimeout (what: string, seconds: number): void {
  if (!(seconds >= 1 && seconds <= MAX_TIMEOUT)) throw new TimeoutError(what, `expected a number of seconds from 1 to ${MAX_TIMEOUT}`)
}

function nothing (): void {}
