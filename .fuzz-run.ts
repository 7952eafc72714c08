import fc from 'fast-check'
import * as product from '/work/wt/fuzz/src/index.js'
import { startRedis } from '/work/wt/fuzz/test/support/redis-process.js'
import { alike, bothStores } from '/work/wt/fuzz/test/contract/differential.js'
const redis = await startRedis()
const cleanups: any[] = []
const pair = await bothStores({ teardown: (c: any) => cleanups.unshift(c) } as any, redis, product)
const begin = performance.now()
let runs = 0, steps = 0
const d = await fc.check(alike(pair), { numRuns: Number(process.env.RUNS ?? 400), ...process.env.SEED && { seed: Number(process.env.SEED) } })
console.log(d.failed ? (d.counterexample ? JSON.stringify(d.counterexample[0].map((s: any) => s)) + '\n' : '') + String((d.errorInstance as any)?.message) : 'ok', 'seed', d.seed, 'runs', d.numRuns, 'shrinks', d.numShrinks, Math.round(performance.now() - begin), 'ms')
for (const c of cleanups) await c()
await redis.stop()
process.exit()
