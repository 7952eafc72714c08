/**
 * Time in which this process could have noticed something.
 *
 * A process that computes for a second reads no answer meanwhile, so that second says nothing about whoever was to answer.
 * And when it goes on, its timers run before its sockets are read
 * (https://nodejs.org/en/learn/asynchronous-work/event-loop-timers-and-nexttick). So whoever gives something up for lost
 * waits in short steps, of which one that took far too long counts little, and once more reads what has arrived.
 */

/** How long a step is, milliseconds. */
const STEP = 50
/** How much of a step counts at most, milliseconds: a timer that is late by a few is nothing special. */
const STEP_LIMIT = 2 * STEP

/** A clock that hardly goes on while this process is busy. */
export class Attention {
  #counted = 0
  #steppedAt = performance.now()
  #waiting = 0

  /** Milliseconds that count so far. Only differences mean something, and only while somebody waits by `at`. */
  now (): number {
    return this.#counted + Math.min(performance.now() - this.#steppedAt, STEP_LIMIT)
  }

  /**
   * Waits until this clock shows `moment`, and then until everything has been read that had arrived by that time. The timer
   * alone does not keep the process going.
   *
   * @param callback gets the time, by `now`, before which everything was read
   * @param isWanted asked at every step; once it is not, it is called off
   * @returns calls it off
   */
  at (moment: number, callback: (then: number) => void, isWanted = (): boolean => true): () => void {
    // Where nobody was waiting, no time was lost.
    if (this.#waiting === 0) this.#step()
    this.#waiting++
    let isWaiting = true
    let timer: NodeJS.Timeout | undefined
    const leave = (): void => {
      if (isWaiting) this.#waiting--
      isWaiting = false
    }
    const wait = (left: number): void => { timer = setTimeout(step, Math.min(Math.ceil(left), STEP)).unref() }
    const step = (): void => {
      const then = this.#step()
      if (!isWanted()) {
        leave()
        return
      }
      if (then < moment) {
        wait(moment - then)
        return
      }
      // Between timers and immediates, sockets are read.
      setImmediate(() => {
        if (!isWaiting) return
        leave()
        callback(then)
      })
    }
    wait(moment - this.now())
    return () => {
      clearTimeout(timer)
      leave()
    }
  }

  #step (): number {
    const now = performance.now()
    this.#counted += Math.min(now - this.#steppedAt, STEP_LIMIT)
    this.#steppedAt = now
    return this.#counted
  }
}

/** Calls back after so many milliseconds that count, as `Attention.at` does. */
export function patiently (milliseconds: number, callback: () => void, isWanted?: () => boolean): () => void {
  const attention = new Attention()
  return attention.at(attention.now() + milliseconds, callback, isWanted)
}
