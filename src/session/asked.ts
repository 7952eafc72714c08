/**
 * The answer to something that a program asked of its session. It knows whether anybody waits for it: where nobody does,
 * its failure is the response's (or, after the response, a line in the log), and not the end of the process.
 */
export class Asked<T> extends Promise<T> {
  /** Whether somebody was waiting, so far. `await` counts, like every other way to hear of the outcome. */
  awaited = false
  /** Settles with the answer, and never fails. Waiting for it does not count. */
  settled: Promise<void> = Promise.resolve()

  /** What `then` answers is an ordinary promise: whoever has one waits for this one already. */
  static override get [Symbol.species] (): PromiseConstructor {
    return Promise
  }

  /**
   * @param answer the answer, or how it fails
   * @param done called when it is there; with an error where it failed
   */
  static to<T> (answer: Promise<T>, done: (error?: Error) => void): Asked<T> {
    const asked = new Asked<T>((resolve) => { resolve(answer) })
    asked.settled = Promise.prototype.then.call(asked, () => { done() }, done) as Promise<void>
    return asked
  }

  override then<Fulfilled = T, Rejected = never> (
    fulfilled?: ((value: T) => Fulfilled | PromiseLike<Fulfilled>) | null,
    rejected?: ((reason: any) => Rejected | PromiseLike<Rejected>) | null
  ): Promise<Fulfilled | Rejected> {
    this.awaited = true
    return super.then(fulfilled, rejected)
  }
}
