/**
 * How working copies get out of the store and into it. Each function is one operation on one copy, carried out when all
 * that was asked for before is done; which copy, and in which order, is the session's business.
 */
import { digestOf, newId, newSecret, type Token } from '../cookie/token.js'
import { open, seal } from '../cookie/successor.js'
import { EndedError, GoneError, HeadersSentError, StoreUnavailableError } from '../errors.js'
import { AUTHENTICATED, CREATED_AT, SEALED } from '../store/record.js'
import type { Bound, LoadedRecord, Operation, Seen, Settings, Write, Written } from '../store/store.js'
import { creates, resultWhenGone, resultWithoutRecord, type Batch, type Outcome } from './batch.js'
import type { Changes } from './changes.js'
import type { SessionContext } from './context.js'
import { putRecord } from './member.js'
import { refusalError } from './refusal.js'
import { Steps, type Step } from './steps.js'
import type { WorkingCopy } from './working-copy.js'

/** How often a new id is tried. Two equal ids of 128 random bits mean a broken generator. */
const CREATE_ATTEMPTS = 3

/** A token that the browser should get, by the copy and the secret that it stands for. */
export interface OwedToken { readonly copy: WorkingCopy, readonly secret: string }

export class Persistence {
  readonly #context: SessionContext
  /** What counts only when the response leaves. */
  readonly steps = new Steps()
  /** The token that the browser gets with the response, if that leaves. */
  #token: OwedToken | undefined
  /** The session whose cookie the browser has was ended: unless it gets another one, it has to drop that. */
  #ended = false
  /** Which cookie the response brings anew although nothing changed: of a routine renewal, or of a secret that still has to stand. */
  #refresh: 'renew' | OwedToken | undefined
  /** A cookie of ours came, whatever it is worth. */
  cookieCame = false

  constructor (context: SessionContext) {
    this.#context = context
  }

  /** What the browser gets with the response, if that leaves: a token, the order to drop its cookie, or nothing. */
  get owed (): OwedToken | 'clear' | undefined {
    return this.#token ?? (this.#ended ? 'clear' : undefined)
  }

  /** Whether the response has something to bring although nothing changed. */
  get refreshes (): boolean {
    return this.#refresh !== undefined
  }

  /** The request goes on with another record: the cookie of the one so far can wait for the next request. */
  leave (): void {
    this.#refresh = undefined
  }

  /**
   * Looks up the record of a genuine token. By callbacks, because every request with a session comes this way.
   *
   * @param done called when the session can be used; with `true` where the record was ended because an old secret was
   *   used again
   * @param fail called with a StoreUnavailableError or RecordError
   * @param moved another library's session was moved there just now: nobody has listed it yet
   */
  load (copy: WorkingCopy, token: Token, done: (reused: boolean) => void, fail: (error: Error) => void, moved = false): void {
    const { store, rules, users, takeBacks } = this.#context.instance
    const undone = takeBacks.before(token.id)
    if (undone !== undefined) {
      undone.then(() => { this.load(copy, token, done, fail, moved) }, fail)
      return
    }
    store.load(token.id, token.digest, this.#context.touches, rules).then((loaded) => {
      const reused = loaded?.standing === 'reused'
      if (loaded === undefined || reused) done(reused)
      else if (users !== undefined && (loaded.due || loaded.touched || moved)) {
        this.#claim(copy, token, loaded, moved).then(() => { done(false) }, fail)
      } else {
        this.#adopt(copy, token, loaded, moved)
        done(false)
      }
    }, fail)
  }

  /** Takes over a record after what the index of users has to do about it, which may find that the session ended. */
  async #claim (copy: WorkingCopy, token: Token, loaded: LoadedRecord, moved: boolean): Promise<void> {
    const { alive, bound } = await this.#context.instance.users!.claim(token.id, loaded, this.#context.touches, moved)
    if (!alive) return
    this.#adopt(copy, token, loaded, moved)
    copy.member.bound = bound
    if (bound !== undefined && copy.meta(AUTHENTICATED) === undefined) {
      copy.learn(AUTHENTICATED, moved ? '0' : copy.meta(CREATED_AT) ?? null)
    }
  }

  #adopt (copy: WorkingCopy, token: Token, loaded: LoadedRecord, moved: boolean): void {
    copy.adopt(token, loaded)
    if (loaded.standing === 'superseded') {
      // Everybody who still comes with the old secret is given the same successor.
      const sealed = loaded.fields.get(SEALED)
      const successor = sealed === undefined ? undefined : open(token.id, token.secret, sealed)
      if (successor !== undefined) this.#refresh = { copy, secret: successor }
    } else if (loaded.standing === 'due' || moved) this.#refresh = 'renew'
    // A persistent cookie has to outlive the extension; one with an old signature has to outlive its key.
    else if (token.outdated || (loaded.touched && copy.persistent)) this.#refresh = { copy, secret: token.secret }
  }

  /** Carries out live operations. */
  async execute (batch: Batch): Promise<void> {
    const { copy } = batch
    try {
      await this.steps.clearUp(copy)
      batch.settle(await this.#outcomes(copy, batch.operations()))
    } catch (error) {
      batch.fail(error)
      throw error
    }
  }

  async #outcomes (copy: WorkingCopy, operations: Operation[]): Promise<readonly Outcome[]> {
    if (copy.phase === 'new' && !operations.some(creates)) return operations.map(resultWithoutRecord)
    if (!isUsable(copy)) return operations.map(resultWhenGone)
    const { store } = this.#context.instance
    if (operations.every(({ type }) => type === 'get')) {
      const { id, lineage } = copy.identity
      const texts = await store.read(id, lineage, operations.map((operation) => (operation as { field: string }).field))
      if (texts === undefined) copy.phase = 'gone'
      return texts ?? operations.map(resultWhenGone)
    }
    const write: Write = { operations, settings: {}, touch: this.#context.touches ? 'due' : 'never', mode: 'apart' }
    const written = copy.phase === 'new' ? await this.#insert(copy, write) : await this.#put(copy, write)
    if (written === undefined) return operations.map(resultWhenGone)
    try {
      if (copy.replaces !== undefined) await this.#takePlace(copy)
    } catch (error) {
      // What was asked for is stored. The rest is tried again when the request finishes, if anything finishes it.
      if (!(error instanceof StoreUnavailableError) || this.#context.byHand) throw error
    }
    return written.results
  }

  /**
   * Stores changes.
   *
   * @throws GoneError, StoreUnavailableError; LimitError, ConflictError, those of refusals: the changes are dropped then;
   *   HeadersSentError
   */
  async save (copy: WorkingCopy, changes: Changes): Promise<void> {
    try {
      await this.steps.clearUp(copy)
      await this.#store(copy, changes)
    } catch (error) {
      const unavailable = error instanceof StoreUnavailableError
      // Nobody can put a refusal right by trying again: the answer that says so shall not fail for the same reason.
      if (unavailable || error instanceof HeadersSentError) copy.snapshot.returned(changes, !unavailable)
      else copy.snapshot.dropped(changes)
      throw error
    }
    if (copy.replaces !== undefined) await this.#takePlace(copy)
  }

  async #store (copy: WorkingCopy, changes: Changes): Promise<void> {
    const operations = copy.snapshot.operationsOf(changes)
    if (copy.phase !== 'new') await this.#update(copy, operations, changes)
    else if (operations.some(({ type }) => type === 'set')) await this.#create(copy, operations, changes)
    // Nothing makes a record yet. What was set beside data waits for some.
    else copy.snapshot.returned(changes.withoutData(), true)
  }

  async #create (copy: WorkingCopy, operations: Operation[], changes: Changes): Promise<void> {
    const { settings } = changes
    await this.#insert(copy, { operations: operations.filter(({ type }) => type === 'set'), settings, touch: 'never', mode: 'together' })
    copy.snapshot.stored(changes)
  }

  /** Creates the record under an id that nobody has. */
  async #insert (copy: WorkingCopy, write: Write): Promise<Written> {
    this.#assertCookiePossible()
    const { store, rules, users } = this.#context.instance
    for (let attempt = 0; attempt < CREATE_ATTEMPTS; attempt++) {
      const { id, lineage } = copy.identity
      const written = await this.steps.take({
        copy,
        secret: true,
        undo: async () => {
          await store.destroy(id, lineage)
          const { member } = copy
          if (users !== undefined) await users.withdraw(id, new Set([...member.entered, ...member.bound === undefined ? [] : [member.bound.user]]))
        },
        // The id stays: nobody was told of it, and a list that was may know it.
        forget: () => { copy.phase = 'new' }
      }, async () => await putRecord(copy, 'create', write), isDone)
      if (written === undefined) {
        copy.become(undefined)
        continue
      }
      if (written.barred === true) copy.phase = 'gone'
      assertDone(written, rules)
      this.#owe(copy)
      for (let one: WorkingCopy | undefined = copy; one !== undefined; one = one.replaces?.copy) {
        // Who asked for the signal of a session that never was stored meant the one that is.
        if (one === copy || one.phase === 'new') this.watch(copy, one.controller)
      }
      return written
    }
    throw new StoreUnavailableError('every new id is taken')
  }

  async #update (copy: WorkingCopy, operations: Operation[], changes: Changes): Promise<void> {
    const { settings, rotate, touch } = changes
    const changing = operations.length > 0 || rotate || Object.keys(settings).length > 0
    if (isUsable(copy) && (changing || touch)) await this.#change(copy, operations, changes)
    // Only whoever wanted something has to know that it is too late for that.
    if (!isUsable(copy) && changing) throw new GoneError()
    copy.snapshot.stored(changes)
  }

  async #change (copy: WorkingCopy, operations: Operation[], { settings, rotate, touch }: Changes): Promise<void> {
    // A secret that no browser knows yet is as good as a new one.
    const secret = rotate && !this.steps.isFresh(copy) ? newSecret() : undefined
    if (secret !== undefined || settings.persistent === true) this.#assertCookiePossible()
    const extension = touch ? 'always' : this.#context.touches ? 'due' : 'never'
    const written = await this.#put(copy, { operations, settings, touch: extension, mode: 'together' }, secret)
    if (written === undefined || !(rotate || settings.persistent === true)) return
    // A secret that browsers have may be another one by the time of the response.
    if (this.steps.isFresh(copy) || this.#context.byHand) this.#owe(copy)
    else this.#refresh = { copy, secret: copy.identity.secret }
  }

  /**
   * Writes to the record.
   *
   * @param secret takes the place of the record's own
   * @returns `undefined` where it is gone
   */
  async #put (copy: WorkingCopy, write: Write, secret?: string): Promise<Written | undefined> {
    const written = secret === undefined ? await putRecord(copy, 'write', write) : await this.#rotate(copy, write, secret)
    if (written === undefined) copy.phase = 'gone'
    else assertDone(written, this.#context.instance.rules)
    return written
  }

  async #rotate (copy: WorkingCopy, write: Write, secret: string): Promise<Written | undefined> {
    const { store, users } = this.#context.instance
    const { identity } = copy
    const bound = users && copy.member.bound
    const digest = digestOf(secret)
    const settings: Settings = { ...write.settings, digest }
    const written = await this.steps.take({
      copy,
      secret: true,
      undo: async () => {
        const undone = await store.takeBack(identity.id, digest)
        if (undone && users !== undefined) await users.takeBack(identity.id, bound, copy.member.bound, copy.idleTimeout)
      },
      forget: () => {
        copy.become(identity)
        if (users !== undefined) copy.member.bound = bound
      },
      settle: async () => { await store.finalize(identity.id, digest) }
    }, async () => await putRecord(copy, 'write', { ...write, settings }), isDone)
    if (!isDone(written)) return written
    copy.become({ id: identity.id, secret, lineage: digest })
    // A renewal that was under way is over.
    this.#refresh = undefined
    return written
  }

  /** Takes the records out of use whose place the copy takes. Where there is nothing to store instead of them, they end. */
  async #takePlace (copy: WorkingCopy): Promise<void> {
    const leaving = copy.leaving()
    if (copy.phase === 'new' && leaving.length > 0) await this.end(leaving.map(({ copy }) => copy))
    if (copy.phase !== 'stored') return
    for (const { copy: old, carried } of leaving) {
      if (await this.#retire(old, copy, carried) || !carried) continue
      // It ended while this request was carrying its data over. They must not live on.
      await this.takeBack()
      copy.phase = 'gone'
      throw new GoneError()
    }
  }

  async #retire (copy: WorkingCopy, successor: WorkingCopy, carried: boolean): Promise<boolean> {
    await this.steps.clearUp(copy)
    const { store, endings, users } = this.#context.instance
    const { phase, identity: { id, lineage } } = copy
    const mark = newId()
    const bound = users && copy.member.bound
    const retired = await this.steps.take({
      copy,
      successor,
      secret: false,
      undo: async () => await store.takeBack(id, mark),
      forget: () => { copy.phase = phase },
      settle: async () => {
        if (await store.finalize(id, mark)) endings.ended(id, 'destroyed')
        await this.#unlist(id, bound)
      }
    }, async () => await store.retire(id, mark, carried ? lineage : undefined), (happened) => happened)
    copy.phase = 'over'
    return retired
  }

  /** Ends records for good, whatever became of their secrets, and all those that they were to take the place of. */
  async end (copies: readonly WorkingCopy[]): Promise<void> {
    const { store, endings, users, migrations } = this.#context.instance
    // First, so that whatever fails leaves a session that can still be ended.
    if (this.cookieCame) await migrations?.end(this.#context.request?.raw.headers.cookie ?? '')
    // Those that were only taken out of use could be taken back.
    const all = copies.flatMap((one) => one.line().filter((copy) => copy === one || isUsable(copy) || copy.phase === 'gone' || this.steps.isOpen(copy)))
    const known = this.cookieCame || all.some(({ phase }) => phase !== 'new')
    // Whatever becomes of it, nobody gets the token of a session that was to be ended.
    if (this.#token !== undefined && all.includes(this.#token.copy)) this.#token = undefined
    for (const copy of all) {
      if (copy.phase !== 'new' || this.steps.isOpen(copy)) {
        const { id } = copy.identity
        if (await store.destroy(id)) endings.ended(id, 'destroyed')
        if (users !== undefined) await this.#unlist(id, copy.member.bound)
      }
      this.steps.over(copy)
      copy.phase = 'over'
      // With the first one, because another attempt finds only those that are left.
      this.#ended ||= known
    }
    this.#refresh = undefined
  }

  /** Takes a session that ended off its user's list: now, or as soon as the store answers. */
  async #unlist (id: string, bound: Bound | undefined): Promise<void> {
    const { users, takeBacks } = this.#context.instance
    const forget = async (): Promise<void> => { await users?.forget(id, bound) }
    await forget().catch(async () => { await takeBacks.add(forget) })
  }

  /** Undoes all that was to stand with the response. */
  async takeBack (which?: (step: Step) => boolean): Promise<void> {
    await this.steps.takeBack(this.#tryLater, which)
    this.#token = undefined
  }

  /** Has all that was done stand with the response. */
  async settle (): Promise<void> {
    if (this.steps.open) await this.steps.settle(this.#tryLater)
  }

  readonly #tryLater = async (undo: () => Promise<unknown>, ids: readonly string[]): Promise<void> => { await this.#context.instance.takeBacks.add(undo, ids) }

  /** Undoes the storing of a copy that did not get to take the place of another. */
  async undo (copy: WorkingCopy): Promise<void> {
    await this.takeBack((step) => step.copy === copy || step.successor === copy)
    const old = copy.replaces?.copy
    if (old !== undefined && this.steps.isFresh(old)) this.#owe(old)
  }

  /** Reads the record anew. */
  async reload (copy: WorkingCopy, setAside: Changes): Promise<void> {
    try {
      await this.steps.clearUp(copy)
      const seen = copy.phase === 'new' ? undefined : await this.#look(copy)
      if (seen !== undefined) copy.found(seen)
      copy.snapshot.reloaded(setAside, seen?.fields)
    } catch (error) {
      copy.snapshot.dropped(setAside)
      throw error
    }
  }

  /** @throws GoneError */
  async #look (copy: WorkingCopy): Promise<Seen> {
    const { id, lineage } = copy.identity
    const seen = copy.phase === 'stored' ? await this.#context.instance.store.look(id, lineage) : undefined
    if (seen !== undefined) return seen
    if (copy.phase === 'stored') copy.phase = 'gone'
    throw new GoneError()
  }

  /** Has a signal abort when the session ends, as long as there is somebody on the other side. */
  watch (copy: WorkingCopy, controller: AbortController | undefined): void {
    if (controller === undefined) return
    const { instance: { endings }, request, reply, isWebSocket } = this.#context
    const stop = endings.watch(copy.identity.id, copy.clock.ttl, (reason) => { controller.abort(new EndedError(reason)) })
    const connection = isWebSocket ? request?.raw.socket : reply?.raw
    if (connection?.destroyed === true) stop()
    else connection?.once('close', stop)
  }

  /**
   * Sees to the cookies that are nobody's wish: a routine renewal, and a token that the browser should have, unless the
   * record ended or was rotated meanwhile; then another response may have set, or cleared, the cookie already, and this one
   * must not undo that. Failure is nobody's failure: the next request tries again.
   */
  async refresh (copy: WorkingCopy): Promise<void> {
    const refresh = this.#refresh
    this.#refresh = undefined
    if (refresh === undefined || this.owed !== undefined || this.#context.headersSent || copy.phase !== 'stored') return
    const { store } = this.#context.instance
    try {
      if (refresh === 'renew') {
        const { id, secret } = copy.identity
        const offered = newSecret()
        const sealed = await store.renew(id, digestOf(secret), digestOf(offered), seal(id, secret, offered))
        const successor = sealed === undefined ? undefined : open(id, secret, sealed)
        if (successor !== undefined) this.#token = { copy, secret: successor }
      } else if (refresh.copy === copy && await store.stands(copy.identity.id, digestOf(refresh.secret))) this.#token = refresh
    } catch (error) {
      const { code } = error as { code?: string }
      this.#context.request?.log.warn({ sessionId: copy.identity.id, code }, 'the session cookie could not be renewed; the next request will try again')
    }
  }

  #owe (copy: WorkingCopy): void {
    this.#token = { copy, secret: copy.identity.secret }
  }

  #assertCookiePossible (): void {
    if (this.#context.headersSent) throw new HeadersSentError()
  }
}

/** Whether the store can be asked for the record. */
function isUsable ({ phase }: WorkingCopy): boolean {
  return phase === 'new' || phase === 'stored'
}

/** Whether a write was carried out. */
function isDone (written: Written | undefined): boolean {
  return written !== undefined && written.refusal === undefined && written.barred === undefined
}

/** @throws what tells an application why a write was refused */
function assertDone ({ refusal, barred }: Written, rules: SessionContext['instance']['rules']): void {
  if (refusal !== undefined) throw refusalError(refusal.refused, refusal.field, rules)
  // All sessions of the user were ended while this one was beginning.
  if (barred === true) throw new GoneError()
}
