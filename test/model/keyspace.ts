/** What Redis holds, seen past the plugin; and time that passes without waiting for it. */
import type { Redis } from 'ioredis'
import * as record from '../../src/store/record.js'
import type { Rules } from '../../src/store/store.js'
import { hold } from './invariants.js'

const PREFIX = 'session:'

/** All records at one moment: key, milliseconds left, the clock, fields. */
const ALL = `
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local all = {}
for _, key in ipairs(redis.call('KEYS', '${PREFIX}*')) do
  all[#all + 1] = {key, redis.call('PTTL', key), now, redis.call('HGETALL', key)}
end
return all
`

/** Makes every record as old as if that time had passed: everything that depends on time is moved back. */
const PASS = `
for _, key in ipairs(redis.call('KEYS', '${PREFIX}*')) do
  local left = redis.call('PTTL', key) - ARGV[1]
  if left <= 0 then
    redis.call('DEL', key)
  else
    redis.call('PEXPIRE', key, left)
    for _, name in ipairs({'${record.CREATED_AT}', '${record.LAST_ACCESSED_AT}', '${record.PREVIOUS_UNTIL}', '${record.RENEWED}', '${record.ROTATED}'}) do
      if redis.call('HEXISTS', key, name) == 1 then redis.call('HINCRBY', key, name, -ARGV[1]) end
    end
  end
end
`

export interface Kept {
  readonly id: string
  /** Milliseconds left. */
  readonly ttl: number
  readonly fields: Readonly<Record<string, string>>
}

/** Lets time pass for all records. */
export async function pass (witness: Redis, ms: number): Promise<void> {
  await witness.eval(PASS, 0, ms)
}

/** All records that there are, after holding each of them against I7. */
export async function records (witness: Redis, rules: Pick<Rules, 'idleTimeout' | 'touchInterval' | 'lifetime'>): Promise<Kept[]> {
  const all = await witness.eval(ALL, 0) as Array<[key: string, ttl: number, now: string, flat: string[]]>
  return all.map(([key, ttl, now, flat]) => {
    const fields = Object.fromEntries(flat.flatMap((name, i) => i % 2 === 0 ? [[name, flat[i + 1]!]] : []))
    for (const name of [record.CREATED_AT, record.LAST_ACCESSED_AT, record.SESSION_TTL]) {
      hold('I7', /^\d+(?:\.\d+)?$/.test(fields[name] ?? ''), () => `${name} of a key is ${fields[name]}, fields: ${Object.keys(fields)}`)
    }
    hold('I7', /^[\w-]{43}$/.test(fields[record.DIGEST] ?? ''), 'a key without an owner')
    const idle = Number(fields[record.SESSION_TTL]) * 1000
    const slack = Math.min(rules.touchInterval, idle * rules.touchInterval / rules.idleTimeout)
    const lifetimeLeft = Number(fields[record.CREATED_AT]) + rules.lifetime - Number(now)
    hold('I7', ttl > 0, () => `a key that never expires: ${ttl}`)
    // Times are whole milliseconds, read at two moments.
    hold('I7', ttl <= Math.min(idle + slack, lifetimeLeft) + 2, () => `${ttl} ms left, ${idle} idle + ${slack}, ${lifetimeLeft} of the lifetime`)
    return { id: key.slice(PREFIX.length), ttl, fields }
  })
}
