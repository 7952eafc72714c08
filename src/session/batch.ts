/**
 * Live operations: gathering those of one turn, and what they find where no record is.
 */
import { GoneError, StoreUnavailableError } from '../errors.js'
import { isRefusal } from '../store/operations.js'
import type { Operation, OperationResult, ReplaceResult } from '../store/store.js'
import type { Changes } from './changes.js'
import type { WorkingCopy } from './working-copy.js'

/** One live operation, with what has to happen to its field before it. */
interface Entry {
  readonly operation: Operation
  /** `undefined` for one that only reads. */
  readonly changes: Changes | undefined
  /** What was sent for the changes. */
  preceding: Operation[]
  readonly resolve: (result: OperationResult) => void
  readonly reject: (error: unknown) => void
}

/** What was made of one operation. */
export type Outcome = OperationResult | Error

/** Live operations of one turn on one record, waiting to be sent together. */
export class Batch {
  readonly copy: WorkingCopy
  readonly #entries: Entry[] = []

  constructor (copy: WorkingCopy) {
    this.copy = copy
  }

  /** Adds an operation; the promise settles with its result. */
  add (operation: Operation): Promise<OperationResult> {
    const changes = operation.type === 'get' || operation.type === 'clear' ? undefined : this.copy.snapshot.takeFor(operation.field)
    return new Promise((resolve, reject) => { this.#entries.push({ operation, changes, preceding: [], resolve, reject }) })
  }

  /** Everything that has to be sent, in order. To be asked when all operations before are done. */
  operations (): Operation[] {
    // What an operation of this batch leaves in a field is known only afterwards.
    const open = new Set<string>()
    return this.#entries.flatMap((entry) => {
      const { operation, changes } = entry
      if (changes !== undefined) {
        entry.preceding = this.copy.snapshot.operationsOf(changes, open)
        open.add(changes.live!)
      }
      return [...entry.preceding, operation]
    })
  }

  /**
   * Hands out the outcomes, one for each of `operations()`, and has the snapshot show what they left in the store.
   */
  settle (outcomes: readonly Outcome[]): void {
    let at = 0
    for (const entry of this.#entries) {
      const preceding = outcomes.slice(at, at += entry.preceding.length)
      const outcome = outcomes[at++]!
      this.#learn(entry, preceding, outcome)
      if (outcome instanceof Error) entry.reject(outcome)
      else entry.resolve(outcome)
    }
  }

  /**
   * Fails all of them. Unless it was refused, what was changed before them is still to be saved: whoever changed it has to
   * hear that it cannot be.
   */
  fail (error: unknown): void {
    const unknown = error instanceof StoreUnavailableError
    for (const { changes, reject } of this.#entries) {
      if (changes !== undefined) {
        if (unknown || error instanceof GoneError) this.copy.snapshot.returned(changes, !unknown)
        else this.copy.snapshot.dropped(changes)
      }
      reject(error)
    }
  }

  #learn ({ operation, changes }: Entry, preceding: readonly Outcome[], outcome: Outcome): void {
    if (changes === undefined) return
    const happened = (result: Outcome): boolean => !(result instanceof Error || isRefusal(result))
    // A change that did not get in is still to be saved, and then somebody is told why it cannot be.
    if (outcome instanceof Error || !preceding.every(happened)) this.copy.snapshot.returned(changes, true)
    else {
      const left = isRefusal(outcome) ? undefined : textLeftBy(operation, outcome)
      if (left === undefined) this.copy.snapshot.stored(changes)
      else this.copy.snapshot.learn(changes, left)
    }
  }
}

/** What an operation left in its field: a text, `null` where nothing is there, `undefined` where it left it as it was. */
function textLeftBy (operation: Operation, result: OperationResult): string | null | undefined {
  switch (operation.type) {
    case 'set': return operation.text
    case 'setIfAbsent': return result === true ? operation.text : undefined
    case 'increment': return result as string
    case 'delete': case 'take': return null
    case 'replace': return (result as ReplaceResult).done ? operation.text : undefined
    default: return undefined
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
export function resultWhenGone (operation: Operation): Outcome {
  return operation.type === 'get' ? null : new GoneError()
}
