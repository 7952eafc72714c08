import fc from 'fast-check'
import { test } from 'tap'
import * as product from '../../src/index.js'
import { sharedRedis } from '../support/app.js'
import { startApplications } from './arenas.js'
import { EXAMPLES, OPTIONS, sequentialRuns } from './sequential.js'

test('one request after the other does what the model says', async (t) => {
  const redis = await sharedRedis()
  const { servers, close } = await startApplications(product, { redis: redis.url, ...OPTIONS })
  t.teardown(close)
  await fc.assert(sequentialRuns(servers, redis.client()), { numRuns: 200, examples: EXAMPLES })
  t.pass('200 runs')
})
