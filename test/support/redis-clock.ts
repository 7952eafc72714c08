/**
 * A real Redis whose clock stands still until a test moves it. So a minute passes in no time, and what another store with
 * a clock of its own does can be compared to the millisecond.
 *
 * Only the clock is another one. A key still has its own expiry, which goes where a real one goes; it lies in the far
 * future, so that Redis does not act on it by itself.
 */
import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'

/** Where the clock starts, milliseconds since 1970. */
export const EPOCH = 1_700_000_000_000

/** The key that holds the time. It never expires. */
const CLOCK_KEY = 'clock'
/** Expiries lie so far behind the clock, milliseconds. */
const FAR = 1e14

/** Stands before every script. What PEXPIRE refuses, and where it ends a key, is left to it. */
const PRELUDE = `
local real, redis = redis, setmetatable({}, {__index = redis})
local clock = tonumber(real.call('GET', '${CLOCK_KEY}'))
function redis.call(command, key, ...)
  if command == 'TIME' then return {string.format('%.0f', math.floor(clock / 1000)), string.format('%.0f', clock % 1000 * 1000)} end
  if command == 'PTTL' then
    local at = real.call('PEXPIRETIME', key)
    return at < 0 and at or at - ${FAR} - clock
  end
  if command == 'PEXPIRE' then
    local ttl = ...
    if type(ttl) == 'number' then ttl = string.format('%.17g', ttl) end
    if not string.match(ttl, '^[1-9]%d*$') then return real.call('PEXPIRE', key, ttl) end
    return real.call('PEXPIREAT', key, string.format('%.0f', ${FAR} + clock + ttl))
  end
  return real.call(command, key, ...)
end
`

/** Moves the clock, and ends what has expired by then. */
const PASS = `
local now = redis.call('INCRBY', '${CLOCK_KEY}', ARGV[1])
for _, key in ipairs(redis.call('KEYS', '*')) do
  local at = redis.call('PEXPIRETIME', key)
  if at >= 0 and at - ${FAR} <= now then redis.call('DEL', key) end
end
return now
`

/** Keys without an expiry. */
const ENDLESS = `
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  if key ~= '${CLOCK_KEY}' and redis.call('PEXPIRETIME', key) < 0 then found[#found + 1] = key end
end
return found
`

/** What a test does with the clock. */
export interface RedisClock {
  /** Empties Redis, and sets the clock to `EPOCH`. */
  reset (): Promise<void>
  /** Lets so many milliseconds pass. */
  pass (ms: number): Promise<void>
  /** The keys that would be kept for ever. */
  endless (): Promise<string[]>
}

/**
 * Stops the clock for all scripts that a client runs.
 *
 * @param client of a Redis 7.0 or later, and of nobody else
 */
export async function stopClock (client: Redis): Promise<RedisClock> {
  const shas = new Map<string, string>()
  const send = client.sendCommand.bind(client)
  client.sendCommand = (command, stream) => {
    const [script] = command.args as [string]
    if (command.name === 'evalsha') {
      command.args[0] = shas.get(script) ?? script
    } else if (command.name === 'eval') {
      command.args[0] = PRELUDE + script
      shas.set(sha1(script), sha1(PRELUDE + script))
    }
    return send(command, stream)
  }
  // Of its own: what the clock is made of has to be run as it is.
  const witness = client.duplicate({ enableOfflineQueue: true, maxRetriesPerRequest: null })
  client.once('end', () => { witness.disconnect() })
  const reset = async (): Promise<void> => {
    await witness.flushall()
    await witness.set(CLOCK_KEY, EPOCH)
  }
  await reset()
  return {
    reset,
    pass: async (ms) => { await witness.eval(PASS, 0, ms) },
    endless: async () => await witness.eval(ENDLESS, 0) as string[]
  }
}

function sha1 (text: string): string {
  return createHash('sha1').update(text).digest('hex')
}
