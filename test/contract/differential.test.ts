import fc from 'fast-check'
import { test } from 'tap'
import * as product from '../../src/index.js'
import { startRedis } from '../support/redis-process.js'
import { alike, bothStores } from './differential.js'

test('both stores make the same of everything', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const pair = await bothStores(t, redis, product)
  await fc.assert(alike(pair), { numRuns: Number(process.env.RUNS ?? 400), ...process.env.SEED && { seed: Number(process.env.SEED) } })
  t.pass('400 runs')
})
