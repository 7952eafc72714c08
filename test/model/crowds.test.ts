import fc from 'fast-check'
import { Cluster } from 'ioredis'
import { test } from 'tap'
import * as product from '../../src/index.js'
import { sharedRedis } from '../support/app.js'
import { Gate } from '../support/browser.js'
import { startCluster } from '../support/redis-cluster.js'
import { until } from '../support/until.js'
import { makeRenewalDue, RULES, startApplications, type Applications } from './arenas.js'
import { Client } from './client.js'
import { login, manyFields, manyIncrements, renewal, type Gated } from './crowds.js'
import { startProcesses } from './fleet.js'
import { records } from './keyspace.js'
import { ENDS, lookAt, overlap, SLOW } from './overlaps.js'

/** The same applications, with gates that are closed. */
function gated ({ applications, servers }: Applications): Gated[] {
  return applications.map((application, i) => {
    application.gate = new Gate()
    return { send: servers[i]!, arrived: async (count) => { await application.gate.arrived(count) }, open: () => { application.gate.open() } }
  })
}

test('many requests at once, on two processes of the application', async (t) => {
  const redis = await sharedRedis()
  const applications = await startApplications(product, { redis: redis.url })
  t.teardown(applications.close)
  for (let round = 0; round < 5; round++) {
    await manyFields(gated(applications))
    await manyIncrements(gated(applications))
    t.pass('no field and no increment is lost')
    await login(gated(applications), ['regenerate', []])
    await login(gated(applications), ['rotate'])
    t.pass('the old token is dead everywhere at once')
  }
  await records(redis.client(), RULES)
})

test('a renewal with answers that get lost', async (t) => {
  const redis = await sharedRedis()
  const witness = redis.client()
  const { servers, close } = await startApplications(product, { redis: redis.url, rotateEvery: 55, rotateGrace: 15 })
  t.teardown(close)
  await fc.assert(fc.asyncProperty(fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }), async (lost) => {
    await witness.flushall()
    const first = new Client()
    await first.send(servers[0]!, { steps: [['set', 'n', 1]] })
    await makeRenewalDue(witness)
    await renewal(servers, first.token!, lost)
    await records(witness, RULES)
  }), { numRuns: 20, examples: [[Array<boolean>(20).fill(true)], [Array<boolean>(20).fill(false)]] })
  t.pass('nobody is logged out')
})

test('many requests at once, on processes of the operating system', async (t) => {
  const redis = await sharedRedis()
  const processes = await startProcesses(t, redis.url, 2)
  await manyFields(processes)
  await manyIncrements(processes)
  await login(processes, ['regenerate', []])
  await records(redis.client(), RULES)
  t.pass('no field and no increment is lost, and the old token is dead')
})

test('the same on a Cluster', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  const applications = await startApplications(product, { redis: cluster.url })
  t.teardown(applications.close)
  const witness = new Cluster(cluster.nodes.map(({ host, port }) => ({ host, port })))
  t.teardown(() => { witness.disconnect() })
  await until('the witness is connected', 5000, () => witness.status === 'ready')
  for (let round = 0; round < 3; round++) {
    await manyFields(gated(applications))
    await manyIncrements(gated(applications))
    await login(gated(applications), ['regenerate', []])
    await login(gated(applications), ['rotate'])
    t.pass('no field and no increment is lost, and the old token is dead')
  }
  const { applications: [slow], servers: [, fast] } = applications
  const look = lookAt(witness)
  const expire = async (): Promise<void> => {
    for (const node of witness.nodes('master')) for (const key of await node.keys('session:*')) await node.pexpire(key, 1)
    await until('all records expired', 5000, async () => (await Promise.all(witness.nodes('master').map((node) => node.dbsize()))).every((size) => size === 0))
  }
  for (const end of ENDS) {
    for (const kind of Object.keys(SLOW)) await overlap({ slow: slow!, fast: fast!, look, expire }, kind, end)
    t.pass(`nothing comes back after ${end}`)
  }
})
