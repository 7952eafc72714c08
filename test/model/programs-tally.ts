/** How many random programs fail, and in which ways; or what one program does. `programs.ts` says how to call it. */
import { parseArgs } from 'node:util'
import fc from 'fast-check'
import * as product from '../../src/index.js'
import { startRedis } from '../support/redis-process.js'
import { play } from './program-check.js'
import type { Kind } from './program-kinds.js'
import { memoryStage, redisStage, type Stage } from './program-stage.js'
import { programs, type Program } from './programs.js'

const { values } = parseArgs({ options: { count: { type: 'string', default: '3000' }, seed: { type: 'string', default: '1' }, redis: { type: 'boolean', default: false }, program: { type: 'string' }, smallest: { type: 'boolean', default: false } } })
const cleanups: Array<() => unknown> = []
const t = { teardown: (cleanup: () => unknown) => { cleanups.unshift(cleanup) } }
try {
  const stage = await open()
  if (values.program === undefined) await tally(stage)
  else {
    const { found } = await play(stage, JSON.parse(values.program) as Program, console.log)
    for (const [kind, detail] of found) console.log(`${kind}: ${detail}`)
  }
} finally {
  for (const cleanup of cleanups) await cleanup()
}

async function open (): Promise<Stage> {
  if (!values.redis) return memoryStage(t, product)
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  return await redisStage(t, product, redis)
}

async function tally (stage: Stage): Promise<void> {
  const counts = new Map<Kind, { count: number, first: Program, detail: string }>()
  let failed = 0
  const begin = performance.now()
  for (const program of fc.sample(programs, { seed: Number(values.seed), numRuns: Number(values.count) })) {
    if (!stage.movesTime && program.app === 'renewing') continue
    const { found } = await play(stage, program)
    if (found.size > 0) failed++
    for (const [kind, detail] of found) {
      const entry = counts.get(kind)
      if (entry === undefined) counts.set(kind, { count: 1, first: program, detail })
      else entry.count++
    }
  }
  console.log(`seed ${values.seed}: ${failed} of ${values.count} programs failed, ${Math.round(performance.now() - begin)} ms`)
  for (const [kind, { count, first, detail }] of [...counts].sort(([, one], [, other]) => other.count - one.count)) {
    const [program, why] = values.smallest ? await smallest(stage, kind) ?? [first, detail] : [first, detail]
    console.log(`${String(count).padStart(6)} ${kind}: ${why}\n         ${JSON.stringify(program)}`)
  }
}

/** The smallest program that fails in one way, as far as shrinking gets. */
async function smallest (stage: Stage, wanted: Kind): Promise<[Program, string] | undefined> {
  let detail = ''
  const { counterexample } = await fc.check(fc.asyncProperty(programs, async (program) => {
    fc.pre(stage.movesTime || program.app !== 'renewing')
    const found = (await play(stage, program)).found.get(wanted)
    if (found === undefined) return
    detail = found
    throw new Error(wanted)
  }), { seed: Number(values.seed), numRuns: Number(values.count) })
  return counterexample === null ? undefined : [counterexample[0], detail]
}
