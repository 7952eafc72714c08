/** Sessions for the tests of commands. */
import type { Test } from 'tap'
import { newId } from '../../src/cookie/token.js'
import { RedisStore } from '../../src/store/redis.js'
import { delta, RULES, set } from '../contract/kit.js'
import { ready } from '../contract/redis-subject.js'
import { startRedis, type RedisProcess, type StartOptions } from '../support/redis-process.js'

export const HOUR = 3_600_000

/** Sessions with so many milliseconds left, written by the store. */
export async function seed (store: RedisStore, lefts: readonly number[], fields: Record<string, string> = { user: 'andrew' }): Promise<string[]> {
  return await Promise.all(lefts.map(async (left) => {
    const id = newId()
    await store.create(id, 'the digest of a secret', { ...delta(Object.entries(fields).map(([name, text]) => set(name, text))), settings: { idleTimeout: left / 1000, lifetime: 10 * left / 1000 } }, RULES)
    return id
  }))
}

/** A Redis for one test, a store in it, and the variable that leads commands there. */
export async function start (t: Test, options: StartOptions = {}): Promise<{ redis: RedisProcess, store: RedisStore, env: NodeJS.ProcessEnv }> {
  const redis = await startRedis(options)
  t.teardown(() => redis.stop())
  return { redis, store: new RedisStore(await ready(redis.client()), { timeout: 3000 }), env: { SESSION_REDIS: redis.url } }
}

/** All that a terminal would obey or hide, but for line breaks. */
export const UNPRINTABLE = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u
