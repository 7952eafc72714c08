/**
 * The properties of this directory for as long as one likes:
 *
 *   npm run soak -- --minutes 10 --seed 1
 *
 * Prints a line per round, and what failed with its seed and path. A seed gives the same rounds again, as far as real
 * servers and clocks let it.
 */
import { parseArgs } from 'node:util'
import fc from 'fast-check'
import * as product from '../../src/index.js'
import { alike, bothStores } from '../contract/differential.js'
import { startRedis } from '../support/redis-process.js'
import { redisStore, startApplications } from './arenas.js'
import { breakable, historiesUnderFaults } from './faults.js'
import { longHistories, longMemory, longRedis } from './longlived.js'
import { interleavings, parallelHistories, parallelRenewals } from './parallel.js'
import { soundPrograms } from './program-check.js'
import { memoryStage, redisStage } from './program-stage.js'
import { OPTIONS, sequentialRuns } from './sequential.js'

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '5' }, seed: { type: 'string', default: String(Date.now() % 2 ** 31) } } })
const end = performance.now() + Number(values.minutes) * 60_000
const cleanups: Array<() => unknown> = []
const t = { teardown: (cleanup: () => unknown) => { cleanups.unshift(cleanup) } }

try {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const witness = redis.client()
  const [plain, renewing] = await Promise.all([{}, OPTIONS].map(async (options) => await startApplications(product, { redis: redis.url, ...options })))
  t.teardown(async () => { await Promise.all([plain!.close(), renewing!.close()]) })
  const durable = await breakable(t, product, { durable: true, timeout: 100 })
  const forgetful = await breakable(t, product, { durable: false, timeout: 100 })
  const own = await startRedis()
  t.teardown(() => own.stop())
  const still = await startRedis()
  t.teardown(() => still.stop())
  const properties: ReadonlyArray<readonly [name: string, numRuns: number, property: fc.IAsyncProperty<any>]> = [
    ['one after the other', 200, sequentialRuns(renewing!.servers, witness)],
    ['in parallel', 100, parallelHistories(plain!.servers, witness)],
    ['during renewals', 50, parallelRenewals(renewing!.servers, witness)],
    ['in every order, in memory', 100, interleavings(product, new product.MemoryStore())],
    ['in every order, in Redis', 100, interleavings(product, await redisStore(t, redis, product))],
    ['programs in one request, in memory', 1000, soundPrograms(memoryStage(t, product))],
    ['programs in one request, in Redis', 300, soundPrograms(await redisStage(t, product, own))],
    ['both stores alike', 500, alike(await bothStores(t, still, product))],
    ['long requests, in memory', 200, longHistories(await longMemory(t, product))],
    ['long requests, in Redis', 100, longHistories(await longRedis(t, product, still))],
    ['under faults', 20, historiesUnderFaults(durable)],
    ['under faults, nothing kept', 10, historiesUnderFaults(forgetful)]
  ]
  for (let round = 0; performance.now() < end && process.exitCode === undefined; round++) {
    const seed = Number(values.seed) + round
    for (const [name, numRuns, property] of properties) {
      const details = await fc.check(property, { seed, numRuns, endOnFailure: name.startsWith('under faults') })
      if (!details.failed) continue
      console.error(`${name}: ${await fc.asyncDefaultReportMessage(details)}`)
      process.exitCode = 1
    }
    console.log(`round ${round}, seed ${seed}: ${process.exitCode === undefined ? 'all is well' : 'failed'}`)
  }
} finally {
  for (const cleanup of cleanups) await cleanup()
}
