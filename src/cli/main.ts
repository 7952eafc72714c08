#!/usr/bin/env node
/** `npx fastify-live-session <command>`: finds the command, and turns its failures into one line and an exit code. */
import { CommandError, UsageError, type Command } from './command.js'
import { demo } from './demo/command.js'
import { doctor } from './doctor.js'
import { end } from './end.js'
import { inspect } from './inspect.js'
import { list } from './list.js'
import { secret } from './secret.js'
import { stats } from './stats.js'

const commands = new Map<string, Command>([
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

Exit codes: 0 done; 1 it could not be done; 2 the command line is wrong;
            3 done, and the answer is no: no such session, or a problem was found`

const isHelp = (arg: string | undefined): boolean => arg === '--help' || arg === '-h'

async function main (args: string[]): Promise<void> {
  const [name, ...rest] = args
  if (isHelp(name)) return print(help)
  if (name === undefined) throw new UsageError('a command is missing')
  const command = commands.get(name)
  if (command === undefined) {
    throw new UsageError(name.startsWith('-') ? `the command comes first, before "${name}"` : `there is no command "${name}"`)
  }
  if (rest.some(isHelp)) return print(command.help)
  try {
    const code = await command.run(rest, { env: process.env, print, progress })
    if (code !== undefined) process.exitCode = code
  } finally {
    progress('')
  }
}

function print (line: string): void {
  console.log(line)
}

let shown = false

function progress (text: string): void {
  if (!process.stderr.isTTY || (text === '' && !shown)) return
  shown = text !== ''
  process.stderr.write(`\r\x1b[K${text}`)
}

// Whoever reads only the first lines, as `head` does, has what he wanted.
process.stdout.on('error', (error: NodeJS.ErrnoException) => { process.exit(error.code === 'EPIPE' ? 0 : 1) })

/** Exit code 2 for a wrong command line, 1 for anything else; a stack trace only for what nobody foresaw. */
function fail (error: unknown): void {
  if (error instanceof UsageError) {
    console.error(`fastify-live-session: ${error.message}\nTry "fastify-live-session --help".`)
    process.exitCode = 2
  } else {
    console.error(error instanceof CommandError ? `fastify-live-session: ${error.message}` : error)
    process.exitCode = 1
  }
}

await main(process.argv.slice(2)).catch(fail)
