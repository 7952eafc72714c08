/**
 * A store whose operations are published on the diagnostics channels.
 *
 * Whatever happens to a session, its store does it, whoever asks: a request, a live attribute, `fastify.sessions`. So
 * this is the one place to watch. Where nobody listens, calls are passed on as they are, without a promise more.
 */
import { channels, type SessionEvent, type StoreOperation } from '../diagnostics.js'
import { RecordError, StoreUnavailableError } from '../errors.js'
import type {
  Announced, Announcement, Description, EndListener, Entry, LoadedRecord, RawRecord, Rules, Seen, Store, StoreStatus, Subscription, UserList, Write, Written
} from './store.js'

export class WatchedStore implements Store {
  readonly #store: Store
  readonly #instance: string

  /**
   * @param store does the work
   * @param instance named in every message
   */
  constructor (store: Store, instance: string) {
    this.#store = store
    this.#instance = instance
  }

  load (id: string, digest: string, touch: boolean, rules: Rules): Promise<LoadedRecord | undefined> {
    const { loaded, missed, reused, storeError } = channels
    if (!loaded.hasSubscribers && !missed.hasSubscribers && !reused.hasSubscribers && !storeError.hasSubscribers) {
      return this.#store.load(id, digest, touch, rules)
    }
    return this.#watch('load', id, () => this.#store.load(id, digest, touch, rules), (record, event) => {
      if (record === undefined) missed.publish(event)
      else if (record.standing === 'reused') reused.publish(event)
      else loaded.publish({ ...event, touched: record.touched })
    })
  }

  create (id: string, digest: string, write: Write, rules: Rules): Promise<Written | undefined> {
    const { created, storeError } = channels
    if (!created.hasSubscribers && !storeError.hasSubscribers) return this.#store.create(id, digest, write, rules)
    return this.#watch('create', id, () => this.#store.create(id, digest, write, rules), (written, event) => {
      if (written !== undefined && written.refusal === undefined && written.barred === undefined) created.publish(event)
    })
  }

  write (id: string, lineage: string, write: Write, rules: Rules): Promise<Written | undefined> {
    const { saved, rotated, gone, storeError } = channels
    if (!saved.hasSubscribers && !rotated.hasSubscribers && !gone.hasSubscribers && !storeError.hasSubscribers) {
      return this.#store.write(id, lineage, write, rules)
    }
    return this.#watch('write', id, () => this.#store.write(id, lineage, write, rules), (written, event) => {
      if (written === undefined) {
        gone.publish({ ...event, operation: 'write' })
        return
      }
      if (written.refusal !== undefined || written.moved !== undefined || written.barred !== undefined) return
      saved.publish({ ...event, live: write.mode === 'apart' })
      if (write.settings.digest !== undefined) rotated.publish({ ...event, routine: false })
    })
  }

  read (id: string, lineage: string, names: readonly string[]): Promise<Array<Buffer | null> | undefined> {
    const { gone, storeError } = channels
    if (!gone.hasSubscribers && !storeError.hasSubscribers) return this.#store.read(id, lineage, names)
    return this.#watch('read', id, () => this.#store.read(id, lineage, names), (texts, event) => {
      if (texts === undefined) gone.publish({ ...event, operation: 'read' })
    })
  }

  look (id: string, lineage: string): Promise<Seen | undefined> {
    const { loaded, missed, storeError } = channels
    if (!loaded.hasSubscribers && !missed.hasSubscribers && !storeError.hasSubscribers) return this.#store.look(id, lineage)
    return this.#watch('look', id, () => this.#store.look(id, lineage), (record, event) => {
      if (record === undefined) missed.publish(event)
      else loaded.publish({ ...event, touched: false })
    })
  }

  stands (id: string, digest: string): Promise<boolean> {
    return this.#attempt('stands', id, () => this.#store.stands(id, digest))
  }

  renew (id: string, digest: string, nextDigest: string, sealed: string): Promise<string | undefined> {
    const { rotated, storeError } = channels
    if (!rotated.hasSubscribers && !storeError.hasSubscribers) return this.#store.renew(id, digest, nextDigest, sealed)
    return this.#watch('renew', id, () => this.#store.renew(id, digest, nextDigest, sealed), (standing, event) => {
      // Of several offers at once only the one that stands is a renewal.
      if (standing === sealed) rotated.publish({ ...event, routine: true })
    })
  }

  retire (id: string, mark: string, lineage?: string): Promise<boolean> {
    const { gone, storeError } = channels
    if (!gone.hasSubscribers && !storeError.hasSubscribers) return this.#store.retire(id, mark, lineage)
    return this.#watch('retire', id, () => this.#store.retire(id, mark, lineage), (retired, event) => {
      if (!retired && lineage !== undefined) gone.publish({ ...event, operation: 'retire' })
    })
  }

  finalize (id: string, mark: string): Promise<boolean> {
    const { destroyed, storeError } = channels
    if (!destroyed.hasSubscribers && !storeError.hasSubscribers) return this.#store.finalize(id, mark)
    return this.#watch('finalize', id, () => this.#store.finalize(id, mark), (ended, event) => {
      if (ended) destroyed.publish(event)
    })
  }

  takeBack (id: string, mark: string): Promise<boolean> {
    return this.#attempt('takeBack', id, () => this.#store.takeBack(id, mark))
  }

  destroy (id: string, lineage?: string): Promise<boolean> {
    const { destroyed, storeError } = channels
    if (!destroyed.hasSubscribers && !storeError.hasSubscribers) return this.#store.destroy(id, lineage)
    return this.#watch('destroy', id, () => this.#store.destroy(id, lineage), (ended, event) => {
      if (ended) destroyed.publish(event)
    })
  }

  end (id: string, ticket?: string): Promise<boolean> {
    const { destroyed, storeError } = channels
    if (!destroyed.hasSubscribers && !storeError.hasSubscribers) return this.#store.end(id, ticket)
    return this.#watch('destroy', id, () => this.#store.end(id, ticket), (ended, event) => {
      if (ended) destroyed.publish(event)
    })
  }

  announce (user: string, announcement: Announcement): Promise<Announced> {
    return this.#attempt('announce', announcement.id, () => this.#store.announce(user, announcement))
  }

  leave (user: string, entries: ReadonlyArray<Pick<Entry, 'id' | 'ticket'>>): Promise<void> {
    return this.#attempt('leave', undefined, () => this.#store.leave(user, entries))
  }

  entries (user: string, ending?: { except: string | undefined, keep: number }): Promise<UserList> {
    return this.#attempt('entries', undefined, () => this.#store.entries(user, ending))
  }

  describe (ids: readonly string[]): Promise<Array<Description | undefined>> {
    return this.#attempt('describe', undefined, () => this.#store.describe(ids))
  }

  async * scan (): AsyncGenerator<string[]> {
    let begin = performance.now()
    try {
      for await (const ids of this.#store.scan()) {
        yield ids
        begin = performance.now()
      }
    } catch (error) {
      this.#report('scan', undefined, begin, error)
      throw error
    }
  }

  subscribe (listener: EndListener): Subscription {
    return this.#store.subscribe(listener)
  }

  inspect (id: string): Promise<RawRecord | undefined> {
    return this.#attempt('inspect', id, () => this.#store.inspect(id))
  }

  status (): StoreStatus {
    return this.#store.status()
  }

  close (): Promise<void> {
    return this.#store.close()
  }

  /** Times an operation on a session, and has its outcome or its failure published. */
  async #watch<T> (operation: StoreOperation, id: string, run: () => Promise<T>, publish: (result: T, event: SessionEvent) => void): Promise<T> {
    const begin = performance.now()
    const result = await this.#attempt(operation, id, run)
    publish(result, { instance: this.#instance, id, duration: performance.now() - begin })
    return result
  }

  /** Has the failure of an operation published. */
  #attempt<T> (operation: StoreOperation, id: string | undefined, run: () => Promise<T>): Promise<T> {
    if (!channels.storeError.hasSubscribers) return run()
    const begin = performance.now()
    return run().catch((error: Error) => {
      this.#report(operation, id, begin, error)
      throw error
    })
  }

  /** Publishes that the store failed, and nothing where it only refused. */
  #report (operation: StoreOperation, id: string | undefined, begin: number, error: unknown): void {
    // A refusal, of an unusable name for instance, is any other error.
    if (!(error instanceof StoreUnavailableError || error instanceof RecordError)) return
    channels.storeError.publish({ instance: this.#instance, id, duration: performance.now() - begin, operation, code: error.code, message: error.message })
  }
}
