/**
 * Reading options from `SESSION_*` variables, as the schema names and types them.
 */
import type { TSchema } from '@sinclair/typebox'
import { OptionError } from './errors.js'
import { hintFor, type Known } from './hints.js'
import { leaves } from './settings.js'

/** Variables by name, like `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>

const PREFIX = 'SESSION_'
/** Set by desktops and by Windows, and no business of ours. */
const FOREIGN = new Set(['SESSION_MANAGER'])

/**
 * The variables that stand for an option, each as good as the others.
 *
 * @param schema the options schema
 * @param option its path, such as `cookie.name`
 */
export function variablesOf (schema: TSchema, option: string): readonly string[] {
  for (const [path, { env }] of variables(schema)) if (path.join('.') === option) return env
  return []
}

/**
 * What the environment says of an option, as it stands there.
 *
 * @returns `undefined` where no variable of it is set; an empty one counts as not set
 * @throws OptionError (`SESSION_OPTION_INVALID`) where two of its variables say different things
 */
export function textOf (schema: TSchema, option: string, environment: Environment): string | undefined {
  return settingOf(variablesOf(schema, option), option, environment)?.text
}

/**
 * The options that the environment sets.
 *
 * @param schema the options schema; `env` in it names the variables of an option
 * @param warnings gets a line for each `SESSION_*` variable that no option has
 * @returns options, nested as the schema nests them; empty variables count as absent
 * @throws OptionError (`SESSION_OPTION_INVALID`) where a variable cannot be converted, or two say different things
 */
export function readEnvironment (schema: TSchema, environment: Environment, warnings: string[]): Record<string, unknown> {
  const options: Record<string, unknown> = {}
  const known: Known[] = []
  for (const [path, leaf] of variables(schema)) {
    const option = path.join('.')
    known.push([leaf.env[0]!, ...leaf.env.map(suffix), option, path.at(-1)!])
    const setting = settingOf(leaf.env, option, environment)
    if (setting === undefined) continue
    const target = path.slice(0, -1).reduce<Record<string, unknown>>((parent, key) => (parent[key] ??= {}) as Record<string, unknown>, options)
    target[path.at(-1)!] = convert(setting.text, leaf, `${option} (${setting.variable})`)
  }
  const names = new Set([...variables(schema)].flatMap(([, { env }]) => env))
  for (const variable of Object.keys(environment)) {
    if (!variable.startsWith(PREFIX) || FOREIGN.has(variable) || names.has(variable)) continue
    warnings.push(`the environment variable ${variable} is unknown${hintFor(suffix(variable), known, (option) => variablesOf(schema, option)[0] ?? option)}`)
  }
  return options
}

type Leaf = TSchema & { env: readonly string[] }

/** The options that have variables, with their paths. */
function variables (schema: TSchema): Array<[path: string[], leaf: Leaf]> {
  return [...leaves(schema)].filter((entry): entry is [string[], Leaf] => entry[1]['env'] !== undefined)
}

function suffix (variable: string): string {
  return variable.slice(PREFIX.length)
}

function settingOf (names: readonly string[], option: string, environment: Environment): { variable: string, text: string } | undefined {
  const [first, ...others] = names.filter((name) => environment[name] !== undefined && environment[name] !== '')
  if (first === undefined) return undefined
  const other = others.find((name) => environment[name] !== environment[first])
  if (other !== undefined) throw new OptionError(option, `the variables ${first} and ${other} both stand for it, and say different things: set one of them`)
  return { variable: first, text: environment[first]! }
}

function convert (text: string, schema: Leaf, option: string): unknown {
  const separator = schema['separator'] as string | undefined
  if (separator !== undefined) return text.split(separator).map((part) => part.trim())
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
