/**
 * The snapshot of one request: the record as it stood when the request came in, plus what this request changed.
 *
 * Values are decoded when they are first read. Nested changes are found by comparing, when the session is saved, the
 * text of each object that was handed out with the text it was read from: every way to mutate a value is noticed, and
 * values keep their identity and stay free of proxies.
 */
import { DepthError, FieldSizeError, ValueError } from '../errors.js'
import { decode, encode } from '../store/codec.js'
import { assertName, isReserved } from '../store/record.js'
import type { Operation, StoredFields } from '../store/store.js'
import type { FieldSchema } from './schema.js'

/** What limits single fields. */
export interface FieldRules {
  readonly maxDepth: number
  /** Bytes of name and text. */
  readonly maxFieldSize: number
  readonly schema: FieldSchema | undefined
  /** Told about a stored field that does not fit the schema. */
  readonly onMisfit: (name: string) => void
}

export class Fields {
  readonly #rules: FieldRules
  #source: StoredFields | undefined
  /** What this request learnt of the store since loading: a text, or `null` for absence. Outranks the source. */
  #known: Map<string, string | null> | undefined
  /** Values that were handed out or set. */
  #values: Map<string, unknown> | undefined
  /** Fields set since they were last saved, with the text at that time. */
  #assigned: Map<string, string> | undefined
  #deleted: Set<string> | undefined
  #cleared = false

  constructor (rules: FieldRules) {
    this.#rules = rules
  }

  /** Begins with a loaded record. */
  load (source: StoredFields): void {
    this.#source = source
  }

  /** The value of a field; `undefined` where absent or where it does not fit the schema. */
  get (name: string): unknown {
    if (this.#values?.has(name)) return this.#values?.get(name)
    const text = this.#current(name)
    if (text === undefined) return undefined
    const value = this.decode(name, text)
    this.#values ??= new Map()
    this.#values.set(name, value)
    return value
  }

  /** The value that a stored text stands for; `undefined` where it does not fit the schema. */
  decode (name: string, text: string): unknown {
    const value = decode(text)
    if (this.#rules.schema?.fits(name, value) !== false) return value
    this.#rules.onMisfit(name)
    return undefined
  }

  /** Sets a field, or with `undefined` removes it. Throws before anything changes. */
  set (name: string, value: unknown): void {
    if (value === undefined) {
      this.delete(name)
      return
    }
    const text = this.encode(name, value)
    this.#values ??= new Map()
    this.#values.set(name, value)
    this.#assigned ??= new Map()
    this.#assigned.set(name, text)
    this.#deleted?.delete(name)
  }

  /** Removes a field. */
  delete (name: string): void {
    assertName(name)
    this.#values?.delete(name)
    this.#assigned?.delete(name)
    this.#deleted ??= new Set()
    this.#deleted.add(name)
  }

  /** Removes all fields, also those that other requests add until this one is saved. */
  clear (): void {
    this.#values?.clear()
    this.#assigned?.clear()
    this.#deleted?.clear()
    this.#cleared = true
  }

  /** Whether nothing can have changed: nothing was set, removed, or handed out in a form that can be mutated. */
  get pristine (): boolean {
    if (this.#cleared || (this.#deleted?.size ?? 0) > 0 || (this.#assigned?.size ?? 0) > 0) return false
    for (const value of this.#values?.values() ?? []) if (typeof value === 'object' && value !== null) return false
    return true
  }

  /** Names of the fields that are there. */
  names (): string[] {
    const names = new Set<string>()
    if (!this.#cleared) {
      for (const name of this.#source?.names() ?? []) names.add(name)
      for (const name of this.#known?.keys() ?? []) names.add(name)
    }
    for (const name of this.#assigned?.keys() ?? []) names.add(name)
    return [...names].filter((name) => !isReserved(name) && this.get(name) !== undefined)
  }

  /**
   * The text of a value, checked against all rules for a single field.
   *
   * @throws NameError, ValueError, DepthError, FieldSizeError, SchemaError
   */
  encode (name: string, value: unknown): string {
    assertName(name)
    this.#rules.schema?.assert(name, value)
    const text = encode(name, value, this.#rules.maxDepth)
    const { maxFieldSize } = this.#rules
    if ((name.length + text.length) * 3 > maxFieldSize && Buffer.byteLength(name) + Buffer.byteLength(text) > maxFieldSize) {
      throw new FieldSizeError(name, maxFieldSize)
    }
    return text
  }

  /**
   * What has to happen in the store so that it holds what this request changed. Removals come first, so that they make
   * room within the limits.
   */
  changes (): Operation[] {
    const operations: Operation[] = []
    if (this.#cleared) operations.push({ type: 'clear' })
    for (const field of this.#deleted ?? []) {
      if (this.#stored(field) !== undefined) operations.push({ type: 'delete', field })
    }
    for (const name of this.#values?.keys() ?? []) {
      const text = this.#changedText(name)
      if (text !== undefined) operations.push({ type: 'set', field: name, text })
    }
    return operations
  }

  /** What has to happen to one field before a live write to it, so that the two take effect in the program's order. */
  changesOf (name: string): Operation[] {
    if (this.#cleared) return this.changes()
    if (this.#deleted?.has(name)) return [{ type: 'delete', field: name }]
    const text = this.#changedText(name)
    return text === undefined ? [] : [{ type: 'set', field: name, text }]
  }

  /** Takes note that the store has done these operations. */
  stored (operations: readonly Operation[]): void {
    for (const operation of operations) {
      switch (operation.type) {
        case 'clear':
          this.#source = undefined
          this.#known?.clear()
          this.#cleared = false
          break
        case 'set':
          this.#known ??= new Map()
          this.#known.set(operation.field, operation.text)
          // Another text was assigned while this one was on its way: that one is still to be saved.
          if (this.#assigned?.get(operation.field) === operation.text) this.#assigned?.delete(operation.field)
          break
        case 'delete':
          this.#known ??= new Map()
          this.#known.set(operation.field, null)
          this.#deleted?.delete(operation.field)
          break
      }
    }
  }

  /** Takes over what a live write left in the store: the snapshot of the same request shows it. */
  learn (name: string, text: string | null): void {
    this.#known ??= new Map()
    this.#known.set(name, text)
    this.#values?.delete(name)
    this.#assigned?.delete(name)
    this.#deleted?.delete(name)
  }

  /** The text that the store will hold once `changesOf` this field is done, as far as this request knows; `null` where absent. */
  textOf (name: string): string | null {
    if (this.#deleted?.has(name)) return null
    return this.#changedText(name) ?? this.#current(name) ?? null
  }

  /** The text of a field in the store, as far as this request knows; `null` where absent. */
  storedText (name: string): string | null {
    return this.#stored(name) ?? null
  }

  /** Drops all unsaved changes. */
  discard (): void {
    this.#values?.clear()
    this.#assigned?.clear()
    this.#deleted?.clear()
    this.#cleared = false
  }

  /** The text of a field as this request sees it, values that were handed out aside. */
  #current (name: string): string | undefined {
    if (this.#cleared || this.#deleted?.has(name)) return undefined
    return this.#stored(name)
  }

  #stored (name: string): string | undefined {
    if (isReserved(name)) return undefined
    const known = this.#known?.get(name)
    return known === undefined ? this.#source?.get(name) : known ?? undefined
  }

  /** The text that has to be stored for a field, or `undefined` where the store holds it already. */
  #changedText (name: string): string | undefined {
    const value = this.#values?.get(name)
    const assigned = this.#assigned?.get(name)
    const before = this.#cleared ? undefined : this.#stored(name)
    if (typeof value !== 'object' || value === null) return assigned === before ? undefined : assigned
    if (assigned === undefined && !this.#mutated(name, value, before)) return undefined
    const text = this.encode(name, value)
    return text === before ? undefined : text
  }

  /** Whether an object that was read is not what its text says any more. */
  #mutated (name: string, value: unknown, before: string | undefined): boolean {
    if (before === undefined) return true
    try {
      const text = encode(name, value, this.#rules.maxDepth)
      // Others may have written the same value with other white space or escapes.
      return text !== before && text !== JSON.stringify(decode(before))
    } catch (error) {
      // What was stored by others beyond our limits may stay, as long as nobody touches it.
      if (error instanceof DepthError || error instanceof ValueError) return differs(value, before)
      throw error
    }
  }
}

/** Whether a value that may not be stored is another one than its text says. */
function differs (value: unknown, before: string): boolean {
  try {
    return JSON.stringify(value) !== JSON.stringify(decode(before))
  } catch (error) {
    // Parsing takes any depth, writing does not: nested that deep it came from the store, and cannot go back there anyway.
    // Everything else, a cycle for instance, was put in by this request.
    return !(error instanceof RangeError)
  }
}
