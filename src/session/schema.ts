/**
 * Checking single fields against the option `schema`.
 */
import { KindGuard, type TObject, type TSchema } from '@sinclair/typebox'
import { TypeCompiler, type TypeCheck } from '@sinclair/typebox/compiler'
import { OptionError, SchemaError } from '../errors.js'
import { kindOf } from '../settings.js'

/** The limits that a schema sets to a number. */
export interface NumberRange { min: number, max: number }

/** One application's schema, compiled per field. */
export class FieldSchema {
  readonly #checks = new Map<string, TypeCheck<TSchema>>()
  readonly #properties: Readonly<Record<string, TSchema>>
  readonly #closed: boolean

  /**
   * @param schema the option; without `additionalProperties: false`, fields that it does not name are free
   * @throws OptionError (`SESSION_OPTION_INVALID`) where it is no object schema of TypeBox
   */
  constructor (schema: TObject) {
    assertObjectSchema(schema)
    this.#properties = schema.properties
    this.#closed = schema['additionalProperties'] === false
    for (const [name, property] of Object.entries(schema.properties)) this.#checks.set(name, compile(name, property))
  }

  /** Whether there can be such a field. */
  allows (name: string): boolean {
    return this.#checks.has(name) || !this.#closed
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

/** Whoever writes JavaScript may give anything. */
function assertObjectSchema (schema: unknown): asserts schema is TObject {
  const fail = (problem: string): never => { throw new OptionError('schema', `expected a TypeBox schema, Type.Object({ … })${problem}`) }
  if (typeof schema !== 'object' || schema === null) fail(`, not ${kindOf(schema)}`)
  const { allOf, type, properties } = schema as Record<string, unknown>
  if (Array.isArray(allOf)) fail(', not an intersection: Type.Composite([ … ]) makes one object of several')
  if (type !== 'object' || typeof properties !== 'object' || properties === null) fail(typeof type === 'string' && type !== 'object' ? `, not one of type ${type}` : '')
}

function compile (name: string, property: TSchema): TypeCheck<TSchema> {
  if (!KindGuard.IsSchema(property)) throw new OptionError('schema', `the field ${name} has no schema of @sinclair/typebox 0.34: write Type.String() and the like, not JSON Schema by hand`)
  try {
    return TypeCompiler.Compile(property)
  } catch (error) {
    throw new OptionError('schema', `the field ${name} cannot be checked (${(error as Error).message}); a Type.Ref to elsewhere and a Type.Unsafe lead nowhere: give each field a schema that is whole by itself`)
  }
}
