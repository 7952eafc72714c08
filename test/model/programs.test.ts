import fc from 'fast-check'
import { test, type Test } from 'tap'
import * as product from '../../src/index.js'
import { sharedRedis } from '../support/app.js'
import { KEPT, KEPT_RENEWALS } from './kept-programs.js'
import { play, soundPrograms } from './program-check.js'
import { ProgramFailed } from './program-kinds.js'
import { memoryStage, redisStage, type Stage } from './program-stage.js'
import type { Program } from './programs.js'

/** The same programs every time, so that what is green says something of the change and not of luck: `npm run soak` looks for others. */
const seed = Number(process.env['PROGRAMS_SEED'] ?? 1)

/** Milliseconds. More than all programs take; a machine that is busy runs fewer. */
const TIME_LIMIT = 6000

async function random (t: Test, stage: Stage, numRuns: number): Promise<void> {
  const details = await fc.check(soundPrograms(stage), { seed, numRuns, interruptAfterTimeLimit: TIME_LIMIT })
  t.equal((details.errorInstance as Error | null)?.message, undefined, `${details.numRuns} programs, PROGRAMS_SEED=${seed}`)
}

async function kept (t: Test, stage: Stage, programs: Readonly<Record<string, ReadonlyArray<readonly [name: string, program: Program]>>>): Promise<void> {
  for (const [about, some] of Object.entries(programs)) {
    await t.test(about, async (t) => {
      for (const [name, program] of some) {
        const { found } = await play(stage, program)
        t.equal(found.size === 0 ? undefined : new ProgramFailed(program, found).message, undefined, name)
      }
    })
  }
}

test('programs that once failed, in memory', async (t) => { await kept(t, memoryStage(t, product), { ...KEPT, renewals: KEPT_RENEWALS }) })

test('programs that once failed, in Redis', async (t) => { await kept(t, await redisStage(t, product, await sharedRedis()), KEPT) })

test('random programs in memory', async (t) => { await random(t, memoryStage(t, product), 1500) })

test('random programs in Redis', async (t) => { await random(t, await redisStage(t, product, await sharedRedis()), 400) })
