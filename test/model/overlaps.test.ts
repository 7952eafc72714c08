import { test } from 'tap'
import * as product from '../../src/index.js'
import { sharedRedis } from '../support/app.js'
import { RULES, startApplications } from './arenas.js'
import { pass, records } from './keyspace.js'
import { ENDS, lookAt, overlap, SLOW } from './overlaps.js'

test('a request of any kind that ends after the session did comes to nothing', async (t) => {
  const redis = await sharedRedis()
  const witness = redis.client()
  const { applications: [slow], servers: [, fast], close } = await startApplications(product, { redis: redis.url })
  t.teardown(close)
  const scene = { slow: slow!, fast: fast!, look: lookAt(witness), expire: async () => { await pass(witness, 400_000) } }
  for (const end of ENDS) {
    for (const kind of Object.keys(SLOW)) await overlap(scene, kind, end)
    t.pass(`after ${end}, ${Object.keys(SLOW).length} kinds`)
  }
  await records(witness, RULES)
})

test('the same for a session whose cookie is given out again when it is extended', async (t) => {
  const redis = await sharedRedis()
  const witness = redis.client()
  const { applications: [slow], servers: [, fast], close } = await startApplications(product, { redis: redis.url, touchInterval: 0 })
  t.teardown(close)
  const scene = { slow: slow!, fast: fast!, begin: [['remember', {}]] as const, look: lookAt(witness), expire: async () => { await pass(witness, 400_000) } }
  for (const end of ENDS) {
    for (const kind of ['read', 'write', 'live incr']) await overlap(scene, kind, end)
    t.pass(`after ${end}`)
  }
})
