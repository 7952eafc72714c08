/**
 * Settings that a TypeBox schema describes: their type, their completion, and what is wrong with them in words that say
 * what to write instead.
 *
 * A schema may carry an annotation of ours, `expected`: what it takes, in words, where its own form says too little.
 */
import type { Static, TObject, TSchema } from '@sinclair/typebox'
import { Value, ValueErrorType } from '@sinclair/typebox/value'

/** What may be left out, also as `undefined`: with `exactOptionalPropertyTypes` these are two things. */
export type Omissible<T> = { [Name in keyof T]?: T[Name] | undefined }

/** All properties of an object, each with its text in the editor; those named in `Groups` are objects of the same kind. */
export type Settings<Schema extends TObject, Groups extends keyof Static<Schema> = never> = {
  [Name in keyof Static<Schema>]?: (Name extends Groups ? Omissible<Static<Schema>[Name]> : Static<Schema>[Name]) | undefined
}

/** One thing that is wrong. */
export interface Problem {
  /** Where, such as `cookie.name`; empty where it is the whole. */
  path: string
  /** What to write instead. It repeats no value. */
  message: string
  /** There is no such setting. */
  unknown: boolean
}

/** Whether a value is an object literal, or what JSON.parse makes, of whatever realm. */
export function isPlain (value: unknown): value is Record<string, unknown> {
  if (Object.prototype.toString.call(value) !== '[object Object]') return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

/**
 * Fills in the defaults, as far as what was given has the right form. What was given is left alone, and not copied either:
 * it may be a connection.
 *
 * @returns settings without `undefined`; words of a choice are in lower case, however they were written
 */
export function withDefaults (schema: TSchema, given: unknown): unknown {
  if (given === undefined && schema['default'] !== undefined) return withDefaults(schema, schema['default'])
  const choices = choicesOf(schema)
  if (choices !== undefined && typeof given === 'string' && choices.includes(given.toLowerCase())) return given.toLowerCase()
  const properties = schema['properties'] as Record<string, TSchema> | undefined
  if (properties === undefined || !isPlain(given)) return given
  const names = new Set([...Object.keys(properties), ...Object.keys(given)])
  return Object.fromEntries([...names]
    .map((name): [string, unknown] => [name, Object.hasOwn(properties, name) ? withDefaults(properties[name]!, given[name]) : given[name]])
    .filter(([, value]) => value !== undefined))
}

/** The first thing that is wrong with settings; `undefined` where nothing is. */
export function problemOf (schema: TSchema, given: unknown): Problem | undefined {
  // To TypeBox a Map or a Date are objects, too: without the properties that are asked for, so with nothing to refuse.
  for (const [path, group] of groups(schema)) {
    const value = path.reduce<unknown>((parent, name) => (parent as Record<string, unknown> | undefined)?.[name], given)
    if (value !== undefined && !isPlain(value)) return { path: path.join('.'), message: `expected ${expectation(group)}, not ${kindOf(value)}`, unknown: false }
  }
  const error = Value.Errors(schema, given).First()
  if (error === undefined) return undefined
  const path = error.path.split('/').slice(1).map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~')).join('.')
  if (error.type === ValueErrorType.ObjectAdditionalProperties) return { path, message: 'unknown', unknown: true }
  if (error.type === ValueErrorType.ObjectRequiredProperty) return { path, message: 'required', unknown: false }
  return { path, message: mismatch(error.schema, error.value), unknown: false }
}

/** The words of a choice; `undefined` where a schema is none. */
export function choicesOf (schema: TSchema): string[] | undefined {
  const choices = (schema['anyOf'] as TSchema[] | undefined)?.map((choice) => choice['const'] as unknown)
  return choices?.every((choice) => typeof choice === 'string') === true ? choices as string[] : undefined
}

/** All properties with their paths; groups are walked through. */
export function * leaves (schema: TSchema, path: string[] = []): Generator<[path: string[], schema: TSchema]> {
  for (const [name, property] of Object.entries((schema as TObject).properties)) {
    if (property['properties'] === undefined) yield [[...path, name], property]
    else yield * leaves(property, [...path, name])
  }
}

function * groups (schema: TSchema, path: string[] = []): Generator<[path: string[], schema: TSchema]> {
  if (schema['properties'] === undefined) return
  yield [path, schema]
  for (const [name, property] of Object.entries((schema as TObject).properties)) yield * groups(property, [...path, name])
}

function mismatch (schema: TSchema, value: unknown): string {
  const type = choicesOf(schema) === undefined ? (schema['type'] as string) : 'string'
  const kind = kindOf(value)
  // Of the right type, and still not right: its type is no news.
  return `expected ${expectation(schema)}${kind === `a ${type.replace('integer', 'number')}` ? '' : `, not ${kind}`}`
}

/** What a schema takes, in words. */
function expectation (schema: TSchema): string {
  if (schema['expected'] !== undefined) return schema['expected'] as string
  const choices = choicesOf(schema)
  if (choices !== undefined) return `one of ${choices.join(', ')}`
  switch (schema['type']) {
    case 'boolean': return 'true or false'
    case 'object': return 'an object'
    case 'number': return `a number${rangeOf(schema)}`
    case 'integer': return `a whole number${rangeOf(schema)}`
    default: return `a string${schema['maxLength'] === undefined ? '' : ` of at most ${schema['maxLength'] as number} characters`}`
  }
}

function rangeOf (schema: TSchema): string {
  const { minimum, exclusiveMinimum, maximum } = schema as { minimum?: number, exclusiveMinimum?: number, maximum?: number }
  if (exclusiveMinimum !== undefined) return ` above ${exclusiveMinimum}${maximum === undefined ? '' : `, at most ${maximum}`}`
  if (maximum === undefined) return minimum === undefined ? '' : `, at least ${minimum}`
  return minimum === undefined ? `, at most ${maximum}` : ` from ${minimum} to ${maximum}`
}

/** What something is, without saying what it holds. */
export function kindOf (value: unknown): string {
  if (value === undefined || value === null || Number.isNaN(value)) return String(value)
  if (typeof value === 'number') return Number.isFinite(value) ? 'a number' : String(value)
  if (Array.isArray(value)) return 'an array'
  if (value instanceof Uint8Array) return 'a Buffer'
  if (typeof value !== 'object') return typeof value === 'bigint' ? 'a bigint' : `a ${typeof value}`
  if (isPlain(value)) return 'an object'
  const { name } = (value.constructor ?? Object) as { name?: string }
  return name === undefined || name === 'Object' ? 'an object that inherits from another' : `an object of class ${name}`
}
