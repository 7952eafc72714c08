/** `fastify-live-session <command>`: finds the command, runs it, and turns what fails into one line and an exit code. */
import { CommandError, UsageError, type Command, type ExitCode } from './command.js'
import { inWords } from './connection.js'
import { demo } from './demo/command.js'
import { doctor } from './doctor.js'
import { end } from './end.js'
import { inspect } from './inspect.js'
import { list } from './list.js'
import { printableLines, quoted } from './output.js'
import { secret } from './secret.js'
import { stats } from './stats.js'

/** The commands by their names. */
export const commands: ReadonlyMap<string, Command> = new Map([
  ['demo', demo],
  ['doctor', doctor],
  ['end', end],
  ['inspect', inspect],
  ['list', list],
  ['secret', secret],
  ['stats', stats]
])

const width = Math.max(...Array.from(commands.keys(), name => name.length))

const help = `fastify-live-session: server-side sessions for Fastify, kept in Redis

Usage: fastify-live-session <command> [flags]

Commands:
${Array.from(commands, ([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`).join('\n')}

"fastify-live-session <command> --help" lists the flags of a command.

Exit codes: 0 done; 1 it could not be done, or not all of it; 2 the command line is wrong, and nothing was done;
            3 done, and the answer is no: no such session, or a problem was found`

/** Where a command line is run. */
export interface Terminal {
  env: NodeJS.ProcessEnv
  /** Takes what was asked for, in whole lines without the last line break. */
  out: (text: string) => void
  /** Takes what went wrong, likewise. */
  err: (text: string) => void
  /** Shows how far a long command is, in place of what it showed before; '' for nothing any more. */
  progress: (text: string) => void
}

const isHelp = (arg: string | undefined): boolean => arg === '--help' || arg === '-h'

/**
 * Runs a command line. Nothing that a terminal would obey gets to it, whatever sessions, arguments and servers hold.
 *
 * @param args what followed the program's name
 * @returns the exit code; for a command that serves, as soon as it does
 */
export async function runCommandLine (args: readonly string[], { env, out, err, progress }: Terminal): Promise<ExitCode> {
  const print = (text: string): void => { out(printableLines(text)) }
  try {
    const [name, ...rest] = args
    const command = isHelp(name) ? undefined : find(name)
    if (command === undefined || rest.some(isHelp)) {
      print(command?.help ?? help)
      return 0
    }
    return await command.run(rest, { env, print, progress: (text) => { progress(printableLines(text)) } }) ?? 0
  } catch (error) {
    err(explain(error))
    return error instanceof UsageError ? 2 : 1
  } finally {
    progress('')
  }
}

function find (name: string | undefined): Command {
  if (name === undefined) throw new UsageError('a command is missing')
  const command = commands.get(name)
  if (command !== undefined) return command
  if (name.startsWith('-')) throw new UsageError(`the command comes first, before ${quoted(name)}`)
  throw new UsageError(`there is no command ${quoted(name)}; the commands are ${[...commands.keys()].join(', ')}`)
}

/** What is said of an error: a line that tells people what to do, and never a stack trace. */
export function explain (error: unknown): string {
  if (error instanceof UsageError) return printableLines(`fastify-live-session: ${error.message}\nTry "fastify-live-session --help".`)
  const known = error instanceof CommandError ? error.message : inWords(error)
  return `fastify-live-session: ${printableLines(known ?? `this should not have happened, please report it: ${String(error)}`).replaceAll('\n', ' ')}`
}
