/**
 * Live attributes: the typed view of a field in the store, and gathering what is asked in one turn into one round trip.
 */
import { ConflictError, ValueError } from '../errors.js'
import { refusalError } from './refusal.js'
import { decode, decodeJson } from '../store/codec.js'
import { assertName, isReserved } from '../store/record.js'
import { addWithin, isRefusal } from '../store/operations.js'
import type { Operation, OperationResult, ReplaceResult, Rules } from '../store/store.js'
import type { Fields } from './fields.js'
import { ANY_NUMBER, type FieldSchema } from './schema.js'
import type { LiveAttribute, LiveAttributes } from './types.js'

/** What live attributes need of their session. */
export interface LiveSession {
  /** The snapshot of the request as it is now; another one after a regeneration. */
  readonly fields: Fields
  /** The limits, for error messages. */
  readonly rules: Rules
  /** The option `schema`. */
  readonly schema: FieldSchema | undefined
  /** Sends an operation to the store, together with others of this turn. */
  operate (operation: Operation): Promise<OperationResult>
}

/** How often replacing a value is tried: each failure means that another writer succeeded. */
const REPLACE_ATTEMPTS = 10

/** The live attributes of a session: any property name is a field's name. */
export function liveAttributes (session: LiveSession): LiveAttributes {
  return new Proxy(Object.create(null) as object, {
    get: (_, name) => typeof name === 'string' ? new Attribute(session, name) : undefined,
    set: () => false,
    defineProperty: () => false,
    has: (_, name) => typeof name === 'string' && session.fields.get(name) !== undefined,
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
    // Metadata are not data: to everybody who asks for them as a field, they are absent.
    if (isReserved(this.#name)) return Promise.resolve(null)
    return this.#operate({ type: 'get', field: this.#name }) as Promise<Buffer | null>
  }

  get str (): Promise<string> {
    return this.#text().then((text) => {
      const value = text === undefined ? '' : decode(text)
      return typeof value === 'string' ? value : text ?? ''
    })
  }

  get int (): Promise<number> {
    return this.str.then((text) => {
      const number = /^\s*[+-]?\d+\s*$/.test(text) ? Number(text) : Number.NaN
      return Number.isSafeInteger(number) ? number : 0
    })
  }

  get bool (): Promise<boolean> {
    return this.#text().then((text) => text === 'true' || text === 'True')
  }

  get json (): Promise<unknown> {
    return this.#text().then((text) => {
      const value = text === undefined ? undefined : decodeJson(text)
      return value === undefined ? {} : value
    })
  }

  get none (): Promise<boolean> {
    return this.raw.then((raw) => raw === null)
  }

  async get (): Promise<unknown> {
    const text = await this.#text()
    return text === undefined ? undefined : this.#session.fields.decode(this.#name, text)
  }

  async set (value: unknown): Promise<void> {
    if (value === undefined) await this.delete()
    else await this.#operate({ type: 'set', field: this.#name, text: this.#encode(value) })
  }

  async setIfAbsent (value: unknown): Promise<boolean> {
    return await this.#operate({ type: 'setIfAbsent', field: this.#name, text: this.#encode(value) }) === true
  }

  async incr (by: number = 1): Promise<number> {
    if (!Number.isFinite(by)) throw new ValueError(this.#name, 'incr takes a finite number')
    assertName(this.#name)
    const { schema } = this.#session
    const { min, max, integer, complete } = schema?.numberRule(this.#name, by) ?? ANY_NUMBER
    const added = { by: JSON.stringify(by), min: String(min), max: String(max) }
    // Of an integer the store knows the bounds only. Where this request knows that it is none, or more is asked for, the sum
    // is checked before it is stored.
    const sum = Number(complete && (!integer || this.#holdsInteger())
      ? await this.#operate({ type: 'increment', field: this.#name, ...added })
      : await this.#replace((text) => this.#sum(text, added)))
    // A decimal that somebody else put there meanwhile did not fit before, and does not now.
    schema?.assert(this.#name, sum)
    return sum
  }

  async delete (): Promise<boolean> {
    assertName(this.#name)
    return await this.#operate({ type: 'delete', field: this.#name }) === true
  }

  async take (): Promise<unknown> {
    assertName(this.#name)
    const raw = await this.#operate({ type: 'take', field: this.#name }) as Buffer | null
    return raw === null ? undefined : this.#session.fields.decode(this.#name, raw.toString())
  }

  async update (fn: (value: unknown) => unknown): Promise<unknown> {
    assertName(this.#name)
    let value: unknown
    await this.#replace((text) => {
      value = fn(text === null ? undefined : this.#session.fields.decode(this.#name, text))
      return value === undefined ? null : this.#encode(value)
    })
    return value
  }

  /** The sum as text, where it fits the field. */
  #sum (text: string | null, added: { by: string, min: string, max: string }): string {
    const sum = addWithin(text ?? '0', added)
    if (isRefusal(sum)) throw refusalError(sum.refused, this.#name, this.#session.rules)
    this.#session.schema?.assert(this.#name, Number(sum))
    return sum
  }

  /** Whether the field holds an integer, or is absent and counts as 0, as far as this request knows. */
  #holdsInteger (): boolean {
    return Number.isInteger(decode(this.#session.fields.textOf(this.#name) ?? '0'))
  }

  /**
   * Replaces the text in the store by what `next` makes of it; `null` stands for absence. Where `next` throws, the field
   * stays as it is, and the error is thrown once it is certain that it was about what the store holds.
   *
   * @returns the new text
   */
  async #replace (next: (text: string | null) => string | null): Promise<string | null> {
    const { fields } = this.#session
    // What this request knows is the first guess: where nobody was faster, one round trip is all it takes.
    let current = fields.textOf(this.#name)
    // What this request changed and did not save is written first, so it is no guess.
    let guessed = current === fields.storedText(this.#name)
    for (let attempt = 0; attempt < REPLACE_ATTEMPTS; attempt++) {
      let text: string | null
      try {
        text = next(current)
      } catch (error) {
        const stored = guessed ? (await this.raw)?.toString() ?? null : current
        if (stored === current) throw error
        current = stored
        guessed = false
        continue
      }
      const result = await this.#operate({ type: 'replace', field: this.#name, expected: current, text }) as ReplaceResult
      if (result.done) return text
      current = result.current
      guessed = false
    }
    throw new ConflictError(this.#name, REPLACE_ATTEMPTS)
  }

  #encode (value: unknown): string {
    return this.#session.fields.encode(this.#name, value)
  }

  async #text (): Promise<string | undefined> {
    return (await this.raw)?.toString()
  }

  async #operate (operation: Operation): Promise<OperationResult> {
    const result = await this.#session.operate(operation)
    if (isRefusal(result)) throw refusalError(result.refused, this.#name, this.#session.rules)
    return result
  }
}
