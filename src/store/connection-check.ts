/**
 * What is asked of Redis on every new connection before anything else: whether it is in the database that was asked for,
 * and whether sessions can be kept there. ioredis goes on in database 0 where SELECT was refused, and says so only in an
 * event, so what a connection was told is never relied upon: what Redis answers here is.
 */
import type { Cluster, Redis } from 'ioredis'
import { script } from './redis-script.js'
import { placeOf } from './redis-place.js'
import { WatchedCommand } from './redis-silence.js'
import { clusterNode, isReadOnly, redisCode, troubleOf, type Trouble } from './redis-trouble.js'

/** What a connection is to be good for. */
export interface Target {
  /** The number of the database. */
  database: number
  /** What keys begin with. Nothing is stored under the keys that are used here. */
  prefix: string
  /** Milliseconds for which the connection may leave a command without an answer; then it is cut. Default: for ever */
  silence?: number
  /** Whether a command or right may be missing, for programs that tell so themselves. Default: false */
  lenient?: boolean
  /**
   * Whether a connection that cannot be taken to its database may be used all the same, for looking at rights. It does not
   * pass. Default: false
   */
  anywhere?: boolean
  /** The connection was in another database meanwhile. Default: false */
  switched?: boolean
}

/** Connections that passed, by their socket: another one is another connection. */
const passed = new WeakMap<object, number>()

/** Two keys that belong to different slots of a Cluster, unless the prefix itself decides upon the slot. */
const OTHER_SLOTS = ['{1}', '{2}']
/** So many keys in slots all over a Cluster. */
const SPREAD = 32

/**
 * What no session can do without, on a key that is not there: those commands of it which Redis does not run in a script, each
 * with what it says. Nothing is left of it.
 */
const PROBE = script(`
local key, refused = KEYS[1], {}
for _, command in ipairs({
  {'DEL', key}, {'EXISTS', key}, {'HDEL', key, 'a'}, {'HEXISTS', key, 'a'}, {'HGET', key, 'a'}, {'HGETALL', key}, {'HLEN', key},
  {'HMGET', key, 'a'}, {'PEXPIRE', key, '1000'}, {'PTTL', key}, {'TIME'}, {'HSET', key, 'a', '1'}, {'DEL', key}
}) do
  local answer = redis.pcall(unpack(command))
  if type(answer) == 'table' and answer.err then
    refused[#refused + 1] = command[1]
    refused[#refused + 1] = answer.err
    if command[1] == 'DEL' then break end
  end
end
return refused
`)
/** A script that nobody has. */
const UNKNOWN = '0'.repeat(40)

/**
 * The database that a client is meant for: the one it was made for, or switched to since by `select()`. ioredis goes back to
 * that one after a reconnection.
 */
export function databaseOf (client: Redis): number {
  const { prevCondition } = client as unknown as { prevCondition?: { select?: number } | null }
  return prevCondition?.select ?? client.condition?.select ?? client.options.db ?? 0
}

/** The database to which the present connection of a client was last told to go. */
export function selectedBy (client: Redis): number {
  return client.condition?.select ?? 0
}

/** Whether the present connection of a client passed the check for this database. Asks Redis nothing. */
export function hasPassed (client: Redis, database: number): boolean {
  return passed.get(client.stream) === database
}

/**
 * Checks the present connection of a client.
 *
 * @returns why it cannot be used, or `undefined`: then `hasPassed` knows it. What Redis refuses for another reason, such
 *   as that it is full, is told to those whom it concerns
 * @throws where the connection breaks
 */
export async function checkConnection (client: Redis, { database, prefix, silence = Infinity, lenient = false, anywhere = false, switched = false }: Target): Promise<Trouble | undefined> {
  const { stream } = client
  const place = placeOf(client)
  // A new connection is in database 0 (https://redis.io/docs/latest/commands/select/); others had better be asked.
  if (database !== 0 || switched) {
    const refused = await refusal(client, silence, 'select', String(database))
    if (refused !== undefined) return anywhere && isOutOfReach(refused) ? undefined : troubleOf(refused, place)
  }
  const trouble = await troubleWithKeys(client, prefix, silence, lenient) ?? (lenient ? undefined : await troubleWithScripts(client, prefix, silence))
  if (trouble === undefined) passed.set(stream, database)
  return trouble
}

/** Deletes keys that do not exist: writes that change nothing. */
async function troubleWithKeys (client: Redis, prefix: string, silence: number, lenient: boolean): Promise<Trouble | undefined> {
  const place = placeOf(client)
  const [first = '', second = ''] = OTHER_SLOTS.map((tag) => prefix + tag)
  let answers = [await refusal(client, silence, 'del', first, second)]
  if (answers[0] !== undefined && redisCode(answers[0]) === 'CROSSSLOT') {
    // One node may have all slots of a Cluster, and then serves everything.
    answers = await Promise.all(Array.from({ length: SPREAD }, (_, i) => refusal(client, silence, 'del', `${prefix}{${i}}`)))
  }
  for (const answer of answers) {
    if (answer === undefined) continue
    if (redisCode(answer) === 'MOVED') return clusterNode(place)
    if (isReadOnly(answer) || (!lenient && isOutOfReach(answer))) return troubleOf(answer, place)
  }
  return undefined
}

/**
 * Whether scripts can be run, and in them what sessions need; also for a Cluster, where one node stands for all.
 *
 * @param silence see `Target`
 * @throws where the connection breaks
 */
export async function troubleWithScripts (client: Redis | Cluster, prefix: string, silence = Infinity): Promise<Trouble | undefined> {
  const key = prefix + OTHER_SLOTS[0]
  const answers = await Promise.all([
    answerTo(client, silence, 'evalsha', UNKNOWN, '1', key),
    answerTo(client, silence, 'eval', PROBE.text, '1', key)
  ])
  const [, refused] = answers
  if (Array.isArray(refused)) answers.push(...refusals(refused.map(String)))
  const answer = answers.find((answer): answer is Error => answer instanceof Error && isOutOfReach(answer))
  return answer === undefined ? undefined : troubleOf(answer, placeOf(client))
}

/** What Redis says of single commands in a script names none, and is not the same in all versions. */
function refusals (refused: readonly string[]): Error[] {
  return refused.flatMap((text, i) => {
    const name = refused[i - 1] ?? ''
    if (i % 2 === 0) return []
    if (/unknown redis command/i.test(text)) return [new Error(`ERR unknown command '${name}'`)]
    return /user executing the script|NOPERM/.test(text) ? [new Error(`NOPERM this user has no permissions to run the '${name.toLowerCase()}' command`)] : []
  })
}

/** Whether a command was refused for what it is: unknown, or not allowed. */
function isOutOfReach (answer: Error): boolean {
  return redisCode(answer) === 'NOPERM' || /^ERR unknown command/i.test(answer.message)
}

async function refusal (client: Redis | Cluster, silence: number, name: string, ...args: string[]): Promise<Error | undefined> {
  const answer = await answerTo(client, silence, name, ...args)
  return answer instanceof Error ? answer : undefined
}

/** @returns what Redis said, be it an error */
async function answerTo (client: Redis | Cluster, silence: number, name: string, ...args: string[]): Promise<unknown> {
  const command = new WatchedCommand(name, args, silence)
  client.sendCommand(command)
  try {
    return await command.promise
  } catch (error) {
    if ((error as Error).name !== 'ReplyError') throw error
    return error
  }
}
