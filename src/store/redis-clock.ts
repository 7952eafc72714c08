/**
 * The clock of one Redis, and the deadlines of writes by it.
 *
 * Redis told its time after the command was written and before the answer was read; so every answer says what has to be
 * added to this process' monotonic clock at least and at most (F. Cristian, "Probabilistic clock synchronization",
 * Distributed Computing 3, 1989). An answer that is read late leaves much between the two. Others then narrow it down; one
 * that contradicts what is known says that a clock was set.
 */

/** How much longer than its timeout a write may be waited for because the clock is not known well, milliseconds. */
const MAX_DOUBT = 2000

export class RedisClock {
  readonly #timeout: number
  #least = -Infinity
  #most = Infinity

  /** @param timeout milliseconds that a write may take */
  constructor (timeout: number) {
    this.#timeout = timeout
  }

  /** Whether any answer told the time. */
  get known (): boolean {
    return this.#least !== -Infinity
  }

  /**
   * Takes note of what an answer said.
   *
   * @param time whole milliseconds since 1970
   * @param written when its command was written, and `read` when the answer was read, by `performance.now()`
   */
  learn (time: number, written: number, read: number): void {
    const least = time - read
    const most = time + 1 - written
    const contradicts = least > this.#most || most < this.#least
    this.#least = contradicts ? least : Math.max(least, this.#least)
    this.#most = contradicts ? most : Math.min(most, this.#most)
  }

  /** What this Redis' clock shows at a moment of `performance.now()`, about: whole milliseconds since 1970. */
  at (moment: number): number {
    return Math.floor(moment + this.#offset)
  }

  /**
   * The last millisecond, by this Redis' clock, in which a write may happen that is given up at `moment` + `doubt`. Where
   * nothing is known of the clock that is none at all: the script then only tells the time.
   */
  deadline (moment: number): number {
    return this.known ? this.at(moment) - 1 : 0
  }

  /**
   * By how many milliseconds a deadline may come too late. A write is waited for so much longer: one that was given up must
   * not happen any more.
   */
  get doubt (): number {
    return this.known ? this.#offset - this.#least : 0
  }

  /** What is added: what is certain, unless that might take more than half of its time away from a write. */
  get #offset (): number {
    return Math.min(Math.max(this.#least, this.#most - this.#timeout / 2), this.#least + MAX_DOUBT)
  }
}
