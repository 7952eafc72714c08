/** `fastify-live-session demo`: flags, start, the words for what can go wrong, and a clean end. */
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import type { FastifyInstance } from 'fastify'
import { CommandError, UsageError, type Command, type Context } from '../command.js'
import { inWords, place, withoutConnection, type Place } from '../connection.js'
import { textOf } from '../../environment.js'
import { OptionsSchema } from '../../options.js'
import { MAX_TTL } from './forms.js'
import type { DemoOptions } from './options.js'
import { buildDemo } from './server.js'

/** The flags of `demo`, read and checked. */
export interface DemoFlags {
  port: number
  host: string
  redis: string | undefined
  ttl: number | undefined
}

const help = `Serves an interactive page that shows a session live: expiry, rotation, devices, parallel writes, the stored record.

Usage: fastify-live-session demo [flags]

  --port <number>    port to listen on; 0 takes any free one (default 8080)
  --host <address>   address to listen on (default 127.0.0.1: this machine only)
  --redis <url>      where sessions are kept, such as redis://localhost:6379
                     (default: SESSION_REDIS, else memory: for this process's own memory)
  --ttl <seconds>    how long a session lives unused, unless the form says otherwise
                     (default: 15 in the page's form, 60 for other clients of POST /login)
  -h, --help         this text

The session plugin also reads its SESSION_* variables. Without SESSION_SECRET the demo signs with a
random secret; without SESSION_COOKIE_SECURE its cookie works over plain http.`

/** The command `demo`. */
export const demo: Command = { summary: 'serve an interactive page that shows a session live', help, run }

async function run (args: string[], { env, print }: Context): Promise<undefined> {
  const flags = readFlags(args)
  const options = demoOptions(flags, env)
  const at = demoPlace(flags, env)
  const app = await start(options, at)
  const url = await listen(app, flags)
  closeOnSignal(app)

  if (options.secret !== undefined) {
    print('SESSION_SECRET is not set: signing with a random secret, so sessions end with this process.')
  }
  print(`Sessions are kept in ${at.url === 'memory:' ? "this process's memory" : at.where}.`)
  print(`Demo running at ${url} (Ctrl+C ends it)`)
}

/**
 * Reads the flags of `demo`.
 *
 * @param args what followed `demo` on the command line
 * @throws UsageError naming the flag that is unknown or has a wrong value
 */
export function readFlags (args: string[]): DemoFlags {
  const { port, host, redis, ttl } = parse(args)
  return {
    port: wholeNumber('--port', port, 0, 65535) ?? 8080,
    host: notEmpty('--host', host) ?? '127.0.0.1',
    redis: notEmpty('--redis', redis),
    ttl: wholeNumber('--ttl', ttl, 1, MAX_TTL)
  }
}

/**
 * What the demo server needs, from flags and environment. A variable that is set but empty counts as not set.
 *
 * @param flags from the command line; they win
 * @param env the environment
 */
export function demoOptions (flags: DemoFlags, env: NodeJS.ProcessEnv): DemoOptions {
  return {
    redis: demoPlace(flags, env).url,
    ttl: flags.ttl,
    // What is not given here the plugin takes from its own variables.
    secret: env.SESSION_SECRET ? undefined : randomBytes(32).toString('base64url'),
    secureCookie: env.SESSION_COOKIE_SECURE ? undefined : false,
    cookieName: textOf(OptionsSchema, 'cookie.name', env),
    // Standard output is for people; what the server has to report goes where errors go.
    logger: { level: 'warn', stream: process.stderr }
  }
}

/** Where the demo keeps its sessions. */
function demoPlace (flags: DemoFlags, env: NodeJS.ProcessEnv): Place {
  return place({ redis: flags.redis }, env, 'memory:')
}

function parse (args: string[]): { [flag in keyof DemoFlags]?: string } {
  try {
    return parseArgs({
      args,
      options: {
        port: { type: 'string' },
        host: { type: 'string' },
        redis: { type: 'string' },
        ttl: { type: 'string' }
      }
    }).values
  } catch (error) {
    // The first sentence names the culprit; what Node adds is advice for programmers.
    throw new UsageError(`demo: ${(error as Error).message.split(/\. |\n/)[0]}`)
  }
}

function wholeNumber (flag: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < min || value > max) {
    throw new UsageError(`demo: ${flag} takes a whole number from ${min} to ${max}, not "${text}"`)
  }
  return value
}

function notEmpty (flag: string, text: string | undefined): string | undefined {
  if (text === '') throw new UsageError(`demo: ${flag} is empty`)
  return text
}

/** Boots the app. Beyond that it asks for a record that cannot exist: Redis may let us in and still refuse to answer. */
async function start (options: DemoOptions, at: Place): Promise<FastifyInstance> {
  let app: FastifyInstance | undefined
  try {
    app = await buildDemo(options)
    await app.sessions.inspect('A'.repeat(22))
    return app
  } catch (error) {
    await app?.close()
    throw new CommandError(explainBoot(error as NodeJS.ErrnoException, at))
  }
}

/** The plugin's own words, with the flag or the variable in place of the option that every demo sets. */
function explainBoot (error: NodeJS.ErrnoException, at: Place): string {
  if (/^fastify-live-session: redis\b/.test(error.message)) return withoutConnection(inWords(error)!, at)
  const reason = (error.message.split('\n')[0] ?? '').replace(/^fastify-live-session: /, '')
  return error.code === 'SESSION_STORE_UNAVAILABLE' ? `${at.where}: ${reason}` : reason
}

async function listen (app: FastifyInstance, { port, host }: DemoFlags): Promise<string> {
  try {
    return await app.listen({ port, host })
  } catch (error) {
    await app.close()
    throw new CommandError(explainListen(error as NodeJS.ErrnoException, port, host))
  }
}

function explainListen (error: NodeJS.ErrnoException, port: number, host: string): string {
  switch (error.code) {
    case 'EADDRINUSE': return `port ${port} on ${host} is taken; choose another one with --port`
    case 'EACCES': return `port ${port} needs more rights than this user has; choose one above 1023 with --port`
    case 'EADDRNOTAVAIL': case 'ENOTFOUND': return `${host} is no address of this machine; choose another one with --host`
    default: return `cannot listen on ${host}, port ${port}: ${error.message}`
  }
}

/** The first signal lets running requests finish; a second one, finding no listener any more, ends the process at once. */
function closeOnSignal (app: FastifyInstance): void {
  const signals = ['SIGINT', 'SIGTERM'] as const
  const close = (): void => {
    for (const signal of signals) process.off(signal, close)
    app.close().catch((error: unknown) => {
      console.error(error)
      process.exitCode = 1
    })
  }
  for (const signal of signals) process.on(signal, close)
}
