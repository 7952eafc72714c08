/** Waiting for something that another process does in its own time. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Milliseconds between two looks. */
const INTERVAL = 20

/**
 * Looks again and again until something is so.
 *
 * @param what what is waited for, for the error's text
 * @param limit milliseconds to wait at most
 * @param look gives the value to wait for, or something falsy while it is not there. An error counts as 'not yet':
 *   servers that come and go refuse connections meanwhile
 * @returns the first truthy value that `look` gave
 * @throws Error after `limit`, with the last error of `look` as its cause
 */
export async function until<T> (what: string, limit: number, look: () => T | Promise<T>): Promise<NonNullable<T>> {
  const end = performance.now() + limit
  for (;;) {
    let cause: unknown
    try {
      const value = await look()
      if (value) return value
    } catch (error) {
      cause = error
    }
    if (performance.now() > end) throw new Error(`Not within ${limit} ms: ${what}`, { cause })
    await sleep(INTERVAL)
  }
}
