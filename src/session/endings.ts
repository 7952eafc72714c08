/**
 * Open connections notice when their session ends.
 *
 * Whoever ends a session tells all processes (see `Store.subscribe`); what ends by time nobody tells, so a timer looks then.
 * Whenever something may have been missed, every watched session is looked at once. Nothing is subscribed to before
 * somebody watches.
 */
import type { EndReason, Store, Subscription } from '../store/store.js'

/** No timer takes longer, milliseconds. */
const MAX_DELAY = 2 ** 31 - 1
/** Past the expiry, milliseconds: Redis and this process do not count in the same steps. */
const LATE = 10
/** Milliseconds until the store is asked once more where it did not answer. */
const RETRY = 500
/** Sessions looked at in one go. */
const STEP = 100

interface Watched {
  readonly tell: Set<(reason: EndReason) => void>
  /** When the session expires, as far as is known, by `performance.now()`. */
  expires: number
  timer: NodeJS.Timeout | undefined
}

export class Endings {
  readonly #store: Store
  readonly #watched = new Map<string, Watched>()
  #subscription: Subscription | undefined
  #closed = false

  constructor (store: Store) {
    this.#store = store
  }

  /**
   * Watches a session.
   *
   * @param ttl milliseconds that it has left, as far as is known
   * @param tell called once, when it ends
   * @returns stops watching
   */
  watch (id: string, ttl: number, tell: (reason: EndReason) => void): () => void {
    if (this.#closed) return () => {}
    const watched = this.#watched.get(id) ?? { tell: new Set(), expires: 0, timer: undefined }
    this.#watched.set(id, watched)
    watched.tell.add(tell)
    this.#arm(id, watched, ttl)
    if (this.#subscription === undefined) {
      this.#subscription = this.#store.subscribe({
        ended: (id, reason) => { this.ended(id, reason) },
        connected: () => { this.#look([...this.#watched.keys()]) }
      })
    } else {
      // It may have ended after it was loaded and before it was watched.
      this.#look([id])
    }
    return () => {
      watched.tell.delete(tell)
      if (watched.tell.size > 0 || this.#watched.get(id) !== watched) return
      clearTimeout(watched.timer)
      this.#watched.delete(id)
    }
  }

  /** A session ended: whoever watches it is told. */
  ended (id: string, reason: EndReason): void {
    const watched = this.#watched.get(id)
    if (watched === undefined) return
    clearTimeout(watched.timer)
    this.#watched.delete(id)
    for (const tell of watched.tell) tell(reason)
  }

  /** Watches nothing any more. */
  async close (): Promise<void> {
    this.#closed = true
    for (const { timer } of this.#watched.values()) clearTimeout(timer)
    this.#watched.clear()
    await this.#subscription?.close()
  }

  #arm (id: string, watched: Watched, ttl: number): void {
    clearTimeout(watched.timer)
    watched.expires = performance.now() + ttl
    watched.timer = setTimeout(() => { this.#look([id]) }, Math.min(ttl + LATE, MAX_DELAY)).unref()
  }

  /** Looks which of these sessions there still are. Where the store does not answer, it is asked again. */
  #look (ids: readonly string[]): void {
    for (let first = 0; first < ids.length; first += STEP) {
      const some = ids.slice(first, first + STEP)
      this.#store.describe(some).then((descriptions) => {
        some.forEach((id, i) => {
          const watched = this.#watched.get(id)
          const description = descriptions[i]
          if (watched === undefined) return
          if (description !== undefined) this.#arm(id, watched, description.ttl)
          else this.ended(id, performance.now() >= watched.expires ? 'expired' : 'ended')
        })
      }, () => {
        if (!this.#closed) setTimeout(() => { this.#look(some.filter((id) => this.#watched.has(id))) }, RETRY).unref()
      })
    }
  }
}
