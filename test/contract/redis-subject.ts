/** The Redis store as a subject of the contract suite. */
import { once } from 'node:events'
import type { Cluster, Redis } from 'ioredis'
import { RedisStore } from '../../src/store/redis.js'
import * as record from '../../src/store/record.js'
import type { Subject } from './kit.js'

const PREFIX = 'session:'

/** Milliseconds per call: this suite is not about slow servers, and machines that run tests may be slow. */
const PATIENCE = 3000

/** Makes a record as old as if that time had passed: everything that depends on time is moved back. */
const AGE = `
local left = redis.call('PTTL', KEYS[1]) - ARGV[1]
if left <= 0 then return redis.call('DEL', KEYS[1]) end
-- First, because a full Redis lets no script begin with what may grow.
redis.call('PEXPIRE', KEYS[1], left)
for _, name in ipairs({'${record.CREATED_AT}', '${record.LAST_ACCESSED_AT}', '${record.PREVIOUS_UNTIL}', '${record.RENEWED}', '${record.ROTATED}'}) do
  if redis.call('HEXISTS', KEYS[1], name) == 1 then redis.call('HINCRBY', KEYS[1], name, -ARGV[1]) end
end
local bars = redis.call('HGET', KEYS[1], '${record.BARRED}')
if bars then
  local function age(ticket, till) return string.format('%s %.0f', ticket, till - ARGV[1]) end
  redis.call('HSET', KEYS[1], '${record.BARRED}', (string.gsub(bars, '(%S+) (%d+)', age)))
end
`

/** Waits until a client can be used. */
export async function ready<Client extends Redis | Cluster> (client: Client): Promise<Client> {
  if (client.status !== 'ready') await once(client, 'ready')
  return client
}

/**
 * A Redis store to hold against the contract.
 *
 * @param client the store's own
 * @param witness another client of the same Redis, for what a store cannot do
 */
export function redisSubject (client: Redis | Cluster, witness: Redis | Cluster): Subject {
  return {
    store: new RedisStore(client, { prefix: PREFIX, timeout: PATIENCE }),
    prefix: PREFIX,
    slack: 4000,
    pass: async (id, ms) => { await witness.eval(AGE, 1, PREFIX + id, ms) }
  }
}
