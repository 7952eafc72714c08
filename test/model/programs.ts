/**
 * Random programs in one request: what a handler and its hooks may do to a session, as data, and a generator of it.
 *
 * A program goes through a few requests of one browser. `program-stage.ts` carries it out on the real plugin, over a store
 * that dawdles and fails; `program-model.ts` says what has to come out of it; `program-check.ts` compares. What failed
 * once is kept in `kept-programs.ts`.
 *
 * A failing test prints a seed, and the smallest program that it found:
 *
 *   PROGRAMS_SEED=<seed> npx tap test/model/programs.test.ts     the same programs again
 *   node --import tsx test/model/programs-tally.ts --seed <seed> --count 5000               how many programs fail in which way
 *   node --import tsx test/model/programs-tally.ts --seed <seed> --count 500 --redis        the same in Redis
 *   node --import tsx test/model/programs-tally.ts --program '<JSON>'                       one program, with the trace of what it did
 *
 * The JSON of a program can be put into `kept-programs.ts` as it is.
 */
import fc from 'fast-check'
import type { Json } from './application.js'

/** One thing that a program does. */
export type Step =
  | readonly ['set', string, Json]
  | readonly ['delete', string]
  /** Changes the array, or the object, that the session hands out; where there is none, assigns one. */
  | readonly ['push', 'list', number]
  | readonly ['nest', 'obj', string, number]
  /** Keeps the array that the session hands out, and changes the kept one later. */
  | readonly ['hold']
  | readonly ['held', number]
  | readonly ['clear' | 'touch' | 'null' | 'remember' | 'rotate' | 'elevate' | 'save' | 'reload' | 'destroy']
  | readonly ['idle', number]
  | readonly ['regenerate', readonly string[]]
  | readonly ['live.get' | 'live.delete' | 'live.take', string]
  | readonly ['live.set' | 'live.setIfAbsent', string, Json]
  | readonly ['live.incr', 'n', number]
  /** Adds to the array by `update`. */
  | readonly ['live.append', 'list', number]
  | readonly ['throw', number]
  /** Lets the event loop turn so many times. */
  | readonly ['yield', number]
  /** Awaits all that was to be awaited later. */
  | readonly ['join']
  /** Another tab of the same browser does this meanwhile. */
  | readonly ['tab', 'rotate' | 'destroy' | 'renew']

/** What becomes of a step's promise: `ignored` has a handler that does nothing, `forgotten` has none. */
export type Wait = 'now' | 'later' | 'ignored' | 'forgotten'

export interface Turn {
  readonly do: Step
  /** Default: `now`. */
  readonly wait?: Wait
  /** The program goes on where this step throws. */
  readonly caught?: boolean
}

export interface Answer {
  /** `broken` is a stream that fails as soon as it is opened, whether somebody reads it or not. */
  readonly kind: 'text' | 'object' | 'buffer' | 'stream' | 'web stream' | 'response' | 'broken'
  readonly status: number
  /** The application says that caches may keep it. */
  readonly cached?: boolean
}

/** The store's calls number `call` up to `call + count` of a request fail: before they did anything, or after. */
export interface Fault {
  readonly call: number
  readonly count: number
  readonly when: 'before' | 'after'
}

/** Changes that come when the session is saved already. */
export type LateStep = Extract<Step, readonly ['set', string, Json] | readonly ['delete', string] | readonly ['idle', number] | readonly ['regenerate', readonly string[]]> |
  readonly ['clear' | 'touch' | 'null' | 'remember' | 'rotate' | 'elevate']

/** One request. */
export interface Round {
  readonly onRequest?: readonly Turn[]
  readonly preHandler?: readonly Turn[]
  /** One branch, or two at the same time. */
  readonly handler: ReadonlyArray<readonly Turn[]>
  /** Hooks of this kind see objects only. */
  readonly preSerialization?: readonly Turn[]
  /** The handler sends its answer and goes on in the same turn. Only for answers that are not serialized. */
  readonly sent?: readonly LateStep[]
  /** In a hook that runs after the plugin's. */
  readonly onSend?: readonly LateStep[]
  readonly onResponse?: readonly LateStep[]
  readonly answer?: Answer
  readonly faults?: readonly Fault[]
  /** The route's `config.session` is `false`. */
  readonly off?: boolean
  /** The response has to have this status, where the model leaves it open. */
  readonly status?: number
}

export interface Program {
  /**
   * `limited`: narrow limits. `users`: with the option `userField`, and one session per user. `renewing`: secrets are renewed
   * by and by; only where the store's clock can be put forward.
   */
  readonly app: 'plain' | 'limited' | 'users' | 'renewing'
  /** The browser begins with a session. */
  readonly member: boolean
  /** How many turns of the event loop the calls of the store take, one after the other. */
  readonly yields?: readonly number[]
  readonly rounds: readonly Round[]
}

/** The limits of the application `limited`. */
export const LIMITS = { maxFields: 5, maxFieldSize: 200 } as const
const TOO_LONG = 'x'.repeat(2 * LIMITS.maxFieldSize)

/** What a member's session holds at the beginning. */
export function beginning ({ app }: Program): Record<string, Json> {
  return { a: 1, n: 5, list: [0], obj: { k: 1 }, ...app === 'users' && { user: 'ann' } }
}

const value = fc.constantFrom<Json>(1, 2, 3, true, null, '', 'text', '3', [1], { p: [1] })
const small = fc.integer({ min: 1, max: 9 })
const keys = fc.constantFrom<readonly string[]>([], ['a'], ['n', 'list'], ['a', 'b', 'obj', 'user'])

type Weighted<T> = { weight: number, arbitrary: fc.Arbitrary<T> }

function only<T extends Step> (weight: number, ...steps: T[]): Weighted<T> {
  return { weight, arbitrary: fc.constantFrom(...steps) }
}

function steps (app: Program['app'], tabs: boolean): fc.Arbitrary<Step> {
  const name = fc.constantFrom('a', 'b')
  return fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant('set' as const), name, value) },
    { weight: 2, arbitrary: fc.tuple(fc.constant('delete' as const), fc.constantFrom('a', 'b', 'n', 'list', 'obj')) },
    { weight: 2, arbitrary: fc.tuple(fc.constant('push' as const), fc.constant('list' as const), small) },
    { weight: 2, arbitrary: fc.tuple(fc.constant('nest' as const), fc.constant('obj' as const), fc.constantFrom('k', 'm'), small) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('set' as const), fc.constant('n'), small) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('set' as const), fc.constant('list'), fc.constantFrom<Json>([], [7])) },
    only<Step>(2, ['hold'], ['held', 8], ['held', 9]),
    only<Step>(2, ['clear'], ['touch'], ['remember']),
    { weight: 1, arbitrary: fc.tuple(fc.constant('idle' as const), fc.integer({ min: 100, max: 104 })) },
    only<Step>(4, ['save']),
    only<Step>(2, ['rotate']),
    only<Step>(1, ['elevate']),
    only<Step>(2, ['destroy'], ['null']),
    { weight: 3, arbitrary: fc.tuple(fc.constant('regenerate' as const), keys) },
    only<Step>(2, ['reload']),
    { weight: 3, arbitrary: fc.tuple(fc.constantFrom('live.set' as const, 'live.setIfAbsent' as const), name, value) },
    { weight: 3, arbitrary: fc.tuple(fc.constant('live.incr' as const), fc.constant('n' as const), small) },
    { weight: 2, arbitrary: fc.tuple(fc.constantFrom('live.delete' as const, 'live.take' as const), fc.constantFrom('a', 'b', 'n', 'list')) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('live.get' as const), fc.constantFrom('a', 'b', 'n', 'list')) },
    { weight: 2, arbitrary: fc.tuple(fc.constant('live.append' as const), fc.constant('list' as const), small) },
    only<Step>(2, ['yield', 1], ['yield', 3], ['join']),
    ...tabs && app === 'plain' ? [only<Step>(1, ['tab', 'rotate'], ['tab', 'destroy'])] : [],
    ...tabs && app === 'renewing' ? [only<Step>(4, ['tab', 'renew'])] : [],
    ...app === 'users' ? [only<Step>(6, ['set', 'user', 'ann'], ['set', 'user', 'bob'], ['delete', 'user'])] : [],
    ...app === 'limited' ? [only<Step>(2, ['set', 'b', TOO_LONG], ['live.set', 'b', TOO_LONG])] : [],
    ...app === 'limited' ? [{ weight: 8, arbitrary: fc.tuple(fc.constantFrom('set' as const, 'live.set' as const), fc.constantFrom('c', 'd', 'e', 'f'), small) }] : []
  )
}

function turns (app: Program['app'], tabs: boolean, length: { minLength?: number, maxLength: number }): fc.Arbitrary<Turn[]> {
  return fc.array(fc.record({
    do: steps(app, tabs),
    wait: fc.oneof({ weight: 8, arbitrary: fc.constant<Wait>('now') }, { weight: 2, arbitrary: fc.constantFrom<Wait>('later', 'ignored') }, { weight: 2, arbitrary: fc.constant<Wait>('forgotten') }),
    caught: fc.oneof({ weight: 3, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) })
  }), { ...length, size: 'max' })
}

const late: fc.Arbitrary<LateStep[]> = fc.array(fc.constantFrom<LateStep>(
  ['set', 'a', 77], ['set', 'late', 1], ['delete', 'a'], ['clear'], ['touch'], ['null'], ['remember'], ['rotate'], ['elevate'], ['idle', 99], ['regenerate', ['a']]
), { minLength: 1, maxLength: 2 })

/** Where a program throws, and which status that asks for. */
const failure = fc.record({ place: fc.constantFrom('handler' as const, 'handler' as const, 'preHandler' as const), status: fc.constantFrom(400, 403, 500, 500, 503) })

const answer: fc.Arbitrary<Answer> = fc.oneof({
  weight: 10,
  arbitrary: fc.record({
    kind: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom<Answer['kind']>('text', 'object') },
      { weight: 3, arbitrary: fc.constantFrom<Answer['kind']>('buffer', 'stream', 'web stream', 'response') }
    ),
    status: fc.oneof({ weight: 10, arbitrary: fc.constant(200) }, { weight: 3, arbitrary: fc.constantFrom(302, 404, 500, 503) }),
    cached: fc.boolean()
  })
}, { weight: 1, arbitrary: fc.constant<Answer>({ kind: 'broken', status: 200 }) })

const fault: fc.Arbitrary<Fault> = fc.record({
  call: fc.nat(8),
  count: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.constantFrom(2, 100) }),
  when: fc.constantFrom('before', 'after')
})

/** What is there now and then only. */
function seldom<T> (arbitrary: fc.Arbitrary<T>, in10: number): fc.Arbitrary<T | undefined> {
  return fc.oneof({ weight: 10 - in10, arbitrary: fc.constant(undefined) }, { weight: in10, arbitrary })
}

interface Circumstances { app: Program['app'], faulty: boolean, branches: 1 | 2 }

function rounds ({ app, faulty, branches }: Circumstances): fc.Arbitrary<Round> {
  const hook = seldom(turns(app, false, { minLength: 1, maxLength: 2 }), 2)
  const branch = turns(app, !faulty && branches === 1, { maxLength: branches === 1 ? 7 : 4 })
  return fc.record({
    onRequest: hook,
    preHandler: hook,
    handler: fc.array(branch, { minLength: branches, maxLength: branches }),
    failure: seldom(failure, 2),
    preSerialization: hook,
    sent: seldom(late, 1),
    onSend: seldom(late, 1),
    onResponse: seldom(late, 1),
    answer,
    off: app === 'plain' ? fc.oneof({ weight: 30, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }) : fc.constant(false),
    faults: faulty ? fc.array(fault, { minLength: 1, maxLength: 2 }) : fc.constant([])
  }).map(({ preHandler, handler, failure, sent, preSerialization, answer, ...rest }): Round => ({
    ...rest,
    preHandler: failure?.place === 'preHandler' ? [...preHandler ?? [], { do: ['throw', failure.status] }] : preHandler,
    handler: failure?.place === 'handler' ? [...handler.slice(0, -1), [...handler.at(-1)!, { do: ['throw', failure.status] }]] : handler,
    answer,
    ...answer.kind === 'object' ? { preSerialization } : { sent }
  }))
}

const apps = fc.oneof(
  { weight: 12, arbitrary: fc.constant<Program['app']>('plain') },
  { weight: 4, arbitrary: fc.constant<Program['app']>('limited') },
  { weight: 4, arbitrary: fc.constant<Program['app']>('users') },
  { weight: 1, arbitrary: fc.constant<Program['app']>('renewing') }
)

/** Programs for some applications: some calm, some over a store that fails, some with two branches. */
export function programsFor (app: fc.Arbitrary<Program['app']>): fc.Arbitrary<Program> {
  return fc.record({
    app,
    faulty: fc.boolean(),
    branches: fc.oneof({ weight: 3, arbitrary: fc.constant(1 as const) }, { weight: 1, arbitrary: fc.constant(2 as const) })
  }).map((circumstances) => ({ ...circumstances, faulty: circumstances.faulty && circumstances.app !== 'renewing' })).chain((circumstances) => fc.record({
    app: fc.constant(circumstances.app),
    member: fc.oneof({ weight: 2, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
    yields: fc.array(fc.nat(2), { maxLength: 3 }),
    rounds: fc.array(rounds(circumstances), { minLength: 1, maxLength: circumstances.app === 'renewing' ? 1 : 3 })
  }))
}

/** All programs, for every application. */
export const programs: fc.Arbitrary<Program> = programsFor(apps)
