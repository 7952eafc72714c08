/** The connection of a command to the Redis of the sessions. */
import type { Cluster, Redis } from 'ioredis'
import { textOf } from '../environment.js'
import { OptionsSchema } from '../options.js'
import { connectAlone } from '../store/connect.js'
import { RedisStore } from '../store/redis.js'
import { CommandError } from './command.js'

/** Milliseconds that one step may take: longer than an app would wait, because nobody's request hangs on it. */
export const TIMEOUT = 5000

/** What a command works with. */
export interface Connection {
  client: Redis | Cluster
  store: RedisStore
  prefix: string
  /** The address, without user and password. */
  where: string
}

/** Where the sessions are, from flags and environment; a variable that is empty counts as not set. */
export function place (flags: { redis?: string | undefined, prefix?: string | undefined }, env: NodeJS.ProcessEnv): { url: string, prefix: string, where: string } {
  const url = flags.redis ?? textOf(OptionsSchema, 'redis', env) ?? 'redis://localhost:6379'
  return { url, prefix: flags.prefix ?? textOf(OptionsSchema, 'prefix', env) ?? 'session:', where: describe(url) }
}

/**
 * Connects, does the work, and closes the connection whatever comes of it.
 *
 * @throws CommandError where Redis cannot be reached or does not answer, in words that name its address but no password
 */
export async function withRedis<T> (flags: Parameters<typeof place>[0], env: NodeJS.ProcessEnv, work: (connection: Connection) => Promise<T>): Promise<T> {
  const { url, prefix, where } = place(flags, env)
  if (url === 'memory:') throw new CommandError('sessions in memory: can only be seen by the process that has them; name a Redis with --redis')
  let client: Redis | Cluster | undefined
  try {
    client = await connectAlone(url, TIMEOUT, prefix)
    return await work({ client, store: new RedisStore(client, { prefix, timeout: TIMEOUT }), prefix, where })
  } catch (error) {
    throw explained(error as Error & { code?: string }, where)
  } finally {
    client?.disconnect()
  }
}

/** An error of the plugin, of ioredis or of Redis in words for the command line; any other as it is. */
function explained (error: Error & { code?: string }, where: string): Error {
  if (error.code === 'SESSION_OPTION_INVALID') {
    // What an app could do about it besides is no help here.
    return new CommandError(error.message.replace(/^fastify-live-session: redis \(SESSION_REDIS\)/, where).replace(/\. Start it.*$/s, ''))
  }
  if (error.code === 'SESSION_STORE_UNAVAILABLE') return new CommandError(`${where}: ${error.message}`)
  if (error.name === 'ReplyError') return new CommandError(`${where}: ${refusal(error)}`)
  if (/^(?:Connection is closed|Stream isn't writeable|Socket timeout|None of startup nodes)/.test(error.message)) return new CommandError(`${where}: the connection broke`)
  return error
}

/** What Redis said, as far as it holds no data. */
export function refusal (error: Error): string {
  const missing = /permissions to run the '([^']+)' command/.exec(error.message)?.[1]
  return missing === undefined ? `Redis answered ${/^[A-Z]+/.exec(error.message)?.[0] ?? 'an error'}` : `this user may not run ${missing.replace('|', ' ')}`
}

/** Names Redis without the user name and password that a URL may hold. */
function describe (url: string): string {
  return url.replace(/^([\w+]+:\/\/)?.*@/s, '$1')
}
