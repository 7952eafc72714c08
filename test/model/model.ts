/**
 * The model: what sessions are, without Redis, without proxies and without concurrency. Written from the contract, not
 * from the code; a request that comes after all others were answered has to do exactly what this says.
 */
import type { Ending, Json, Route, Step } from './application.js'
import { RULES } from './arenas.js'

/** Milliseconds; see `arenas.ts` for the others. */
export const ROTATE_EVERY = 55_000
export const ROTATE_GRACE = 15_000
/** How many fields a session may have. */
export const MAX_FIELDS = 12
/** How many characters are certainly too many for one field. */
export const TOO_LONG = 20_000

type Values = Map<string, Json>

/** One session. Tokens are known once a response has carried them. */
export class Session {
  id: string | undefined
  fields: Values = new Map()
  readonly created: number
  /** When it was last used. */
  used: number
  idle: number = RULES.idleTimeout
  /** The token that owns it. */
  token: string | undefined
  /** Offered by a renewal, and not used yet. */
  next: string | undefined
  /** Replaced by the last renewal. */
  previous: { token: string, until: number } | undefined
  /** When the secret was made. */
  secretSince: number
  rotated = false

  constructor (now: number) {
    this.created = this.used = this.secretSince = now
  }

  /** It is certainly alive before this … */
  get aliveUntil (): number {
    return Math.min(this.used + this.idle, this.created + RULES.lifetime)
  }

  /** … and certainly dead after this. */
  get deadFrom (): number {
    const slack = Math.min(RULES.touchInterval, this.idle * RULES.touchInterval / RULES.idleTimeout)
    return Math.min(this.used + this.idle + slack, this.created + RULES.lifetime)
  }
}

/** All sessions. */
export class Model {
  now = 0
  readonly sessions = new Set<Session>()
  /** Whose each token is, or was. */
  readonly tokens = new Map<string, Session>()

  /** Lets time pass. */
  pass (ms: number): void {
    this.now += ms
    for (const session of this.sessions) if (this.now >= session.deadFrom) this.sessions.delete(session)
  }

  /** What a token opens, and how it stands: as the store's `load` answers. */
  present (token: string | undefined): { session: Session, standing: 'current' | 'due' | 'superseded' } | undefined {
    const session = token === undefined ? undefined : this.tokens.get(token)
    if (session === undefined || token === undefined || !this.sessions.has(session)) return undefined
    if (token === session.next) {
      session.previous = { token: session.token!, until: this.now + ROTATE_GRACE }
      session.token = token
      session.next = undefined
      session.secretSince = this.now
      return { session, standing: 'current' }
    }
    if (token === session.token) {
      if (session.next !== undefined) return { session, standing: 'superseded' }
      return { session, standing: this.now - session.secretSince >= ROTATE_EVERY ? 'due' : 'current' }
    }
    if (session.previous === undefined) return undefined
    if (token === session.previous.token && this.now <= session.previous.until) return { session, standing: 'superseded' }
    // A secret that was renewed away is used again: somebody stole it. One that rotate() ended proves nothing.
    if (token === session.previous.token || !session.rotated) this.sessions.delete(session)
    return undefined
  }
}

/** What becomes of the cookie: nothing, cleared, a token of this session that nobody has seen, or this very token. */
export type CookieFate = undefined | 'cleared' | { readonly fresh: Session, readonly successor: boolean } | { readonly known: string }

/** What a request has to be answered. */
export interface Expected {
  readonly status: number
  readonly code: string | undefined
  readonly results: readonly Json[]
  readonly cookie: CookieFate
}

class Failure extends Error {
  readonly code: string

  constructor (code: string) {
    super(code)
    this.code = code
  }
}

/** One request to the model. */
export class Visit {
  readonly #model: Model
  readonly #route: Route
  /** A cookie of ours came, good or bad. */
  readonly #came: boolean
  #session: Session | undefined
  /** The session that a regeneration replaces. */
  #replaced: Session | undefined
  /** Changes that are not stored yet; `undefined` removes. */
  #pending = new Map<string, Json | undefined>()
  #cleared = false
  #touched = false
  #rotating = false
  #idle: number | undefined
  #cookie: CookieFate
  /** What a renewal has to give the browser at the end. */
  #renewal: 'due' | { readonly known: string } | undefined

  constructor (model: Model, route: Route, token: string | undefined, came: boolean) {
    this.#model = model
    this.#route = route
    this.#came = came && route !== '/off'
    const found = route === '/off' ? undefined : model.present(token)
    if (found === undefined) return
    this.#session = found.session
    if (route === '/') found.session.used = model.now
    if (found.standing === 'due') this.#renewal = 'due'
    if (found.standing === 'superseded') this.#renewal = { known: found.session.next ?? found.session.token! }
  }

  /** Goes through a handler's steps and its ending. */
  run (steps: readonly Step[], ending: Ending): Expected {
    const results: Json[] = []
    let code: string | undefined
    try {
      for (const step of steps) results.push(this.#step(step) ?? null)
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      code = error.code
    }
    const failed = code !== undefined || ending === 'throw' || ending === 'error reply'
    if (failed) this.#discard()
    try {
      this.#commit()
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      // What was stored before stays stored, and so does its cookie.
      return { status: 500, code: error.code, results: [], cookie: this.#cookie }
    }
    // A hijacked reply never comes back to the plugin.
    if (ending !== 'hijack' || code !== undefined) this.#renew()
    if (code !== undefined || ending === 'throw') return { status: 500, code, results: [], cookie: this.#cookie }
    return { status: ending === 'error reply' ? 500 : ending === 'bad request' ? 400 : 200, code, results, cookie: this.#cookie }
  }

  #get (name: string): Json | undefined {
    if (this.#pending.has(name)) return this.#pending.get(name)
    return this.#cleared ? undefined : this.#session?.fields.get(name)
  }

  get #names (): string[] {
    const names = new Set([...this.#session?.fields.keys() ?? [], ...this.#pending.keys()])
    return [...names].filter((name) => this.#get(name) !== undefined).sort()
  }

  #set (name: string, value: Json | undefined): void {
    this.#assertOn()
    if (JSON.stringify(value)?.length >= TOO_LONG) throw new Failure('SESSION_FIELD_TOO_LARGE')
    this.#pending.set(name, value)
  }

  #assertOn (): void {
    if (this.#route === '/off') throw new Failure('SESSION_DISABLED')
  }

  #step (step: Step): Json | undefined {
    switch (step[0]) {
      case 'get': return this.#get(step[1])
      case 'has': return this.#get(step[1]) !== undefined
      case 'keys': return this.#names
      case 'data': return Object.fromEntries(this.#names.map((name) => [name, this.#get(name)!]))
      case 'set': this.#set(step[1], step[2]); return
      case 'assign': for (const [name, value] of Object.entries(step[1])) this.#set(name, value); return
      case 'delete': this.#set(step[1], undefined); return
      case 'push': {
        const list = this.#get(step[1])
        const longer = [...Array.isArray(list) ? list : [], step[2]]
        this.#set(step[1], longer)
        return longer
      }
      case 'clear':
        this.#assertOn()
        this.#pending.clear()
        this.#cleared = true
        return
      case 'touch': this.#assertOn(); this.#touched = true; return
      case 'idle': this.#assertOn(); this.#idle = step[1]; return
      case 'rotate': this.#assertOn(); this.#rotating ||= this.#session !== undefined; return
      case 'regenerate': this.#assertOn(); this.#regenerate(step[1]); return
      case 'destroy': this.#assertOn(); this.#destroy(); return
      case 'reload': this.#drop(); return
      case 'save': this.#commit(); return
      case 'live.get': return this.#session?.fields.get(step[1])
      case 'live.set': this.#live(step[1], (value) => [step[2], value]); return
      case 'live.setIfAbsent': return this.#live(step[1], (value) => [value === undefined ? step[2] : value, value === undefined])
      case 'live.incr': return this.#live(step[1], (value) => [(value as number ?? 0) + step[2], (value as number ?? 0) + step[2]])
      case 'live.append': return this.#live(step[1], (value) => {
        const list = [...value as Json[] ?? [], step[2]]
        return [list, list]
      })
      case 'live.delete': return this.#live(step[1], (value) => [undefined, value !== undefined])
      case 'live.take': return this.#live(step[1], (value) => [undefined, value])
      default: throw new Error(`the model knows no ${step[0]}`)
    }
  }

  /** A write to the store at the moment of the call, after the changes of the same field that were made before. */
  #live (name: string, change: (value: Json | undefined) => [stored: Json | undefined, result: Json | undefined]): Json | undefined {
    this.#assertOn()
    const first = [...this.#pending].filter(([other]) => this.#cleared || other === name)
    const creates = first.some(([, value]) => value !== undefined)
    const value = this.#pending.has(name) ? this.#pending.get(name) : this.#cleared ? undefined : this.#session?.fields.get(name)
    const [stored, result] = change(value)
    if (this.#session === undefined) {
      if (!creates && stored === undefined) return result
      this.#create()
    }
    const session = this.#session!
    if (this.#cleared) session.fields.clear()
    this.#cleared = false
    for (const [other, value] of [...first, [name, stored] as const]) {
      put(session.fields, other, value)
      this.#pending.delete(other)
    }
    if (this.#route === '/') session.used = this.#model.now
    this.#settle()
    return result
  }

  #create (): void {
    this.#session = new Session(this.#model.now)
    this.#model.sessions.add(this.#session)
    this.#cookie = { fresh: this.#session, successor: false }
  }

  /** The session that was replaced ends once the new one is stored. */
  #settle (): void {
    if (this.#replaced === undefined) return
    this.#model.sessions.delete(this.#replaced)
    this.#replaced = undefined
    if (this.#session === undefined) this.#cookie = 'cleared'
  }

  #commit (): void {
    const fields: Values = new Map(this.#cleared ? [] : this.#session?.fields)
    for (const [name, value] of this.#pending) put(fields, name, value)
    if (fields.size > MAX_FIELDS && this.#pending.size > 0) throw new Failure('SESSION_TOO_MANY_FIELDS')
    if (this.#session === undefined) {
      if (fields.size === 0) {
        this.#settle()
        return
      }
      this.#create()
    }
    const session = this.#session!
    const changed = this.#pending.size > 0 || this.#cleared
    session.fields = fields
    this.#pending.clear()
    this.#cleared = false
    if (this.#idle !== undefined) session.idle = this.#idle * 1000
    if (this.#idle !== undefined || this.#touched || (changed && this.#route === '/')) session.used = this.#model.now
    this.#idle = undefined
    this.#touched = false
    if (this.#rotating) {
      session.token = session.next = session.previous = undefined
      session.rotated = true
      session.secretSince = this.#model.now
      this.#rotating = false
      this.#cookie = { fresh: session, successor: false }
    }
    this.#settle()
    if (typeof this.#cookie === 'object') this.#renewal = undefined
  }

  #renew (): void {
    if (this.#renewal === 'due') this.#cookie = { fresh: this.#session!, successor: true }
    else this.#cookie = this.#renewal ?? this.#cookie
  }

  /** Drops what was changed and not saved. */
  #drop (): void {
    this.#pending.clear()
    this.#cleared = this.#touched = this.#rotating = false
    this.#idle = undefined
  }

  #discard (): void {
    this.#drop()
    if (this.#session === undefined) this.#replaced = undefined
  }

  #regenerate (keys: readonly string[]): void {
    const carried = keys.map((name) => [name, this.#get(name)] as const).filter(([, value]) => value !== undefined)
    const replaced = this.#session ?? this.#replaced
    this.#becomeNew()
    this.#replaced = replaced
    for (const [name, value] of carried) this.#pending.set(name, value)
  }

  #destroy (): void {
    const clears = this.#session !== undefined || this.#replaced !== undefined || this.#came
    for (const session of [this.#session, this.#replaced]) if (session !== undefined) this.#model.sessions.delete(session)
    this.#becomeNew()
    if (clears) this.#cookie = 'cleared'
  }

  #becomeNew (): void {
    this.#session = this.#replaced = this.#renewal = this.#idle = undefined
    this.#pending.clear()
    this.#cleared = this.#touched = this.#rotating = false
  }
}

function put (fields: Values, name: string, value: Json | undefined): void {
  if (value === undefined) fields.delete(name)
  else fields.set(name, value)
}
