/** The subscription to ends under Sentinels: what it opens, it closes, however often it broke. */
import { test } from 'tap'
import { Redis } from 'ioredis'
import { subscribeToEnds } from '../../src/store/redis-subscriber.js'
import { startSentinelGroup } from '../support/redis-sentinel.js'
import { until } from '../support/until.js'

test('a subscription that broke leaves no connection to the Sentinels behind', async (t) => {
  const group = await startSentinelGroup()
  t.teardown(() => group.stop())
  const detectors = async (): Promise<number> => {
    const lists = await Promise.all(group.sentinels.map((sentinel) => sentinel.ask('CLIENT', 'LIST')))
    return lists.join('\n').split('\n').filter((line) => /\bsub=[1-9]/.test(line)).length
  }
  const sentinels = group.sentinels.map(({ host, port }) => ({ host, port }))
  const client = new Redis({ sentinels, name: group.name, failoverDetector: true })
  client.on('error', () => {})
  t.teardown(() => { client.disconnect() })
  await client.ping()
  let connected = 0
  const subscription = subscribeToEnds(client, 'session:@ended', { ended () {}, connected () { connected++ } })
  await until('subscribed', 5000, () => connected === 1)
  const expected = await until('both watch for failovers', 5000, async () => await detectors() === 2 * sentinels.length && 2 * sentinels.length)
  const master = await group.master()
  for (let i = 2; i < 5; i++) {
    await master.ask('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until('subscribed again', 5000, () => connected === i)
  }
  await until('as many as before', 5000, async () => await detectors() === expected)
  await subscription.close()
  client.disconnect()
  await until('none', 5000, async () => await detectors() === 0)
  t.equal(await detectors(), 0)
})
