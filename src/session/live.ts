/**
 * Live attributes: the typed view of a field in the store, and gathering what is asked in one turn into one round trip.
 */
import { ConflictError, ValueError } from '../errors.js'
import { refusalError } from './refusal.js'
import { decode, decodeJson } from '../store/codec.js'
import { assertName, isReserved } from '../store/record.js'
import { isRefusal } from '../store/operations.js'
import type { Operation, OperationResult, ReplaceResult, Rules } from '../store/store.js'
import type { NumberRange } from './schema.js'
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
  /** What this request sees of the session now. */
  get (name: string): unknown
  /**
   * Answers what a program asks of the record of this moment, and takes note of it where that fails and nobody waits for
   * the answer.
   */
  askRecord<T> (run: (record: LiveRecord) => Promise<T>): Promise<T>
  /** What the schema allows a number in this field to be. */
  rangeOf (name: string): NumberRange
}

/** How often `update` tries before it gives up: each failure means that another writer succeeded. */
const UPDATE_ATTEMPTS = 10

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
      // Checks the name as every write does; the number itself is checked by the store.
      assertName(this.#name)
      const { min, max } = this.#session.rangeOf(this.#name)
      return Number(await this.#operate(record, { type: 'increment', field: this.#name, by: JSON.stringify(by), min: String(min), max: String(max) }))
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
      // What this request knows is the first guess: where nobody was faster, one round trip is all it takes.
      let current = record.snapshot.textOf(this.#name)
      for (let attempt = 0; attempt < UPDATE_ATTEMPTS; attempt++) {
        const value = fn(current === null ? undefined : record.snapshot.decode(this.#name, current))
        const text = value === undefined ? null : record.snapshot.encode(this.#name, value)
        const result = await this.#operate(record, { type: 'replace', field: this.#name, expected: current, text }) as ReplaceResult
        if (result.done) return value
        current = result.current
      }
      throw new ConflictError(this.#name, UPDATE_ATTEMPTS)
    })
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
