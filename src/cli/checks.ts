/** What `doctor` checks, one function per matter. Limits are those of the README. */
import { Cluster, type Redis } from 'ioredis'
import { newId } from '../cookie/token.js'
import { resolveOptions } from '../options.js'
import type { Context } from './command.js'
import { refusal, type Connection } from './connection.js'
import { grouped } from './output.js'
import { scanRecords } from './scan.js'

/** The outcome of one check. */
export interface Check {
  name: string
  result: 'ok' | 'warning' | 'problem'
  /** What was found, and what to do about it. */
  detail: string
}

type Report = (check: Check) => void

/** The oldest versions that are supported. */
const NEEDED = { Redis: '6.2', Valkey: '7.2' }
/** Clocks further apart are worth a word, milliseconds. */
const CLOCK_LIMIT = 2000

/**
 * The variables, as an app without options of its own would read them.
 *
 * @param flags from the command line; they win over the environment
 */
export function checkOptions (env: NodeJS.ProcessEnv, { redis, prefix }: { redis?: string | undefined, prefix?: string | undefined }): Check[] {
  const name = 'options'
  try {
    const { warnings, secrets } = resolveOptions({ ...(redis !== undefined && { redis }), ...(prefix !== undefined && { prefix }) }, env)
    const found: Check[] = warnings.map((detail) => ({ name, result: 'warning', detail }))
    return [...found, { name, result: 'ok', detail: `the SESSION_* variables make sense; ${secrets.length === 1 ? 'one secret' : `${secrets.length} secrets`}` }]
  } catch (error) {
    // An app may have its secret from elsewhere; anything else that is wrong here is wrong there, too.
    const message = (error as Error).message.replace(/^fastify-live-session: /, '')
    return [{ name, result: env['SESSION_SECRET'] || !message.startsWith('secret') ? 'problem' : 'warning', detail: message }]
  }
}

/** Everything that needs a connection; every master of a Cluster is looked at. */
export async function checkRedis (connection: Connection, context: Context, report: Report): Promise<void> {
  const { client } = connection
  const nodes = client instanceof Cluster ? client.nodes('master') : [client]
  for (const node of nodes) {
    const at = nodes.length === 1 ? '' : ` of ${node.options.host}:${node.options.port}`
    const info = await readInfo(node)
    if (info === undefined) report({ name: `version, memory, persistence${at}`, result: 'warning', detail: 'unknown: this user may not run INFO' })
    else for (const check of [checkVersion(info), checkEviction(info), checkPersistence(info), checkReplicas(info)]) report({ ...check, name: check.name + at })
    report(await checkClock(node, at))
    report(await checkRights(node, connection.prefix, at))
  }
  report(await checkScripts(connection))
  report(await checkRecords(connection, context))
}

type Info = ReadonlyMap<string, string>

async function readInfo (node: Redis): Promise<Info | undefined> {
  try {
    const text = await node.info()
    return new Map([...text.matchAll(/^(\w+):(.*?)\r?$/gm)].map(([, key, value]) => [key!, value!]))
  } catch {
    return undefined
  }
}

function checkVersion (info: Info): Check {
  const name = 'version'
  const product = info.has('valkey_version') ? 'Valkey' : 'Redis'
  const version = info.get('valkey_version') ?? info.get('redis_version') ?? ''
  const enough = compare(version, NEEDED[product]) >= 0
  return { name, result: enough ? 'ok' : 'problem', detail: `${product} ${version}${enough ? '' : `; ${NEEDED[product]} or later is needed`}` }
}

/** Compares dotted numbers. */
function compare (a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number)) as [number[], number[]]
  for (let i = 0; i < right.length; i++) if ((left[i] ?? 0) !== right[i]) return (left[i] ?? 0) - right[i]!
  return 0
}

function checkEviction (info: Info): Check {
  const name = 'eviction'
  const policy = info.get('maxmemory_policy') ?? ''
  const limit = Number(info.get('maxmemory') ?? 0)
  if (policy !== 'noeviction') {
    return { name, result: limit === 0 ? 'warning' : 'problem', detail: `maxmemory-policy is ${policy}: a full Redis drops live sessions, which logs people out; set noeviction` }
  }
  const used = Number(info.get('used_memory') ?? 0)
  if (limit > 0 && used > 0.9 * limit) return { name, result: 'warning', detail: `noeviction, and ${Math.round(100 * used / limit)} % of maxmemory are used: what grows will soon be refused` }
  return { name, result: 'ok', detail: `noeviction, ${limit === 0 ? 'no maxmemory' : `${Math.round(100 * used / limit)} % of maxmemory used`}` }
}

function checkPersistence (info: Info): Check {
  const name = 'persistence'
  if (info.get('aof_enabled') === '1') {
    return info.get('aof_last_write_status') === 'err'
      ? { name, result: 'problem', detail: 'the append-only file could not be written the last time' }
      : { name, result: 'ok', detail: 'append-only file' }
  }
  return { name, result: 'warning', detail: 'appendonly is off: a crash or restart loses what came after the last snapshot, logouts among it, or logs everybody out' }
}

function checkReplicas (info: Info): Check {
  const name = 'role'
  if (info.get('role') !== 'master') return { name, result: 'problem', detail: 'this is a replica: sessions need the master' }
  const replicas = Number(info.get('connected_slaves') ?? 0)
  return { name, result: 'ok', detail: `master with ${replicas === 1 ? 'one replica' : `${replicas === 0 ? 'no' : replicas} replicas`}` }
}

async function checkClock (node: Redis, at: string): Promise<Check> {
  const name = `clock${at}`
  try {
    const before = Date.now()
    const [seconds, micros] = await node.time() as unknown as [number | string, number | string]
    const after = Date.now()
    const apart = Math.round(Number(seconds) * 1000 + Number(micros) / 1000 - (before + after) / 2)
    const result = Math.abs(apart) - (after - before) > CLOCK_LIMIT ? 'warning' : 'ok'
    const detail = `${Math.abs(apart)} ms ${apart < 0 ? 'behind' : 'ahead of'} this machine's`
    return { name, result, detail: result === 'ok' ? detail : `${detail}; sessions go by the clock of Redis: let both follow NTP` }
  } catch (error) {
    return { name, result: 'problem', detail: refusal(error as Error) }
  }
}

/**
 * Every command that the scripts use, on a key of its own. Whatever a user may not run in a script is also refused here,
 * where the answer names it. Each node of a Cluster has users of its own; it looks at their rights before it says that
 * another one has the key.
 */
async function checkRights (node: Redis, prefix: string, at: string): Promise<Check> {
  const name = `rights${at}`
  const key = prefix + newId()
  const list = `${prefix}@user:${newId()}`
  const commands: string[][] = [
    ['HSET', key, 'created_at', '0'], ['PEXPIRE', key, '5000'], ['HGETALL', key], ['HMGET', key, 'created_at'], ['HGET', key, 'created_at'],
    ['HEXISTS', key, 'created_at'], ['HLEN', key], ['EXISTS', key], ['PTTL', key], ['HDEL', key, 'nothing'],
    ['ZADD', list, '1', 'a'], ['PEXPIRE', list, '5000'], ['ZSCORE', list, 'a'], ['ZCARD', list], ['ZRANGEBYSCORE', list, '0', '1'], ['ZREVRANGE', list, '0', '1'],
    ['ZREMRANGEBYSCORE', list, '5', '6'], ['ZREM', list, 'a'], ['SCAN', '0', 'COUNT', '1'], ['PUBLISH', key, ''], ['SUBSCRIBE', key], ['PING'],
    ['EVAL', 'return 1', '1', key], ['EVALSHA', '0'.repeat(40), '1', key], ['TIME'], ['MEMORY', 'USAGE', key], ['DEL', key]
  ]
  const refused: string[] = []
  for (const [command, ...args] of commands) {
    try {
      if (command === 'SUBSCRIBE') await subscribe(node, args[0]!)
      else await node.call(command!, ...args)
    } catch (error) {
      const { message } = error as Error
      if (/^(?:NOSCRIPT|MOVED) /.test(message)) continue
      if (!message.startsWith('NOPERM')) throw error
      if (/\bkey/.test(message) && !message.includes('command')) return { name, result: 'problem', detail: `this user may not touch keys under ${prefix}; allow ~${prefix}*` }
      if (/\bchannel/.test(message) && !message.includes('command')) return { name, result: 'problem', detail: `this user may not use channels under ${prefix}; allow &${prefix}*` }
      refused.push(command === 'MEMORY' ? 'memory|usage' : command!.toLowerCase())
    }
  }
  if (refused.length === 0) return { name, result: 'ok', detail: 'this user may run every command that sessions need' }
  return { name, result: 'problem', detail: `this user may not run ${refused.join(', ')}; allow ${refused.map((command) => `+${command}`).join(' ')}` }
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

/** One session's life, by the store itself. */
async function checkScripts ({ store }: Connection): Promise<Check> {
  const name = 'scripts'
  const id = newId()
  const rules = { idleTimeout: 5000, touchInterval: 0, lifetime: 5000, rotateEvery: 0, rotateGrace: 0, maxFields: 10, maxRecordSize: 1000 }
  const write = { operations: [{ type: 'set', field: 'doctor', text: '1' }], settings: {}, touch: 'always', mode: 'together' } as const
  try {
    await store.create(id, 'doctor', write, rules)
    await store.write(id, 'doctor', write, rules)
    const loaded = await store.load(id, 'doctor', true, rules)
    const ended = await store.destroy(id, 'doctor')
    if (loaded === undefined || !ended) return { name, result: 'problem', detail: 'a record that was just written is gone' }
    return { name, result: 'ok', detail: 'a session was created, changed, loaded and ended' }
  } catch (error) {
    await store.destroy(id).catch(() => {})
    return { name, result: 'problem', detail: (error as Error).message }
  }
}

async function checkRecords (connection: Connection, context: Context): Promise<Check> {
  const name = 'records'
  let sessions = 0
  let immortal = 0
  try {
    for await (const outlines of scanRecords(connection, context)) {
      sessions += outlines.length
      immortal += outlines.filter(({ ttl }) => ttl < 0).length
    }
  } catch (error) {
    if ((error as Error).name !== 'ReplyError') throw error
    return { name, result: 'warning', detail: `not looked at: ${refusal(error as Error)}` }
  }
  if (immortal === 0) return { name, result: 'ok', detail: `${grouped(sessions)} sessions, all of which expire` }
  return { name, result: 'problem', detail: `${grouped(immortal)} of ${grouped(sessions)} never expire: somebody writes to records that have ended, or ran PERSIST` }
}
