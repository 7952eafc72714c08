/**
 * Checking single fields against the option `schema`.
 */
import type { TObject, TSchema } from '@sinclair/typebox'
import { TypeCompiler, type TypeCheck } from '@sinclair/typebox/compiler'
import { SchemaError } from '../errors.js'

/** The limits that a schema sets to a number. */
export interface NumberRange { min: number, max: number }

/** One application's schema, compiled per field. */
export class FieldSchema {
  readonly #checks = new Map<string, TypeCheck<TSchema>>()
  readonly #properties: Readonly<Record<string, TSchema>>
  readonly #closed: boolean

  /** @param schema the option; without `additionalProperties: false`, fields that it does not name are free */
  constructor (schema: TObject) {
    this.#properties = schema.properties
    this.#closed = schema['additionalProperties'] === false
    for (const [name, property] of Object.entries(schema.properties)) this.#checks.set(name, TypeCompiler.Compile(property))
  }

  /** Whether a value fits its field. */
  fits (name: string, value: unknown): boolean {
    return this.#checks.get(name)?.Check(value) ?? !this.#closed
  }

  /** @throws SchemaError (`SESSION_SCHEMA_MISMATCH`) where it does not, saying what was expected, not what came */
  assert (name: string, value: unknown): void {
    if (this.fits(name, value)) return
    const problem = this.#checks.get(name)?.Errors(value).First()
    throw new SchemaError(name, problem === undefined ? 'the schema has no such field' : `${problem.path}: ${problem.message}`.replace(/^: /, ''))
  }

  /** What a number in this field may be, as far as the schema says it by `minimum` and `maximum`. */
  rangeOf (name: string): NumberRange {
    const property = Object.hasOwn(this.#properties, name) ? this.#properties[name] : undefined
    return {
      min: property?.['minimum'] as number | undefined ?? Number.MIN_SAFE_INTEGER,
      max: property?.['maximum'] as number | undefined ?? Number.MAX_SAFE_INTEGER
    }
  }
}
