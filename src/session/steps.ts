/**
 * What a request did in the store that counts only when its response leaves: a record that was created, a secret that was
 * replaced, a record that was taken out of use. The browser learns of it by the cookie of that response. If there is none,
 * because the store failed later or because nobody knows whether it did, all of it is taken back: then the cookie that the
 * browser has works as before, and nobody holds what it does not know.
 */
import { StoreUnavailableError } from '../errors.js'
import type { WorkingCopy } from './working-copy.js'

/** Gets what could not be undone, to try it again. */
type Retry = (undo: () => Promise<unknown>, ids: readonly string[]) => Promise<void>

/** One step. */
export interface Step {
  readonly copy: WorkingCopy
  /** The copy that takes the place of this one. */
  readonly successor?: WorkingCopy
  /** The copy has a secret that no browser knows yet. */
  readonly secret: boolean
  /** Undoes what this step did in the store, whether or not it did it. */
  readonly undo: () => Promise<unknown>
  /** Has the copy be what it was before. */
  readonly forget: () => void
  /** Decides that it stands. */
  readonly settle?: () => Promise<unknown>
}

export class Steps {
  readonly #steps: Step[] = []
  /** Those of which it is not known whether they happened. */
  readonly #unsure = new Set<Step>()

  /** Whether there is anything to decide. */
  get open (): boolean {
    return this.#steps.length > 0
  }

  /** Whether no browser can know the secret of this copy yet. */
  isFresh (copy: WorkingCopy): boolean {
    return this.#steps.some((step) => step.copy === copy && step.secret)
  }

  /** Whether there is anything to decide about a record. */
  isOpen (copy: WorkingCopy): boolean {
    return this.#steps.some((step) => step.copy === copy)
  }

  /**
   * Takes a step.
   *
   * @param run does it, and says whether it happened
   * @returns what `run` answers
   */
  async take<T> (step: Step, run: () => Promise<T>, happened: (answer: T) => boolean): Promise<T> {
    // Before it is sent: from then on it may happen.
    this.#steps.push(step)
    this.#unsure.add(step)
    try {
      const answer = await run()
      this.#unsure.delete(step)
      if (!happened(answer)) this.#drop(step)
      return answer
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) this.#drop(step)
      throw error
    }
  }

  /**
   * Undoes steps of which it is not known whether they happened, so that they can be taken again.
   *
   * @throws StoreUnavailableError: that is still not known
   */
  clearUp (copy: WorkingCopy): Promise<void> | undefined {
    return this.#unsure.size === 0 ? undefined : this.#undoUnsure(copy)
  }

  async #undoUnsure (copy: WorkingCopy): Promise<void> {
    for (const step of [...this.#unsure].reverse()) {
      if (step.copy !== copy) continue
      await step.undo()
      this.#drop(step)
      step.forget()
    }
  }

  /** Forgets the steps on records that ended for good. */
  over (copy: WorkingCopy): void {
    for (const step of [...this.#steps]) if (step.copy === copy) this.#drop(step)
  }

  /**
   * Everything stands, but for what may not have happened: the response brings no secret of it. What cannot be told to the
   * store does no harm: a record that is out of use stays so.
   *
   * @param retry gets what could not be undone now
   */
  async settle (retry: Retry): Promise<void> {
    if (this.#unsure.size > 0) await this.takeBack(retry, (step) => this.#unsure.has(step))
    const settles = this.#steps.splice(0).flatMap(({ settle }) => settle ?? [])
    if (settles.length > 0) await Promise.allSettled(settles.map(async (settle) => { await settle() }))
  }

  /**
   * Nothing stands, or none of some steps.
   *
   * @param retry gets what could not be undone now
   */
  async takeBack (retry: Retry, which: (step: Step) => boolean = () => true): Promise<void> {
    // The last one first: each leads back to where the one before it began.
    const steps = this.#steps.filter(which).reverse()
    for (const step of steps) this.#drop(step)
    for (let first = 0; first < steps.length; first++) {
      try {
        await steps[first]!.undo()
      } catch {
        const left = steps.slice(first)
        await retry(async () => { for (const { undo } of left) await undo() }, left.map(({ copy }) => copy.identity.id))
        break
      }
    }
    for (const { forget } of steps) forget()
  }

  #drop (step: Step): void {
    this.#unsure.delete(step)
    const at = this.#steps.indexOf(step)
    if (at !== -1) this.#steps.splice(at, 1)
  }
}
