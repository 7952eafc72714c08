/**
 * The records of the old store, in Redis: looking at one, putting a pointer in its place, removing it. One key per
 * script, as everywhere, so that it works on a Cluster.
 */
import { script } from '../store/redis-script.js'
import type { RedisTransport, Reply } from '../store/redis-transport.js'
import type { Pointer, Stored } from './formats.js'

/** What is there but no session: too large to be read, or of another type than the libraries write. */
export type Unusable = 'large' | 'type'

/** ARGV: the most bytes that are read. Answers nothing, a status alone, or type, text, expiry, milliseconds left, clock. */
const lookScript = script(`
local key, limit = KEYS[1], tonumber(ARGV[1])
local kind = redis.call('TYPE', key).ok
if kind == 'none' then return false end
local text, expiry = false, ''
if kind == 'string' then
  if redis.call('STRLEN', key) > limit then return {'large'} end
  text = redis.call('GET', key)
elseif kind == 'hash' then
  if redis.call('HSTRLEN', key, 'data') > limit or redis.call('HSTRLEN', key, 'expiry') > 32 then return {'large'} end
  text = redis.call('HGET', key, 'data')
  expiry = redis.call('HGET', key, 'expiry') or ''
  -- Its store may leave a hash without data behind, when a session is used while it ends.
  if not text then return false end
else
  return {'type'}
end
local time = redis.call('TIME')
return {kind, text, expiry, redis.call('PTTL', key), string.format('%s%03d', time[1], time[2] / 1000)}
`)

/**
 * ARGV: type, head and tail of the pointer, id, milliseconds that the pointer stays at most. Answers the id that stands there
 * now, or nothing where the key is gone.
 */
const moveScript = script(`
local key, kind, head, tail, id = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('TYPE', key).ok ~= kind then return false end
local text = kind == 'hash' and redis.call('HGET', key, 'data') or kind == 'string' and redis.call('GET', key)
if not text then return false end
if #text == #head + #id + #tail and string.sub(text, 1, #head) == head and string.sub(text, -#tail) == tail then
  return string.sub(text, #head + 1, -#tail - 1)
end
local ttl = redis.call('PTTL', key)
local limit = tonumber(ARGV[5])
if ttl < 0 or ttl > limit then ttl = limit end
if kind == 'hash' then
  redis.call('DEL', key)
  redis.call('HSET', key, 'data', head .. id .. tail, 'expiry', '')
  redis.call('PEXPIRE', key, ttl)
else
  redis.call('SET', key, head .. id .. tail, 'PX', ttl)
end
return id
`)

const existsScript = script("return redis.call('EXISTS', KEYS[1])")
const endScript = script("return redis.call('DEL', KEYS[1])")

/**
 * The old store's records. All methods throw StoreUnavailableError where Redis is away, too slow or refuses.
 */
export class OldRecords {
  readonly #transport: RedisTransport
  readonly #maxSize: number

  /**
   * @param transport the connection of the new store: the old records are in the same Redis
   * @param maxSize the most bytes of one record that are read
   */
  constructor (transport: RedisTransport, maxSize: number) {
    this.#transport = transport
    this.#maxSize = maxSize
  }

  /** What stands under a key; `undefined` where nothing does. */
  look (key: string): Promise<Stored | Unusable | undefined> {
    return this.#transport.run(lookScript, key, [String(this.#maxSize)], (reply) => {
      if (reply === null) return undefined
      const [type, text, expiry, ttl, now] = reply as Reply[]
      if (text === undefined) return String(type) as Unusable
      return { type: String(type) as Stored['type'], text: String(text), expiry: String(expiry), ttl: Number(ttl), now: Number(String(now)) }
    })
  }

  /**
   * Puts a pointer in the place of a session, for no longer than the session had left. Where one stands already it stays:
   * of many callers at once one wins, and all of them learn which.
   *
   * @param id of the record that the session moved to
   * @param ttl milliseconds that the pointer stays at most
   * @returns the id in the pointer that stands now; `undefined` where the session is gone
   */
  move (key: string, type: Stored['type'], { head, tail }: Pointer, id: string, ttl: number): Promise<string | undefined> {
    return this.#transport.run(moveScript, key, [type, head, tail, id, String(Math.ceil(ttl))], (reply) => reply === null ? undefined : String(reply))
  }

  /** Whether the key is there. */
  exists (key: string): Promise<boolean> {
    return this.#transport.run(existsScript, key, [], (reply) => reply === 1)
  }

  /** Removes whatever stands under the key. */
  async end (key: string): Promise<void> {
    await this.#transport.run(endScript, key, [], () => undefined)
  }
}
