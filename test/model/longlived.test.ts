import fc from 'fast-check'
import { test } from 'tap'
import * as product from '../../src/index.js'
import { sharedRedis } from '../support/app.js'
import { InvariantBroken } from './invariants.js'
import { longHistories, longMemory, longRedis, type LongStage } from './longlived.js'
import { mutant, type Replacement } from './mutants.js'

/** Milliseconds. On a busy machine there are fewer histories. */
const TIME_LIMIT = 2500
/** What is broken has to be found within so many histories, the same ones every time. */
const MUTANT_RUNS = 300
const SEED = 1

async function random (stage: LongStage, numRuns: number): Promise<{ failed: boolean, told: string }> {
  const details = await fc.check(longHistories(stage), { numRuns, interruptAfterTimeLimit: TIME_LIMIT })
  return { failed: details.failed, told: details.failed ? String(await fc.asyncDefaultReportMessage(details)) : `${details.numRuns} histories` }
}

test('no renewal cuts off whoever is in, or logs anybody out, in memory', async (t) => {
  const stage = await longMemory(t, product)
  const { failed, told } = await random(stage, 200)
  t.notOk(failed, told)
  t.ok(stage.renewals > 10, `${stage.renewals} renewals`)
})

test('no renewal cuts off whoever is in, or logs anybody out, in Redis', async (t) => {
  const stage = await longRedis(t, product, await sharedRedis())
  const { failed, told } = await random(stage, 150)
  t.notOk(failed, told)
  t.ok(stage.renewals > 10, `${stage.renewals} renewals`)
})

const MUTATIONS: ReadonlyArray<Replacement & { readonly name: string }> = [
  {
    name: 'reload() comes by the door for who arrives',
    file: 'session/persistence.ts',
    from: 'await this.#context.instance.store.look(id, lineage)',
    to: 'await this.#context.instance.store.load(id, digestOf(copy.identity.secret), false, this.#context.instance.rules)'
  },
  { name: 'every renewal begins a lineage', file: 'store/memory.ts', from: 'if (!fields.has(record.LINEAGE)) fields.set(', to: 'fields.set(' },
  { name: 'rotate() begins none', file: 'store/memory.ts', from: 'for (const name of SECRETS) fields.delete(name)\n    fields.set', to: 'for (const name of SECRETS) if (name !== record.LINEAGE) fields.delete(name)\n    fields.set' },
  { name: 'a predecessor has no grace', file: 'store/memory.ts', from: 'String(now + rules.rotateGrace)', to: 'String(now - 1)' },
  { name: 'a thief is refused and nothing more', file: 'store/memory.ts', from: "this.#end(id, 'reused')\n    return 'reused'", to: 'return undefined' },
  { name: 'every offer of a successor is taken', file: 'store/memory.ts', from: 'if (!entry.fields.has(record.NEXT)) {', to: '{' },
  { name: 'a late answer brings what was good once', file: 'session/persistence.ts', from: 'await store.stands(copy.identity.id, digestOf(refresh.secret))', to: 'true' }
]

test('what is broken is found', async (t) => {
  for (const { name, ...replacement } of MUTATIONS) {
    const stage = await longMemory(t, await mutant([replacement]))
    const { failed, errorInstance, numRuns } = await fc.check(longHistories(stage), { numRuns: MUTANT_RUNS, seed: SEED, endOnFailure: true })
    t.ok(failed, `${name}: ${numRuns} histories`)
    if (failed) t.ok(errorInstance instanceof InvariantBroken, String(errorInstance))
  }
})
