/**
 * Live attributes: the typed view of a field in the store, and gathering what is asked in one turn into one round trip.
 */
import { ConflictError, ValueError } from '../errors.js'
import { refusalError } from './refusal.js'
import { decode, decodeJson } from '../store/codec.js'
import { assertName, isReserved } from '../store/record.js'
import { addWithin, isRefusal } from '../store/operations.js'
import type { Operation, OperationResult, ReplaceResult, Rules } from '../store/store.js'
import { ANY_NUMBER, type FieldSchema } from './schema.js'
import type { Snapshot } from './snapshot.js'
import type { LiveAttribute, LiveAttributes } from './types.js'

/** The record that a session works on at the moment. */
export interface LiveRecord {
  /** What this request knows of it. */
  readonly snapshot: Snapshot
  /** Sends an operation to the store, together with others of this turn. */
  operate (operation: Operation): Promise<OperationResult>
}

/** What live attributes need of their session. */
export interface LiveSession {
  /** The limits, for error messages. */
  readonly rules: Rules
  /** The option `schema`. */
  readonly schema: FieldSchema | undefined
  /** What this request sees of the session now. */
  get (name: string): unknown
  /**
   * Answers what a program asks of the record of this moment, and takes note of it where that fails and nobody waits for
   * the answer.
   */
  askRecord<T> (run: (record: LiveRecord) => Promise<T>): Promise<T>
}

/** How often replacing a value is tried: each failure means that another writer succeeded. */
const REPLACE_ATTEMPTS = 10

/** The live attributes of a session: any property name is a field's name. */
export function liveAttributes (session: LiveSession): LiveAttributes {
  return new Proxy(Object.create(null) as object, {
    get: (_, name) => typeof name === 'string' ? new Attribute(session, name) : undefined,
    set: () => false,
    defineProperty: () => false,
    has: (_, name) => typeof name === 'string' && session.get(name) !== undefined,
    ownKeys: () => [],
    getOwnPropertyDescriptor: () => undefined
  }) as LiveAttributes
}

class Attribute implements LiveAttribute {
  readonly #session: LiveSession
  readonly #name: string

  constructor (session: LiveSession, name: string) {
    this.#session = session
    this.#name = name
  }

  get raw (): Promise<Buffer | null> {
    return this.#session.askRecord(async (record) => await this.#bytes(record))
  }

  get str (): Promise<string> {
    return this.#session.askRecord(async (record) => await this.#string(record))
  }

  get int (): Promise<number> {
    return this.#session.askRecord(async (record) => {
      const text = await this.#string(record)
      const number = /^\s*[+-]?\d+\s*$/.test(text) ? Number(text) : Number.NaN
      return Number.isSafeInteger(number) ? number : 0
    })
  }

  get bool (): Promise<boolean> {
    return this.#session.askRecord(async (record) => {
      const text = await this.#text(record)
      return text === 'true' || text === 'True'
    })
  }

  get json (): Promise<unknown> {
    return this.#session.askRecord(async (record) => {
      const text = await this.#text(record)
      const value = text === undefined ? undefined : decodeJson(text)
      return value === undefined ? {} : value
    })
  }

  get none (): Promise<boolean> {
    return this.#session.askRecord(async (record) => await this.#bytes(record) === null)
  }

  get (): Promise<unknown> {
    return this.#session.askRecord(async (record) => {
      const text = await this.#text(record)
      return text === undefined ? undefined : record.snapshot.decode(this.#name, text)
    })
  }

  set (value: unknown): Promise<void> {
    return this.#session.askRecord(async (record) => {
      if (value === undefined) await this.#remove(record)
      else await this.#operate(record, { type: 'set', field: this.#name, text: record.snapshot.encode(this.#name, value) })
    })
  }

  setIfAbsent (value: unknown): Promise<boolean> {
    return this.#session.askRecord(async (record) => await this.#operate(record, { type: 'setIfAbsent', field: this.#name, text: record.snapshot.encode(this.#name, value) }) === true)
  }

  incr (by: number = 1): Promise<number> {
    return this.#session.askRecord(async (record) => {
      if (!Number.isFinite(by)) throw new ValueError(this.#name, 'incr takes a finite number')
      assertName(this.#name)
      const { schema } = this.#session
      const { min, max, integer, complete } = schema?.numberRule(this.#name, by) ?? ANY_NUMBER
      const added = { by: JSON.stringify(by), min: String(min), max: String(max) }
      // Of an integer the store knows the bounds only. Where this request knows that it is none, or more is asked for, the
      // sum is checked before it is stored.
      const sum = Number(complete && (!integer || this.#holdsInteger(record))
        ? await this.#operate(record, { type: 'increment', field: this.#name, ...added })
        : await this.#replace(record, (text) => this.#sum(text, added)))
      // A decimal that somebody else put there meanwhile did not fit before, and does not now.
      schema?.assert(this.#name, sum)
      return sum
    })
  }

  delete (): Promise<boolean> {
    return this.#session.askRecord(async (record) => await this.#remove(record))
  }

  take (): Promise<unknown> {
    return this.#session.askRecord(async (record) => {
      assertName(this.#name)
      const raw = await this.#operate(record, { type: 'take', field: this.#name }) as Buffer | null
      return raw === null ? undefined : record.snapshot.decode(this.#name, raw.toString())
    })
  }

  update (fn: (value: unknown) => unknown): Promise<unknown> {
    return this.#session.askRecord(async (record) => {
      assertName(this.#name)
      let value: unknown
      await this.#replace(record, (text) => {
        value = fn(text === null ? undefined : record.snapshot.decode(this.#name, text))
        return value === undefined ? null : record.snapshot.encode(this.#name, value)
      })
      return value
    })
  }

  /** The sum as text, where it fits the field. */
  #sum (text: string | null, added: { by: string, min: string, max: string }): string {
    const sum = addWithin(text ?? '0', added)
    if (isRefusal(sum)) throw refusalError(sum.refused, this.#name, this.#session.rules)
    this.#session.schema?.assert(this.#name, Number(sum))
    return sum
  }

  /** Whether the field holds an integer, or is absent and counts as 0, as far as this request knows. */
  #holdsInteger ({ snapshot }: LiveRecord): boolean {
    return Number.isInteger(decode(snapshot.textOf(this.#name) ?? '0'))
  }

  /**
   * Replaces the text in the store by what `next` makes of it; `null` stands for absence. Where `next` throws, the field
   * stays as it is, and the error is thrown once it is certain that it was about what the store holds.
   *
   * @returns the new text
   */
  async #replace (record: LiveRecord, next: (text: string | null) => string | null): Promise<string | null> {
    const { snapshot } = record
    // What this request knows is the first guess: where nobody was faster, one round trip is all it takes.
    let current = snapshot.textOf(this.#name)
    // What this request changed and did not save is written first, so it is no guess.
    let guessed = current === snapshot.storedText(this.#name)
    for (let attempt = 0; attempt < REPLACE_ATTEMPTS; attempt++) {
      let text: string | null
      try {
        text = next(current)
      } catch (error) {
        const stored = guessed ? await this.#text(record) ?? null : current
        if (stored === current) throw error
        current = stored
        guessed = false
        continue
      }
      const result = await this.#operate(record, { type: 'replace', field: this.#name, expected: current, text }) as ReplaceResult
      if (result.done) return text
      current = result.current
      guessed = false
    }
    throw new ConflictError(this.#name, REPLACE_ATTEMPTS)
  }

  async #remove (record: LiveRecord): Promise<boolean> {
    assertName(this.#name)
    return await this.#operate(record, { type: 'delete', field: this.#name }) === true
  }

  async #bytes (record: LiveRecord): Promise<Buffer | null> {
    // Metadata are not data: to everybody who asks for them as a field, they are absent.
    if (isReserved(this.#name)) return null
    return await this.#operate(record, { type: 'get', field: this.#name }) as Buffer | null
  }

  async #string (record: LiveRecord): Promise<string> {
    const text = await this.#text(record)
    const value = text === undefined ? '' : decode(text)
    return typeof value === 'string' ? value : text ?? ''
  }

  async #text (record: LiveRecord): Promise<string | undefined> {
    return (await this.#bytes(record))?.toString()
  }

  async #operate (record: LiveRecord, operation: Operation): Promise<OperationResult> {
    const result = await record.operate(operation)
    if (isRefusal(result)) throw refusalError(result.refused, this.#name, this.#session.rules)
    return result
  }
}
