/** The connection of a command to the Redis of the sessions. */
import { Type } from '@sinclair/typebox'
import type { Cluster, Redis } from 'ioredis'
import { readEnvironment } from '../environment.js'
import { OptionsSchema } from '../options.js'
import { connectAlone } from '../store/connect.js'
import { readAddress } from '../store/redis-address.js'
import { RedisStore } from '../store/redis.js'
import { redisCode } from '../store/redis-trouble.js'
import { shownAddress } from './address.js'
import { CommandError } from './command.js'

/** Milliseconds that one step may take: longer than an app would wait, because nobody's request hangs on it. */
export const TIMEOUT = 5000

/** Where the sessions are. */
export interface Place {
  url: string
  prefix: string
  /** The address, without user and password; where it cannot be told what that is, what holds it. */
  where: string
  /** What holds the URL: the flag, or the variable. */
  source: string
}

/** What a command works with. */
export interface Connection extends Pick<Place, 'prefix' | 'where'> {
  client: Redis | Cluster
  store: RedisStore
}

/** The options that say where sessions are: what is wrong with the variables of others is of no concern here. */
const PlaceSchema = Type.Pick(OptionsSchema, ['redis', 'prefix'])

/**
 * Where the sessions are, from flags and environment, as an app would read it; a variable that is empty counts as not set.
 *
 * @param otherwise the URL where neither says any
 * @throws OptionError (`SESSION_OPTION_INVALID`)
 */
export function place (flags: { redis?: string | undefined, prefix?: string | undefined }, env: NodeJS.ProcessEnv, otherwise = 'redis://localhost:6379'): Place {
  const variables = readEnvironment(PlaceSchema, env, []) as { redis?: string, prefix?: string }
  const url = flags.redis ?? variables.redis ?? otherwise
  const source = flags.redis === undefined ? 'SESSION_REDIS' : '--redis'
  return { url, prefix: flags.prefix ?? variables.prefix ?? 'session:', where: shownAddress(url) ?? source, source }
}

/**
 * Connects, does the work, and closes the connection whatever comes of it.
 *
 * @param anywhere whether the work goes on where the database cannot be selected: without a store, then
 * @throws CommandError where Redis cannot be reached or does not answer, or is only a part of a Cluster, in words that name
 *   its address but no password
 */
export async function withRedis<T> (flags: Parameters<typeof place>[0], env: NodeJS.ProcessEnv, work: (connection: Connection) => Promise<T>, anywhere = false): Promise<T> {
  const at = place(flags, env)
  const { url, prefix, where } = at
  if (url === 'memory:') throw new CommandError('sessions in memory can only be seen by the process that has them; name a Redis with --redis')
  let client: Redis | Cluster
  try {
    client = await connectAlone(url, TIMEOUT, prefix, anywhere)
  } catch (error) {
    throw commandError(error, (known) => withoutConnection(known, at))
  }
  try {
    return await work({ client, store: new RedisStore(client, { prefix, timeout: TIMEOUT }), prefix, where })
  } catch (error) {
    throw commandError(error, (known) => `${where}: ${known}`)
  } finally {
    client.disconnect()
  }
}

function commandError (error: unknown, say: (known: string) => string): unknown {
  const known = inWords(error)
  return known === undefined ? error : new CommandError(say(known))
}

/**
 * What to say where there is no connection.
 *
 * @param known why, in words: of an address that was tried, they name it
 */
export function withoutConnection (known: string, { url, source }: Pick<Place, 'url' | 'source'>): string {
  try {
    readAddress(url)
    return known
  } catch {
    return `${source}: ${known}`
  }
}

/**
 * An error of the plugin, of ioredis or of Redis in words for the command line.
 *
 * @returns `undefined` for what nobody foresaw, and for what is in such words already
 */
export function inWords (error: unknown): string | undefined {
  if (!(error instanceof Error) || error instanceof CommandError) return undefined
  switch ((error as NodeJS.ErrnoException).code) {
    // What an app could do about it besides is no help here.
    case 'SESSION_OPTION_INVALID': return error.message.replace(/^fastify-live-session: (?:redis \(SESSION_REDIS\): )?/, '').replace(/\. Start it.*$/s, '')
    case 'SESSION_STORE_UNAVAILABLE': return /\((.*)\)/.exec(error.message)?.[1] ?? error.message
    case 'SESSION_RECORD_INVALID': return error.message
  }
  if (error.name === 'ReplyError') return refusal(error)
  if (error.name === 'MaxRetriesPerRequestError' || /^(?:Connection is closed|Stream isn't writeable|Socket timeout|None of startup nodes)/.test(error.message)) return 'the connection broke'
  const { code, syscall } = error as NodeJS.ErrnoException
  return syscall === undefined ? undefined : `the connection broke (${code})`
}

/** What Redis said, as far as it holds no data: its errors may repeat what they were asked. */
export function refusal (error: Error): string {
  const { message } = error
  const missing = missingRight(message)
  if (missing !== undefined) return `this user may not ${missing.what === 'command' ? `run ${missing.name.replace('|', ' ')}` : `use this ${missing.what}`}`
  const unknown = unknownCommand(message)
  if (unknown !== undefined) return `this Redis has no command ${unknown}`
  return `Redis answered ${redisCode(error) ?? 'an error'}`
}

/** The right that an error of Redis says is missing; the words have changed since 6.2. */
export function missingRight (message: string): { what: 'command', name: string } | { what: 'key' | 'channel' } | undefined {
  if (!message.includes('NOPERM')) return undefined
  const name = /run the '([\w|-]+)'/.exec(message)?.[1]
  if (name !== undefined) return { what: 'command', name }
  const what = /\b(key|channel)s?\b/.exec(message)?.[1] as 'key' | 'channel' | undefined
  return what && { what }
}

/** The command that an error of Redis says does not exist: renamed, switched off, or of another version. */
export function unknownCommand (message: string): string | undefined {
  return /\bunknown (?:sub)?command\b[^`'"]*[`'"]?([\w-]*)/i.exec(message)?.[1]?.toLowerCase()
}
