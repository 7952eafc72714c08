/**
 * Reading options from `SESSION_*` variables, as the schema names and types them.
 */
import type { TObject, TSchema } from '@sinclair/typebox'
import { OptionError } from './errors.js'

/** Variables by name, like `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>

const PREFIX = 'SESSION_'
/** Set by desktops and by Windows, and no business of ours. */
const FOREIGN = new Set(['SESSION_MANAGER'])

/**
 * The variable that stands for an option.
 *
 * @param schema the options schema
 * @param option its path, such as `cookie.name`
 * @returns `undefined` where no variable can say it
 */
export function variableOf (schema: TSchema, option: string): string | undefined {
  for (const [path, { env }] of leaves(schema)) if (path.join('.') === option) return env
  return undefined
}

/**
 * The options that the environment sets.
 *
 * @param schema the options schema; `env` in it names a variable
 * @param warnings gets a line for each `SESSION_*` variable that no option has
 * @returns options, nested as the schema nests them; empty variables count as absent
 * @throws OptionError (`SESSION_OPTION_INVALID`) where a variable cannot be converted
 */
export function readEnvironment (schema: TSchema, environment: Environment, warnings: string[]): Record<string, unknown> {
  const options: Record<string, unknown> = {}
  const known: string[] = []
  for (const [path, leaf] of leaves(schema)) {
    if (leaf.env === undefined) continue
    known.push(leaf.env)
    const text = environment[leaf.env]
    if (text === undefined || text === '') continue
    const target = path.slice(0, -1).reduce<Record<string, unknown>>((parent, key) => (parent[key] ??= {}) as Record<string, unknown>, options)
    target[path.at(-1)!] = convert(text, leaf, `${path.join('.')} (${leaf.env})`)
  }
  for (const variable of Object.keys(environment)) {
    if (!variable.startsWith(PREFIX) || FOREIGN.has(variable) || known.includes(variable)) continue
    warnings.push(`the environment variable ${variable} is unknown; did you mean ${nearest(variable, known)}?`)
  }
  return options
}

type Leaf = TSchema & { env?: string }

/** All options with their paths; groups of options are walked through. */
function * leaves (schema: TSchema, path: string[] = []): Generator<[string[], Leaf]> {
  for (const [key, property] of Object.entries((schema as TObject).properties)) {
    if (property['properties'] !== undefined) yield * leaves(property, [...path, key])
    else yield [[...path, key], property]
  }
}

function convert (text: string, schema: Leaf, option: string): unknown {
  const choices = schema['anyOf'] as TSchema[] | undefined
  if (choices?.some(({ type }) => type === 'array') === true) return text.split(',').map((part) => part.trim())
  if (choices?.every(({ const: choice }) => typeof choice === 'string') === true) return text.toLowerCase()
  switch (schema['type']) {
    case 'number': case 'integer':
      if (!/^\d+(?:\.\d+)?$/.test(text)) throw new OptionError(option, 'expected a number without sign or unit')
      return Number(text)
    case 'boolean':
      if (/^(?:true|1|yes|on)$/i.test(text)) return true
      if (/^(?:false|0|no|off)$/i.test(text)) return false
      throw new OptionError(option, 'expected true or false')
    default:
      return text
  }
}

/** The known name that takes the fewest changes of single characters. */
function nearest (name: string, known: readonly string[]): string {
  return known.reduce((best, candidate) => distance(name, candidate) < distance(name, best) ? candidate : best)
}

/** Levenshtein distance. */
function distance (a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[b.length]!
}
