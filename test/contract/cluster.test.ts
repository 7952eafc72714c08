import { Cluster } from 'ioredis'
import { test } from 'tap'
import { apart, created, delta, increment, newOwner, RULES, set } from './kit.js'
import { ready, redisSubject } from './redis-subject.js'
import { storeContract } from './suite.js'
import { startCluster, type RedisCluster } from '../support/redis-cluster.js'

async function connect (cluster: RedisCluster): Promise<Cluster> {
  const client = new Cluster(cluster.nodes.map(({ host, port }) => ({ host, port })), {
    enableOfflineQueue: false, retryDelayOnFailover: 0, redisOptions: { maxRetriesPerRequest: 0 }
  })
  client.on('error', () => {})
  return await ready(client)
}

test('the Redis store fulfils the contract on a Cluster', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  const client = await connect(cluster)
  const witness = await connect(cluster)
  t.teardown(() => { client.disconnect(); witness.disconnect() })
  const subject = redisSubject(client, witness)
  await storeContract(t, subject)

  await t.test('records are spread over all masters, and none is kept for ever', async (t) => {
    for (const node of witness.nodes('master')) {
      const keys = await node.keys('*')
      t.ok(keys.length > 20, `${keys.length} keys`)
      const kept: string[] = []
      for (const key of keys) if (await node.pttl(key) < 0) kept.push(key)
      t.strictSame(kept, [])
    }
  })

  await t.test('every node that forgot the scripts is taught them again', async (t) => {
    await Promise.all(witness.nodes('master').map((node) => node.script('FLUSH')))
    const owners = await Promise.all(Array.from({ length: 20 }, () => created(subject, { user: 'andrew' })))
    await Promise.all(witness.nodes('master').map((node) => node.script('FLUSH')))
    const loaded = await Promise.all(owners.map(({ id, digest }) => subject.store.load(id, digest, true, RULES)))
    t.ok(loaded.every((record) => record?.fields.get('user') === 'andrew'))
    const results = await Promise.all(owners.map(async ({ id, digest }) => (await subject.store.write(id, digest, apart(increment('n')), RULES))?.results[0]))
    t.strictSame(results, owners.map(() => '1'))
  })

  await t.test('a slot that moved is found again, and nothing happens twice', async (t) => {
    const { id, digest } = newOwner()
    const key = `session:${id}`
    const from = await cluster.masterOf(key)
    const to = cluster.nodes.slice(0, 3).find((node) => node !== from)!
    await cluster.moveSlot(await cluster.slotOf(key), to)
    t.ok(await subject.store.create(id, digest, delta([set('user', 'andrew')]), RULES))
    t.equal(await to.ask('EXISTS', key), 1)
    const answers = await Promise.all(Array.from({ length: 20 }, async () => (await subject.store.write(id, digest, apart(increment('n')), RULES))?.results[0]))
    t.strictSame(answers.map(Number).sort((a, b) => a - b), Array.from({ length: 20 }, (_, i) => i + 1))
  })
})
