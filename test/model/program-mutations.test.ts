/**
 * Proves that random programs notice what is broken: each mutant of `program-mutants.ts` fails in one of the ways that it
 * names. The programs are the same every time; the first one that fails so is enough.
 */
import fc from 'fast-check'
import { test, type Test } from 'tap'
import { sharedRedis } from '../support/app.js'
import type { Product } from './application.js'
import { mutant } from './mutants.js'
import { play } from './program-check.js'
import type { Kind } from './program-kinds.js'
import { MUTANTS, type ProgramMutant } from './program-mutants.js'
import { memoryStage, redisStage, type Stage } from './program-stage.js'
import { programs, programsFor, type Program } from './programs.js'

const SEED = 1
/** What is broken has to be found within so many programs. Most take a tenth of it. */
const RUNS = 1000
/** The copies without a mutation run so many. */
const CONTROL_RUNS = 100

type Place = Pick<ProgramMutant, 'app' | 'store' | 'example'>

async function stageFor (t: Test, product: Product, { store }: Place): Promise<Stage> {
  return store === 'redis' ? await redisStage(t, product, await sharedRedis()) : memoryStage(t, product)
}

/** The first of these kinds in which a program fails, and how many programs that took. */
async function firstOf (stage: Stage, { app, store, example }: Place, numRuns: number, wanted: (kind: Kind) => boolean): Promise<{ kind: Kind | undefined, count: number }> {
  let kind: Kind | undefined
  let count = 0
  const fails = async (program: Program): Promise<boolean> => {
    count++
    kind = [...(await play(stage, program)).found.keys()].find(wanted)
    return kind !== undefined
  }
  if (example !== undefined && await fails(example)) return { kind, count }
  // Redis has a clock of its own, which nobody puts forward.
  const possible = (app === undefined ? programs : programsFor(fc.constant(app))).filter(({ app }) => store !== 'redis' || app !== 'renewing')
  // Nothing is shrunk.
  await fc.check(fc.asyncProperty(possible, async (program) => !await fails(program)), { seed: SEED, numRuns, endOnFailure: true })
  return { kind, count }
}

for (const [about, some] of Object.entries(MUTANTS)) {
  test(`mutations are found: ${about}`, async (t) => {
    for (const { name, replacements, shows, ...place } of some) {
      await t.test(name, async (t) => {
        const stage = await stageFor(t, await mutant(replacements), place)
        const { kind, count } = await firstOf(stage, place, RUNS, (kind) => shows.includes(kind))
        t.ok(kind !== undefined, `${kind ?? shows.join(' or ')}: ${count} programs`)
      })
    }
  })
}

test('the same copy without a mutation fails in no way', async (t) => {
  const copy = await mutant()
  for (const place of [{}, { store: 'redis' }] as const) {
    const { kind } = await firstOf(await stageFor(t, copy, place), place, CONTROL_RUNS, () => true)
    t.equal(kind, undefined)
  }
  const stage = memoryStage(t, copy)
  for (const { name, example } of Object.values(MUTANTS).flat()) {
    if (example !== undefined) t.same([...(await play(stage, example)).found], [], name)
  }
})
