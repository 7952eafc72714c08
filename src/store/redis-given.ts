/**
 * What the option `redis` was given: one of the things that it takes, or a sentence on what to pass instead.
 */
import type { Cluster, Redis, RedisOptions } from 'ioredis'
import { OptionError } from '../errors.js'
import type { Store } from './store.js'

/** One of the things that the option `redis` takes. */
export type Given =
  | { kind: 'url', url: string }
  | { kind: 'options', options: RedisOptions }
  | { kind: 'client', client: Redis | Cluster }
  | { kind: 'store', store: Store }

const TAKES = 'the option redis takes a URL such as redis://host, ioredis options, a client of ioredis, or a store'

/**
 * Tells what was given.
 *
 * @param where it comes from, in words that a sentence can begin with
 * @throws OptionError (`SESSION_OPTION_INVALID`) where it is something else. Names of properties are told, values never
 */
export function recognize (given: unknown, where = 'this'): Given {
  if (typeof given === 'string') return { kind: 'url', url: given }
  if (typeof given !== 'object' || given === null) throw refusal(`${where} is ${nameOf(given)}: ${TAKES}`)
  const has = (...methods: string[]): boolean => methods.every((method) => typeof (given as Record<string, unknown>)[method] === 'function')
  if (has('load', 'write')) return { kind: 'store', store: given as Store }
  if (isClient(given)) return { kind: 'client', client: given }
  if (has('sendCommand') || has('send_command')) throw refusal(`${where} is a client of another package, such as redis (node-redis): pass one of ioredis, or a URL such as redis://host`)
  if (has('then')) throw refusal(`${where} is a promise: await it, and pass what it gives`)
  if (has('get', 'set', 'destroy')) throw refusal(`${where} is a session store of another library: pass the Redis behind it, by a URL or as a client of ioredis`)
  if (given instanceof URL) throw refusal(`${where} is a URL object: pass its text, url.href`)
  if (Array.isArray(given)) throw refusal(`${where} is an array: several servers are redis+sentinel://h1,h2/name or redis+cluster://h1,h2, or a Cluster of ioredis`)
  if (Object.values(given).some(isClient)) throw refusal('fastify.redis holds several connections; pass the one for sessions: redis: fastify.redis.<namespace>')
  const { name } = (Object.getPrototypeOf(given) as object | null)?.constructor ?? Object
  if (name !== 'Object') throw refusal(`${where} is an object of the class ${name}: ${TAKES}`)
  checkOptions(given as Record<string, unknown>)
  return { kind: 'options', options: given as RedisOptions }
}

function refusal (problem: string): Error {
  return new OptionError('redis (SESSION_REDIS)', problem)
}

function isClient (given: unknown): given is Redis | Cluster {
  const { sendCommand, status, options } = (given ?? {}) as Partial<Redis>
  return typeof sendCommand === 'function' && typeof status === 'string' && typeof options === 'object'
}

function nameOf (given: unknown): string {
  if (typeof given === 'function') return 'a function or class'
  return given === null || typeof given === 'boolean' ? String(given) : `a ${typeof given}`
}

/** What others call it, or where it belongs. */
const ELSEWHERE: ReadonlyMap<string, string> = new Map([
  ['url', 'pass the URL itself: redis: \'redis://host\''],
  ['uri', 'pass the URL itself: redis: \'redis://host\''],
  ['connectionString', 'pass the URL itself: redis: \'redis://host\''],
  ['client', 'pass the client itself: redis: client'],
  ['socket', 'host, port, path and tls stand beside the others, not in it'],
  ['database', 'it is called db'],
  ['hostname', 'it is called host'],
  ['user', 'it is called username'],
  ['pass', 'it is called password'],
  ['auth', 'it is called password'],
  ['auth_pass', 'it is called password'],
  ['ssl', 'it is called tls'],
  ['nodes', 'several servers are redis+cluster://h1,h2, or a Cluster of ioredis'],
  ['rootNodes', 'several servers are redis+cluster://h1,h2, or a Cluster of ioredis'],
  ['startupNodes', 'several servers are redis+cluster://h1,h2, or a Cluster of ioredis'],
  ['redisOptions', 'for a Cluster pass redis+cluster://h1,h2, or a Cluster of ioredis'],
  ['namespace', 'it belongs to @fastify/redis: register that, and pass fastify.redis.<namespace>'],
  ['closeClient', 'it belongs to @fastify/redis'],
  ['prefix', 'it is an option of this plugin: it stands beside redis, not in it'],
  ['ttl', 'sessions end by the options idleTimeout and lifetime of this plugin']
])

const OPTIONS = [
  'Connector', 'autoPipeliningIgnoredCommands', 'autoResendUnfulfilledCommands', 'autoResubscribe', 'blockingTimeout',
  'blockingTimeoutGrace', 'clientInfoTag', 'commandQueue', 'commandTimeout', 'connectTimeout', 'connectionName', 'db',
  'disableClientInfo', 'disconnectTimeout', 'enableAutoPipelining', 'enableOfflineQueue', 'enableReadyCheck',
  'enableTLSForSentinelMode', 'failoverDetector', 'family', 'himportFieldsets', 'host', 'keepAlive', 'keyPrefix',
  'lazyConnect', 'maxLoadingRetryTime', 'maxRetriesPerRequest', 'monitor', 'name', 'natMap', 'noDelay', 'offlineQueue',
  'password', 'path', 'port', 'preferredSlaves', 'protocol', 'readOnly', 'reconnectOnError', 'replyMapping',
  'retryStrategy', 'role', 'scripts', 'sentinelCommandTimeout', 'sentinelMaxConnections', 'sentinelPassword',
  'sentinelReconnectStrategy', 'sentinelRetryStrategy', 'sentinelTLS', 'sentinelUsername', 'sentinels',
  'showFriendlyErrorStack', 'socketTimeout', 'stringNumbers', 'tls', 'updateSentinels', 'username'
] as const satisfies ReadonlyArray<keyof RedisOptions>

/** Where ioredis gets another option, TypeScript names it here. */
const KNOWN: [keyof RedisOptions] extends [typeof OPTIONS[number]] ? ReadonlySet<string> : Exclude<keyof RedisOptions, typeof OPTIONS[number]> = new Set<string>(OPTIONS)

function checkOptions (options: Record<string, unknown>): void {
  for (const name of Object.keys(options)) {
    if (KNOWN.has(name)) continue
    throw refusal(`ioredis has no option ${JSON.stringify(name.slice(0, 40))}: ${ELSEWHERE.get(name) ?? 'look for its name among the options of ioredis, or make the client yourself and pass that'}`)
  }
  for (const [name, limit] of [['db', 999_999_999], ['port', 65_535]] as const) {
    const value = options[name]
    if (value == null) continue
    if (!/^\d{1,9}$/.test(String(value)) || Number(value) > limit) throw refusal(`${name} has to be a whole number from 0${name === 'port' ? ` to ${limit}` : ''}`)
  }
}
