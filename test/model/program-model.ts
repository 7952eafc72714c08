/**
 * What has to come out of a program, written from the contract. The operations of one request take effect in the order in
 * which they are called, each on the record that the session stands for at that moment, whether or not somebody waits.
 *
 * Where the contract leaves something open, or a store failed and nobody knows whether it had done its part, there are
 * several worlds; what is learnt later (a result, a response) leaves those that it fits.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Json } from './application.js'
import type { LIMITS, Program, Step } from './programs.js'

export const DEFAULT_IDLE = 1800
const UNAVAILABLE = 'SESSION_STORE_UNAVAILABLE'

type Values = Map<string, Json>

/** A stored session. */
export interface Kept {
  fields: Values
  /** Seconds. */
  idle: number
  elevated: boolean
  /** When its user was authenticated, by the store's clock; `now`: in this request; `any`: nobody knows. */
  authenticated: number | 'now' | 'any' | undefined
  /** Its secret is one that no response carried before. */
  fresh: boolean
  /** `either`: nobody knows. */
  alive: boolean | 'either'
  /** What it held when its secret was replaced: then, and with the live writes that came later. */
  former?: [Values, Values]
  /** It ended because another record took its place, not because anybody wanted it to end. */
  superseded?: boolean
  /** It ends by `null`, with whatever comes next. */
  left?: boolean
}

/** What a step comes to: an error's code, or its result. */
export interface Outcome { code?: string | undefined, result?: Json | undefined }

/** A step that the contract refuses. */
class Refused extends Error {
  readonly code: string

  constructor (code: string) {
    super(code)
    this.code = code
  }
}

export interface Rules {
  readonly app: Program['app']
  readonly limits: typeof LIMITS | undefined
  /** The route's `config.session` is `false`. */
  readonly off: boolean
}

/** One possible state of a session in the middle of a request, and of what is stored of it. */
export class World {
  readonly rules: Rules
  records: Kept[] = []
  /** The record that the session stands for, by its place in `records`. Where the browser had one, it is the first. */
  current: number | undefined
  /** What ends as soon as the session is saved. */
  replaced: number[] = []
  /** What a failed `destroy()` still has to end. */
  owed: number[] = []
  /** What is in `replaced` ends by `null`: nobody wants to go on with it. */
  leaving = false
  /** The data of `replaced` went on into this session. */
  carried = false
  /** Another request ended the record, or took its secret away; or did so to what is in `replaced`. */
  gone = false
  goneBefore = false
  /** The browser is told to drop its cookie. */
  dropped = false
  /** A save was refused for a limit, and what it could not store is still there: the response does not fail for it again. */
  refused = false
  /** The stored fields, as this request knows them. */
  snapshot: Values = new Map()
  changes = new Map<string, Json | undefined>()
  cleared = false
  idle: number | undefined
  elevating = false
  rotating = false
  /** The array that the program holds is the session's own. */
  held = false
  /** The user that was carried over, and when he was authenticated. */
  carriedUser: { user: Json | undefined, at: Kept['authenticated'] } | undefined
  /** What the steps come to that are not settled yet, by the number of their call. */
  readonly expected = new Map<number, Outcome>()

  constructor (rules: Rules, record: Kept | undefined) {
    this.rules = rules
    if (record === undefined) return
    this.records.push(record)
    if (rules.off) return
    this.current = 0
    this.snapshot = new Map(record.fields)
  }

  clone (): World {
    const clone = new World(this.rules, undefined)
    const { expected, ...rest } = this
    Object.assign(clone, rest, {
      records: this.records.map(copy),
      replaced: [...this.replaced],
      owed: [...this.owed],
      snapshot: new Map(this.snapshot),
      changes: new Map(this.changes)
    })
    for (const [call, outcome] of expected) clone.expected.set(call, outcome)
    return clone
  }

  get record (): Kept | undefined {
    return this.current === undefined ? undefined : this.records[this.current]
  }

  /** A field as the request sees it. */
  get (name: string): Json | undefined {
    if (this.changes.has(name)) return this.changes.get(name)
    return this.cleared ? undefined : this.snapshot.get(name)
  }

  /** All that the request sees. */
  data (): Record<string, Json> {
    const names = new Set([...this.snapshot.keys(), ...this.changes.keys()])
    return Object.fromEntries([...names].sort().flatMap((name) => {
      const value = this.get(name)
      return value === undefined ? [] : [[name, value]]
    }))
  }

  /** Takes a step; what it comes to. */
  attempt (step: Step): Outcome {
    try {
      return { result: this.#take(step) }
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      return { code: error.code }
    }
  }

  #take (step: Step): Json | undefined {
    if (this.rules.off && !['save', 'reload', 'live.get', 'hold', 'held'].includes(step[0])) throw new Refused('SESSION_DISABLED')
    switch (step[0]) {
      case 'set': this.#set(step[1], step[2]); return
      case 'delete': this.#set(step[1], undefined); return
      case 'push': this.changes.set('list', [...this.#list(), step[2]]); return
      case 'nest': this.changes.set('obj', { ...this.get('obj') as object, [step[2]]: step[3] }); return
      case 'hold': this.held = this.get('list') !== undefined; return
      case 'held': if (this.held) this.changes.set('list', [...this.#list(), step[1]]); return
      case 'clear':
        this.changes.clear()
        this.cleared = true
        this.held = false
        return
      case 'idle': this.idle = step[1]; return
      case 'remember': this.idle = 60; return
      case 'touch': return
      case 'rotate': this.rotating ||= this.current !== undefined; return
      case 'elevate':
        this.elevating = true
        this.rotating ||= this.current !== undefined
        return
      case 'null': this.#replace([], true); return
      case 'regenerate': this.#replace(step[1], this.leaving); return
      case 'destroy': this.destroy(); return
      case 'save': this.commit(); return
      case 'reload': this.#reload(); return
      case 'live.get': return this.gone ? undefined : this.record?.fields.get(step[1])
      case 'live.set': this.#live(step[1], () => [step[2], undefined]); return
      case 'live.setIfAbsent': return this.#live(step[1], (value) => value === undefined ? [step[2], true] : [value, false, 'as it was'])
      case 'live.incr': return this.#live(step[1], (value = 0) => [value as number + step[2], value as number + step[2]])
      case 'live.delete': return this.#live(step[1], (value) => [undefined, value !== undefined])
      case 'live.take': return this.#live(step[1], (value) => [undefined, value])
      case 'live.append': return this.#live(step[1], (value = []) => [[...value as Json[], step[2]], [...value as Json[], step[2]]])
      case 'tab':
        if (step[1] === 'destroy') this.#end(0)
        // Whoever holds a secret that was renewed goes on.
        this.gone = step[1] !== 'renew'
        this.records[0]!.fresh = true
        return
      default: throw new Error(`the model knows no ${step[0]}`)
    }
  }

  #list (): Json[] {
    return this.get('list') as Json[] | undefined ?? []
  }

  #set (name: string, value: Json | undefined): void {
    this.#assertFits(name, value)
    this.changes.set(name, value)
    if (name === 'list') this.held = false
  }

  #assertFits (name: string, value: Json | undefined): void {
    const { limits } = this.rules
    if (limits !== undefined && value !== undefined && name.length + JSON.stringify(value).length > limits.maxFieldSize) throw new Refused('SESSION_FIELD_TOO_LARGE')
  }

  #assertCount (fields: Values): void {
    if (fields.size > (this.rules.limits?.maxFields ?? Infinity)) throw new Refused('SESSION_TOO_MANY_FIELDS')
  }

  /** An anonymous session at once; what it stood for ends when it is saved. */
  #replace (keys: readonly string[], leaving: boolean): void {
    const carried = keys.flatMap((name) => this.get(name) === undefined ? [] : [[name, this.get(name)!] as const])
    const { record, gone } = this
    const user = record?.fields.get('user')
    const carriedUser = carried.some(([name]) => name === 'user') ? { user: this.get('user'), at: user === this.get('user') ? record!.authenticated : 'any' as const } : undefined
    const replaced = this.current === undefined ? this.replaced : [...this.replaced, this.current]
    // What came before a record that was stored is past.
    const goneBefore = gone || (this.current === undefined && this.goneBefore)
    const held = this.held && keys.includes('list')
    this.#becomeNew()
    this.replaced = replaced
    this.leaving = leaving
    this.goneBefore = goneBefore
    this.carried = carried.length > 0
    this.carriedUser = carriedUser
    this.held = held
    for (const [name, value] of carried) this.changes.set(name, value)
  }

  #becomeNew (): void {
    this.current = undefined
    this.replaced = []
    this.leaving = this.carried = this.gone = this.held = false
    this.carriedUser = undefined
    this.snapshot = new Map()
    this.drop()
  }

  /** Drops what is not saved yet, but for what is to end. */
  drop (): void {
    this.changes.clear()
    this.cleared = this.elevating = this.rotating = false
    this.idle = undefined
  }

  /** Whoever ends a session ends those whose place it took as well. */
  #end (place: number): void {
    for (const record of this.records.slice(0, place + 1)) Object.assign(record, { alive: false, superseded: false })
  }

  /** @param failed the store did not say that it ended anything: that is still to be done */
  destroy (failed = false): void {
    const ending = [...this.replaced, ...this.current === undefined ? [] : [this.current]]
    if (failed) this.owed.push(...ending)
    else for (const place of ending) this.#end(place)
    this.dropped ||= ending.length > 0
    this.#becomeNew()
    this.goneBefore = false
  }

  #reload (): void {
    if (this.gone) throw new Refused('SESSION_GONE')
    this.forget()
    if (this.record !== undefined) this.snapshot = new Map(this.record.fields)
  }

  /** What `reload()` drops. */
  forget (): void {
    this.changes.clear()
    this.cleared = this.elevating = this.held = false
    this.idle = undefined
  }

  /** A write to the store at the moment of the call, after the changes of the same field that were made before. */
  #live (name: string, change: (value: Json | undefined) => readonly [stored: Json | undefined, result: Json | undefined, left?: 'as it was']): Json | undefined {
    if (this.gone) throw new Refused('SESSION_GONE')
    const fields: Values = new Map(this.cleared ? [] : this.record?.fields)
    const first = [...this.changes].filter(([other]) => this.cleared || other === name)
    for (const [other, value] of first) put(fields, other, value)
    const before = fields.get(name)
    const [stored, result, left] = change(before)
    this.#assertFits(name, stored)
    put(fields, name, stored)
    if (before === undefined) this.#assertCount(fields)
    if (this.record === undefined) {
      if (fields.size === 0) return result
      this.#create()
    }
    this.#write(fields)
    for (const [other, value] of [...first, [name, stored] as const]) if (this.record!.former !== undefined) put(this.record!.former[1], other, value)
    for (const [other, value] of first) {
      put(this.snapshot, other, value)
      this.changes.delete(other)
    }
    if (this.cleared) this.snapshot = new Map(fields)
    this.cleared = false
    // Whoever is told no more than that something is there has not seen it.
    if (left === undefined) put(this.snapshot, name, stored)
    if (name === 'list') this.held = false
    return result
  }

  #create (): void {
    this.current = this.records.push({ fields: new Map(), idle: DEFAULT_IDLE, elevated: false, authenticated: undefined, fresh: true, alive: true }) - 1
    this.snapshot = new Map()
  }

  /** Stores fields; whose the session is follows from them. */
  #write (fields: Values): void {
    const record = this.record!
    const user = record.fields.get('user')
    const next = fields.get('user')
    record.fields = fields
    if (this.rules.app !== 'users' || isDeepStrictEqual(user, next)) return
    record.elevated = false
    const known = this.carriedUser !== undefined && this.carriedUser.user === next ? this.carriedUser.at : 'now'
    record.authenticated = next === undefined ? 'any' : known
  }

  get #changing (): boolean {
    return this.changes.size > 0 || this.cleared || this.idle !== undefined || this.elevating || this.rotating
  }

  /** Something was assigned that is there already: whether that is a change is open. */
  get unclear (): boolean {
    return this.#changing && this.idle === undefined && !this.elevating && !this.rotating && isDeepStrictEqual(new Map(Object.entries(this.data())), new Map([...this.snapshot].sort()))
  }

  /** Stores everything. */
  commit (): void {
    const stores = [...this.changes.values()].some((value) => value !== undefined)
    if ((this.gone && this.#changing) || (this.goneBefore && this.carried && stores)) {
      this.discard()
      throw new Refused('SESSION_GONE')
    }
    const fields: Values = new Map(this.cleared ? [] : this.record?.fields)
    for (const [name, value] of this.changes) put(fields, name, value)
    if (stores) {
      try {
        this.#assertCount(fields)
      } catch (error) {
        this.discard()
        throw error
      }
      if (this.record === undefined) this.#create()
    }
    const { record } = this
    if (record !== undefined && !this.gone) {
      if (this.rotating) record.former ??= [new Map(record.fields), new Map(record.fields)]
      this.#write(fields)
      for (const [name, value] of this.changes) put(this.snapshot, name, value)
      if (this.cleared) this.snapshot = new Map(fields)
      record.idle = this.idle ?? record.idle
      record.elevated ||= this.elevating
      if (this.elevating) record.authenticated = 'now'
      record.fresh ||= this.rotating
      this.idle = undefined
      this.elevating = this.rotating = false
    }
    this.changes.clear()
    this.cleared = false
    if (record === undefined && this.replaced.length > 0) this.dropped = true
    // Who logs in goes on without what another request took over meanwhile; who logs out ends it.
    for (const place of this.replaced) {
      const old = this.records[place]!
      old.left = this.leaving
      if (record === undefined) this.#end(place)
      else Object.assign(old, { superseded: old.alive !== false || old.superseded === true, alive: this.goneBefore && old.alive === true ? 'either' : false })
    }
    this.replaced = []
    this.leaving = false
  }

  /** The request failed: what was not stored by itself is dropped, and what was to end goes on. */
  discard (): void {
    this.drop()
    if (this.current !== undefined || this.replaced.length === 0) return
    this.current = this.replaced[0]!
    this.replaced = []
    this.gone = this.goneBefore
    this.snapshot = new Map(this.record!.fields)
  }

  /** The same state of the store, seen by somebody who does not know what this one knows: a lost answer. */
  graft (done: World): World {
    const world = this.clone()
    world.records = done.records.map((record, i) => ({ ...record, alive: this.records[i]?.alive ?? record.alive }))
    return world
  }
}

function copy ({ fields, former, ...rest }: Kept): Kept {
  return { ...rest, fields: new Map(fields), ...former !== undefined && { former: [new Map(former[0]), new Map(former[1])] } }
}

function put (fields: Values, name: string, value: Json | undefined): void {
  if (value === undefined) fields.delete(name)
  else fields.set(name, value)
}

/** Steps that ask the store. */
const ASKING = /^(?:live\..*|save|reload|destroy)$/

/** How a request may end. */
export interface Ending {
  status: number
  code?: string | undefined
  world: World
  /** It is a 503: the browser keeps what it had. */
  withheld?: boolean
}

/** Goes through a program while it runs. */
export class Oracle {
  /** Never empty. */
  worlds: World[]
  /** The store fails in this request. */
  readonly #faulty: boolean
  readonly #came: boolean
  readonly #haunted: boolean
  #calls = 0
  /** The calls that nobody waited for yet. */
  readonly #underWay = new Map<number, Step>()
  /** The calls that change a field in a way that the request does not know yet; `*` for all fields. */
  readonly #busy = new Map<number, string>()

  /** @param haunted in a list there may be an entry of a session that ended while the list could not be reached: it counts */
  constructor (rules: Rules, record: Kept | undefined, { faulty, haunted }: { faulty: boolean, haunted: boolean }) {
    this.worlds = [new World(rules, record)]
    this.#came = record !== undefined
    this.#faulty = faulty
    this.#haunted = haunted
  }

  /** Whether a step says clearly what is wanted. Others are left out: no contract says what comes of them. */
  allows (step: Step): boolean {
    const known = (name: string): boolean => ![...this.#busy.values()].some((busy) => busy === name || busy === '*')
    const every = (holds: (world: World) => boolean): boolean => this.worlds.every(holds)
    if (this.worlds.length > 200) return false
    switch (step[0]) {
      // Changes of a value that is being changed.
      case 'push': case 'hold': case 'held': case 'live.append': return known('list') && !(this.#faulty && step[0].startsWith('h')) && this.#roomFor(step)
      case 'nest': return known('obj')
      case 'regenerate': return step[1].every(known)
      // Whether what is to end goes on then.
      case 'reload': return every(({ replaced, owed }) => replaced.length === 0 && owed.length === 0)
      // Whether an empty record is worth being made.
      case 'live.delete': case 'live.take': return every((world) => world.record !== undefined || !(world.changes.has(step[1]) || world.cleared)) && this.#roomFor(step)
      case 'live.set': case 'live.setIfAbsent': case 'live.incr': return this.#roomFor(step)
      // The other tab needs a cookie that is still good.
      case 'tab': return this.#came && this.#underWay.size === 0 && every(({ current, gone, replaced, records }) => current === 0 && !gone && replaced.length === 0 && !records[0]!.fresh)
      default: return true
    }
  }

  /**
   * Under limits it is open whether what stands before a live write is refused; where data were carried over from a session
   * that another request took over, whether a live write notices that, or the save; and where the store fails, whether what
   * was assigned after a clear() goes along with the clear().
   */
  #roomFor ([kind, name]: Step): boolean {
    if (!kind.startsWith('live.')) return true
    return this.worlds.every(({ rules, changes, cleared, goneBefore, carried }) => !(goneBefore && carried) && !(this.#faulty && cleared && changes.size > 0) && (rules.limits === undefined || !(cleared || changes.has(name as string))))
  }

  /** Notes that a step is taken now. Its number is for `settle`. */
  call (step: Step): number {
    const call = ++this.#calls
    const worlds: World[] = []
    for (const world of this.worlds) {
      for (const [next, outcome] of this.#branches(world, step)) {
        next.expected.set(call, outcome)
        worlds.push(next)
      }
    }
    this.worlds = worlds
    if (ASKING.test(step[0])) this.#underWay.set(call, step)
    if (step[0] === 'reload') this.#busy.set(call, '*')
    else if (step[0].startsWith('live.') && step[0] !== 'live.get') this.#busy.set(call, step[1] as string)
    else if (['destroy', 'null', 'regenerate'].includes(step[0])) this.#busy.clear()
    return call
  }

  #branches (world: World, step: Step): Array<[World, Outcome]> {
    const lost = this.#faulty && ASKING.test(step[0]) ? this.#lost(world, step) : []
    const variant = world.clone()
    const outcome = world.attempt(step)
    const branches: Array<[World, Outcome]> = [[world, outcome]]
    if (step[0] === 'reload' && world.rotating) {
      // Whether a new secret is one of the "unsaved changes" is open.
      const other = world.clone()
      other.rotating = false
      branches.push([other, outcome])
    }
    if (step[0] === 'reload' && outcome.code !== undefined) {
      // Whether it drops what it could not load anew is open.
      variant.forget()
      branches.push([variant, outcome])
      if (variant.rotating) {
        const other = variant.clone()
        other.rotating = false
        branches.push([other, outcome])
      }
    }
    if (step[0] === 'save' && variant.gone && variant.unclear) {
      const other = variant.clone()
      other.drop()
      branches.push([other, {}])
    }
    if (step[0] === 'save' && outcome.code !== undefined && variant.current === undefined && variant.replaced.length > 0) {
      // Of a regeneration that cannot be stored, nothing is left, or the ending.
      const other = variant.clone()
      other.drop()
      branches.push([other, outcome])
    }
    if (outcome.code === 'SESSION_TOO_MANY_FIELDS' && step[0] === 'save') {
      // Whether what could not be stored is dropped is open.
      variant.refused = true
      branches.push([variant, outcome])
    }
    return [...branches, ...lost]
  }

  /** What may be when the store did not answer. */
  #lost (world: World, step: Step): Array<[World, Outcome]> {
    const outcome: Outcome = { code: UNAVAILABLE }
    const done = world.clone()
    const { code } = done.attempt(step)
    const nothing = world.clone()
    if (step[0] === 'reload') {
      nothing.forget()
      return [nothing, world.clone()].flatMap((world): Array<[World, Outcome]> => {
        if (!world.rotating) return [[world, outcome]]
        const other = world.clone()
        other.rotating = false
        return [[world, outcome], [other, outcome]]
      })
    }
    if (step[0] === 'destroy') {
      nothing.destroy(true)
      const ended = nothing.clone()
      for (const place of ended.owed) ended.records[place]!.alive = false
      return [[nothing, outcome], [ended, outcome]]
    }
    if (code !== undefined || step[0] === 'live.get') return [[nothing, outcome]]
    return this.#unanswered(world, done, step).map((world) => [world, outcome])
  }

  /** What may be when the store did not say whether it carried out a write. */
  #unanswered (world: World, done: World, step: Step): World[] {
    const unknown = world.graft(done)
    // Of a logout nobody knows whether it happened.
    if (done.record === undefined || world.leaving) for (const place of world.replaced) unknown.records[place]!.alive = 'either'
    const worlds = [world.clone(), unknown]
    const adopted = done.clone()
    adopted.records = unknown.records.map(copy)
    adopted.snapshot = new Map(world.snapshot)
    worlds.push(adopted)
    // An update takes two writes: of what was assigned before, and of what comes of it.
    if (step[0] === 'live.append' && (world.changes.has('list') || world.cleared)) {
      const begun = world.clone()
      const list = world.get('list')
      const first: Step = list === undefined ? ['live.delete', 'list'] : ['live.set', 'list', list]
      if (begun.attempt(first).code === undefined) worlds.push(begun, ...this.#unanswered(world, begun, first))
    }
    return worlds
  }

  /** Notes what a step came to. Answers what it should have come to, where it fits no world. */
  settle (call: number, actual: Outcome): Outcome | undefined {
    this.#underWay.delete(call)
    this.#busy.delete(call)
    if (this.#haunted && actual.code === 'SESSION_LIMIT_REACHED') {
      for (const world of this.worlds) {
        world.expected.delete(call)
        world.discard()
      }
      return undefined
    }
    const fitting = this.worlds.filter(({ expected }) => {
      const { code, result } = expected.get(call)!
      return code === actual.code && (code !== undefined || isDeepStrictEqual(result, actual.result))
    })
    const [{ expected }] = this.worlds as [World]
    const should = expected.get(call)
    if (fitting.length > 0) this.worlds = fitting
    for (const { expected } of this.worlds) expected.delete(call)
    return fitting.length > 0 ? undefined : should
  }

  /** Whether nothing is under way that a reading would depend on. */
  get quiet (): boolean {
    return this.#underWay.size === 0
  }

  /** Holds what the program reads against the worlds, and leaves those that it fits. */
  reads (fits: (world: World) => boolean): boolean {
    const fitting = this.worlds.filter(fits)
    if (fitting.length > 0) this.worlds = fitting
    return fitting.length > 0
  }

  /**
   * All ways in which the request may end.
   *
   * @param status what the program wants it to be answered, or the status of the error with which it failed
   * @param broken the answer fails while it is sent: then it may be saved or not
   */
  endings (status: number, code: string | undefined, broken: boolean): Ending[] {
    const endings: Ending[] = []
    for (const world of this.worlds) {
      const refusals = [...this.#underWay].flatMap(([call, [kind]]) => {
        const { code } = world.expected.get(call)!
        // These two are tried again at the end where the store failed.
        return code === undefined || (code === UNAVAILABLE && (kind === 'save' || kind === 'destroy')) ? [] : [code]
      })
      if (status < 500) endings.push(...this.#succeeded(world, status, refusals))
      if (status >= 500 || broken) endings.push(...this.#failed(world, broken ? 500 : status, code))
      if (broken) for (const ending of this.#succeeded(world, 500, refusals)) endings.push(ending)
      if (this.#faulty) endings.push(...this.#unavailable(world))
    }
    return endings
  }

  #succeeded (world: World, status: number, refusals: readonly string[]): Ending[] {
    const endings: Ending[] = []
    for (const code of refusals) {
      const failed = world.clone()
      failed.discard()
      if (code === 'SESSION_GONE') for (const world of this.#undone(failed)) endings.push({ status: 409, code, world })
      if (code !== UNAVAILABLE) endings.push({ status: code === 'SESSION_GONE' ? 409 : 500, code, world: failed })
    }
    // Nobody was told of it by the call, so the response has to tell.
    if (refusals.includes(UNAVAILABLE) || refusals.includes('SESSION_GONE')) return endings
    const saved = world.clone()
    if (world.gone && world.unclear) endings.push({ status, world })
    const { code } = saved.attempt(['save'])
    for (const place of saved.owed) saved.records[place]!.alive = false
    if (code === undefined || (world.refused && code !== 'SESSION_GONE')) endings.push({ status, world: saved })
    else endings.push({ status: code === 'SESSION_GONE' ? 409 : 500, code, world: saved })
    return endings
  }

  /** What this request made may be taken back, because the cookie that opens it is not sent. */
  #undone (world: World): World[] {
    const undone = world.clone()
    for (const record of undone.records.slice(this.#came ? 1 : 0)) record.alive = 'either'
    for (const record of undone.records) record.fresh = false
    if (!this.#came || undone.current === 0) return [undone]
    // What was to take its place did not: what the browser had goes on, unless that was over.
    const back = undone.clone()
    back.current = 0
    const first = back.records[0]!
    if (first.superseded === true) Object.assign(first, { alive: 'either', superseded: false })
    return [undone, back]
  }

  #failed (world: World, status: number, code: string | undefined): Ending[] {
    if (status === 503) return [{ status, code, world, withheld: true }]
    const failed = world.clone()
    for (const place of failed.owed) failed.records[place]!.alive = 'either'
    const chain = [...failed.replaced, ...failed.current === undefined ? [] : [failed.current]]
    if (chain.length < 2) {
      failed.discard()
      return [{ status, code, world: failed }]
    }
    // A live write made a new record before the handler failed: it takes the old one's place, or it does not.
    return chain.map((survivor) => {
      const world = failed.clone()
      world.drop()
      world.current = survivor
      world.replaced = []
      world.snapshot = new Map(world.record!.fields)
      for (const place of chain) if (place !== survivor) world.records[place]!.alive = 'either'
      return { status, code, world }
    })
  }

  /** The store did not let it come to an end: the browser keeps the session as it was, or with the plain changes in it. */
  #unavailable (world: World): Ending[] {
    const ending = (world: World): Ending => ({ status: 503, code: UNAVAILABLE, world, withheld: true })
    const plain = world.current === 0 && !world.rotating && !world.elevating && world.replaced.length === 0
    if (!plain) return [ending(world)]
    const saved = world.clone()
    return saved.attempt(['save']).code === undefined ? [ending(world), ending(saved)] : [ending(world)]
  }
}
