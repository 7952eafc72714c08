import fc from 'fast-check'
import { test } from 'tap'
import * as product from '../../src/index.js'
import { sharedRedis } from '../support/app.js'
import { redisStore, startApplications } from './arenas.js'
import { interleavings, parallelHistories, parallelRenewals } from './parallel.js'

test('what clients do in parallel has an order that explains it', async (t) => {
  const redis = await sharedRedis()
  const { servers, close } = await startApplications(product, { redis: redis.url })
  t.teardown(close)
  await fc.assert(parallelHistories(servers, redis.client()), { numRuns: 60 })
  t.pass('60 histories')
})

test('a renewal in parallel, with answers that get lost, logs nobody out', async (t) => {
  const redis = await sharedRedis()
  const { servers, close } = await startApplications(product, { redis: redis.url, rotateEvery: 55, rotateGrace: 15 })
  t.teardown(close)
  await fc.assert(parallelRenewals(servers, redis.client()), { numRuns: 50 })
  t.pass('50 histories')
})

test('in every order of the calls of a store', async (t) => {
  await fc.assert(interleavings(product, new product.MemoryStore()), { numRuns: 60 })
  t.pass('60 orders in memory')
  await fc.assert(interleavings(product, await redisStore(t, await sharedRedis(), product)), { numRuns: 60 })
  t.pass('60 orders in Redis')
})
