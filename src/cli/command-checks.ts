/**
 * Whether every command that sessions use is there, and may be run. What a user may not run by itself it may not run in a
 * script either; here, the answer names it.
 */
import type { Redis } from 'ioredis'
import { newId } from '../cookie/token.js'
import { ENDED_CHANNEL, USER_KEY } from '../store/record.js'
import type { Check } from './check.js'
import { missingRight, refusal, unknownCommand } from './connection.js'

/** What a command is for, and how bad it is to go without. */
const USES = {
  sessions: { result: 'problem', why: 'every session needs it' },
  cluster: { result: 'problem', why: 'a Cluster needs it' },
  database: { result: 'problem', why: 'another database than 0 needs it' },
  users: { result: 'warning', why: 'only sessions by user (option userField), "list", "stats" and each() need it' },
  signals: { result: 'warning', why: 'only session.signal needs it' },
  speed: { result: 'warning', why: 'without it every save takes a command more' }
} as const satisfies Record<string, Pick<Check, 'result'> & { why: string }>

type Use = keyof typeof USES

/** A command as it is tried; the first words name it, the rest are harmless arguments. */
interface Attempt { use: Use, words: string[] }

/** Where commands are tried. */
export interface Target {
  prefix: string
  /** Whether it is a node of a Cluster. */
  cluster: boolean
  database: number
  /** Whether the connection is in that database. Else it is in that of others, and nothing is written. */
  arrived: boolean
}

/** What is tried, by what it is for; in each, what removes comes before what writes. */
function attempts (key: string, list: string, { prefix, cluster, database }: Target): Attempt[] {
  const channel = prefix + ENDED_CHANNEL
  const commands: Record<Use, string[][]> = {
    sessions: [
      ['DEL', key], ['HDEL', key, 'created_at'], ['PEXPIRE', key, '5000'], ['HSET', key, 'created_at', '0'], ['HGETALL', key], ['HMGET', key, 'created_at'],
      ['HGET', key, 'created_at'], ['HEXISTS', key, 'created_at'], ['HLEN', key], ['EXISTS', key], ['PTTL', key], ['TIME'],
      ['EVAL', 'return 1', '1', key], ['EVALSHA', '0'.repeat(40), '1', key]
    ],
    cluster: cluster ? [['CLUSTER', 'SLOTS'], ['CLUSTER', 'INFO'], ['READONLY'], ['ASKING']] : [],
    database: database === 0 ? [] : [['SELECT', String(database)]],
    speed: [['MEMORY', 'USAGE', key]],
    users: [
      ['ZREM', list, 'a'], ['ZADD', list, '1', 'a'], ['ZSCORE', list, 'a'], ['ZCARD', list], ['ZRANGEBYSCORE', list, '0', '1'], ['ZREVRANGE', list, '0', '1'],
      ['ZREMRANGEBYSCORE', list, '5', '6'], ['SCAN', '0', 'COUNT', '1']
    ],
    signals: [['PUBLISH', channel, ''], ['SUBSCRIBE', channel], ['PING']]
  }
  return Object.entries(commands).flatMap(([use, each]) => each.map((words) => ({ use: use as Use, words })))
}

/** What each command that writes has to have beside it, or it is not tried: something that removes what it wrote, now or later. */
const UNDONE_BY = new Map([['HSET', ['DEL', 'HDEL', 'PEXPIRE']], ['ZADD', ['DEL', 'ZREM', 'PEXPIRE']]])

/** Why a command does not do, as far as that is common to several. */
type Cause = 'missing' | 'refused' | 'key' | 'channel' | `answered ${string}`

/**
 * Tries every command on keys of its own, on one node. On a Cluster each has users of its own; it looks at their rights before
 * it says that another one has the key.
 *
 * @returns what is missing, by use and cause, each command by its name; or that all is there
 */
export async function checkCommands (node: Redis, target: Target): Promise<Check[]> {
  const { prefix, arrived } = target
  const [key, list] = [prefix + newId(), `${prefix}${USER_KEY}${newId()}`]
  const found = new Map<string, { use: Use, cause: Cause, names: string[] }>()
  const good = new Set<string>()
  for (const { use, words } of attempts(key, list, target)) {
    const [command = ''] = words
    if (!arrived && UNDONE_BY.has(command)) continue
    if (UNDONE_BY.get(command)?.some((other) => good.has(other)) === false) continue
    const cause = await tryCommand(node, words)
    if (cause === undefined) {
      good.add(command)
      continue
    }
    const group = `${use} ${cause}`
    if (!found.has(group)) found.set(group, { use, cause, names: [] })
    found.get(group)!.names.push(nameOf(words))
  }
  for (const words of [['PEXPIRE', key, '5000'], ['PEXPIRE', list, '5000'], ['HDEL', key, 'created_at'], ['ZREM', list, 'a'], ['DEL', key], ['DEL', list]]) {
    if (good.has(words[0]!)) await tryCommand(node, words)
  }
  if (found.size === 0) return [{ name: 'commands', result: 'ok', detail: 'every command that sessions use is there, and this user may run it' }]
  return [...found.values()].map(({ use, cause, names }) => {
    const { result, why } = USES[use]
    return { name: 'commands', result, detail: `${describe(cause, names, prefix)}: ${why}` }
  })
}

/** As ACL rules write it. */
function nameOf ([command = '', second = '']: string[]): string {
  return (command === 'MEMORY' || command === 'CLUSTER' ? `${command}|${second}` : command).toLowerCase()
}

function describe (cause: Cause, names: readonly string[], prefix: string): string {
  const all = names.join(', ')
  switch (cause) {
    case 'missing': return `this Redis has no ${all} (renamed, or switched off)`
    case 'refused': return `this user may not run ${all}; allow ${names.map((name) => `+${name}`).join(' ')}`
    case 'key': return `this user may not use keys that begin with ${prefix} (${all}); allow ~${prefix}*`
    case 'channel': return `this user may not use channels that begin with ${prefix} (${all}); allow &${prefix}*`
    default: return `Redis ${cause} to ${all}`
  }
}

/** @returns what is wrong with a command; `undefined` where it does what it should */
async function tryCommand (node: Redis, [command = '', ...args]: string[]): Promise<Cause | undefined> {
  try {
    if (command === 'SUBSCRIBE') await subscribe(node, args[0]!)
    else await node.call(command, ...args)
    return undefined
  } catch (error) {
    if ((error as Error).name !== 'ReplyError') throw error
    const { message } = error as Error
    // That is: it is there, and allowed.
    if (/^(?:NOSCRIPT|MOVED|ASK|CLUSTERDOWN) /.test(message)) return undefined
    if (unknownCommand(message) !== undefined) return 'missing'
    const right = missingRight(message)
    if (right !== undefined) return right.what === 'command' ? 'refused' : right.what
    return refusal(error as Error).replace(/^Redis /, '') as Cause
  }
}

/** On a connection of its own, because one that has subscribed takes no other commands. */
async function subscribe (node: Redis, channel: string): Promise<void> {
  const other = node.duplicate({ enableOfflineQueue: true })
  other.on('error', () => {})
  try {
    await other.subscribe(channel)
  } finally {
    other.disconnect()
  }
}
