/** Reading flags, with errors in the words of the command line. */
import { parseArgs } from 'node:util'
import { UsageError } from './command.js'

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
 * Takes a command's arguments apart.
 *
 * @param command its name, for errors
 * @param options as `parseArgs` of `node:util` takes them
 * @param positionals how many arguments that are no flags there may be: at least, at most
 * @throws UsageError naming the argument that is unknown, missing or empty
 */
export function readFlags<T extends Flags> (command: string, args: string[], options: T, [least, most]: [number, number] = [0, 0]): Parsed<T> {
  const parsed = parse(command, args, options)
  for (const [flag, value] of Object.entries(parsed.values)) if (value === '') throw new UsageError(`${command}: --${flag} is empty`)
  const extra = parsed.positionals[most]
  if (extra !== undefined) throw new UsageError(`${command}: what is "${extra}"?`)
  if (parsed.positionals.length < least) throw new UsageError(`${command}: an id is missing`)
  return parsed
}

function parse<T extends Flags> (command: string, args: string[], options: T): Parsed<T> {
  // One id in 64 begins with a dash, and would be taken for flags.
  const dashed = args.includes('--') ? [] : args.filter((arg) => /^-[A-Za-z0-9_-]{21}$/.test(arg))
  const ordered = dashed.length === 0 ? args : [...args.filter((arg) => !dashed.includes(arg)), '--', ...dashed]
  try {
    return parseArgs({ args: ordered, options, allowPositionals: true }) as unknown as Parsed<T>
  } catch (error) {
    // The first sentence names the culprit; what Node adds is advice for programmers.
    throw new UsageError(`${command}: ${(error as Error).message.split(/\. |\n/)[0]}`)
  }
}

/** The value of a flag that takes a whole number. */
export function wholeNumber (command: string, flag: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`${command}: ${flag} takes a whole number, not "${text}"`)
  return Number(text)
}

/** An id from the command line. */
export function readId (command: string, text: string): string {
  // A whole cookie is a likely mistake, and nothing that should be in anybody's shell history.
  if (text.includes('.')) throw new UsageError(`${command}: this looks like a cookie, which is secret; give the id alone, the part before the first dot`)
  if (!/^[A-Za-z0-9_-]{22}$/.test(text)) throw new UsageError(`${command}: an id has 22 letters, digits, - and _; "${text}" is none`)
  return text
}
