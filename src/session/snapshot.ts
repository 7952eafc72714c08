/**
 * The snapshot of one request: a record's data as they stood when the request came in, plus what this request changed.
 *
 * Three layers lie on each other: what is stored, as far as this request knows; the changes that belong to operations which
 * are under way; and the changes that belong to none yet. Reading looks from the top.
 *
 * Values are decoded when they are first read. Nested changes are found by comparing, when something is asked for, the
 * text of each object that was handed out with the text it was read from: every way to mutate a value is noticed, and
 * values keep their identity and stay free of proxies.
 */
import { DepthError, FieldSizeError, ValueError } from '../errors.js'
import { decode, encode } from '../store/codec.js'
import { assertName, isReserved } from '../store/record.js'
import type { Operation, Settings, StoredFields } from '../store/store.js'
import { Changes } from './changes.js'
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

export class Snapshot {
  readonly #rules: FieldRules
  #source: StoredFields | undefined
  /** What this request learnt of the store since loading: a text, or `null` for absence. Outranks the source. */
  #known: Map<string, string | null> | undefined
  /** Fields of which nobody can say what the store holds, because the answer to a write was lost. */
  #unsure: Set<string> | undefined
  /** Changes that belong to operations under way, oldest first: in this order the operations end. */
  #asked: Changes[] | undefined
  /** Changes that belong to no operation yet. */
  #pending: Changes | undefined
  /** Values that were handed out or set. */
  #values: Map<string, unknown> | undefined

  constructor (rules: FieldRules) {
    this.#rules = rules
  }

  /** Begins with a loaded record. */
  load (source: StoredFields): void {
    this.#source = source
  }

  /** The value of a field; `undefined` where absent or where it does not fit the schema. */
  get (name: string): unknown {
    if (this.#values?.has(name) === true) return this.#values.get(name)
    const text = this.#visible(name)
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
      assertName(name)
      this.#values?.delete(name)
      this.pending.texts.set(name, null)
      return
    }
    const text = this.encode(name, value)
    this.#values ??= new Map()
    this.#values.set(name, value)
    this.pending.texts.set(name, text)
  }

  /** Removes all fields, also those that other requests add until this one is saved. */
  clear (): void {
    this.#values?.clear()
    this.pending.clear()
  }

  /** Names of the fields that are there. */
  names (): string[] {
    const names = new Set(this.#storedNames())
    for (const { cleared, texts } of this.#layers()) {
      if (cleared) names.clear()
      for (const name of texts.keys()) names.add(name)
    }
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

  /** The changes that belong to no operation yet, to be added to. */
  get pending (): Changes {
    this.#pending ??= new Changes()
    return this.#pending
  }

  /** Whether nothing can have changed: nothing was set, removed, or handed out in a form that can be mutated. */
  get pristine (): boolean {
    if (this.#pending !== undefined && (this.#pending.any || this.#pending.touch)) return false
    for (const value of this.#values?.values() ?? []) if (typeof value === 'object' && value !== null) return false
    return true
  }

  /** Names of fields that were changed and belong to no operation yet. */
  changed (): string[] {
    this.#noteMutations()
    return [...this.#pending?.texts ?? []].filter(([name, text]) => text !== (this.#stored(name) ?? null)).map(([name]) => name)
  }

  /** A setting that was changed and is not stored yet. */
  setting<Name extends keyof Settings> (name: Name): Settings[Name] | undefined {
    let value: Settings[Name] | undefined
    for (const { settings } of this.#layers()) value = settings[name] ?? value
    return value
  }

  /**
   * Takes what changed so far for an operation that is asked for now. Sooner or later `stored`, `dropped` or `returned`
   * says what became of it.
   *
   * @throws what `encode` throws for an object that was mutated into something which cannot be stored: everything that
   *   changed so far is dropped then, so that saying so does not fail for the same reason
   */
  take (): Changes {
    try {
      this.#noteMutations()
    } catch (error) {
      this.discard()
      throw error
    }
    const changes = this.pending
    this.#pending = undefined
    this.#asked ??= []
    this.#asked.push(changes)
    return changes
  }

  /**
   * Takes for a live write what has to happen to its field before it. What changed elsewhere stays pending, unless it came
   * before a change of this field that cannot do without it.
   */
  takeFor (name: string): Changes {
    try {
      this.#noteMutation(name)
    } catch (error) {
      this.#values?.delete(name)
      this.#pending?.texts.delete(name)
      throw error
    }
    let changes = new Changes()
    const pending = this.#pending
    if (pending?.cleared === true) {
      changes = this.take()
      // Only the data are the live write's business.
      const { settings, touch, rotate } = changes
      Object.assign(this.pending, { settings, touch, rotate })
      Object.assign(changes, { settings: {}, touch: false, rotate: false })
    } else {
      const text = pending?.texts.get(name)
      if (text !== undefined) changes.texts.set(name, text)
      pending?.texts.delete(name)
      this.#asked ??= []
      this.#asked.push(changes)
    }
    changes.live = name
    return changes
  }

  /**
   * Drops what changed so far, in order to read the record anew. What an operation under way gives back until then is
   * dropped as well: it was not saved.
   *
   * @returns stands for what was dropped, until `reloaded` or `dropped`
   */
  setAside (): Changes {
    this.discard()
    return this.take()
  }

  /**
   * Takes over what the store holds now. What the program changed since it asked for that stays on top.
   *
   * @param source `undefined` where there is no record
   */
  reloaded (changes: Changes, source: StoredFields | undefined): void {
    const names = [...this.#values?.keys() ?? []]
    // Against what they were read from.
    for (const name of names) this.#noteQuietly(name)
    this.#leave(changes)
    this.#source = source
    this.#known = this.#unsure = undefined
    for (const name of names) if (!this.#isChanged(name)) this.#values?.delete(name)
  }

  /**
   * What has to happen in the store so that it holds these changes. Removals come first, so that they make room within the
   * limits. To be asked when all operations before are done.
   *
   * @param open fields that something else, which goes out just before, may change
   */
  operationsOf ({ cleared, texts }: Changes, open?: ReadonlySet<string>): Operation[] {
    const operations: Operation[] = []
    const needed = (field: string, text: string | null): boolean => this.#differs(field, text) || open?.has(field) === true
    if (cleared) operations.push({ type: 'clear' })
    else for (const [field, text] of texts) if (text === null && needed(field, text)) operations.push({ type: 'delete', field })
    for (const [field, text] of texts) if (text !== null && (cleared || needed(field, text))) operations.push({ type: 'set', field, text })
    return operations
  }

  /** The store holds these changes. */
  stored (changes: Changes): void {
    this.#leave(changes)
    if (changes.cleared) this.#source = this.#known = this.#unsure = undefined
    for (const [name, text] of changes.texts) this.#learn(name, text)
  }

  /**
   * Takes over what a live write left in the store. A value that was handed out before, and not changed since, is not the
   * field's any more.
   */
  learn (changes: Changes, text: string | null): void {
    const name = changes.live!
    this.stored(changes)
    this.#letGo(name)
    this.#learn(name, text)
  }

  /** These changes were refused: they are no more. */
  dropped (changes: Changes): void {
    this.#leave(changes)
    for (const name of changes.cleared ? [...this.#values?.keys() ?? []] : changes.texts.keys()) {
      if (!this.#isChanged(name)) this.#values?.delete(name)
    }
  }

  /**
   * These changes did not get anywhere, as far as is known: whatever is asked for next takes them along.
   *
   * @param sure the store does not hold them
   */
  returned (changes: Changes, sure: boolean): void {
    const above = this.#leave(changes)
    if (!sure) {
      this.#unsure ??= new Set()
      for (const name of changes.cleared ? this.#storedNames() : []) this.#unsure.add(name)
      for (const name of changes.texts.keys()) this.#unsure.add(name)
      if (changes.live !== undefined) this.#unsure.add(changes.live)
    }
    let rest = changes
    for (const next of above) {
      // A live write takes along only what has to happen to its field, or to all, before it.
      if (next.live !== undefined) rest = next.takeBeneath(rest, next.live)
      else {
        next.putBeneath(rest)
        return
      }
    }
    this.pending.putBeneath(rest)
  }

  /** The text that a field is thought to have in the store once all that was asked for is done; `null` where absent. */
  textOf (name: string): string | null {
    this.#noteQuietly(name)
    return this.#visible(name) ?? null
  }

  /** The text of a field in the store, as far as this request knows; `null` where absent. */
  storedText (name: string): string | null {
    return this.#stored(name) ?? null
  }

  /** Drops all changes that belong to no operation. */
  discard (): void {
    this.#pending = undefined
    this.#values?.clear()
  }

  #layers (): Changes[] {
    return this.#pending === undefined ? this.#asked ?? [] : [...this.#asked ?? [], this.#pending]
  }

  /** The text of a field as this request sees it, objects that were handed out aside. */
  #visible (name: string): string | undefined {
    if (this.#pending !== undefined || this.#asked !== undefined) {
      const layers = this.#layers()
      for (let i = layers.length - 1; i >= 0; i--) {
        const { texts, cleared } = layers[i]!
        const text = texts.get(name)
        if (text !== undefined) return text ?? undefined
        if (cleared) return undefined
      }
    }
    return this.#stored(name)
  }

  #stored (name: string): string | undefined {
    if (isReserved(name)) return undefined
    const known = this.#known?.get(name)
    return known === undefined ? this.#source?.get(name) : known ?? undefined
  }

  #storedNames (): string[] {
    return [...this.#source?.names() ?? [], ...this.#known?.keys() ?? []]
  }

  /** Whether the store may hold anything else than this text. */
  #differs (name: string, text: string | null): boolean {
    return this.#unsure?.has(name) === true || text !== (this.#stored(name) ?? null)
  }

  /** Whether a change to a field waits above what is stored. */
  #isChanged (name: string): boolean {
    return this.#layers().some(({ texts, cleared }) => cleared || texts.has(name))
  }

  #learn (name: string, text: string | null): void {
    this.#known ??= new Map()
    this.#known.set(name, text)
    this.#unsure?.delete(name)
  }

  /** Takes changes off the pile. Answers those of operations that lie above them, the next one first. */
  #leave (changes: Changes): Changes[] {
    const asked = this.#asked ?? []
    const at = asked.indexOf(changes)
    if (at !== -1) asked.splice(at, 1)
    if (asked.length === 0) this.#asked = undefined
    return asked.slice(Math.max(at, 0))
  }

  #noteMutations (): void {
    for (const name of this.#values?.keys() ?? []) this.#noteMutation(name)
  }

  /** Makes a change of it where an object that was handed out is not what its text says any more. */
  #noteMutation (name: string): void {
    const value = this.#values?.get(name)
    if (typeof value !== 'object' || value === null) return
    const before = this.#visible(name)
    if (before !== undefined && this.#pending?.texts.has(name) !== true && !this.#mutated(name, value, before)) return
    const text = this.encode(name, value)
    if (text !== before) this.pending.texts.set(name, text)
  }

  /** Forgets a value that was handed out, unless the program changed it: then it is the program's. */
  #letGo (name: string): void {
    this.#noteQuietly(name)
    if (!this.#isChanged(name)) this.#values?.delete(name)
  }

  /** As `#noteMutation`, where nobody waits to hear that a value cannot be stored: whoever saves next is told. */
  #noteQuietly (name: string): void {
    try {
      this.#noteMutation(name)
    } catch {
      this.pending.texts.set(name, '')
    }
  }

  /** Whether an object that was read is not what its text says any more. */
  #mutated (name: string, value: unknown, before: string): boolean {
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
