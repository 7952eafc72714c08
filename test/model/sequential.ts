/** Sequential runs against the model: one request after the other, by clients, by a thief, and with cookies that nobody issued. */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import type { Redis } from 'ioredis'
import { decode } from '../../src/store/codec.js'
import { isReserved } from '../../src/store/record.js'
import type { Ending, Json, Route, Script, Step } from './application.js'
import { RULES } from './arenas.js'
import { cookieHeader, idOf, request, type Send } from './client.js'
import { hold } from './invariants.js'
import { pass, records } from './keyspace.js'
import { MAX_FIELDS, Model, ROTATE_EVERY, ROTATE_GRACE, TOO_LONG, Visit, type CookieFate, type Session } from './model.js'

/** The options of the applications under test that the model is about. */
export const OPTIONS = { rotateEvery: ROTATE_EVERY / 1000, rotateGrace: ROTATE_GRACE / 1000, maxFields: MAX_FIELDS } as const

/** How many browsers there are. */
const CLIENTS = 3
/** Times of the model are 5 s apart from every limit; a run that takes longer says nothing. Milliseconds. */
const DRIFT = 3000

/** The real thing. */
export interface Real {
  readonly servers: readonly Send[]
  readonly witness: Redis
  /** What each browser has in its jar. */
  readonly jars: Array<string | undefined>
  /** Every token that was ever sent, in order: what a thief may have seen. */
  readonly seen: string[]
  readonly since: number
}

type Command = fc.AsyncCommand<Model, Real>

interface Wish {
  readonly server: number
  readonly route: Route
  readonly steps: readonly Step[]
  readonly ending: Ending
}

/** What all requests have in common. */
async function visit (model: Model, real: Real, { server, route, steps, ending }: Wish, token: string | undefined, cookie = token === undefined ? undefined : cookieHeader(token)): Promise<string | undefined> {
  const before = new Set([...model.sessions].map(({ id }) => id))
  const expected = new Visit(model, route, token, cookie !== undefined).run(steps, ending)
  const script: Script = { steps, ending }
  const answer = await request(real.servers[server]!, route, script, cookie)
  // Redis' clock went on while the model's stood still.
  fc.pre(performance.now() - real.since < DRIFT)
  const told = (): string => `${JSON.stringify({ route, ...script })}\nis expected to be answered ${JSON.stringify({ ...expected, cookie: fateOf(expected.cookie) })}\nand was answered ${JSON.stringify({ ...answer, cookie: fateOf(answer.cookie) })}`
  hold('I16', answer.status === expected.status && answer.code === expected.code, told)
  hold('I19', isDeepStrictEqual(answer.results, expected.results), told)
  checkCookie(model, real, before, expected.cookie, answer.cookie, told)
  await checkRecords(model, real)
  if (answer.cookie !== undefined && answer.cookie !== '') real.seen.push(answer.cookie)
  return answer.cookie
}

/** For messages: tokens say nothing to anybody. */
function fateOf (cookie: CookieFate | string): string {
  if (cookie === undefined) return 'none'
  if (cookie === '' || cookie === 'cleared') return 'cleared'
  return typeof cookie === 'object' && 'known' in cookie ? 'the known successor' : 'a token'
}

/** Holds the cookie against what was expected, and takes note of what only the response can tell: ids and tokens. */
function checkCookie (model: Model, real: Real, before: ReadonlySet<string | undefined>, expected: CookieFate, cookie: string | undefined, told: () => string): void {
  if (expected === undefined || expected === 'cleared') {
    hold('I10', cookie === (expected === 'cleared' ? '' : undefined), told)
    return
  }
  hold('I10', cookie !== undefined && cookie !== '', told)
  if ('known' in expected) {
    hold('I8', cookie === expected.known, () => `another successor than before: ${told()}`)
    return
  }
  const session = expected.fresh
  const id = idOf(cookie!)
  hold('I11', !real.seen.includes(cookie!), 'a token that was issued before')
  if (session.id === undefined) hold('I13', !before.has(id) && !real.seen.some((token) => idOf(token) === id), () => `an id that was there before: ${told()}`)
  else hold('I9', session.id === id, () => `another record than before: ${told()}`)
  session.id = id
  if (expected.successor) session.next = cookie
  else session.token = cookie
  model.tokens.set(cookie!, session)
}

/** I6, I7, I14, I15 and I16: what is stored is what should be, no more, no less. */
async function checkRecords (model: Model, { witness }: Real): Promise<void> {
  const kept = new Map((await records(witness, RULES)).map((record) => [record.id, record]))
  const named = new Map<string, Session>()
  for (const session of model.sessions) if (session.id !== undefined) named.set(session.id, session)
  for (const [id, session] of named) {
    const record = kept.get(id)
    hold('I14', record !== undefined, 'a session ended too early, or was never stored')
    const fields = Object.fromEntries(Object.entries(record!.fields).filter(([name]) => !isReserved(name)).map(([name, text]) => [name, decode(text)]))
    hold('I16', isDeepStrictEqual(fields, Object.fromEntries(session.fields)), () => `stored is ${JSON.stringify(fields)}, not ${JSON.stringify(Object.fromEntries(session.fields))}`)
    // Redis keeps whole milliseconds.
    const [least, most] = [session.aliveUntil - model.now - DRIFT, Math.ceil(session.deadFrom - model.now)]
    hold('I14', record!.ttl >= least && record!.ttl <= most, () => `${record!.ttl} ms left, expected ${least} to ${most}`)
  }
  const strangers = [...kept.keys()].filter((id) => !named.has(id))
  // A record whose cookie was withdrawn has no name that the model could know.
  const nameless = model.sessions.size - named.size
  hold('I15', strangers.length === nameless, () => `${strangers.length} records that should not be there, ${nameless} expected`)
}

/** A browser's request. */
class Browse implements Command {
  readonly client: number
  readonly wish: Wish
  /** The answer gets lost on its way. */
  readonly lost: boolean

  constructor (client: number, wish: Wish, lost: boolean) {
    this.client = client
    this.wish = wish
    this.lost = lost
  }

  check (): boolean {
    return true
  }

  async run (model: Model, real: Real): Promise<void> {
    const cookie = await visit(model, real, this.wish, real.jars[this.client])
    if (cookie !== undefined && !this.lost) real.jars[this.client] = cookie === '' ? undefined : cookie
  }

  toString (): string {
    return `client ${this.client} ${JSON.stringify(this.wish)}${this.lost ? ', the answer gets lost' : ''}`
  }
}

/** A request with a token that somebody got some time ago. */
class Replay implements Command {
  readonly which: number
  readonly wish: Wish

  constructor (which: number, wish: Wish) {
    this.which = which
    this.wish = wish
  }

  check (): boolean {
    return true
  }

  async run (model: Model, real: Real): Promise<void> {
    if (real.seen.length > 0) await visit(model, real, this.wish, real.seen[this.which % real.seen.length])
  }

  toString (): string {
    return `a thief with token ${this.which} ${JSON.stringify(this.wish)}`
  }
}

/** A request whose cookie opens nothing. */
class Forge implements Command {
  readonly how: number
  readonly wish: Wish

  constructor (how: number, wish: Wish) {
    this.how = how
    this.wish = wish
  }

  check (): boolean {
    return true
  }

  async run (model: Model, real: Real): Promise<void> {
    const good = real.seen.at(-1) ?? `${'A'.repeat(22)}.${'b'.repeat(32)}.${'c'.repeat(43)}`
    const bad = [
      '',
      good.slice(0, -1),
      `${good}x`,
      // Another id, another secret, another signature.
      (good.startsWith('B') ? 'C' : 'B') + good.slice(1),
      `${good.slice(0, 30)}${good[30] === 'B' ? 'C' : 'B'}${good.slice(31)}`,
      `${good.slice(0, 60)}${good[60] === 'B' ? 'C' : 'B'}${good.slice(61)}`,
      idOf(good),
      `${good.slice(0, 56)}${'%00'}`,
      `"${good}"`
    ].map(cookieHeader)
    // Tossed: one more cookie of the same name, before or after the good one.
    bad.push(`${cookieHeader(good)}; ${cookieHeader('evil')}`, `${cookieHeader('evil')}; ${cookieHeader(good)}`)
    await visit(model, real, this.wish, undefined, bad[this.how % bad.length]!)
  }

  toString (): string {
    return `bad cookie ${this.how} ${JSON.stringify(this.wish)}`
  }
}

class Wait implements Command {
  readonly seconds: number

  constructor (seconds: number) {
    this.seconds = seconds
  }

  check (): boolean {
    return true
  }

  async run (model: Model, real: Real): Promise<void> {
    fc.pre(performance.now() - real.since < DRIFT)
    await pass(real.witness, this.seconds * 1000)
    model.pass(this.seconds * 1000)
    await checkRecords(model, real)
  }

  toString (): string {
    return `${this.seconds} s pass`
  }
}

const anyName = fc.constantFrom('a', 'b', '__proto__', 'n', 'list')
const freeName = fc.constantFrom('a', 'b', '__proto__')
const anyValue: fc.Arbitrary<Json> = fc.oneof(
  fc.nat(9), fc.boolean(), fc.constant(null), fc.constantFrom('', 'text', '42', 'true', '"q"', 'ü€😀'), fc.constantFrom<Json>([], [1, [2]], {}, { k: { l: [null] } })
)

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(fc.constantFrom('get', 'has', 'live.get'), anyName) as fc.Arbitrary<Step> },
  { weight: 2, arbitrary: fc.constantFrom<Step>(['keys'], ['data']) },
  { weight: 7, arbitrary: fc.tuple(fc.constantFrom('set', 'live.set', 'live.setIfAbsent'), freeName, anyValue) as fc.Arbitrary<Step> },
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom('delete', 'live.delete', 'live.take'), anyName) as fc.Arbitrary<Step> },
  { weight: 2, arbitrary: fc.tuple(fc.constant('live.incr'), fc.constant('n'), fc.integer({ min: -2, max: 5 })) as fc.Arbitrary<Step> },
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom('push', 'live.append'), fc.constant('list'), anyValue) as fc.Arbitrary<Step> },
  { weight: 2, arbitrary: fc.record({ a: anyValue, b: anyValue, n: fc.nat(9) }).map((values): Step => ['assign', values]) },
  { weight: 8, arbitrary: fc.constantFrom<Step>(['clear'], ['save'], ['rotate'], ['destroy'], ['reload'], ['touch']) },
  { weight: 1, arbitrary: fc.constantFrom(35, 65, 195).map((seconds): Step => ['idle', seconds]) },
  { weight: 2, arbitrary: fc.subarray(['a', 'n', 'absent']).map((keys): Step => ['regenerate', keys]) },
  { weight: 1, arbitrary: fc.constantFrom<Step>(['set', 'a', 'x'.repeat(TOO_LONG)]) }
)

const many = Object.fromEntries(Array.from({ length: MAX_FIELDS + 1 }, (_, i) => [`f${i}`, i]))

/** More fields than a session may have, at the end of a handler, which may also save. */
const bust: fc.Arbitrary<readonly Step[]> = fc.constantFrom<readonly Step[]>([['assign', many]], [['assign', many], ['save']])

/** A hijacked reply takes no cookie but that of the save after it, and nobody is there to answer an error. */
function forHijack (steps: readonly Step[]): Step[] {
  return steps.filter(([kind]) => kind !== 'save' && kind !== 'destroy' && (kind === 'live.get' || !kind.startsWith('live.')))
}

const wish: fc.Arbitrary<Wish> = fc.record({
  server: fc.nat(1),
  route: fc.oneof({ weight: 8, arbitrary: fc.constant<Route>('/') }, { weight: 2, arbitrary: fc.constant<Route>('/untouched') }, { weight: 1, arbitrary: fc.constant<Route>('/off') }),
  steps: fc.array(step, { minLength: 1, maxLength: 5 }),
  end: fc.oneof({ weight: 12, arbitrary: fc.constant<readonly Step[]>([]) }, { weight: 1, arbitrary: bust }),
  ending: fc.oneof({ weight: 6, arbitrary: fc.constant<Ending>('ok') }, { weight: 4, arbitrary: fc.constantFrom<Ending>('bad request', 'error reply', 'throw', 'stream', 'hijack') })
}).map(({ steps, end, ...rest }) => ({ ...rest, steps: rest.ending === 'hijack' ? forHijack(steps) : [...steps, ...end] }))

const command: Array<fc.Arbitrary<Command>> = [
  fc.tuple(fc.nat(CLIENTS - 1), wish, fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) })).map(([client, wish, lost]) => new Browse(client, wish, lost)),
  fc.tuple(fc.nat(CLIENTS - 1), wish).map(([client, wish]) => new Browse(client, wish, false)),
  fc.tuple(fc.nat(CLIENTS - 1), wish).map(([client, wish]) => new Browse(client, wish, false)),
  fc.tuple(fc.nat(99), wish).map(([which, wish]) => new Replay(which, wish)),
  fc.tuple(fc.nat(10), wish).map(([how, wish]) => new Forge(how, wish)),
  fc.constantFrom(10, 20, 40, 60, 60, 70, 100, 170).map((seconds) => new Wait(seconds))
]

/** What one browser did when a run failed, kept for ever. */
const REGRESSIONS: ReadonlyArray<ReadonlyArray<Pick<Wish, 'steps'> & Partial<Wish>>> = [
  // clear() before the first save emptied the record at the end of the request.
  [{ steps: [['clear'], ['set', 'a', false], ['save']] }],
  // A limit that was exceeded took the cookie along that an earlier save had earned.
  [{ steps: [['set', 'a', 1]] }, { steps: [['rotate'], ['save'], ['assign', many]] }, { steps: [['data']] }],
  [{ steps: [['live.append', 'list', 1], ['assign', many]] }, { steps: [['data']] }]
]

/** The same as runs, for the option `examples` of fast-check. */
export const EXAMPLES = REGRESSIONS.map((wishes): [Command[]] => [wishes.map((wish) => new Browse(0, { server: 0, route: '/', ending: 'ok', ...wish }, false))])

/** Whatever happens one after the other, the plugin does what the model says. */
export function sequentialRuns (servers: readonly Send[], witness: Redis, replayPath?: string): fc.IAsyncProperty<[Iterable<Command>]> {
  return fc.asyncProperty(fc.commands(command, { maxCommands: 25, size: 'max', ...replayPath !== undefined && { replayPath } }), async (commands) => {
    await witness.flushall()
    const real: Real = { servers, witness, jars: Array<undefined>(CLIENTS).fill(undefined), seen: [], since: performance.now() }
    await fc.asyncModelRun(() => ({ model: new Model(), real }), commands)
  })
}
