/** What the answer to INFO says about a server. Limits are those of the README. */
import type { Check } from './check.js'

/** The fields of INFO by their names. */
export type Info = ReadonlyMap<string, string>

/** Takes the answer to INFO apart. */
export function readInfo (text: string): Info {
  return new Map([...text.matchAll(/^(\w+):(.*?)\r?$/gm)].map(([, key, value]) => [key!, value!]))
}

/** All that can be told from INFO. */
export function checkServer (info: Info): Check[] {
  return [checkProduct(info), checkEviction(info), checkPersistence(info), checkRole(info)]
}

/** The oldest versions that are supported. */
const NEEDED = { Redis: '6.2', Valkey: '7.2' }

/** Others that understand the commands, by a field of INFO that only they have. They also name a version of Redis. */
const OTHERS = new Map([
  ['dragonfly_version', 'Dragonfly'],
  ['garnet_version', 'Garnet'],
  ['kvrocks_version', 'Kvrocks'],
  ['memurai_version', 'Memurai'],
  ['mvcc_depth', 'KeyDB'],
  ['redict_version', 'Redict'],
  ['upstash_version', 'Upstash']
])

/** Everything here rests on scripts that run as one step. By default Garnet's do not (`LuaTransactionMode`). */
const NOT_ATOMIC = 'Garnet'

function checkProduct (info: Info): Check {
  const name = 'version'
  for (const [field, product] of OTHERS) {
    if (!info.has(field)) continue
    const server = `${product} ${info.get(field.endsWith('_version') ? field : 'redis_version') ?? ''}`.trimEnd()
    if (product === NOT_ATOMIC) {
      return { name, result: 'problem', detail: `${server} runs scripts as one step only with LuaTransactionMode, which cannot be seen from here; without it, writes are lost and nobody is told: use Redis or Valkey` }
    }
    return { name, result: 'warning', detail: `${server} is neither Redis nor Valkey: nothing was tested with it` }
  }
  const product = info.has('valkey_version') ? 'Valkey' : 'Redis'
  const version = info.get('valkey_version') ?? info.get('redis_version')
  if (version === undefined) return { name, result: 'warning', detail: 'the server does not say what it is: nothing but Redis and Valkey was tested' }
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
  const policy = info.get('maxmemory_policy')
  if (policy === undefined) return { name, result: 'warning', detail: 'the server does not say what it does when it is full; it has to refuse what grows, and must not drop sessions' }
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

function checkRole (info: Info): Check {
  const name = 'role'
  const role = info.get('role')
  if (role === undefined) return { name, result: 'warning', detail: 'the server does not say whether it is a master' }
  if (role !== 'master') return { name, result: 'problem', detail: 'this is a replica: sessions need the master' }
  const replicas = Number(info.get('connected_slaves') ?? 0)
  return { name, result: 'ok', detail: `master with ${replicas === 1 ? 'one replica' : `${replicas === 0 ? 'no' : replicas} replicas`}` }
}
