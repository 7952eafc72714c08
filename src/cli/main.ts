#!/usr/bin/env node
/** `npx fastify-live-session <command>`: finds the command, and turns its failures into one line and an exit code. */
import { CommandError, UsageError, type Command } from './command.js'
import { demo } from './demo/command.js'

const commands = new Map<string, Command>([
  ['demo', demo]
])

const width = Math.max(...Array.from(commands.keys(), name => name.length))

const help = `fastify-live-session: server-side sessions for Fastify, kept in Redis

Usage: fastify-live-session <command> [flags]

Commands:
${Array.from(commands, ([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`).join('\n')}

"fastify-live-session <command> --help" lists the flags of a command.`

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
  await command.run(rest, { env: process.env, print })
}

function print (line: string): void {
  console.log(line)
}

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
