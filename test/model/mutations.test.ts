import fc from 'fast-check'
import { test, type Test } from 'tap'
import { sharedRedis } from '../support/app.js'
import { redisStore, startApplications } from './arenas.js'
import type { Product } from './application.js'
import { InvariantBroken, type Invariant } from './invariants.js'
import { pass } from './keyspace.js'
import { mutant, type Replacement } from './mutants.js'
import { lookAt, overlap, ENDS, SLOW } from './overlaps.js'
import { OPTIONS, sequentialRuns } from './sequential.js'
import { breakable, LATE, lateWrite } from './faults.js'
import { interleavings, parallelHistories, parallelRenewals } from './parallel.js'

/** Runs a property on a plugin, and says which invariant broke. */
type Trial = (t: Test, product: Product, runs: number) => Promise<Invariant | undefined>

/** What breaks a mutant has to be found within so many runs. Most take a tenth of it. */
const RUNS = 300
/** The same cases every time: a mutant that chance spares would be a failure of the test. */
const SEED = 1
/** The copy without a mutation runs so often. */
const CONTROL_RUNS = 40

async function broken (property: fc.IAsyncProperty<any>, numRuns: number): Promise<Invariant | undefined> {
  // The first failure is enough: nothing is shrunk.
  const { failed, errorInstance } = await fc.check(property, { seed: SEED, numRuns, endOnFailure: true })
  if (!failed) return undefined
  if (errorInstance instanceof InvariantBroken) return errorInstance.invariant
  throw errorInstance
}

const inParallel: Trial = async (t, product, runs) => {
  const redis = await sharedRedis()
  const { servers, close } = await startApplications(product, { redis: redis.url })
  t.teardown(close)
  return await broken(parallelHistories(servers, redis.client()), runs)
}

const duringRenewals: Trial = async (t, product, runs) => {
  const redis = await sharedRedis()
  const { servers, close } = await startApplications(product, { redis: redis.url, rotateEvery: 55, rotateGrace: 15 })
  t.teardown(close)
  return await broken(parallelRenewals(servers, redis.client()), runs)
}

const inEveryOrder: Trial = async (t, product, runs) => await broken(interleavings(product, await redisStore(t, await sharedRedis(), product)), runs)

/** The forced overlaps, all of them: what a mutant does first decides. */
const inOverlaps: Trial = async (t, product) => {
  const redis = await sharedRedis()
  const witness = redis.client()
  const { applications: [slow], servers: [, fast], close } = await startApplications(product, { redis: redis.url })
  t.teardown(close)
  const scene = { slow: slow!, fast: fast!, look: lookAt(witness), expire: async () => { await pass(witness, 400_000) } }
  try {
    for (const end of ENDS) for (const kind of Object.keys(SLOW)) await overlap(scene, kind, end)
    return undefined
  } catch (error) {
    if (error instanceof InvariantBroken) return error.invariant
    throw error
  }
}

const oneAfterTheOther: Trial = async (t, product, runs) => {
  const redis = await sharedRedis()
  const { servers, close } = await startApplications(product, { redis: redis.url, ...OPTIONS })
  t.teardown(close)
  return await broken(sequentialRuns(servers, redis.client()), runs)
}

const inLateWrites: Trial = async (t, product) => {
  const scene = await breakable(t, product, { durable: false, timeout: 400 })
  try {
    for (const kind of Object.keys(LATE)) await lateWrite(scene, kind)
    return undefined
  } catch (error) {
    if (error instanceof InvariantBroken) return error.invariant
    throw error
  }
}

interface Mutation {
  readonly name: string
  readonly replacements: readonly Replacement[]
  readonly trial: Trial
  /** What may break: any of these, because a broken guarantee may show in several ways. */
  readonly breaks: readonly Invariant[]
}

/* The texts are pieces of source, with their own ${…}. */
/* eslint-disable no-template-curly-in-string */
const WHOLE_RECORD: Replacement = {
  file: 'session/snapshot.ts',
  from: "if (cleared) operations.push({ type: 'clear' })",
  to: `if (texts.size > 0) for (const field of this.names()) {
        const text = this.#stored(field)
        if (text !== undefined && !texts.has(field)) operations.push({ type: 'set', field, text })
      }
      if (cleared) operations.push({ type: 'clear' })`
}

const MUTATIONS: readonly Mutation[] = [
  {
    name: 'the quick write does not look who owns the record',
    replacements: [{ file: 'store/redis-scripts.ts', from: '(head[4] or head[1]) ~= ARGV[2] or ', to: '' }],
    trial: inOverlaps,
    breaks: ['I8']
  },
  {
    name: 'no write looks whether the record still exists',
    replacements: [
      { file: 'store/redis-scripts.ts', from: "if (head[4] or head[1]) ~= ARGV[2] or not idle or not tonumber(head[3] or '') then return 'retry' end", to: '' },
      { file: 'store/redis-scripts.ts', from: "if ttl < 0 or (ARGV[3] == '1' and ttl < idle * 1000) then return 'retry' end", to: '' },
      { file: 'store/redis-scripts.ts', from: "if type(usage) ~= 'number' or 2 * usage + ARGV[4] > MAX_RECORD_SIZE then return 'retry' end", to: '' }
    ],
    trial: inOverlaps,
    breaks: ['I6']
  },
  {
    name: 'live writes do not look who owns the record',
    replacements: [{ file: 'store/redis-scripts.ts', from: "if not owned(lineage, record['${record.DIGEST}'], record['${record.LINEAGE}']) then return false end\nif not sane", to: 'if not sane' }],
    trial: inEveryOrder,
    breaks: ['I8', 'I16']
  },
  {
    name: 'the whole record is written, not what changed',
    replacements: [WHOLE_RECORD],
    trial: inParallel,
    breaks: ['I1', 'I2', 'I3']
  },
  {
    name: 'the same, in every order of the calls',
    replacements: [WHOLE_RECORD],
    trial: inEveryOrder,
    breaks: ['I1', 'I2', 'I3']
  },
  {
    name: 'rotation copies and deletes',
    replacements: [{
      file: 'session/persistence.ts',
      from: 'const settings: Settings = { ...write.settings, digest }',
      to: `const settings: Settings = { ...write.settings, digest }
      const seen = await store.look(identity.id, identity.lineage)
      if (seen === undefined) return undefined
      const fields = [...seen.fields.names()].filter((name) => !/^(?:@|created_at|last_accessed_at|session_ttl)/.test(name)).map((field) => ({ type: 'set', field, text: seen.fields.get(field)! }) as const)
      const id = newId()
      const copied = await store.create(id, digest, { operations: [...fields, ...write.operations], settings: {}, touch: 'never', mode: 'together' }, this.#context.instance.rules)
      await store.destroy(identity.id)
      copy.become({ id, secret, lineage: digest })
      if (copied !== undefined) return copied`
    }],
    trial: inParallel,
    breaks: ['I9']
  },
  {
    name: 'logout clears the cookie only',
    replacements: [{ file: 'session/persistence.ts', from: "if (await store.destroy(id)) endings.ended(id, 'destroyed')", to: '' }],
    trial: inParallel,
    breaks: ['I6']
  },
  {
    name: 'increments are read and written',
    replacements: [{
      file: 'session/live.ts',
      from: "? await this.#operate(record, { type: 'increment', field: this.#name, ...added })",
      to: `? await (async () => {
          const text = String(await this.int + by)
          await this.#operate(record, { type: 'set', field: this.#name, text })
          return text
        })()`
    }],
    trial: inParallel,
    breaks: ['I3']
  },
  {
    name: 'update does not look whether somebody was faster',
    replacements: [{ file: 'store/redis-scripts.ts', from: 'if current ~= expected then', to: 'if false then' }],
    trial: inParallel,
    breaks: ['I2']
  },
  {
    name: 'writes have no deadline',
    replacements: [
      { file: 'store/redis-scripts.ts', from: "if tonumber(now) > tonumber(ARGV[1]) then return 'late ' .. now end\nlocal head", to: 'local head' },
      { file: 'store/redis-scripts.ts', from: "if now > tonumber(ARGV[1]) then return {'late', ms(now)} end\n\nlocal record", to: 'local record' }
    ],
    trial: inLateWrites,
    breaks: ['I16']
  },
  {
    name: 'the cookie is issued before the record is saved',
    replacements: [{
      file: 'session/persistence.ts',
      from: "else if (operations.some(({ type }) => type === 'set')) await this.#create(copy, operations, changes)",
      to: `else if (operations.some(({ type }) => type === 'set')) {
      this.#owe(copy)
      await this.#create(copy, operations, changes)
    }`
    }],
    trial: oneAfterTheOther,
    breaks: ['I10']
  },
  {
    name: 'a record never expires',
    replacements: [{ file: 'store/redis-scripts.ts', from: "redis.call('PEXPIRE', KEYS[1], ARGV[2])", to: '' }],
    trial: oneAfterTheOther,
    breaks: ['I7']
  },
  {
    name: 'use extends a record beyond its lifetime',
    replacements: [{ file: 'store/redis-scripts.ts', from: 'lasting(math.min(idle + slack, lifetime_left(record)))', to: 'lasting(idle + slack)' }],
    trial: oneAfterTheOther,
    breaks: ['I7', 'I14']
  },
  {
    name: 'a handler that failed is saved all the same',
    replacements: [{ file: 'session/session.ts', from: 'if (failed) {', to: 'if (failed && status < 0) {' }],
    trial: oneAfterTheOther,
    breaks: ['I10', 'I14', 'I15', 'I16', 'I19']
  },
  {
    name: 'nested changes are not noticed',
    replacements: [{ file: 'session/snapshot.ts', from: 'if (text !== before) this.pending.texts.set(name, text)', to: 'if (text !== before && this.#pending?.texts.has(name) === true) this.pending.texts.set(name, text)' }],
    trial: oneAfterTheOther,
    breaks: ['I16', 'I19']
  },
  {
    name: 'of several cookies the first one wins',
    replacements: [{ file: 'cookie/header.ts', from: 'else if (indexOfCookie(header, name, end) !== -1) return DUPLICATE', to: '' }],
    trial: oneAfterTheOther,
    breaks: ['I10', 'I13', 'I14', 'I16', 'I19']
  },
  {
    name: 'every offer of a successor is accepted',
    replacements: [{ file: 'store/redis-scripts.ts', from: "if redis.call('HEXISTS', KEYS[1], '${record.NEXT}') == 1 then return redis.call('HGET', KEYS[1], '${record.SEALED}') end", to: '' }],
    trial: duringRenewals,
    breaks: ['I8']
  },
  {
    name: 'a renewal ends the old secret at once',
    replacements: [{ file: 'store/redis-scripts.ts', from: "'${record.PREVIOUS_UNTIL}', ms(now + ROTATE_GRACE)", to: "'${record.PREVIOUS_UNTIL}', ms(now - 1)" }],
    trial: duringRenewals,
    breaks: ['I8']
  }
]

test('mutations are found', async (t) => {
  for (const { name, replacements, trial, breaks } of MUTATIONS) {
    await t.test(name, async (t) => {
      const invariant = await trial(t, await mutant(replacements), RUNS)
      t.ok(invariant !== undefined && breaks.includes(invariant), `breaks ${breaks.join(' or ')}`, { found: invariant })
    })
  }
})

test('the same copy without a mutation breaks nothing', async (t) => {
  const copy = await mutant()
  for (const trial of [inOverlaps, inParallel, duringRenewals, inEveryOrder]) t.equal(await trial(t, copy, CONTROL_RUNS), undefined)
})

test('a mutation whose text is not there is an error', async (t) => {
  await t.rejects(mutant([{ file: 'plugin.ts', from: 'no such text', to: '' }]), /0 times/)
  await t.rejects(mutant([{ file: 'plugin.ts', from: 'session', to: '' }]), /holds \d\d+ times/)
  await t.rejects(mutant([{ file: 'absent.ts', from: 'a', to: '' }]), /no src\/absent.ts/)
})
