import fc from 'fast-check'
import { test } from 'tap'
import * as product from '../../src/index.js'
import { mutant, type Replacement } from '../model/mutants.js'
import { sharedRedis } from '../support/app.js'
import { alike, bothStores, EXAMPLES } from './differential.js'

/** Milliseconds. On a busy machine there are fewer runs. */
const TIME_LIMIT = 6000

/** What is broken has to be found within so many runs, the same ones every time; most take a tenth of them. */
const MUTANT_RUNS = 1500
const SEED = 1

/* The texts are pieces of source, with their own ${…}. */
/* eslint-disable no-template-curly-in-string */
const MUTATIONS: ReadonlyArray<Replacement & { readonly name: string }> = [
  {
    name: 'guard: writes do not look whose the record is',
    file: 'store/redis-scripts.ts',
    from: "if not owned(lineage, record['${record.DIGEST}'], record['${record.LINEAGE}']) then return false end\nif not sane",
    to: 'if not sane'
  },
  {
    name: 'guard, in memory: any lineage will do',
    file: 'store/memory.ts',
    from: 'return lineage === undefined || record.lineageOf((name) => entry.fields.get(name)) === lineage ? entry : undefined',
    to: 'return entry'
  },
  { name: 'expiry: use extends a record beyond its lifetime', file: 'store/redis-scripts.ts', from: 'lasting(math.min(idle + slack, lifetime_left(record)))', to: 'lasting(idle + slack)' },
  { name: 'refusal: a record that is too big may not even shrink', file: 'store/redis-scripts.ts', from: 'if growth > 0 and size + growth > MAX_RECORD_SIZE', to: 'if size + growth > MAX_RECORD_SIZE' },
  { name: 'take-back: what is taken back lasts a minute', file: 'store/redis-scripts.ts', from: "redis.call('PEXPIRE', KEYS[1], ms(expires - now))", to: "redis.call('PEXPIRE', KEYS[1], 60000)" },
  { name: 'take-back, in memory: what is remembered goes on changing', file: 'store/memory.ts', from: 'entry.before = { ...entry, mark, fields: new Map(entry.fields) }', to: 'entry.before = { ...entry, mark }' },
  {
    name: 'lineage: every renewal begins a new one',
    file: 'store/redis-scripts.ts',
    from: "record['${record.LINEAGE}'] or record['${record.DIGEST}'], '${record.DIGEST}', presented",
    to: "record['${record.DIGEST}'], '${record.DIGEST}', presented"
  },
  { name: 'bar: a second one takes the place of the first', file: 'store/redis-user-scripts.ts', from: 'if one ~= ticket and tonumber(till) > now then bars', to: 'if false then bars' },
  { name: 'elevation: a binding knows better when that was', file: 'store/redis-user-scripts.ts', from: "(ARGV[7] == '' or ARGV[8] ~= '') and ms(now)", to: "ARGV[7] == '' and ms(now)" },
  { name: 'user: nobody keeps a device', file: 'store/redis-scripts.ts', from: "binding.user == '' and '' or binding.device", to: 'binding.device' },
  { name: 'list: one more than the limit', file: 'store/redis-user-scripts.ts', from: '#ids - max + 1', to: '#ids - max' },
  { name: 'end: theft is not told', file: 'store/redis-scripts.ts', from: "  tell(key, 'reused')\n", to: '' }
]
/* eslint-enable no-template-curly-in-string */

test('both stores make the same of everything', async (t) => {
  const pair = await bothStores(t, await sharedRedis(), product)
  const details = await fc.check(alike(pair), { numRuns: 600, examples: EXAMPLES, interruptAfterTimeLimit: TIME_LIMIT })
  t.notOk(details.failed, `${details.numRuns} runs`, { found: details.failed ? await fc.asyncDefaultReportMessage(details) : '' })
  t.ok(details.numRuns > EXAMPLES.length, 'random ones among them')
})

test('what is broken in one of them is found', async (t) => {
  for (const { name, ...replacement } of MUTATIONS) {
    const pair = await bothStores(t, await sharedRedis(), await mutant([replacement]))
    // The first difference is enough: nothing is shrunk.
    const { failed, errorInstance, numRuns } = await fc.check(alike(pair), { numRuns: MUTANT_RUNS, seed: SEED, endOnFailure: true })
    t.ok(failed, `${name}: ${numRuns} runs`)
    if (failed) t.match((errorInstance as Error).message, /^the stores differ/)
  }
})
