/**
 * What the operations of a write mean, in TypeScript. The memory store runs this; the Redis store runs the same rules
 * in its script, because there they have to happen inside Redis. The contract suite holds the two together.
 */
import type { Operation, OperationResult, Refusal, Rules, Write } from './store.js'
import { NameError } from '../errors.js'
import { addDecimals } from './decimal.js'
import { isReserved } from './record.js'

/** What became of a list of operations. */
export interface Applied {
  /** The data fields afterwards. */
  data: Map<string, string>
  results: OperationResult[]
  refusal?: Refusal & { field: string }
}

/**
 * Applies the operations of a write to a copy of the data.
 *
 * @param before data fields, without metadata
 * @returns the new data and a result per operation; with a `refusal`, `data` is what it was
 */
export function applyOperations (before: ReadonlyMap<string, string>, write: Write, rules: Rules): Applied {
  const state: State = { data: new Map(before), size: sizeOf(before), rules }
  const results: OperationResult[] = []
  for (const operation of write.operations) {
    const result = apply(state, operation)
    if (write.mode === 'together' && isRefusal(result)) {
      return { data: new Map(before), results: [], refusal: { ...result, field: 'field' in operation ? operation.field : '' } }
    }
    results.push(result)
  }
  return { data: state.data, results }
}

/**
 * The error of a write that takes metadata for data, or `undefined`. The session checks names where they are written;
 * this is the last line, in front of every store, because whoever could write a digest could take a session over.
 */
export function reservedName ({ operations }: Write): Error | undefined {
  for (const operation of operations) {
    if ('field' in operation && isReserved(operation.field)) return new NameError(operation.field.slice(0, 40), 'it is reserved')
  }
  return undefined
}

/** Whether one operation's result says that it was refused. */
export function isRefusal (result: OperationResult): result is Refusal {
  return typeof result === 'object' && result !== null && 'refused' in result
}

/**
 * Adds to a number within limits.
 *
 * @param text the number as stored
 * @returns the sum as text
 */
export function addWithin (text: string, { by, min, max }: { by: string, min: string, max: string }): string | Refusal {
  const added = addDecimals(text, by)
  if (typeof added === 'string') return { refused: added }
  return Number(added.sum) < Number(min) || Number(added.sum) > Number(max) ? { refused: 'range' } : added.sum
}

interface State {
  data: Map<string, string>
  /** Bytes of all names and texts in `data`. */
  size: number
  rules: Rules
}

function apply (state: State, operation: Operation): OperationResult {
  switch (operation.type) {
    case 'get':
      return toBuffer(state.data.get(operation.field))
    case 'set':
      return set(state, operation.field, operation.text)
    case 'setIfAbsent':
      return state.data.has(operation.field) ? false : set(state, operation.field, operation.text)
    case 'increment':
      return increment(state, operation)
    case 'delete':
      return remove(state, operation.field)
    case 'take': {
      const text = state.data.get(operation.field)
      remove(state, operation.field)
      return toBuffer(text)
    }
    case 'replace':
      return replace(state, operation)
    case 'clear':
      state.data.clear()
      state.size = 0
      return true
  }
}

function set (state: State, field: string, text: string): true | Refusal {
  const old = state.data.get(field)
  if (old === undefined && state.data.size >= state.rules.maxFields) return { refused: 'fields' }
  const growth = Buffer.byteLength(text) + (old === undefined ? Buffer.byteLength(field) : -Buffer.byteLength(old))
  // A record that is too big already, because the limit was lowered, may still shrink.
  if (growth > 0 && state.size + growth > state.rules.maxRecordSize) return { refused: 'size' }
  state.data.set(field, text)
  state.size += growth
  return true
}

function remove (state: State, field: string): boolean {
  const old = state.data.get(field)
  if (old === undefined) return false
  state.size -= Buffer.byteLength(field) + Buffer.byteLength(old)
  return state.data.delete(field)
}

function increment (state: State, { field, ...added }: Extract<Operation, { type: 'increment' }>): string | Refusal {
  const sum = addWithin(state.data.get(field) ?? '0', added)
  if (isRefusal(sum)) return sum
  const stored = set(state, field, sum)
  return stored === true ? sum : stored
}

function replace (state: State, { field, expected, text }: Extract<Operation, { type: 'replace' }>): OperationResult {
  const current = state.data.get(field) ?? null
  if (current !== expected) return { done: false, current }
  if (text === null) remove(state, field)
  else {
    const stored = set(state, field, text)
    if (stored !== true) return stored
  }
  return { done: true, current: text }
}

function sizeOf (data: ReadonlyMap<string, string>): number {
  let size = 0
  for (const [field, text] of data) size += Buffer.byteLength(field) + Buffer.byteLength(text)
  return size
}

function toBuffer (text: string | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text)
}
