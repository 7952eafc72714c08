/**
 * How one session gets out of the store and into it, and which cookie follows from that.
 *
 * The operations of one session run one after the other, in the order of the calls. What the response needs (a cookie to
 * issue or to clear) happens as soon as the store has done its part, never before.
 */
import { open, seal } from '../cookie/successor.js'
import { digestOf, newSecret, type Token } from '../cookie/token.js'
import { ConflictError, EndedError, GoneError, HeadersSentError, LimitError, StoreUnavailableError } from '../errors.js'
import { isRefusal } from '../store/operations.js'
import { AUTHENTICATED, CREATED_AT, SEALED } from '../store/record.js'
import type { Bound, LoadedRecord, Operation, OperationResult, Settings, Write, Written } from '../store/store.js'
import type { UserIndex } from '../users/user-index.js'
import { Batch, creates, resultWhenGone, resultWithoutRecord } from './batch.js'
import { Fields } from './fields.js'
import { memberOf, putRecord } from './member.js'
import { refusalError } from './refusal.js'
import type { Replaced, SessionState } from './state.js'

/** How often a new id is tried. Two equal ids of 128 random bits mean a broken generator. */
const CREATE_ATTEMPTS = 3

export class Persistence {
  readonly #state: SessionState
  #batch: Batch | undefined
  /** The store operation under way; the next one waits for it. It never rejects. */
  #busy: Promise<void> | undefined

  constructor (state: SessionState) {
    this.#state = state
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
    this.#state.unreadable = true
    const { store, rules, users } = this.#state.instance
    const failed = (error: Error): void => {
      this.#state.failure = error
      fail(error)
    }
    store.load(token.id, token.digest, this.#state.touches, rules).then((loaded) => {
      if (users !== undefined && loaded !== undefined && (loaded.due || loaded.touched || moved) && loaded.standing !== 'reused') {
        this.#claim(users, token, loaded, moved).then(() => { done(false) }, failed)
        return
      }
      this.#state.unreadable = false
      const reused = loaded?.standing === 'reused'
      if (loaded !== undefined && !reused) this.#adopt(token, loaded)
      done(reused)
    }, failed)
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
    this.#state.unreadable = true
    moving.then((token) => {
      if (token === undefined) {
        this.#state.unreadable = false
        done(undefined, false)
        return
      }
      this.begin(token, (reused) => {
        this.#state.renewalDue = this.#state.phase === 'stored'
        done(token.id, reused)
      }, fail, true)
    }, (error: Error) => {
      this.#state.failure = error
      fail(error)
    })
  }

  /** Whether a store operation is under way. */
  get busy (): boolean {
    return this.#busy !== undefined
  }

  /** Whether there is anything to be done for this session before the response. */
  get unsaved (): boolean {
    const state = this.#state
    return this.#batch !== undefined || this.#busy !== undefined || state.renewalDue || state.reissued !== undefined || state.ending || state.touch ||
      state.rotating || state.tokenDue || state.settings !== undefined || state.replaced !== undefined || !state.fields.pristine
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
    if (failed) this.#state.discard()
    // In the queue like everything else: a live write that nobody waited for may come meanwhile.
    await this.#enqueue(() => this.#commit())
    if (this.#state.headersSent) return
    if (this.#state.renewalDue) await this.#enqueue(() => this.#renew())
    else if (this.#state.reissued !== undefined) await this.#enqueue(() => this.#reissue())
  }

  /** Saves now. */
  save (): Promise<void> {
    this.#flush()
    return this.#enqueue(() => this.#commit())
  }

  /** Loads the record anew. */
  reload (): Promise<void> {
    this.#flush()
    return this.#enqueue(() => this.#reload())
  }

  /** Ends the record now. */
  end (): Promise<void> {
    this.#flush()
    return this.#enqueue(() => this.#end())
  }

  /** Sends an operation, together with others of this turn. */
  operate (operation: Operation): Promise<OperationResult> {
    if (this.#batch === undefined) {
      this.#batch = new Batch()
      queueMicrotask(() => { this.#flush() })
    }
    if (operation.type !== 'get' && 'field' in operation) {
      for (const change of this.#state.fields.changesOf(operation.field)) this.#batch.precede(change)
    }
    return this.#batch.add(operation)
  }

  /** Has the signal abort when the session ends, as long as there is somebody on the other side. */
  watch (controller: AbortController): void {
    const stop = this.#state.instance.endings.watch(this.#state.id!, this.#state.clock.ttl, (reason) => { controller.abort(new EndedError(reason)) })
    const connection = (this.#state.request as { ws?: boolean }).ws === true ? this.#state.request.raw.socket : this.#state.reply.raw
    if (connection.destroyed) stop()
    else connection.once('close', stop)
  }

  /** Takes over a record after what the index of users has to do about it, which may find that the session ended. */
  async #claim (users: UserIndex, token: Token, loaded: LoadedRecord, moved: boolean): Promise<void> {
    const { alive, bound } = await users.claim(token.id, token.digest, loaded, this.#state.touches, moved)
    this.#state.unreadable = false
    if (!alive) return
    this.#adopt(token, loaded)
    memberOf(this.#state).bound = bound
    if (bound !== undefined) this.#state.authenticatedAt = this.#state.meta(AUTHENTICATED) ?? (moved ? 0 : this.#state.meta(CREATED_AT))
  }

  #adopt (token: Token, loaded: LoadedRecord): void {
    this.#state.id = token.id
    this.#state.secret = token.secret
    this.#state.digest = token.digest
    this.#state.phase = 'stored'
    this.#state.loaded = loaded
    this.#state.clock = loaded
    this.#state.fields.load(loaded.fields)
    if (loaded.standing === 'superseded') this.#passOnSuccessor(loaded)
    else if (loaded.standing === 'due') this.#state.renewalDue = true
    // A persistent cookie has to outlive the extension; one with an old signature has to outlive its key.
    else if (token.outdated || (loaded.touched && this.#state.persistent)) this.#state.reissued = this.#state.secret
  }

  /** Everybody who still comes with the old secret is given the same successor. */
  #passOnSuccessor (loaded: LoadedRecord): void {
    const sealed = loaded.fields.get(SEALED)
    const successor = sealed === undefined ? undefined : open(this.#state.id!, this.#state.secret, sealed)
    if (successor === undefined) return
    this.#state.reissued = successor
  }

  /**
   * Gives the browser a token that it should have, unless the record ended or was rotated while the handler ran: then
   * another response may have set, or cleared, the cookie already, and this one must not undo that. Like a renewal it is
   * nobody's wish.
   */
  async #reissue (): Promise<void> {
    const secret = this.#state.reissued
    this.#state.reissued = undefined
    if (secret === undefined) return
    try {
      if (await this.#state.instance.store.stands(this.#state.id!, digestOf(secret))) this.#issueToken(secret)
    } catch (error) {
      this.#state.request.log.warn({ sessionId: this.#state.id, code: (error as { code?: string }).code }, 'the session cookie could not be sent anew; the next request will try again')
    }
  }

  /** Routine renewal. It is nobody's wish, so its failure is nobody's failure: the next request tries again. */
  async #renew (): Promise<void> {
    this.#state.renewalDue = false
    const offered = newSecret()
    try {
      const sealed = await this.#state.instance.store.renew(this.#state.id!, this.#state.digest, digestOf(offered), seal(this.#state.id!, this.#state.secret, offered))
      const successor = sealed === undefined ? undefined : open(this.#state.id!, this.#state.secret, sealed)
      if (successor === undefined) return
      this.#issueToken(successor)
    } catch (error) {
      this.#state.request.log.warn({ sessionId: this.#state.id, code: (error as { code?: string }).code }, 'the session secret could not be renewed; the next request will try again')
    }
  }

  /** Runs a store operation of this session after those that were asked for before. */
  #enqueue<T> (operation: () => Promise<T>): Promise<T> {
    const result = this.#busy === undefined ? operation() : this.#busy.then(operation)
    const busy = result.then(nothing, (error: Error) => {
      if (error instanceof StoreUnavailableError) this.#state.failure = error
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
    if (this.#state.phase === 'new' && !operations.some(creates)) return operations.map(resultWithoutRecord)
    if (this.#state.phase === 'gone') return operations.map(resultWhenGone)
    const { store } = this.#state.instance
    if (operations.every(({ type }) => type === 'get')) {
      const names = operations.map((operation) => (operation as { field: string }).field)
      const texts = await store.read(this.#state.id!, this.#state.digest, names)
      if (texts === undefined) this.#state.phase = 'gone'
      return texts ?? operations.map(resultWhenGone)
    }
    const write: Write = { operations, settings: {}, touch: this.#state.touches ? 'due' : 'never', mode: 'apart' }
    const written = this.#state.phase === 'new'
      ? await this.#insert(write)
      : await putRecord(this.#state, 'write', write)
    if (written === undefined) {
      this.#state.phase = 'gone'
      return operations.map(resultWhenGone)
    }
    this.#state.clock = written
    written.results.forEach((result, i) => { this.#learn(operations[i]!, result) })
    await this.#settleCookie()
    return written.results
  }

  /** Has the snapshot show what a live operation left in the store. */
  #learn (operation: Operation, result: OperationResult): void {
    if (isRefusal(result)) return
    switch (operation.type) {
      case 'set': this.#state.fields.learn(operation.field, operation.text); break
      case 'setIfAbsent': if (result === true) this.#state.fields.learn(operation.field, operation.text); break
      case 'increment': this.#state.fields.learn(operation.field, result as string); break
      case 'delete': case 'take': this.#state.fields.learn(operation.field, null); break
      case 'replace': if ((result as { done: boolean }).done) this.#state.fields.learn(operation.field, operation.text); break
      case 'clear': this.#state.fields.stored([operation]); break
    }
  }

  async #commit (): Promise<void> {
    if (this.#state.ending) {
      await this.#end()
      return
    }
    try {
      if (this.#state.phase === 'new') await this.#create()
      else await this.#update()
    } catch (error) {
      // Nobody can put these right by trying again: the answer that says so shall not fail, too.
      if (error instanceof LimitError || error instanceof ConflictError) this.#state.discard()
      throw error
    }
    await this.#settleCookie()
  }

  async #create (): Promise<void> {
    const changes = this.#state.fields.changes()
    const operations = changes.filter(({ type }) => type === 'set')
    if (operations.length === 0) return
    const written = await this.#insert({ operations, settings: this.#state.settings ?? {}, touch: 'never', mode: 'together' })
    this.#state.clock = written
    // Also what there was nothing to do for: left pending, a clear() would remove all of it with the next save.
    this.#state.fields.stored(changes)
  }

  /** Creates the record under an id that nobody has. */
  async #insert (write: Write): Promise<Written> {
    this.#assertCookiePossible()
    const { rules } = this.#state.instance
    for (let attempt = 0; attempt < CREATE_ATTEMPTS; attempt++) {
      if (this.#state.id === undefined) this.#state.newIdentity()
      const written = await putRecord(this.#state, 'create', write)
      if (written === undefined) {
        this.#state.id = undefined
        continue
      }
      if (written.refusal !== undefined) throw refusalError(written.refusal.refused, written.refusal.field, rules)
      if (written.barred === true) {
        // All sessions of the user were ended while this one was beginning.
        this.#state.phase = 'gone'
        this.#state.discard()
        throw new GoneError()
      }
      this.#state.phase = 'stored'
      this.#state.createdAt = written.now
      this.#state.tokenDue = true
      this.#settle(write.settings)
      if (this.#state.controller !== undefined) {
        this.#state.clock = written
        this.watch(this.#state.controller)
      }
      return written
    }
    throw new StoreUnavailableError('every new id is taken')
  }

  async #update (): Promise<void> {
    const operations = this.#state.fields.changes()
    const settings = this.#state.settings ?? {}
    const changing = operations.length > 0 || this.#state.settings !== undefined || this.#state.rotating
    if (!changing && !this.#state.touch) return
    if (this.#state.phase === 'gone') {
      if (changing) throw new GoneError()
      return
    }
    if (this.#state.rotating || settings.persistent === true) this.#assertCookiePossible()
    const secret = this.#state.rotating ? newSecret() : undefined
    const digest = secret === undefined ? undefined : digestOf(secret)
    const touch = this.#state.touch ? 'always' : this.#state.touches ? 'due' : 'never'
    const { rules } = this.#state.instance
    const written = await putRecord(this.#state, 'write', { operations, settings: { ...settings, digest }, touch, mode: 'together' })
    if (written === undefined) {
      this.#state.phase = 'gone'
      this.#state.discard()
      if (changing) throw new GoneError()
      return
    }
    if (written.refusal !== undefined) throw refusalError(written.refusal.refused, written.refusal.field, rules)
    this.#state.clock = written
    this.#state.touch = false
    this.#state.fields.stored(operations)
    this.#settle(settings)
    if (secret !== undefined && digest !== undefined) {
      this.#state.secret = secret
      this.#state.digest = digest
      this.#state.rotating = this.#state.renewalDue = false
      this.#state.tokenDue = true
    }
  }

  /** Takes note that settings are stored. */
  #settle (settings: Settings): void {
    if (settings.persistent === true) this.#state.remembered = this.#state.tokenDue = true
    this.#state.ownIdleTimeout = settings.idleTimeout ?? this.#state.ownIdleTimeout
    this.#state.ownLifetime = settings.lifetime ?? this.#state.ownLifetime
    if (settings === this.#state.settings) this.#state.settings = undefined
  }

  /** Ends the record that a regeneration left behind, and only then hands out the token of the new one. */
  async #settleCookie (): Promise<void> {
    if (this.#state.replaced !== undefined) await this.#retire(this.#state.replaced)
    if (!this.#state.tokenDue) return
    this.#state.tokenDue = false
    this.#state.reissued = undefined
    this.#issueToken()
  }

  async #retire (replaced: Replaced): Promise<void> {
    const ended = await this.#destroy(replaced.id, replaced.bound, replaced.digest)
    this.#state.replaced = undefined
    if (this.#state.phase === 'new') {
      // Regenerated, and nothing to store: the session ended.
      this.#clearCookie()
    } else if (!ended && replaced.carried) {
      // It ended while this request was carrying its data over. They must not live on.
      this.#state.phase = 'gone'
      this.#state.tokenDue = false
      await this.#destroy(this.#state.id!, this.#state.member?.bound)
      throw new GoneError()
    }
  }

  async #reload (): Promise<void> {
    if (this.#state.phase !== 'stored') {
      if (this.#state.phase === 'gone') throw new GoneError()
      this.#state.fields.discard()
      return
    }
    const loaded = await this.#state.instance.store.load(this.#state.id!, this.#state.digest, false, this.#state.instance.rules)
    if (loaded === undefined || loaded.standing === 'reused') {
      this.#state.phase = 'gone'
      throw new GoneError()
    }
    this.#state.loaded = loaded
    this.#state.clock = loaded
    this.#state.ownIdleTimeout = this.#state.ownLifetime = this.#state.member = this.#state.authenticatedAt = this.#state.elevatedUntil = undefined
    this.#state.fields = new Fields(this.#state.instance.fieldRules)
    this.#state.fields.load(loaded.fields)
  }

  async #end (): Promise<void> {
    const issued = this.#state.phase === 'stored'
    const { users } = this.#state.instance
    // First, so that whatever fails leaves a session that can still be ended.
    if (this.#state.cookieCame) await this.#state.instance.migrations?.end(this.#state.request.raw.headers.cookie ?? '')
    if (this.#state.phase === 'stored') await this.#destroy(this.#state.id!, users === undefined ? undefined : memberOf(this.#state).bound)
    if (this.#state.replaced !== undefined) await this.#destroy(this.#state.replaced.id, this.#state.replaced.bound)
    this.#state.becomeNew()
    if (issued || this.#state.cookieCame) this.#clearCookie()
  }

  /** Ends a record, and tells whoever has to know. */
  async #destroy (id: string, bound: Bound | undefined, digest?: string): Promise<boolean> {
    const { store, users, endings } = this.#state.instance
    const ended = await store.destroy(id, digest)
    if (ended) endings.ended(id, 'destroyed')
    if (bound !== undefined && (ended || digest === undefined)) await users!.forget(id, bound)
    return ended
  }

  #issueToken (secret: string = this.#state.secret): void {
    if (this.#state.headersSent) return
    const { cookie, signer } = this.#state.instance
    cookie.issue(this.#state.reply, signer.sign(this.#state.id!, secret), this.#state.persistent ? this.#state.clock.ttl / 1000 : undefined)
  }

  #clearCookie (): void {
    if (!this.#state.headersSent) this.#state.instance.cookie.clear(this.#state.reply)
  }

  #assertCookiePossible (): void {
    if (this.#state.headersSent) throw new HeadersSentError()
  }
}

function nothing (): void {}
