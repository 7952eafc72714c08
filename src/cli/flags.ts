/** Reading flags, with errors in the words of the command line. */
import { isId } from '../store/record.js'
import { UsageError } from './command.js'
import { quoted } from './output.js'

type Flags = Readonly<Record<string, { readonly type: 'string' | 'boolean' }>>

/** What came, by the names of the flags. */
interface Parsed<T extends Flags> {
  values: { [Name in keyof T]?: T[Name]['type'] extends 'boolean' ? boolean : string }
  positionals: string[]
}

/** The flags of every command that talks to Redis. */
export const REDIS_FLAGS = { redis: { type: 'string' }, prefix: { type: 'string' }, json: { type: 'boolean' } } as const satisfies Flags

/** The lines about them in a command's help. */
export const REDIS_HELP = `  --redis <url>      where the sessions are (default: SESSION_REDIS, else redis://localhost:6379)
  --prefix <text>    what stands before the id in their keys (default: SESSION_REDIS_PREFIX, else session:)`

/**
 * Takes a command's arguments apart. A flag that is not known, given twice, or without its value stops everything: what
 * was meant is not what would be done.
 *
 * @param command its name, for errors
 * @param flags the flags that it has
 * @param positionals how many arguments that are no flags there may be: at least, at most
 * @throws UsageError naming the argument that is unknown, missing or empty
 */
export function readFlags<T extends Flags> (command: string, args: readonly string[], flags: T, [least, most]: [number, number] = [0, 0]): Parsed<T> {
  const problem = (text: string): UsageError => new UsageError(`${command}: ${text}`)
  const values: Record<string, string | boolean> = {}
  const positionals: string[] = []
  const rest = [...args]
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === '--') {
      positionals.push(...rest)
      break
    }
    // One id in 64 begins with a dash.
    if (!arg.startsWith('-') || isId(arg)) {
      positionals.push(arg)
      continue
    }
    const [, flag = '', given] = /^([^=]*)(?:=(.*))?$/s.exec(arg)!
    const name = flag.slice(2)
    if (!flag.startsWith('--') || !Object.hasOwn(flags, name)) {
      throw problem(`there is no flag ${quoted(flag)}; the flags are ${[...Object.keys(flags), 'help'].map((one) => `--${one}`).join(', ')}`)
    }
    if (Object.hasOwn(values, name)) throw problem(`${flag} is given twice`)
    if (flags[name]!.type === 'boolean') {
      if (given !== undefined) throw problem(`${flag} takes no value`)
      values[name] = true
    } else {
      values[name] = valueOf(flag, given, rest, problem)
    }
  }
  const extra = positionals[most]
  if (extra !== undefined) throw problem(most === 0 ? `it takes flags only, and ${quoted(extra)} is none` : `it takes one id, and ${quoted(extra)} is one more`)
  if (positionals.length < least) throw problem('an id is missing')
  return { values, positionals } as Parsed<T>
}

/** The value of a flag: behind its sign of equality, or else the next argument. */
function valueOf (flag: string, given: string | undefined, rest: string[], problem: (text: string) => UsageError): string {
  const value = given ?? rest.shift()
  if (value === undefined) throw problem(`${flag} needs a value`)
  if (value === '') throw problem(`${flag} is empty`)
  // It rather looks as if the value had been forgotten.
  if (given === undefined && value.startsWith('-')) throw problem(`${flag} needs a value; one that begins with a dash is written ${flag}=-…`)
  return value
}

/** The value of a flag that takes a whole number. */
export function wholeNumber (command: string, flag: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`${command}: ${flag} takes a whole number, not ${quoted(text)}`)
  return Number(text)
}

/** An id from the command line. */
export function readId (command: string, text: string): string {
  // A whole cookie is a likely mistake, and nothing that should be in anybody's shell history.
  if (text.includes('.')) throw new UsageError(`${command}: this looks like a cookie, which is secret; give the id alone, the part before the first dot`)
  if (isId(text)) return text
  throw new UsageError(`${command}: an id has 22 letters, digits, - and _, the last of which is A, Q, g or w; ${quoted(text)} is none. "list" shows ids, "list --user <user>" those of a user`)
}
