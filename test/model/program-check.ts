/** Runs programs, and holds what comes of them against the model. */
import fc from 'fast-check'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import { DEFAULT_IDLE, Oracle, type Ending, type Kept, type World } from './program-model.js'
import { Kinds, ProgramFailed, type Kind } from './program-kinds.js'
import { canonical, COOKIE, Run, type Look, type Stage } from './program-stage.js'
import { beginning, LIMITS, programs, type Program, type Round } from './programs.js'

const TOKEN = /^[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{32}\.[A-Za-z0-9_-]{43}$/

/** What the errors are answered that saving may end with. */
const STATUS: Readonly<Record<string, number>> = { SESSION_STORE_UNAVAILABLE: 503, SESSION_GONE: 409, SESSION_TOO_MANY_FIELDS: 500, SESSION_FIELD_TOO_LARGE: 500 }

/** After these the program has gone another way than the model. */
const PARTING: readonly Kind[] = ['wrong result', 'fails without a reason', 'succeeds in spite of all', '409 without a reason', '503 without a failure', 'reads otherwise', 'is not refused']

/** A browser with a jar for the session's cookie. */
class Browser {
  token: string | undefined
  /** There may be records that it has no cookie for. */
  strays = false
  /** What it saw last. */
  last: Look | undefined
  /** Every token that it ever had. */
  readonly seen = new Set<string>()
  readonly #app: FastifyInstance

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  keep (token: string | undefined): void {
    this.token = token
    if (token !== undefined) this.seen.add(token)
  }

  /** Takes what a response sets; answers the lines about the session's cookie. */
  receive ({ headers }: LightMyRequestResponse): string[] {
    const lines = [headers['set-cookie'] ?? []].flat().filter((line) => line.startsWith(`${COOKIE}=`))
    for (const line of lines) this.keep(line.startsWith(`${COOKIE}=;`) ? undefined : line.slice(COOKIE.length + 1).split(';')[0])
    return lines
  }

  async get (url: string, token = this.token): Promise<LightMyRequestResponse> {
    const response = await this.#app.inject({ url, headers: token === undefined ? {} : { cookie: `${COOKIE}=${token}` } })
    if (token === this.token) this.receive(response)
    return response
  }

  /** What a token opens. */
  async look (token = this.token): Promise<Look> {
    const response = await this.get('/look', token)
    if (response.statusCode !== 200) throw new Error(`looking is answered ${response.statusCode}: ${response.body}`)
    return response.json()
  }
}

/** What would end the process, while a program runs. */
class Accidents {
  readonly #kinds: Kinds
  readonly #rejected = (error: unknown): void => { this.#kinds.add('unhandled rejection', () => String((error as Error)?.stack ?? error)) }
  readonly #thrown = (error: unknown): void => { this.#kinds.add('uncaught exception', () => String((error as Error)?.stack ?? error)) }

  constructor (kinds: Kinds) {
    this.#kinds = kinds
    process.on('unhandledRejection', this.#rejected)
    process.on('uncaughtException', this.#thrown)
  }

  close (): void {
    process.off('unhandledRejection', this.#rejected)
    process.off('uncaughtException', this.#thrown)
  }
}

/**
 * Runs a program.
 *
 * @param trace gets a line about every request
 * @returns in which ways it failed
 */
export async function play (stage: Stage, program: Program, trace?: (line: string) => void): Promise<Kinds> {
  await stage.clear()
  const app = await stage.app(program.app)
  const browser = new Browser(app)
  const kinds = new Kinds()
  if (program.member) browser.keep((await app.sessions.issue(beginning(program))).cookie.slice(COOKIE.length + 1))
  const accidents = new Accidents(kinds)
  try {
    for (const round of program.rounds) {
      await new Request(stage, app, browser, kinds, program, round).play(trace)
      // What is stored is another thing than what the model says from here on.
      if ([...kinds.found.keys()].some((kind) => kind !== 'malformed token')) break
    }
  } finally {
    accidents.close()
  }
  return kinds
}

/** One request of a program, and what came of it. */
class Request {
  readonly #stage: Stage
  readonly #app: FastifyInstance
  readonly #browser: Browser
  readonly #kinds: Kinds
  readonly #program: Program
  readonly #round: Round

  constructor (stage: Stage, app: FastifyInstance, browser: Browser, kinds: Kinds, program: Program, round: Round) {
    this.#stage = stage
    this.#app = app
    this.#browser = browser
    this.#kinds = kinds
    this.#program = program
    this.#round = round
  }

  async play (trace: ((line: string) => void) | undefined): Promise<void> {
    const { app: kind, yields = [] } = this.#program
    const { faults = [], off = false } = this.#round
    const { unsteady } = this.#stage
    const token = this.#browser.token
    const before = this.#browser.last ?? await this.#browser.look()
    const begun = Date.now()
    const oracle = new Oracle({ app: kind, limits: kind === 'limited' ? LIMITS : undefined, off }, keptOf(before), { faulty: faults.length > 0, haunted: this.#browser.strays })
    const run = new Run(this.#round, oracle, this.#kinds, async (what) => {
      if (what === 'renew') await this.#stage.renew(async () => await this.#browser.get('/tab/look'))
      else await this.#browser.get(`/tab/${what}`)
    })
    unsteady.begin(yields, faults)
    const response = await this.#stage.perform(this.#app, run, token)
    await unsteady.end()
    if (response === undefined) {
      this.#kinds.add('no answer', () => JSON.stringify(this.#round))
      return
    }
    if (run.stream?.destroyed === false) this.#kinds.add('stream left open', () => `after a ${response.statusCode}`)
    const lines = this.#browser.receive(response)
    this.#checkHead(response, lines, run)
    let after = await this.#browser.look()
    // Where the store fails again and again, what was to be undone is so as soon as it answers.
    for (let i = 0; i < 20 && response.statusCode >= 500 && after.isNew && !before.isNew && unsteady.failed > 1; i++) {
      await sleep(50)
      after = await this.#browser.look()
    }
    this.#browser.last = after
    trace?.(JSON.stringify({ status: response.statusCode, body: response.body, lines, failedCalls: unsteady.failed, before, after, found: [...this.#kinds.found] }))
    if (PARTING.some((kind) => this.#kinds.found.has(kind))) return
    const said = this.#kinds.found.size
    const ending = this.#ending(run, response, { token, before, after, begun, lines })
    if (said < this.#kinds.found.size || ending === undefined) return
    // What an earlier request left half-way may stand in the way of a login.
    const { strays } = this.#browser
    // Of what a withheld cookie would have opened nobody knows.
    this.#browser.strays ||= ending.withheld === true || faults.length > 0 || ending.world.records.some(({ alive }) => alive === 'either')
    if (ending.withheld !== true) await this.#checkRest(ending)
    const ended = after.isNew && !before.isNew
    if (kind === 'users' && (response.statusCode === 503 || (ended && unsteady.failed > 0))) await this.#tryAgain(ended, strays, response)
  }

  #checkHead ({ statusCode, headers, body }: LightMyRequestResponse, lines: readonly string[], { looked }: Run): void {
    if (lines.length > 1) this.#kinds.add('two cookies', () => `${lines.length} lines`)
    if (lines.length > 0 && statusCode === 503) this.#kinds.add('cookie on a 503', () => lines.join())
    if (lines.length > 0 && !/\bno-store\b/.test(String(headers['cache-control']))) this.#kinds.add('cookie may be cached', () => String(headers['cache-control']))
    if (looked && statusCode < 500 && !/\bcookie\b/i.test(String(headers['vary']))) this.#kinds.add('no Vary', () => String(headers['vary']))
    const { token } = this.#browser
    if (token !== undefined && !TOKEN.test(token)) this.#kinds.add('malformed token', () => token.replace(/[A-Za-z0-9]{4}/g, 'x'.repeat(4)))
    if (statusCode === 503 && body.includes('SESSION_STORE_UNAVAILABLE') && headers['retry-after'] === undefined) this.#kinds.add('no Retry-After', () => body)
  }

  /** The ending that the response and the store fit; where none does, notes how the best one differs. */
  #ending ({ oracle, thrown, reads, began }: Run, response: LightMyRequestResponse, seen: Seen): Ending | undefined {
    const { answer: { kind, status } = { kind: 'text', status: 200 }, faults = [], off = false } = this.#round
    const broken = kind === 'broken' && thrown === undefined
    const wanted = thrown?.status ?? status
    // A session that could not be loaded was answered before the program began.
    const endings = began ? oracle.endings(wanted, thrown?.code, broken) : oracle.endings(503, undefined, false)
    const { code } = jsonOf(response.body)
    const fitting = endings.filter(({ status }) => status === response.statusCode && status === (this.#round.status ?? status))
    const proper = code === undefined || code === thrown?.code ? undefined : STATUS[code]
    if (proper !== undefined && proper !== response.statusCode) {
      this.#kinds.add('failure under another status', () => `${response.statusCode} ${code}`)
      return undefined
    }
    // The entry of a session that ended while its list could not be reached counts until it can be.
    if (code === 'SESSION_LIMIT_REACHED' && this.#browser.strays) return undefined
    // What a route without sessions refuses is the response's error where the program does not wait for it.
    if (off && code === 'SESSION_DISABLED') return undefined
    if (fitting.length === 0) {
      this.#kinds.add(kindOfStatus(response.statusCode, code), () => `${response.statusCode} ${code ?? ''} instead of ${[...new Set(endings.map(({ status, code }) => `${status} ${code ?? ''}`))].join(' or ')}`)
      return undefined
    }
    let best: { ending: Ending, differences: Array<[Kind, string]> } | undefined
    for (const ending of fitting) {
      if (off) ending.world.current = ending.world.records.length > 0 ? 0 : undefined
      const differences = ending.withheld === true
        ? this.#differencesAfter503(ending.world, seen)
        : this.#differences(ending, seen, { faulty: faults.length > 0, reads: off ? undefined : reads })
      if (best === undefined || differences.length < best.differences.length) best = { ending, differences }
      if (differences.length === 0) break
    }
    for (const [kind, detail] of best!.differences) this.#kinds.add(kind, () => detail)
    return best!.ending
  }

  /** How what is there differs from a world in which the request ended. */
  #differences ({ status, world }: Ending, { token, before, after, begun, lines }: Seen, { faulty, reads }: { faulty: boolean, reads: object | undefined }): Array<[Kind, string]> {
    const differences: Array<[Kind, string]> = []
    const differ = (kind: Kind, detail: string): void => { differences.push([kind, detail]) }
    const { record } = world
    const now = this.#browser.token
    const sets = lines.length > 0 && now !== undefined
    if (record === undefined || record.alive === false) {
      if (!after.isNew) differ('not ended', `it holds ${canonical(after.data)}`)
      else if (sets) differ('cookie of no session', lines.join())
      if (world.dropped && token !== undefined && now !== undefined && after.isNew && !sets) differ('cookie not cleared', JSON.stringify(lines))
    } else if (after.isNew) {
      if (record.alive === true) differ(sets ? 'cookie of no session' : 'logged out', `it should hold ${canonical(Object.fromEntries(record.fields))}`)
    } else {
      const should = canonical(Object.fromEntries(record.fields))
      if (canonical(after.data) !== should) differ(status >= 500 ? 'stored by a failure' : faulty ? 'acknowledged and lost' : 'lost', `${canonical(after.data)} instead of ${should}`)
      if (record.fresh && now === token && !faulty) differ('not rotated', 'the token is the old one')
      if (after.elevated && !before.elevated && now === token && token !== undefined) differ('elevated by the old cookie', '')
      else if (after.idle !== record.idle) differ('wrong settings', `idle timeout ${after.idle} instead of ${record.idle}`)
      else if (after.elevated !== record.elevated) differ('wrong settings', after.elevated ? 'elevated' : 'not elevated')
      else if (!faulty && !authenticatedAsSaid(record, after, begun)) differ('wrong settings', `authenticated at ${after.authenticated} instead of ${record.authenticated}, now is ${begun}`)
    }
    if (reads !== undefined && status < 500 && !world.gone && canonical(reads) !== canonical(world.data())) differ('reads otherwise', `after the save: ${canonical(reads)} instead of ${canonical(world.data())}`)
    return differences
  }

  /** How what the old cookie shows differs from what it may show after a 503. */
  #differencesAfter503 (world: World, { token, before, after, lines }: Seen): Array<[Kind, string]> {
    if (token === undefined || before.isNew || lines.length > 0) return []
    const [record] = world.records as [Kept]
    const ended = record.alive === false && record.superseded !== true
    // What was on the way when the store failed may have ended the session where that was wanted.
    const logout = world.leaving || ![...world.changes.values()].some((value) => value !== undefined)
    const ending = this.#round.faults !== undefined && this.#round.faults.length > 0 && (world.owed.length > 0 || (world.replaced.length > 0 && logout))
    const open = record.alive === 'either' || record.left === true || ending
    if (after.isNew) return ended || open ? [] : [['logged out', `after a 503; it should hold ${canonical(before.data)} as before`]]
    if (ended && !open) return [['not ended', `it holds ${canonical(after.data)}`]]
    if (after.elevated && !before.elevated && this.#browser.token === token) return [['elevated by the old cookie', 'after a 503']]
    const allowed = [before.data, ...[record.fields, ...record.former ?? []].map((fields) => Object.fromEntries(fields))].map(canonical)
    return allowed.includes(canonical(after.data)) ? [] : [['half done', `${canonical(after.data)} instead of ${allowed.join(' or ')}`]]
  }

  /** What nothing may be left of: tokens that were replaced, records without a cookie. */
  async #checkRest ({ world }: Ending): Promise<void> {
    const { token } = this.#browser
    // Secrets that are renewed are good for some time.
    if (world.records[0]?.alive !== 'either' && this.#program.app !== 'renewing') {
      for (const old of this.#browser.seen) {
        if (old !== token && !(await this.#browser.look(old)).isNew) this.#kinds.add('old cookie lives', () => 'a token that was replaced')
      }
    }
    if (this.#browser.strays) return
    const left = new Set<string>()
    for await (const ids of this.#stage.unsteady.inner.scan()) for (const id of ids) left.add(id)
    if (token !== undefined) left.delete(token.slice(0, 22))
    if (left.size > 0) this.#kinds.add('left over', () => `${left.size} records`)
  }

  /** Who was answered 503, or logged out of a store that failed on the way, comes again, and logs in. */
  async #tryAgain (ended: boolean, strays: boolean, answered: LightMyRequestResponse): Promise<void> {
    const { statusCode, body } = await this.#browser.get('/login')
    const { data } = this.#browser.last = await this.#browser.look()
    if (statusCode === 200 && canonical(data) === canonical({ user: 'ann' })) return
    // The entry of a session that ended while its list could not be reached counts until it can be.
    if (statusCode === 403 && (strays || !this.#unlisted(answered))) return
    this.#kinds.add(ended ? 'locked out by a logout' : 'cannot be tried again', () => `${statusCode} ${body}, then ${canonical(data)}`)
  }

  /** Whether nothing but a record could not be reached, and only once, so that what was made of it is known by now. */
  #unlisted (answered: LightMyRequestResponse): boolean {
    const { failures } = this.#stage.unsteady
    if (failures.length !== 1) return false
    // Whether a session ended is not known where that is what the response says.
    return failures[0] === 'create' || (failures[0] === 'destroy' && jsonOf(answered.body).code !== 'SESSION_STORE_UNAVAILABLE')
  }
}

/** What the browser saw. */
interface Seen {
  readonly token: string | undefined
  readonly before: Look
  readonly after: Look
  readonly begun: number
  readonly lines: readonly string[]
}

function keptOf ({ isNew, data, idle, elevated, authenticated }: Look): Kept | undefined {
  return isNew ? undefined : { fields: new Map(Object.entries(data)), idle: idle ?? DEFAULT_IDLE, elevated, authenticated, fresh: false, alive: true }
}

function authenticatedAsSaid ({ authenticated }: Kept, after: Look, begun: number): boolean {
  if (authenticated === 'any') return true
  return authenticated === 'now' ? (after.authenticated ?? 0) >= begun : after.authenticated === authenticated
}

function kindOfStatus (status: number, code: string | undefined): Kind {
  if (status === 409) return '409 without a reason'
  if (status === 503) return '503 without a failure'
  return /TOO_(?:LARGE|MANY)/.test(code ?? '') ? 'limit raised again' : 'another status'
}

function jsonOf (body: string): { code?: string } {
  try {
    return JSON.parse(body) as { code?: string }
  } catch {
    return {}
  }
}

/** No program fails. */
export function soundPrograms (stage: Stage): fc.IAsyncProperty<[Program]> {
  return fc.asyncProperty(programs, async (program) => {
    fc.pre(stage.movesTime || program.app !== 'renewing')
    const { found } = await play(stage, program)
    if (found.size > 0) throw new ProgramFailed(program, found)
  })
}
