/**
 * Checking single fields against the option `schema`.
 */
import { Kind, KindGuard, type TObject, type TSchema } from '@sinclair/typebox'
import { TypeCompiler, type TypeCheck } from '@sinclair/typebox/compiler'
import { OptionError, SchemaError } from '../errors.js'
import { kindOf } from '../settings.js'

/** What a number in a field may be. */
export interface NumberRule {
  readonly min: number
  readonly max: number
  /** Only integers. */
  readonly integer: boolean
  /** The above is all that is asked of a number. */
  readonly complete: boolean
}

/** The rule where no schema says anything: the numbers that are exact. */
export const ANY_NUMBER: NumberRule = { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER, integer: false, complete: true }

/** What the schema says of one field. */
interface FieldRule {
  readonly check: TypeCheck<TSchema>
  /** `undefined` where it takes no number. */
  readonly number: NumberRule | undefined
}

/** One application's schema, compiled per field. */
export class FieldSchema {
  readonly #fields = new Map<string, FieldRule>()
  /** For the fields that the schema does not name; `undefined` where they are free, or there may be none. */
  readonly #others: FieldRule | undefined
  readonly #closed: boolean

  /**
   * @param schema the option; fields that it does not name are free where it has no `additionalProperties`
   * @throws OptionError (`SESSION_OPTION_INVALID`) where it is no object schema of TypeBox
   */
  constructor (schema: TObject) {
    assertObjectSchema(schema)
    for (const [name, property] of Object.entries(schema.properties)) this.#fields.set(name, fieldRule(name, property))
    const { additionalProperties } = schema
    this.#others = typeof additionalProperties === 'object' ? fieldRule('additionalProperties', additionalProperties) : undefined
    this.#closed = additionalProperties === false
  }

  /** Whether there can be such a field. */
  allows (name: string): boolean {
    return this.#rule(name) !== undefined || !this.#closed
  }

  /** Whether a value fits its field. */
  fits (name: string, value: unknown): boolean {
    return this.#rule(name)?.check.Check(value) ?? !this.#closed
  }

  /** @throws SchemaError (`SESSION_SCHEMA_MISMATCH`) where it does not, saying what was expected, not what came */
  assert (name: string, value: unknown): void {
    if (this.fits(name, value)) return
    const problem = this.#rule(name)?.check.Errors(value).First()
    throw new SchemaError(name, problem === undefined ? NO_SUCH_FIELD : `${problem.path}: ${problem.message}`.replace(/^: /, ''))
  }

  /**
   * What a number in this field may be.
   *
   * @param by what shall be added to it
   * @throws SchemaError (`SESSION_SCHEMA_MISMATCH`) where no number ever fits the field, or none that `by` was added to
   */
  numberRule (name: string, by: number): NumberRule {
    const rule = this.#rule(name)
    if (rule === undefined) {
      if (this.#closed) throw new SchemaError(name, NO_SUCH_FIELD)
      return ANY_NUMBER
    }
    if (rule.number === undefined) throw new SchemaError(name, 'it takes no number')
    if (rule.number.integer && !Number.isInteger(by)) throw new SchemaError(name, 'only integers can be added to it')
    return rule.number
  }

  #rule (name: string): FieldRule | undefined {
    return this.#fields.get(name) ?? this.#others
  }
}

const NO_SUCH_FIELD = 'the schema has no such field'

function fieldRule (name: string, schema: TSchema): FieldRule {
  return { check: compile(name, schema), number: takesNumbers(schema) ? numberRule(schema) : undefined }
}

/** Whether a number may fit. Where that is not plain to see, it may: the check itself decides then. */
function takesNumbers (schema: TSchema): boolean {
  const { type, anyOf } = schema as { type?: unknown, anyOf?: TSchema[] }
  if (typeof type === 'string') return type === 'number' || type === 'integer'
  return anyOf === undefined || anyOf.some(takesNumbers)
}

function numberRule (schema: TSchema): NumberRule {
  const integer = schema[Kind] === 'Integer'
  // Of any other kind the check is more than these keywords, or does not look at them.
  if (!integer && schema[Kind] !== 'Number') return { ...ANY_NUMBER, complete: false }
  const bound = (keyword: string, otherwise: number): number => typeof schema[keyword] === 'number' ? schema[keyword] : otherwise
  return {
    min: Math.max(ANY_NUMBER.min, bound('minimum', -Infinity), nextAbove(bound('exclusiveMinimum', -Infinity))),
    max: Math.min(ANY_NUMBER.max, bound('maximum', Infinity), -nextAbove(-bound('exclusiveMaximum', Infinity))),
    integer,
    complete: schema['multipleOf'] === undefined
  }
}

/** The least number that is greater (IEEE 754-2019, 5.3.1, nextUp). */
function nextAbove (number: number): number {
  if (!Number.isFinite(number)) return number
  const view = new DataView(new ArrayBuffer(8))
  // Not -0, whose bits are those of no neighbour.
  view.setFloat64(0, number + 0)
  view.setBigInt64(0, view.getBigInt64(0) + (number < 0 ? -1n : 1n))
  return view.getFloat64(0)
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
