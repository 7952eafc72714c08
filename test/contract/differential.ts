/**
 * The same steps on both stores, compared after each: answers, errors, whole records with their expiry, lists, and what
 * subscribers are told. What the contract suite holds a store against somebody had to think of; this finds the rest.
 *
 * Steps are data, so that they can be generated, shrunk and kept. They name digests, marks and tickets by what they are
 * to a record at that moment, because a random one would open nothing.
 */
import { once } from 'node:events'
import { inspect, isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import type * as product from '../../src/index.js'
import * as record from '../../src/store/record.js'
import type { Announcement, Operation, RawRecord, Rules, Settings, Store, Write } from '../../src/store/store.js'
import { EPOCH, stopClock, type RedisClock } from '../support/redis-clock.js'
import type { RedisProcess } from '../support/redis-process.js'

/** What makes the stores. */
export type Stores = Pick<typeof product, 'MemoryStore' | 'RedisStore'>

/** A digest, by what it is to the record: its owner's, its lineage's, and so on; one that nobody ever had; none. */
type Who = 'owner' | 'lineage' | 'next' | 'previous' | 'older' | 'invented' | ''
/** A ticket: one of those announced for this id, the record's own, one of another id, one that nobody was ever given. */
type Which = 'latest' | 'earlier' | 'own' | 'foreign' | 'invented'
/**
 * An id: one that has a record at that moment, and is given one where none has; one that has none; the one of the last step
 * that can be taken back; or a certain one.
 */
type Whose = 'live' | 'free' | 'undecided' | number
/** A mark: one of the steps of this id, or of none. */
type Mark = 'last' | 'earlier' | 'invented'

/** A write, with names for what only the run can know. */
interface Wish extends Pick<Write, 'operations' | 'touch' | 'mode'> {
  settings: Omit<Settings, 'digest'>
  /** The write has a new digest. */
  rotate: boolean
  binding?: { user: number | null, ticket: Which, kept: boolean, when: Array<[string, string | null]>, authenticatedAt?: number, device?: { label: string, network: string } } | undefined
  announced?: Which | undefined
}

/** One step. Users and rules are numbers: which of the few there are. */
export type Step =
  | { call: 'load', id: Whose, who: Who, touch: boolean, rules: number }
  | { call: 'create', id: Whose, wish: Wish, rules: number }
  | { call: 'write', id: Whose, who: Who, wish: Wish, rules: number }
  | { call: 'read', id: Whose, who: Who, names: string[] }
  | { call: 'look' | 'stands' | 'renew', id: Whose, who: Who }
  | { call: 'retire', id: Whose, who?: Who | undefined }
  | { call: 'finalize' | 'takeBack', id: Whose, mark: Mark }
  | { call: 'destroy', id: Whose, who?: Who | undefined }
  | { call: 'end', id: Whose, ticket?: Which | undefined }
  | { call: 'announce', user: number, id: Whose, again?: Which | undefined, ago?: number | undefined, lasts: number, keep: number, limit?: Announcement['limit'], replaces?: Whose[] | undefined }
  | { call: 'leave', user: number, entries: Array<{ id: Whose, ticket: Which }> }
  | { call: 'entries', user: number, ending?: { except: Whose | undefined, keep: number } | undefined }
  | { call: 'pass', ms: number }

const IDS = ['a', 'b', 'c'].map((letter) => letter.repeat(21) + 'A')
const USERS = ['andrew', 'größe 1']
const INVENTED = 'invented:1700000000000'
/** Tells that all ends before it were told. */
const SENTINEL = 'z'.repeat(21) + 'A'
const PREFIX = 'session:'

/** Numbers that make every two limits meet sooner or later. A script is made for each, so there are few of them. */
const RULES: readonly Rules[] = Array.from({ length: 16 }, (_, i) => ({
  idleTimeout: 100_000,
  touchInterval: i & 1 ? 10_000 : 0,
  lifetime: i & 2 ? 150_000 : 1_000_000,
  rotateEvery: [0, 20_000][i >> 3 & 1]!,
  rotateGrace: 20_000,
  maxFields: i & 2 ? 3 : 100,
  maxRecordSize: i & 1 ? 90 : 65_536,
  users: (i & 4) !== 0
}))

const NAMES = ['a', 'b', 'user', 'n', '', '__proto__', 'constructor', 'é', 'x\0y', '1', 'with space', '\u2028', '-', '+']
const TEXTS = [
  '1', '-1', '0', '', '-', '+', 'abc', '0.5', '"q"', '9007199254740991', '-9007199254740991', '1e400', 'x'.repeat(50), '\u2028é', '1.10', '-0', '1e5',
  '1E-5', '00', ' 1', '1 ', '{"a":1}', '1e-3', '123456789012345678', '99999999999999990', '\0', 'true', '1e16', '12e-1', '1.', '.5', '0x10', 'nan', 'inf',
  '1e0005', '1e001', '0e999', '0.000000000000001', '900719925474099.1', '9007199254740992', '1e', '--1', '1-', '😀'
]
const SUMMANDS = ['1', '-1', '0.1', '1e3', '9007199254740991', '-0.5', '1e-7', '5e-324', '1e21', '0', '1e+21', '123.456', '-9007199254740991', '0.000000000000001']
const BOUNDS = ['-9007199254740991', '9007199254740991', '0', '10', '-1.5', '1e308', '-1e308']

/** Both stores, on one clock. */
export interface Pair {
  readonly redis: Store
  readonly clock: RedisClock
  /** What the Redis store told of ends. */
  readonly heard: string[]
  makeMemory (now: () => number): Store
  /** Resolves when all ends were told. */
  told (): Promise<void>
}

/**
 * A Redis store on a clock that stands still, and what makes memory stores to compare it with.
 *
 * @param t what has to be cleaned up in the end
 * @param redis nobody else uses it
 */
export async function bothStores (t: { teardown (cleanup: () => unknown): unknown }, redis: RedisProcess, { MemoryStore, RedisStore }: Stores): Promise<Pair> {
  const client = redis.client({ enableOfflineQueue: false, maxRetriesPerRequest: 0 })
  const witness = redis.client()
  t.teardown(() => { client.disconnect(); witness.disconnect() })
  if (client.status !== 'ready') await once(client, 'ready')
  const clock = await stopClock(client)
  const store = new RedisStore(client, { prefix: PREFIX, timeout: 5000 })
  const heard: string[] = []
  let arrived = (): void => {}
  await new Promise<void>((resolve) => {
    const subscription = store.subscribe({
      ended: (id, reason) => { if (id === SENTINEL) arrived(); else heard.push(`${id} ${reason}`) },
      connected: resolve
    })
    t.teardown(() => subscription.close())
  })
  return {
    redis: store,
    clock,
    heard,
    makeMemory: (now) => new MemoryStore({ prefix: PREFIX, now }),
    told: async () => {
      const sentinel = new Promise<void>((resolve) => { arrived = resolve })
      await witness.publish(PREFIX + record.ENDED_CHANNEL, `${SENTINEL} ended`)
      await sentinel
    }
  }
}

/** One store during a run. */
interface Side {
  readonly store: Store
  /** What the tickets of this run are called here, in the order of their announcements. */
  readonly tickets: string[]
  /** The records, as they were last seen while in use. */
  readonly seen: Map<string, RawRecord>
  readonly heard: string[]
}

/** What both sides have in common. */
interface Run {
  readonly pair: Pair
  readonly memory: Side
  readonly redis: Side
  now: number
  /** The ids that have a record. */
  readonly live: Set<string>
  /** For which id each ticket was announced. */
  readonly announced: string[]
  /** The digests and marks that were used for each id. */
  readonly digests: Map<string, string[]>
  readonly marks: Map<string, string[]>
  fresh: number
}

/** Runs steps on both stores. @throws Error at the first difference */
export async function compare (pair: Pair, steps: readonly Step[]): Promise<void> {
  await pair.clock.reset()
  pair.heard.length = 0
  const makeSide = (store: Store, heard: string[]): Side => ({ store, tickets: [], seen: new Map(), heard })
  const heard: string[] = []
  const run: Run = {
    pair, memory: makeSide(pair.makeMemory(() => run.now), heard), redis: makeSide(pair.redis, pair.heard), now: EPOCH, live: new Set(), announced: [], digests: new Map(), marks: new Map(), fresh: 0
  }
  run.memory.store.subscribe({ ended: (id, reason) => { heard.push(`${id} ${reason}`) }, connected: () => {} })
  for (const [index, step] of steps.entries()) {
    const said = (what: string): string => `step ${index}, ${what}: ${inspect(step, { depth: 9, breakLength: 160 })}`
    if ('id' in step && step.id === 'live' && run.live.size === 0) await begin(run)
    if (step.call === 'pass') {
      run.now += step.ms
      await pair.clock.pass(step.ms)
    } else {
      const answers = await answersTo(run, step)
      equal(answers.memory, answers.redis, () => said('answers'))
    }
    for (const id of IDS) {
      const [memory, redis] = await look(run, id)
      equal(memory, redis, () => said(`the record ${id}`))
    }
    const users = step.call === 'announce' || step.call === 'leave' || step.call === 'entries' ? [step.user] : step.call === 'pass' ? USERS.keys() : []
    for (const user of users) {
      const [memory, redis] = await Promise.all([run.memory, run.redis].map(async (side) => readable(await side.store.entries(USERS[user]!), side)))
      equal(memory, redis, () => said(`the list of ${user}`))
    }
  }
  const [memory, redis] = await Promise.all([run.memory, run.redis].map(async ({ store }) => await named(store)))
  equal(memory, redis, () => 'what scan() names')
  const [those, these] = await Promise.all([run.memory, run.redis].map(async (side) => readable(await side.store.describe(IDS), side)))
  equal(those, these, () => 'descriptions')
  await pair.told()
  equal(run.memory.heard, run.redis.heard, () => 'ends that were told')
  equal([], await pair.clock.endless(), () => 'keys without an expiry')
}

/** A record on both sides; what steps say of it is resolved by what is seen here. */
async function look (run: Run, id: string): Promise<[memory: unknown, redis: unknown]> {
  const [memory, redis] = await Promise.all([run.memory, run.redis].map(async (side) => {
    const found = await side.store.inspect(id)
    if (found !== undefined) side.seen.set(id, found)
    return readable(found, side)
  }))
  if (memory === undefined) run.live.delete(id)
  else run.live.add(id)
  return [memory, redis]
}

/** Gives an id a record, as far as there is an id that can have one. */
async function begin (run: Run): Promise<void> {
  const write: Write = { operations: [{ type: 'set', field: 'n', text: '1' }], settings: {}, touch: 'never', mode: 'together' }
  for (const id of IDS) {
    const digest = `fresh${run.fresh++}`
    const [memory, redis] = await Promise.all([run.memory, run.redis].map(async ({ store }) => await store.create(id, digest, write, RULES[0]!)))
    equal(memory, redis, () => 'a plain creation')
    note(run.digests, id, digest)
    await look(run, id)
    if (memory !== undefined) return
  }
}

/** The ids of records in use that scan() names. What else it names is up to a store: what was retired, for instance. */
async function named (store: Store): Promise<string[]> {
  const found = new Set<string>()
  for await (const ids of store.scan()) for (const id of ids) if (await store.inspect(id) !== undefined) found.add(id)
  return [...found].sort()
}

function equal (memory: unknown, redis: unknown, what: () => string): void {
  if (isDeepStrictEqual(memory, redis)) return
  const shown = (value: unknown): string => inspect(value, { depth: 9, breakLength: 160 })
  throw new Error(`the stores differ at ${what()}\nmemory ${shown(memory)}\nredis  ${shown(redis)}`)
}

/** What both stores answer. */
async function answersTo (run: Run, step: Exclude<Step, { call: 'pass' }>): Promise<{ memory: unknown, redis: unknown }> {
  // The same for both, whatever comes of it.
  const fresh = `fresh${run.fresh++}`
  const id = 'id' in step ? idOf(run, step.id) : ''
  const digest = 'who' in step && step.who !== undefined ? digestOf(run, id, step.who) : undefined
  const mark = 'mark' in step ? markOf(run, id, step.mark) : ''
  const answer = async (side: Side): Promise<unknown> => {
    const readably = await call(run, side, step, { id, digest, mark, fresh }).then((result) => ({ result }), (error: Error & { code?: string }) => ({ threw: `${error.code} ${error.message}` }))
    return readable(readably, side)
  }
  const memory = await answer(run.memory)
  const redis = await answer(run.redis)
  if (step.call === 'create' || step.call === 'renew' || (step.call === 'write' && step.wish.rotate)) note(run.digests, id, fresh)
  if (step.call === 'retire' || (step.call === 'write' && step.wish.rotate)) note(run.marks, id, fresh)
  if (step.call === 'announce' && step.again === undefined) run.announced.push(id)
  return { memory, redis }
}

async function call (run: Run, side: Side, step: Exclude<Step, { call: 'pass' }>, { id, digest = '', mark, fresh }: { id: string, digest: string | undefined, mark: string, fresh: string }): Promise<unknown> {
  const { store } = side
  const ticketOf = (which: Which, of = id): string => ticket(run, side, of, which)
  switch (step.call) {
    case 'load': {
      const { fields, now, ...loaded } = await store.load(id, digest, step.touch, RULES[step.rules]!) ?? {}
      // Where nothing depends on it, the clock is not asked, but reckoned.
      return fields === undefined ? undefined : { ...loaded, ...RULES[step.rules]!.rotateEvery > 0 && { now }, fields: textsOf(fields) }
    }
    case 'create': return meaningful(await store.create(id, fresh, writeOf(step.wish, fresh, ticketOf), RULES[step.rules]!))
    case 'write': return meaningful(await store.write(id, digest, writeOf(step.wish, fresh, ticketOf), RULES[step.rules]!))
    case 'read': return await store.read(id, digest, step.names)
    case 'look': {
      const seen = await store.look(id, digest)
      return seen === undefined ? undefined : { now: seen.now, ttl: seen.ttl, fields: textsOf(seen.fields) }
    }
    case 'stands': return await store.stands(id, digest)
    case 'renew': return await store.renew(id, digest, fresh, `sealed ${fresh}`)
    case 'retire': return await store.retire(id, fresh, step.who === undefined ? undefined : digest)
    case 'finalize': return await store.finalize(id, mark)
    case 'takeBack': return await store.takeBack(id, mark)
    case 'destroy': return await store.destroy(id, step.who === undefined ? undefined : digest)
    case 'end': return await store.end(id, step.ticket === undefined ? undefined : ticketOf(step.ticket))
    case 'announce': {
      const { user, again, ago, replaces, lasts, keep, limit } = step
      const announced = await store.announce(USERS[user]!, {
        id,
        lasts,
        keep,
        ...again !== undefined && { ticket: ticketOf(again) },
        ...ago !== undefined && { since: run.now - ago },
        ...limit !== undefined && { limit },
        ...replaces !== undefined && { replaces: replaces.map((whose) => idOf(run, whose)) }
      })
      if (again === undefined) side.tickets.push(announced.ticket)
      return announced
    }
    case 'leave': return await store.leave(USERS[step.user]!, step.entries.map((entry) => ({ id: idOf(run, entry.id), ticket: ticketOf(entry.ticket, idOf(run, entry.id)) })))
    case 'entries': {
      const { user, ending } = step
      return await store.entries(USERS[user]!, ending && { keep: ending.keep, except: ending.except === undefined ? undefined : idOf(run, ending.except) })
    }
  }
}

function writeOf ({ rotate, binding, announced, settings, ...wish }: Wish, digest: string, ticketOf: (which: Which) => string): Write {
  const { user = null, ticket: which, kept, ...rest } = binding ?? {}
  return {
    ...wish,
    settings: { ...settings, ...rotate && { digest } },
    ...binding !== undefined && {
      binding: { ...rest, when: binding.when, user: user === null ? null : USERS[user]!, ticket: user === null ? '' : ticketOf(which!), ...kept === true && user !== null && { kept } }
    },
    ...announced !== undefined && { announced: ticketOf(announced) }
  }
}

function idOf ({ live, marks }: Run, whose: Whose): string {
  if (typeof whose === 'number') return IDS[whose]!
  if (whose === 'undecided') return [...marks.keys()].at(-1) ?? IDS[0]!
  return IDS.find((id) => live.has(id) === (whose === 'live')) ?? IDS[0]!
}

function digestOf (run: Run, id: string, who: Who): string {
  const fields = run.memory.seen.get(id)?.fields ?? {}
  switch (who) {
    case 'owner': return fields[record.DIGEST] ?? 'nobody'
    case 'lineage': return record.lineageOf((name) => fields[name]) ?? 'nobody'
    case 'next': return fields[record.NEXT] ?? 'no successor'
    case 'previous': return fields[record.PREVIOUS] ?? 'no predecessor'
    case 'older': return run.digests.get(id)?.at(-3) ?? 'nobody'
    default: return who
  }
}

function markOf ({ marks }: Run, id: string, mark: Mark): string {
  return (mark === 'last' ? marks.get(id)?.at(-1) : mark === 'earlier' ? marks.get(id)?.at(-2) : undefined) ?? 'invented'
}

function ticket ({ announced }: Run, { tickets, seen }: Side, id: string, which: Which): string {
  const mine = tickets.filter((_, i) => announced[i] === id)
  switch (which) {
    case 'latest': return mine.at(-1) ?? INVENTED
    case 'earlier': return mine.at(-2) ?? INVENTED
    case 'own': return seen.get(id)?.fields[record.TICKET] ?? INVENTED
    case 'foreign': return tickets.findLast((_, i) => announced[i] !== id) ?? INVENTED
    case 'invented': return INVENTED
  }
}

function note (notes: Map<string, string[]>, id: string, what: string): void {
  const before = notes.get(id) ?? []
  // The last one noted is the last one in the order of the keys, too.
  notes.delete(id)
  notes.set(id, [...before, what])
}

function textsOf (fields: { names (): Iterable<string>, get (name: string): string | undefined }): Record<string, string | undefined> {
  return Object.fromEntries(Array.from(fields.names(), (name) => [name, fields.get(name)]))
}

/** A write's answer without what means nothing. */
function meaningful (written: Awaited<ReturnType<Store['write']>>): unknown {
  if (written === undefined) return undefined
  const { now, ttl, ...rest } = written
  const nothing = written.refusal !== undefined || written.moved !== undefined || written.barred !== undefined
  return nothing ? rest : written
}

/**
 * An answer in terms that both stores share: tickets by their numbers, entries in one order. How a store keeps bars, and
 * what it takes to undo a step, is its own business: what they do shows in other answers.
 */
function readable (value: unknown, side: Side): unknown {
  if (typeof value === 'string') {
    const i = side.tickets.indexOf(value)
    return i === -1 ? value : `ticket ${i}`
  }
  if (Buffer.isBuffer(value)) return `bytes ${value.toString('latin1')}`
  if (Array.isArray(value)) {
    const all = value.map((item) => readable(item, side))
    return all.every((item) => typeof item === 'object' && item !== null && 'ticket' in item) ? all.sort((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1) : all
  }
  if (typeof value !== 'object' || value === null) return value
  const own = Object.entries(value).filter(([name, item]) => item !== undefined && name !== record.UNDO && name !== record.BARRED)
  return Object.fromEntries(own.map(([name, item]) => [name, readable(item, side)]))
}

// ---- Generating.

/** Something, or mostly nothing. */
const rarely = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })
/** Something, or nothing. */
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined, freq: 2 })
/** One of several, each as often as its number says. */
function weighted<T extends string> (weights: Record<T, number>): fc.Arbitrary<T> {
  return fc.oneof(...Object.entries<number>(weights).map(([value, weight]) => ({ weight, arbitrary: fc.constant(value as T) })))
}

const id: fc.Arbitrary<Whose> = fc.oneof({ weight: 6, arbitrary: fc.constant('live' as const) }, { weight: 2, arbitrary: fc.nat(IDS.length - 1) })
const undecided: fc.Arbitrary<Whose> = fc.oneof({ weight: 5, arbitrary: fc.constant('undecided' as const) }, { weight: 1, arbitrary: id })
const newId: fc.Arbitrary<Whose> = fc.oneof({ weight: 6, arbitrary: fc.constant('free' as const) }, { weight: 1, arbitrary: fc.nat(IDS.length - 1) })
const user = fc.nat(USERS.length - 1)
const rules = fc.nat(RULES.length - 1)
const who = weighted<Who>({ lineage: 20, owner: 4, next: 2, previous: 2, older: 1, invented: 1, '': 1 })
const arriving = weighted<Who>({ owner: 8, next: 5, previous: 3, lineage: 1, older: 1, invented: 1, '': 1 })
const which = weighted<Which>({ latest: 8, own: 4, earlier: 4, foreign: 1, invented: 1 })
const mark = weighted<Mark>({ last: 6, earlier: 1, invented: 1 })
const name = fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...NAMES.slice(0, 4)) }, { weight: 1, arbitrary: fc.constantFrom(...NAMES) })
const text = fc.oneof({ weight: 1, arbitrary: fc.constantFrom(...TEXTS.slice(0, 7)) }, { weight: 1, arbitrary: fc.constantFrom(...TEXTS) })
const textOrNone = fc.option(text, { freq: 2 })

const set = fc.record({ type: fc.constant('set' as const), field: name, text })
const bound = (usual: string): fc.Arbitrary<string> => fc.oneof({ weight: 4, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...BOUNDS) })
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 12, arbitrary: set },
  { weight: 8, arbitrary: fc.record({ type: fc.constantFrom('get', 'delete', 'take'), field: name }) as fc.Arbitrary<Operation> },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('setIfAbsent' as const), field: name, text }) },
  { weight: 8, arbitrary: fc.record({ type: fc.constant('increment' as const), field: name, by: fc.constantFrom(...SUMMANDS), min: bound('-9007199254740991'), max: bound('9007199254740991') }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('replace' as const), field: name, expected: textOrNone, text: textOrNone }) },
  { weight: 2, arbitrary: fc.constant({ type: 'clear' as const }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('set' as const), field: fc.constantFrom('@digest', 'created_at', '@x'), text }) }
)

const settings = fc.record({
  idleTimeout: fc.constantFrom(50, 100, 200, 12.3456, 1e16),
  lifetime: fc.constantFrom(60, 120, 500, 2000.25, 1e16),
  persistent: fc.boolean(),
  elevate: fc.constantFrom(60, 300.5, 1.23456)
}, { requiredKeys: [] }) as fc.Arbitrary<Wish['settings']>

const binding = fc.record({
  user: fc.option(user, { freq: 6 }),
  ticket: which,
  kept: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  when: fc.oneof({ weight: 1, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.tuple(fc.constantFrom('user', 'a'), textOrNone).map((one) => [one]) }),
  authenticatedAt: fc.constantFrom(EPOCH - 1_000_000, EPOCH),
  device: fc.constantFrom({ label: 'Firefox', network: '203.0.113.0/24' }, { label: 'Chrome on Linux', network: '' })
}, { requiredKeys: ['user', 'ticket', 'kept', 'when'] }) as fc.Arbitrary<NonNullable<Wish['binding']>>

/** Plain sets are most of what stores see, and they have ways of their own for them. */
const wish = fc.record<Wish>({
  operations: fc.oneof({ weight: 1, arbitrary: fc.array(set, { maxLength: 4, size: 'max' }) }, { weight: 2, arbitrary: fc.array(operation, { maxLength: 4, size: 'max' }) }),
  touch: fc.constantFrom('due', 'due', 'always', 'never'),
  mode: fc.constantFrom('together', 'apart'),
  settings: fc.oneof({ weight: 2, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: settings }),
  rotate: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  binding: maybe(binding),
  announced: maybe(which)
})

const LASTING = fc.constantFrom(1, 10_000, 60_000, 150_000)

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ call: fc.constant('load' as const), id, who: arriving, touch: fc.boolean(), rules }) },
  { weight: 6, arbitrary: fc.record({ call: fc.constant('create' as const), id: newId, wish, rules }) },
  { weight: 14, arbitrary: fc.record({ call: fc.constant('write' as const), id, who, wish, rules }) },
  { weight: 2, arbitrary: fc.record({ call: fc.constant('read' as const), id, who, names: fc.array(fc.oneof(name, fc.constantFrom('@digest', 'created_at', '@ticket')), { maxLength: 4 }) }) },
  { weight: 2, arbitrary: fc.record({ call: fc.constantFrom('look' as const, 'stands' as const), id, who }) },
  { weight: 4, arbitrary: fc.record({ call: fc.constant('renew' as const), id, who: arriving }) },
  { weight: 1, arbitrary: fc.record({ call: fc.constant('retire' as const), id, who: maybe(who) }) },
  { weight: 4, arbitrary: fc.record({ call: fc.constantFrom('finalize' as const, 'takeBack' as const, 'takeBack' as const), id: undecided, mark }) },
  { weight: 1, arbitrary: fc.record({ call: fc.constant('destroy' as const), id, who: maybe(who) }) },
  { weight: 1, arbitrary: fc.record({ call: fc.constant('end' as const), id: fc.oneof(id, newId), ticket: fc.option(which, { nil: undefined, freq: 5 }) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      call: fc.constant('announce' as const),
      user,
      id: fc.oneof(id, newId),
      again: rarely(which),
      ago: rarely(fc.constantFrom(0, 1, 10_000)),
      lasts: LASTING,
      keep: LASTING,
      limit: rarely(fc.record({ max: fc.integer({ min: 1, max: 2 }), then: fc.constantFrom('ask' as const, 'refuse' as const, 'end-oldest' as const) })),
      replaces: rarely(fc.array(id, { maxLength: 3 }))
    })
  },
  { weight: 1, arbitrary: fc.record({ call: fc.constant('leave' as const), user, entries: fc.array(fc.record({ id, ticket: which }), { maxLength: 2 }) }) },
  { weight: 2, arbitrary: fc.record({ call: fc.constant('entries' as const), user, ending: rarely(fc.record({ except: fc.option(id, { nil: undefined }), keep: LASTING })) }) },
  { weight: 5, arbitrary: fc.record({ call: fc.constant('pass' as const), ms: fc.constantFrom(1, 1, 1, 5_000, 10_000, 10_000, 20_000, 20_000, 40_000, 60_000, 100_000) }) }
)

/** Steps that only together come to something, which chance would seldom put together. */
const several: fc.Arbitrary<Step[]> = fc.oneof(
  // A renewal is offered and used.
  fc.tuple(fc.boolean(), rules).map(([touch, rules]): Step[] => [{ call: 'renew', id: 'live', who: 'owner' }, { call: 'load', id: 'live', who: 'next', touch, rules }]),
  // A ticket is barred while a write that carries it is under way.
  fc.tuple(user, fc.oneof(id, newId)).map(([user, id]): Step[] => [{ call: 'announce', user, id, lasts: 150_000, keep: 150_000 }, { call: 'end', id, ticket: 'latest' }]),
  // A record becomes larger than other rules allow.
  fc.tuple(name, name, text, rules).map(([one, other, text, rules]): Step[] => [
    plain('write', { operations: [one, other].map((field) => ({ type: 'set', field, text: 'x'.repeat(50) })) }, 0, 'live'),
    plain('write', { operations: [{ type: 'set', field: one, text }] }, rules, 'live')
  ])
)

/** What the stores once made two things of. */
const KEPT: ReadonlyArray<readonly Step[]> = [
  // A successor was not told of by rules that renew nothing.
  [plain('create'), { call: 'renew', id: 0, who: 'owner' }, { call: 'load', id: 0, who: 'owner', touch: false, rules: 0 }],
  // Of a hundred thousand years, the quick save answered a rounded number of milliseconds.
  [plain('create', { settings: { idleTimeout: 1e16, lifetime: 1e16 } }), { call: 'pass', ms: 1 }, plain('write', { operations: [{ type: 'set', field: 'a', text: '1' }] })],
  // Whoever was elevated in a new session was authenticated as long ago as before.
  [plain('create', { settings: { elevate: 60 }, binding: { user: 0, ticket: 'invented', kept: false, when: [], authenticatedAt: EPOCH - 1000 } })],
  // A session that became nobody's kept the device of whoever had it.
  [
    plain('create', { binding: { user: 0, ticket: 'invented', kept: false, when: [] } }),
    plain('write', { binding: { user: null, ticket: 'invented', kept: false, when: [], device: { label: 'Firefox', network: '203.0.113.0/24' } } })
  ],
  // What was told to have ended was forgotten when somebody else wanted it to be kept for a shorter time.
  [
    { call: 'entries', user: 0, ending: { except: undefined, keep: 60_000 } }, { call: 'entries', user: 0, ending: { except: undefined, keep: 1 } },
    { call: 'pass', ms: 10_000 }, { call: 'announce', user: 0, id: 0, again: 'invented', ago: 60_000, lasts: 1, keep: 1 }
  ],
  // A bar against one ticket took away the bar against another.
  [
    { call: 'end', id: 0, ticket: 'invented' }, { call: 'announce', user: 0, id: 0, lasts: 1, keep: 1 }, { call: 'end', id: 0, ticket: 'latest' },
    plain('create', { binding: { user: 0, ticket: 'invented', kept: false, when: [] } })
  ],
  // Extending a record whose lifetime was over left a key without an expiry, or a millisecond of life.
  [plain('create'), { call: 'pass', ms: 60_000 }, { call: 'pass', ms: 20_000 }, { call: 'load', id: 0, who: 'owner', touch: true, rules: 0 }, { call: 'pass', ms: 80_000 }, plain('write', { touch: 'always' }, 2)]
]

function plain (call: 'create' | 'write', wish: Partial<Wish> = {}, rules = 0, id: Whose = 0): Step {
  const all = { id, wish: { operations: [], settings: {}, rotate: false, touch: 'never' as const, mode: 'together' as const, ...wish }, rules }
  return call === 'create' ? { call, ...all } : { call, who: 'lineage', ...all }
}

const steps = fc.array(fc.oneof({ weight: 6, arbitrary: step.map((one) => [one]) }, { weight: 1, arbitrary: several }), { minLength: 1, maxLength: 30, size: 'max' }).map((some) => some.flat())

/** The same as cases, for the option `examples` of fast-check. */
export const EXAMPLES = KEPT.map((steps): [Step[]] => [[...steps]])

/** Whatever is done to a session, and however it is asked for, both stores make the same of it. */
export function alike (pair: Pair): fc.IAsyncProperty<[Step[]]> {
  return fc.asyncProperty(steps, async (steps) => { await compare(pair, steps) })
}
