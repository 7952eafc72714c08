/** Parties of clients that use one session at the same time: generated, played in an arena, and recorded as a history. */
import fc from 'fast-check'
import type { Json } from './application.js'
import { Client, type Send } from './client.js'
import { scriptOf, type Action, type Event, type History, type Loss } from './history.js'
import { hold } from './invariants.js'

/** One request of one client. */
export interface Turn {
  readonly kind: Kind
  /** Which of the application's processes gets it. */
  readonly server: number
  /** How many turns of the event loop the handler waits between loading and acting, and between acting and saving. */
  readonly before: number
  readonly after: number
  /** The answer gets lost on its way. */
  readonly lost: boolean
}

/** The turns of each client. */
export type Party = ReadonlyArray<readonly Turn[]>

/** How often which action is asked for. */
const KINDS = {
  'set own': 4,
  'push own': 3,
  'get own': 2,
  'delete own': 1,
  'set shared': 3,
  'get shared': 3,
  'delete shared': 1,
  'live set shared': 1,
  'live get shared': 1,
  'live delete shared': 1,
  incr: 4,
  'live append': 2,
  take: 2,
  setIfAbsent: 2,
  'assign pair': 3,
  data: 3,
  clear: 1,
  touch: 1,
  rotate: 2,
  regenerate: 2,
  destroy: 2
} as const

export type Kind = keyof typeof KINDS

/** The actions that leave the session to everybody who has it. */
export const PEACEFUL = (Object.keys(KINDS) as Kind[]).filter((kind) => !['rotate', 'regenerate', 'destroy', 'clear'].includes(kind))
export const EVERYTHING = Object.keys(KINDS) as Kind[]

/** Parties of two to so many clients. */
export function parties ({ clients = 5, turns = 5, kinds = EVERYTHING, losses = false }: { clients?: number, turns?: number, kinds?: readonly Kind[], losses?: boolean } = {}): fc.Arbitrary<Party> {
  const turn = fc.record<Turn>({
    kind: fc.oneof(...kinds.map((kind) => ({ arbitrary: fc.constant(kind), weight: KINDS[kind] }))),
    server: fc.nat(1),
    before: fc.nat(3),
    after: fc.nat(3),
    lost: losses ? fc.boolean() : fc.constant(false)
  })
  return fc.array(fc.array(turn, { minLength: 1, maxLength: turns, size: 'max' }), { minLength: 2, maxLength: clients, size: 'max' })
}

/** What the session holds in the beginning. */
const FIELDS: Readonly<Record<string, Json>> = { once: 'first', n: 5, a: 0, b: 0, shared: 'nobody' }

/** The action of a client's turn. Every value is written once only, so that a read tells which write it saw. */
function actionOf (kind: Kind, client: number, turn: number): Action {
  const own = `own${client}`
  const value = `${client}.${turn}`
  switch (kind) {
    case 'set own': return { type: 'set', field: own, value: [value] }
    case 'push own': return { type: 'push', field: own, value }
    case 'get own': return { type: 'get', field: own }
    case 'delete own': return { type: 'delete', field: own }
    case 'set shared': return { type: 'set', field: 'shared', value }
    case 'get shared': return { type: 'get', field: 'shared' }
    case 'delete shared': return { type: 'delete', field: 'shared' }
    case 'live set shared': return { type: 'live.set', field: 'shared', value }
    case 'live get shared': return { type: 'live.get', field: 'shared' }
    case 'live delete shared': return { type: 'live.delete', field: 'shared' }
    case 'incr': return { type: 'live.incr', field: 'n', by: 1 }
    case 'live append': return { type: 'live.append', field: 'list', value }
    case 'take': return { type: 'live.take', field: 'once' }
    case 'setIfAbsent': return { type: 'live.setIfAbsent', field: 'once', value }
    case 'assign pair': return { type: 'assign', values: { a: value, b: value } }
    case 'regenerate': return { type: 'regenerate', values: { user: value } }
    case 'data': case 'clear': case 'touch': case 'rotate': case 'destroy': return { type: kind }
  }
}

/** Where a party takes place. */
export interface Arena {
  /** The application's processes. */
  readonly servers: readonly Send[]
  /** How long after its answer a failed write may still happen, in the unit of `now`. */
  readonly fence: number
  now (): number
  /** Runs the clients to their end. */
  run <T> (clients: Promise<T>): Promise<T>
  /** The ids of all records, after holding each against I7. */
  remains (): Promise<readonly string[]>
  /** What happened to all records meanwhile. */
  readonly losses?: readonly Loss[]
}

/** Plays a party; what came of it is to be checked. */
export async function play (party: Party, arena: Arena, begin: (token: string) => Promise<void> = async () => {}): Promise<History> {
  const first = new Client()
  // Under faults, a slow machine may need more than one attempt.
  let attempt = 0
  for (; first.token === undefined && attempt < 10; attempt++) {
    const { status } = await arena.run(first.send(arena.servers[0]!, { steps: [['assign', FIELDS]] }))
    hold('I16', status === 200 || status === 503, () => `the first request was answered ${status}`)
  }
  hold('I16', first.token !== undefined, 'the session was not created')
  const token = first.token!
  await begin(token)

  const events: Event[] = []
  await arena.run(Promise.all(party.map(async (turns, number) => {
    const client = new Client(token)
    for (const [index, { kind, server, before, after, lost }] of turns.entries()) {
      const presented = client.token
      if (presented === undefined) break
      const action = actionOf(kind, number, index)
      const invoke = arena.now()
      const answer = await client.send(arena.servers[server]!, scriptOf(action, before, after), { lost })
      events.push({ client: number, action, token: presented, invoke, return: arena.now(), answer })
    }
  })))
  const ids = await arena.remains()
  return { token, fields: FIELDS, failures: attempt - 1, events, fence: arena.fence, remains: { at: arena.now(), ids }, ...(arena.losses !== undefined && { losses: arena.losses }) }
}
