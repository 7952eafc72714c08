import { startRedis } from './test/support/redis-process.js'
import { created, delta, RULES } from './test/contract/kit.js'
import { redisSubject, ready } from './test/contract/redis-subject.js'
const redis = await startRedis()
const client = await ready(redis.client())
const witness = await ready(redis.client())
const subject = redisSubject(client, witness)
const short = { ...RULES, lifetime: 1 }
for (let i = 0; i < 400; i++) {
  const owners = await Promise.all(Array.from({ length: 500 }, () => created(subject)))
  await Promise.all(owners.map(({ id, digest }) => subject.store.write(id, digest, delta([], { touch: 'always' }), short)))
}
await new Promise((resolve) => setTimeout(resolve, 50))
const keys = await witness.keys('*')
console.log(keys.length, await Promise.all(keys.slice(0, 3).map(async (k) => [await witness.pttl(k), await witness.hgetall(k)])))
await redis.stop(); process.exit()
