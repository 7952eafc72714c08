/**
 * Histories of clients that use one session at the same time: what each asked for and was answered, and whether an order
 * of single steps explains all of it.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Json, Script, Step } from './application.js'
import { idOf, type Answer } from './client.js'
import { hold, InvariantBroken, type Invariant } from './invariants.js'
import { explain, type Operation } from './linearizability.js'

/** What a client wants of the session; one thing per request, so that a request is one operation. */
export type Action =
  | { readonly type: 'get' | 'delete' | 'live.get' | 'live.delete' | 'live.take', readonly field: string }
  | { readonly type: 'set' | 'push' | 'live.set' | 'live.setIfAbsent' | 'live.append', readonly field: string, readonly value: Json }
  | { readonly type: 'live.incr', readonly field: string, readonly by: number }
  | { readonly type: 'assign', readonly values: Readonly<Record<string, Json>> }
  /** A new record with nothing in it but this. */
  | { readonly type: 'regenerate', readonly values: Readonly<Record<string, Json>> }
  | { readonly type: 'data' | 'clear' | 'touch' | 'rotate' | 'destroy' }

/** One request, from asking to answer. */
export interface Event {
  readonly client: number
  readonly action: Action
  /** The token that came with it. */
  readonly token: string
  readonly invoke: number
  readonly return: number
  readonly answer: Answer
}

/** Something that happened to all records: a Redis that keeps nothing was started anew. */
export interface Loss { readonly invoke: number, readonly return: number }

/** What is there when all is over. */
export interface Remains { readonly at: number, readonly ids: readonly string[] }

export interface History {
  /** The session that all clients begin with. */
  readonly token: string
  readonly fields: Readonly<Record<string, Json>>
  /** How often that session could not be created: a record may be there all the same, and nobody was told of it. */
  readonly failures?: number
  readonly events: readonly Event[]
  readonly losses?: readonly Loss[]
  readonly remains?: Remains
  /** How long after its answer a failed write may still happen, in the unit of the times. */
  readonly fence: number
}

/** The handler's steps for an action. */
export function scriptOf (action: Action, before: number, after: number): Script {
  const steps = ((): Step[] => {
    switch (action.type) {
      case 'get': case 'delete': case 'live.get': case 'live.delete': case 'live.take': return [[action.type, action.field]]
      case 'set': case 'push': case 'live.set': case 'live.setIfAbsent': case 'live.append': return [[action.type, action.field, action.value]]
      case 'live.incr': return [['live.incr', action.field, action.by]]
      case 'assign': return [['assign', action.values]]
      case 'regenerate': return [['regenerate', []], ['assign', action.values]]
      default: return [[action.type]]
    }
  })()
  // The snapshot is taken before, and saved after.
  return { steps: [...before > 0 ? [['yield', before] as const] : [], ...steps, ...after > 0 ? [['yield', after] as const] : []], members: true }
}

/** The result of an action's own step. */
function resultOf ({ action, answer }: Event): Json {
  const results = answer.results.filter((result) => result !== null)
  return action.type === 'regenerate' ? null : results[0] ?? null
}

type Fields = Readonly<Record<string, Json>>
interface Entry { readonly owners: readonly string[], readonly fields: Fields }
type State = Readonly<Record<string, Entry>>

/** What a request came to. */
type Outcome = 'done' | 'anonymous' | 'gone' | 'nothing' | 'unknown'

function outcomeOf ({ action, answer }: Event): Outcome {
  if (answer.status === 200) return answer.anonymous ? 'anonymous' : 'done'
  if (answer.status === 409 && answer.code === 'SESSION_GONE') return 'gone'
  if (answer.status === 409 && answer.code === 'SESSION_UPDATE_CONFLICT') return 'nothing'
  if (answer.status === 503) return 'unknown'
  throw new InvariantBroken('I16', `${action.type} was answered ${answer.status} ${answer.code}`)
}

const READS: ReadonlySet<Action['type']> = new Set(['get', 'data', 'live.get', 'touch'])

/**
 * Checks a history against the invariants: first what concerns the session as a whole, then each field, then everything
 * together. So the error names what broke.
 */
export function check (history: History): void {
  const { events } = history
  checkSuccessors(events)
  checkRotations(events)
  const fields = new Set(events.flatMap(({ action }) => 'field' in action ? [action.field] : 'values' in action ? Object.keys(action.values) : []))
  const liveness = livenessInvariant(history)
  checkProjection(history, () => false, () => liveness)
  for (const field of fields) {
    const sees = (name: string): boolean => name === field
    // What can be explained once nobody asks who may and what ended is no matter of the field.
    checkProjection(history, sees, () => !isExplained(ofFirstRecord(history), sees) && isExplained(asIfAllowed(history), sees) ? liveness : fieldInvariant(events, field))
  }
  checkProjection(history, () => true, () => 'I16')
}

/** I8: all holders of one secret are given the same successor. */
function checkSuccessors (events: readonly Event[]): void {
  const successors = new Map<string, string>()
  for (const { token, answer, action } of events) {
    if (!isSuccessor(token, answer.cookie) || action.type === 'rotate') continue
    const known = successors.get(token)
    hold('I8', known === undefined || known === answer.cookie, 'one secret was given two successors')
    successors.set(token, answer.cookie!)
  }
}

/** I9: a new secret opens the same record. */
function checkRotations (events: readonly Event[]): void {
  for (const event of events) {
    if (event.action.type !== 'rotate' || outcomeOf(event) !== 'done') continue
    const { token, answer: { cookie } } = event
    hold('I9', isSuccessor(token, cookie) && cookie !== token, 'rotate() led to another record')
  }
}

function isSuccessor (token: string, cookie: string | undefined): boolean {
  return cookie !== undefined && cookie !== '' && idOf(cookie) === idOf(token)
}

function livenessInvariant ({ events, remains }: History): Invariant {
  const ends = events.filter((event) => event.action.type === 'destroy' && outcomeOf(event) === 'done')
  const isBack = ends.some((end) => {
    const id = idOf(end.token)
    return remains?.ids.includes(id) === true ||
      events.some((event) => outcomeOf(event) === 'done' && end.return < event.invoke && idOf(event.token) === id)
  })
  return isBack || (ends.length > 0 && !events.some(({ action }) => action.type === 'rotate')) ? 'I6' : 'I8'
}

function fieldInvariant (events: readonly Event[], field: string): Invariant {
  const touching = events.filter(({ action }) => 'field' in action && action.field === field && !READS.has(action.type))
  if (touching.some(({ action }) => action.type === 'live.incr')) return 'I3'
  // Where one client alone writes a field, only writes to other fields can have got in its way.
  return new Set(touching.map(({ client }) => client)).size > 1 ? 'I2' : 'I1'
}

/** What happened to the record that all clients began with. */
function ofFirstRecord ({ token, fields, events, losses, fence }: History): History {
  return { token, fields, events: events.filter((event) => idOf(event.token) === idOf(token)), fence, ...(losses !== undefined && { losses }) }
}

/** The same in a world without secrets and without ends. */
function asIfAllowed (history: History): History {
  const { token, fields, events, fence } = ofFirstRecord(history)
  const allowed = events.map((event): Event => {
    const ends = outcomeOf(event) !== 'done' || ['rotate', 'regenerate', 'destroy'].includes(event.action.type)
    return ends ? { ...event, action: { type: 'touch' }, answer: { ...event.answer, status: 200, anonymous: false, cookie: undefined } } : event
  })
  return { token, fields, events: allowed, fence }
}

function isExplained (history: History, sees: (field: string) => boolean): boolean {
  const { initial, operations } = project(history, sees)
  return explain(operations, initial, keyOf) === undefined
}

function checkProjection (history: History, sees: (field: string) => boolean, invariant: () => Invariant): void {
  const { initial, operations } = project(history, sees)
  const longest = explain(operations, initial, keyOf)
  if (longest === undefined) return
  throw new InvariantBroken(invariant(), `No order explains:\n${operations.map(String).join('\n')}\nThe longest beginning that can be explained:\n${longest.map(String).join('\n')}`)
}

function keyOf (state: State): string {
  return JSON.stringify(Object.entries(state).sort())
}

/** A history as operations on those fields that are seen. */
function project ({ token, fields, events, fence, losses = [], remains, failures = 0 }: History, sees: (field: string) => boolean): { initial: State, operations: Array<Operation<State>> } {
  const only = (fields: Fields): Fields => Object.fromEntries(Object.entries(fields).filter(([name]) => sees(name)))
  const successors = new Set(events.filter(({ action, answer, token }) => action.type !== 'rotate' && isSuccessor(token, answer.cookie)).map(({ answer }) => answer.cookie!))
  // Where nothing rotated, everybody who came with a token of this record was given it by a renewal.
  const owners = [token, ...successors, ...events.some(({ action }) => action.type === 'rotate') ? [] : events.filter((event) => idOf(event.token) === idOf(token)).map((event) => event.token)]
  const initial: State = { [idOf(token)]: { owners: [...new Set(owners)], fields: only(fields) } }
  const operations = [
    ...events.flatMap((event) => operationsOf(event, fence, sees, only)),
    ...losses.map((loss): Operation<State> => ({ ...loss, optional: false, apply: () => ({}), toString: () => 'everything is lost' }))
  ]
  if (remains !== undefined) operations.push(remaining(remains, events, token, failures))
  return { initial, operations }
}

/** The records that are there in the end are those that should be. */
function remaining (remains: Remains, events: readonly Event[], token: string, failures: number): Operation<State> {
  const known = new Set([token, ...events.flatMap(({ answer: { cookie } }) => cookie === undefined || cookie === '' ? [] : [cookie])].map(idOf))
  const ids = remains.ids.filter((id) => known.has(id)).sort()
  const strangers = remains.ids.length - ids.length
  const failed = failures + events.filter((event) => event.action.type === 'regenerate' && outcomeOf(event) !== 'done').length
  hold('I13', strangers <= failed, () => `${strangers} records that no cookie names`)
  return {
    invoke: remains.at,
    return: remains.at,
    optional: false,
    apply: (state) => isDeepStrictEqual(Object.keys(state).sort(), ids) ? state : undefined,
    toString: () => `in the end there is ${ids.join() || 'nothing'}`
  }
}

/** What an event did to the state, as far as the given fields are concerned. */
function operationsOf (event: Event, fence: number, sees: (field: string) => boolean, only: (fields: Fields) => Fields): Array<Operation<State>> {
  const { action, token, invoke, answer } = event
  const outcome = outcomeOf(event)
  const id = idOf(token)
  const result = resultOf(event)
  const text = `${event.invoke.toFixed(1)} to ${event.return.toFixed(1)}, client ${event.client}: ${JSON.stringify(action)} ${outcome} ${JSON.stringify(result)}`
  const owns = (state: State): boolean => state[id]?.owners.includes(token) === true
  const operation = (apply: (state: State) => State | undefined, rest: Partial<Operation<State>> = {}): Operation<State> =>
    ({ invoke, return: event.return, optional: false, apply, toString: () => text, ...rest })

  if (outcome === 'nothing') return []
  // Whoever was turned away did not own the record at some moment.
  if (outcome === 'anonymous' || outcome === 'gone') return [operation((state) => owns(state) ? undefined : state)]

  const without = (state: State): State => Object.fromEntries(Object.entries(state).filter(([other]) => other !== id))
  const change = (state: State, change: (fields: Fields) => Fields | undefined): State | undefined => {
    if (!owns(state)) return undefined
    const fields = change(state[id]!.fields)
    return fields === undefined ? undefined : { ...state, [id]: { ...state[id]!, fields: only(fields) } }
  }
  const known = outcome === 'done'
  const apply = (state: State): State | undefined => {
    switch (action.type) {
      // It ends whatever it finds; whoever was answered so had a session when he came.
      case 'destroy': return without(state)
      // It carries nothing over, so it ends what it finds, too.
      case 'regenerate': {
        const rest = without(state)
        return known ? { ...rest, [idOf(answer.cookie!)]: { owners: [answer.cookie!], fields: only(action.values) } } : rest
      }
      case 'rotate': return owns(state) ? { ...state, [id]: { ...state[id]!, owners: known ? [answer.cookie!] : [] } } : undefined
      // A live read of a session that ended meanwhile finds the field absent.
      case 'live.get': return !owns(state) && result === null ? state : change(state, (fields) => effect(action, fields, sees, known, result))
      // A touch is nobody's wish: it is dropped without a word where the session ended meanwhile.
      case 'touch': return state
      default: return change(state, (fields) => effect(action, fields, sees, known, result))
    }
  }
  if (known) {
    hold('I10', action.type !== 'regenerate' || (answer.cookie ?? '') !== '', 'a new record, and no cookie')
    if (action.type !== 'push' || !sees(action.field)) return [operation(apply)]
    // Reading the list and storing it are two operations.
    const before = (result as Json[]).slice(0, -1)
    return [operation((state) => owns(state) && isDeepStrictEqual(state[id]!.fields[action.field] ?? [], before) ? state : undefined), operation(apply)]
  }
  if (READS.has(action.type)) return []
  // Writes have a deadline; ending a session has none, because late is better than never.
  const endless = action.type === 'destroy' || action.type === 'regenerate'
  return [operation(apply, { optional: true, return: endless ? Infinity : event.return + fence })]
}

/** What an action does to the fields; `undefined` where the known result contradicts them. */
function effect (action: Action, fields: Fields, sees: (field: string) => boolean, known: boolean, result: Json): Fields | undefined {
  if ('field' in action && !sees(action.field)) return fields
  const value = 'field' in action ? fields[action.field] : undefined
  const fits = (expected: Json | undefined): boolean => !known || isDeepStrictEqual(result, expected ?? null)
  const removed = (name: string): Fields => Object.fromEntries(Object.entries(fields).filter(([other]) => other !== name))
  switch (action.type) {
    case 'get': case 'live.get': return fits(value) ? fields : undefined
    case 'data': {
      const seen = Object.fromEntries(Object.entries(result as Fields).filter(([name]) => sees(name)))
      return !known || isDeepStrictEqual(seen, { ...fields }) ? fields : undefined
    }
    case 'set': case 'live.set': return { ...fields, [action.field]: action.value }
    case 'push': return { ...fields, [action.field]: known ? result : [...value as Json[] ?? [], action.value] }
    case 'delete': return removed(action.field)
    case 'live.delete': return fits(value !== undefined) ? removed(action.field) : undefined
    case 'live.take': return fits(value) ? removed(action.field) : undefined
    case 'live.setIfAbsent':
      if (!fits(value === undefined)) return undefined
      return value === undefined ? { ...fields, [action.field]: action.value } : fields
    case 'live.incr': {
      const sum = (value as number ?? 0) + action.by
      return fits(sum) ? { ...fields, [action.field]: sum } : undefined
    }
    case 'live.append': {
      const list = [...value as Json[] ?? [], action.value]
      return fits(list) ? { ...fields, [action.field]: list } : undefined
    }
    case 'assign': return { ...fields, ...action.values }
    case 'clear': return {}
    default: return fields
  }
}
