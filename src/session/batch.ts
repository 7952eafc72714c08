/**
 * Live operations: gathering those of one turn, and what they find where no record is.
 */
import { GoneError } from '../errors.js'
import type { Operation, OperationResult } from '../store/store.js'

/** Live operations of one turn, waiting to be sent together. */
export class Batch {
  readonly operations: Operation[] = []
  readonly #waiting: Array<{ resolve: (result: OperationResult) => void, reject: (error: unknown) => void } | undefined> = []
  readonly #preceding = new Set<string>()

  /** Adds a pending change, once, that has to happen before the next operation and that nobody waits for. */
  precede (change: Operation): void {
    const key = JSON.stringify(change)
    if (this.#preceding.has(key)) return
    this.#preceding.add(key)
    this.operations.push(change)
    this.#waiting.push(undefined)
  }

  /** Adds an operation; the promise settles with its result. */
  add (operation: Operation): Promise<OperationResult> {
    this.operations.push(operation)
    return new Promise((resolve, reject) => { this.#waiting.push({ resolve, reject }) })
  }

  /** Hands out the results, one per operation; an error among them rejects. */
  settle (results: ReadonlyArray<OperationResult | Error>): void {
    this.#waiting.forEach((waiting, i) => {
      const result = results[i]!
      if (result instanceof Error) waiting?.reject(result)
      else waiting?.resolve(result)
    })
  }

  /** Fails all of them. */
  fail (error: unknown): void {
    for (const waiting of this.#waiting) waiting?.reject(error)
  }
}

/** Whether an operation needs a record to happen to. */
export function creates (operation: Operation): boolean {
  switch (operation.type) {
    case 'set': case 'setIfAbsent': case 'increment': return true
    case 'replace': return operation.expected === null && operation.text !== null
    default: return false
  }
}

/** What an operation that needs no record finds where there is none. */
export function resultWithoutRecord (operation: Operation): OperationResult {
  switch (operation.type) {
    case 'delete': return false
    case 'clear': return true
    case 'replace': return { done: operation.expected === null, current: null }
    default: return null
  }
}

/** Whoever only reads gets an answer from a session that ended; whoever writes has to know. */
export function resultWhenGone (operation: Operation): OperationResult | Error {
  return operation.type === 'get' ? null : new GoneError()
}
