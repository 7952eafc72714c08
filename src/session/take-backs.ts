/**
 * What has to be undone in the store as soon as it answers again: steps of requests that were answered with an error.
 */
import { StoreUnavailableError } from '../errors.js'

/** After so many milliseconds it is tried again. */
const RETRY = 200
/** So many are remembered. An outage in which more are begun was long: most of them never got to the store. */
const MAX_WAITING = 10_000

export class TakeBacks {
  readonly #waiting = new Map<() => Promise<unknown>, readonly string[]>()
  #timer: NodeJS.Timeout | undefined
  #closed = false

  /**
   * Has something undone: at once, or later, again and again until it succeeds.
   *
   * @param ids the records that it is about
   */
  async add (undo: () => Promise<unknown>, ids: readonly string[] = []): Promise<void> {
    if (await isDone(undo) || this.#closed) return
    if (this.#waiting.size >= MAX_WAITING) this.#waiting.delete(this.#waiting.keys().next().value!)
    this.#waiting.set(undo, ids)
    // Unreferenced: what is left when the process ends, a record that is out of use included, expires.
    this.#timer ??= setTimeout(this.#try, RETRY).unref()
  }

  /**
   * Undoes what waits for a record, before it is looked at: its owner would be taken for a stranger, and a stranger's new
   * cookie would take the place of his.
   *
   * @returns `undefined` where nothing waits, as nearly always
   * @throws StoreUnavailableError
   */
  before (id: string): Promise<void> | undefined {
    if (this.#waiting.size === 0) return undefined
    const about = [...this.#waiting].filter(([, ids]) => ids.includes(id)).map(([undo]) => undo)
    return about.length === 0 ? undefined : this.#now(about)
  }

  async #now (undos: ReadonlyArray<() => Promise<unknown>>): Promise<void> {
    for (const undo of undos) {
      if (!await isDone(undo)) throw new StoreUnavailableError('something is still to be undone')
      this.#waiting.delete(undo)
    }
  }

  /** Tries once more, and then no more. */
  async close (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#undoAll()
  }

  readonly #try = async (): Promise<void> => {
    await this.#undoAll()
    this.#timer = undefined
    if (this.#waiting.size > 0 && !this.#closed) this.#timer = setTimeout(this.#try, RETRY).unref()
  }

  /** One after the other: where one fails, the store is not back yet. */
  async #undoAll (): Promise<void> {
    for (const undo of [...this.#waiting.keys()]) {
      if (!await isDone(undo)) return
      this.#waiting.delete(undo)
    }
  }
}

async function isDone (undo: () => Promise<unknown>): Promise<boolean> {
  try {
    await undo()
    return true
  } catch (error) {
    // Any other failure is nothing that waiting will change: another thing stands under that key, for instance.
    return !(error instanceof StoreUnavailableError)
  }
}
