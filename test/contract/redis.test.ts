import { test } from 'tap'
import { ready, redisSubject } from './redis-subject.js'
import { storeContract } from './suite.js'
import { startRedis } from '../support/redis-process.js'

test('the Redis store fulfils the contract on a single server', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const client = await ready(redis.client({ enableOfflineQueue: false, maxRetriesPerRequest: 0 }))
  await storeContract(t, redisSubject(client, await ready(redis.client())))
  await t.test('and leaves no key without an expiry', async (t) => {
    const witness = redis.client()
    const keys = await witness.keys('*')
    t.ok(keys.length > 100, `${keys.length} keys`)
    const kept: string[] = []
    for (const key of keys) if (await witness.pttl(key) < 0) kept.push(key)
    t.strictSame(kept, [])
  })
})
