/** Requests that go on and on, while something happens to Redis. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Browser } from './browser.js'

/** What came of one request. */
export interface Outcome {
  /** The HTTP status. */
  status: number
  /** The answer's body, parsed. */
  body: any
  /** When it was sent, by `performance.now()`. */
  at: number
  /** How long it took, milliseconds. */
  took: number
}

/** Runs one request after the other in each of several browsers, until it is stopped. */
export class Traffic {
  readonly outcomes: Outcome[] = []
  readonly #done: Promise<unknown>
  #stopped = false

  /**
   * @param browsers each waits for its answer, and `pause` milliseconds, before it sends its next request
   * @param url what they ask for
   */
  constructor (browsers: readonly Browser[], url: string, pause = 5) {
    this.#done = Promise.all(browsers.map(async (browser) => {
      while (!this.#stopped) {
        this.outcomes.push(await timed(browser, url))
        await sleep(pause)
      }
    }))
  }

  /** How many requests were answered with a status. */
  count (status: number): number {
    return this.outcomes.filter((outcome) => outcome.status === status).length
  }

  /** From the first failure to the last one, milliseconds; 0 where there was none. */
  get outage (): number {
    const failed = this.outcomes.filter(({ status }) => status !== 200)
    return failed.length === 0 ? 0 : Math.max(...failed.map(({ at, took }) => at + took)) - Math.min(...failed.map(({ at }) => at))
  }

  /** Milliseconds of the slowest request. */
  get slowest (): number {
    return Math.max(...this.outcomes.map(({ took }) => took))
  }

  /** Waits for the requests under way. */
  async stop (): Promise<void> {
    this.#stopped = true
    await this.#done
  }
}

/** One request and what came of it. */
export async function timed (browser: Browser, url: string): Promise<Outcome> {
  const at = performance.now()
  const { statusCode: status, body } = await browser.get(url)
  const took = performance.now() - at
  return { status, body: body === '' ? undefined : JSON.parse(body), at, took }
}
