/**
 * Sessions in Redis: one hash per session, one script per operation, one key per script. So everything works on a
 * Cluster as it is.
 */
import { randomBytes } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'
import { keyspaceOf, overlap, serversOf, wouldOverlap, type Keyspace } from './keyspace.js'
import { readRecord } from './redis-reply.js'
import { applyOperations, reservedName } from './operations.js'
import * as record from './record.js'
import {
  createScript, destroyScript, finalizeScript, inspectScript, lookScript, readScript, renewScript, retireScript, scriptsFor, standsScript,
  takeBackScript, type RuledScripts
} from './redis-scripts.js'
import type { Script } from './redis-script.js'
import type { Report } from './redis-health.js'
import { scanIds } from './redis-scan.js'
import { subscribeToEnds } from './redis-subscriber.js'
import { RedisTransport, type RedisTime, type Reply, type Stamp } from './redis-transport.js'
import { StoreUnavailableError } from '../errors.js'
import {
  announceScript, createForUserScript, describeScript, endScript, entriesScript, leaveScript
} from './redis-user-scripts.js'
import type {
  Announced, Announcement, Bound, Description, EndListener, Entry, LoadedRecord, Operation, OperationResult, RawRecord,
  Refusal, Rules, Seen, Settings, Store, StoreStatus, Subscription, UserList, Write, Written
} from './store.js'

/**
 * How much longer after it was called than its timeout a write may happen, milliseconds: this process may be too busy to send
 * it. `UserIndex` relies on that, and on what a clock that is not known well may add (`RedisClock`).
 */
const MAX_DELAY = 5000
/** How often a write is sent to a Redis whose clock says that it comes too late. */
const ATTEMPTS = 3
/**
 * Milliseconds that a connection may be silent while it owes an answer. Where the connection is cut, ioredis by default sends
 * everybody's unanswered commands again, and others may work on it; so not before Redis itself takes a script for stuck
 * (`busy-reply-threshold`).
 */
const PATIENCE = 5000

/** The flags of a load. The clock is asked for where it is not known. */
const WITH_TOUCH: Stamp = { index: 1, text: ({ known }) => known ? 't' : 'tc' }
const WITHOUT_TOUCH: Stamp = { index: 1, text: ({ known }) => known ? '' : 'c' }

export class RedisStore implements Store {
  readonly #client: Redis | Cluster
  readonly #transport: RedisTransport
  readonly #prefix: string
  readonly #timeout: number
  readonly #scripts = new WeakMap<Rules, RuledScripts>()

  /**
   * @param client an ioredis client or Cluster, connected or connecting; the store never closes it
   * @param options.prefix what stands before the id in a key. Default `session:`
   * @param options.timeout milliseconds that one operation may take. Default 250
   * @param options.patience milliseconds after which a connection is cut that owes an answer, and over which nothing at all
   *   came meanwhile, so that the client connects again; they begin when the timeout is over. Default 5000
   * @param options.report called with `false` and a reason when Redis goes away (or, not connected yet, cannot be reached),
   *   and with `true` when it is back
   */
  constructor (client: Redis | Cluster, options: { prefix?: string | undefined, timeout?: number | undefined, patience?: number | undefined, report?: Report | undefined } = {}) {
    this.#client = client
    this.#prefix = options.prefix ?? 'session:'
    this.#timeout = options.timeout ?? 250
    this.#transport = new RedisTransport(client, {
      timeout: this.#timeout, patience: options.patience ?? PATIENCE, probeKey: this.#prefix, report: options.report ?? (() => {})
    })
  }

  /** Whether another store has its keys, or some of them, in the same Redis, by whatever address it got there. */
  async overlaps (other: RedisStore): Promise<boolean> {
    const [own, others] = [this, other].map((store) => keyspaceOf(store.#client, store.#prefix)) as [Keyspace, Keyspace]
    if (overlap(own, others)) return true
    if (!wouldOverlap(own, others)) return false
    const [ids, otherIds] = await Promise.all([serversOf(this.#client), serversOf(other.#client)])
    return ids.some((id) => otherIds.includes(id))
  }

  /** The connection, for what else has to be asked of the same Redis. */
  get transport (): RedisTransport {
    return this.#transport
  }

  load (id: string, digest: string, touch: boolean, rules: Rules): Promise<LoadedRecord | undefined> {
    return this.#run(this.#scriptsOf(rules).load, id, [digest, ''], readLoaded, touch ? WITH_TOUCH : WITHOUT_TOUCH)
  }

  create (id: string, digest: string, write: Write, rules: Rules): Promise<Written | undefined> {
    const problem = reservedName(write)
    if (problem !== undefined) return Promise.reject(problem)
    const { idleTimeout = rules.idleTimeout / 1000, lifetime, persistent } = write.settings
    const ttl = record.lasting(Math.min(idleTimeout * 1000, lifetime === undefined ? rules.lifetime : lifetime * 1000))
    const args = ['', String(ttl), digest, String(idleTimeout)]
    const script = pushOwner(args, write)
    if (lifetime !== undefined) args.push(record.LIFETIME, String(lifetime))
    if (persistent === true) args.push(record.PERSISTENT, '1')
    let results: OperationResult[]
    if (fitsAnyway(write.operations, rules)) {
      for (const { field, text } of write.operations) args.push(field, text)
      results = write.operations.map(() => true)
    } else {
      // Nobody else can have a say in a record that does not exist yet, so what goes into it is settled here.
      const applied = applyOperations(new Map(), write, rules)
      if (applied.refusal !== undefined) return Promise.resolve({ now: 0, ttl: 0, results: [], refusal: applied.refusal })
      for (const [field, text] of applied.data) args.push(field, text)
      results = applied.results
    }
    return this.#fenced(script, id, args, readAnswer).then((answer) => {
      if (answer === null) return undefined
      const written = this.#written(answer, results)
      if (write.binding === undefined) return written
      return answer[0] === 'barred' ? { ...written, results: [], barred: true } : { ...written, left: 'nothing' }
    })
  }

  write (id: string, lineage: string, write: Write, rules: Rules): Promise<Written | undefined> {
    const problem = reservedName(write)
    if (problem !== undefined) return Promise.reject(problem)
    const usual = usualSave(lineage, write)
    if (usual === undefined) return this.#operate(id, lineage, write, rules)
    const until = this.#latest()
    return this.#fenced(this.#scriptsOf(rules).save, id, usual, readAnswer, until).then((answer) => {
      if (answer?.[0] !== 'ok') return this.#operate(id, lineage, write, rules, until)
      return this.#written(answer, write.operations.map(() => true))
    })
  }

  read (id: string, lineage: string, names: readonly string[]): Promise<Array<Buffer | null> | undefined> {
    return this.#run(readScript, id, [lineage, ...names], (reply) => {
      if (reply === null) return undefined
      // Metadata are not data, whoever asks.
      return (reply as Array<Buffer | null>).map((text, i) => record.isReserved(names[i]!) ? null : text)
    })
  }

  look (id: string, lineage: string): Promise<Seen | undefined> {
    return this.#run(lookScript, id, [lineage], readLoaded)
  }

  stands (id: string, digest: string): Promise<boolean> {
    return this.#run(standsScript, id, [digest], (reply) => reply === 1)
  }

  renew (id: string, digest: string, nextDigest: string, sealed: string): Promise<string | undefined> {
    return this.#run(renewScript, id, [digest, nextDigest, sealed], (reply) => reply === null ? undefined : String(reply))
  }

  retire (id: string, mark: string, lineage?: string): Promise<boolean> {
    return this.#fenced(retireScript, id, ['', mark, ...lineage === undefined ? [] : [lineage]], readAnswer).then((answer) => answer?.[0] === 'ok')
  }

  finalize (id: string, mark: string): Promise<boolean> {
    return this.#run(finalizeScript, id, [mark], (reply) => reply === 1)
  }

  takeBack (id: string, mark: string): Promise<boolean> {
    return this.#run(takeBackScript, id, [mark], (reply) => reply === 1)
  }

  destroy (id: string, lineage?: string): Promise<boolean> {
    return this.#run(destroyScript, id, lineage === undefined ? [] : [lineage], (reply) => reply === 1)
  }

  end (id: string, ticket?: string): Promise<boolean> {
    return this.#run(endScript, id, ticket === undefined ? [] : [ticket], (reply) => reply === 1)
  }

  announce (user: string, { id, ticket, lasts, keep, since, limit, replaces = [] }: Announcement): Promise<Announced> {
    const args = [
      id, ticket ?? randomBytes(8).toString('base64url'), ticket === undefined ? '' : '1', String(Math.ceil(lasts)), String(Math.ceil(keep)),
      since === undefined ? '' : String(since), String(limit?.max ?? 0), limit?.then ?? '', replaces.join(' ')
    ]
    return this.#run(announceScript, record.USER_KEY + user, args, (reply, time) => {
      const [outcome, made, now, ...members] = (reply as Buffer[]).map(String) as [Announced['outcome'], string, string, ...string[]]
      time.learn(Number(now))
      return { outcome, ticket: made, now: Number(now), entries: readEntries(members) }
    })
  }

  async leave (user: string, entries: ReadonlyArray<Pick<Entry, 'id' | 'ticket'>>): Promise<void> {
    if (entries.length === 0) return
    await this.#run(leaveScript, record.USER_KEY + user, entries.map(({ id, ticket }) => `${id}:${ticket}`), () => {})
  }

  entries (user: string, ending?: { except: string | undefined, keep: number }): Promise<UserList> {
    const args = ending === undefined ? [] : [String(Math.ceil(ending.keep)), ending.except ?? '']
    return this.#run(entriesScript, record.USER_KEY + user, args, (reply) => {
      const [now, since, members] = reply as [Buffer, Buffer, Buffer[]]
      return { now: Number(String(now)), since: since.length === 0 ? undefined : Number(String(since)), entries: readEntries(members.map(String)) }
    })
  }

  describe (ids: readonly string[]): Promise<Array<Description | undefined>> {
    return Promise.all(ids.map((id) => this.#run(describeScript, id, [], (reply) => {
      return reply === null ? undefined : readDescription(id, reply as Reply[])
    })))
  }

  scan (): AsyncIterable<string[]> {
    return scanIds(this.#client, this.#prefix, { timeout: this.#timeout, patience: this.#transport.patience })
  }

  subscribe (listener: EndListener): Subscription {
    return subscribeToEnds(this.#client, this.#prefix + record.ENDED_CHANNEL, listener)
  }

  inspect (id: string): Promise<RawRecord | undefined> {
    return this.#run(inspectScript, id, [], (reply) => {
      if (reply === null) return undefined
      const [ttl, flat] = reply as [number, Buffer[]]
      const pairs = Array.from({ length: flat.length / 2 }, (_, i) => [String(flat[2 * i]), String(flat[2 * i + 1])] as const)
      return { key: this.#prefix + id, ttl, fields: Object.fromEntries(pairs) }
    })
  }

  status (): StoreStatus {
    return this.#transport.status()
  }

  /** Takes its listeners off the client. Whoever made the client closes it. */
  async close (): Promise<void> {
    this.#transport.close()
  }

  /** Any write, by the script that knows every operation. */
  async #operate (id: string, lineage: string, write: Write, rules: Rules, until = this.#latest()): Promise<Written | undefined> {
    const args = ['', lineage, (write.mode === 'together' ? 't' : 'a') + write.touch.charAt(0), settingsArgument(write.settings)]
    for (const operation of write.operations) pushOperation(args, operation)
    pushUser(args, write)
    const answer = await this.#fenced(this.#scriptsOf(rules).operate, id, args, readAnswers, until)
    if (answer === null) return undefined
    const [status, , , first, ...rest] = answer
    if (status === 'ok') {
      const written = this.#written(answer, rest.map((result, i) => operationResult(write.operations[i]!, result)))
      return write.binding === undefined || first === null ? written : { ...written, left: readBound(first as Reply[]) ?? 'nothing' }
    }
    if (status === 'moved') {
      const [ticket = null, ...texts] = rest
      return { ...this.#written(answer, []), moved: { bound: readBound([first!, ticket]), texts: texts.map((text) => text === null ? null : String(text)) } }
    }
    if (status === 'barred') return { ...this.#written(answer, []), barred: true }
    const results = [first!, ...rest]
    const refusal = { refused: String(results[0]) as Refusal['refused'], field: String(results[1]) }
    return { ...this.#written(answer, []), refusal }
  }

  /** When a write that is called now must not happen any more, by `performance.now()`. */
  #latest (): number {
    return performance.now() + this.#timeout + MAX_DELAY
  }

  /**
   * Runs a script whose first argument is its deadline: until when, by Redis' clock, a write may still happen. A frozen server or
   * a stuck connection may deliver a command long after its sender was told that it failed, and after later writes; the
   * script drops it then. Where it says so to a sender who still waits, nothing happened: this process was too busy to send
   * it in time, or did not know the clock of that Redis (yet, or after a failover). Then it is sent again.
   */
  #fenced<T extends Answer | null> (script: Script, id: string, args: string[], read: (reply: Reply) => T, until = this.#latest(), attempts = ATTEMPTS): Promise<T> {
    const deadline: Stamp = { index: 0, text: (time) => time.deadline(until) }
    return this.#run(script, id, args, (reply, time) => {
      const answer = read(reply)
      const now = Number(answer?.[1])
      if (now > 0) time.learn(now)
      return answer
    }, deadline).then((answer) => {
      if (answer?.[0] !== 'late') return answer
      if (performance.now() > until) throw new StoreUnavailableError('this process was too busy to write in time')
      if (attempts === 1) throw new StoreUnavailableError('the clock of Redis is not steady')
      return this.#fenced(script, id, args, read, until, attempts - 1)
    })
  }

  #written ([, now, ttl]: Answer, results: OperationResult[]): Written {
    return { now: Number(now), ttl: Number(ttl), results }
  }

  #run<T> (script: Script, id: string, args: readonly string[], read: (reply: Reply, time: RedisTime) => T, stamp?: Stamp): Promise<T> {
    return this.#transport.run(script, this.#prefix + id, args, read, stamp)
  }

  #scriptsOf (rules: Rules): RuledScripts {
    let scripts = this.#scripts.get(rules)
    if (scripts === undefined) {
      scripts = scriptsFor(rules)
      this.#scripts.set(rules, scripts)
    }
    return scripts
  }
}

/** What a load answers. It tells the time only where it was asked to. */
function readLoaded (reply: Reply, time: RedisTime): LoadedRecord | undefined {
  if (reply === null) return undefined
  const loaded = readRecord(reply as Buffer)
  if (loaded.now === 0) loaded.now = time.now()
  else time.learn(loaded.now)
  return loaded
}

/** What a writing script answers: how it went, Redis' clock, milliseconds left, and what else there is to say. */
type Answer = [status: string, now: Reply, ttl: Reply, ...results: Reply[]]

/** An answer in one line of text, or `null`. */
function readAnswer (reply: Reply): Answer | null {
  if (reply === null) return null
  const [status = '', now = 0, ttl = 0] = String(reply).split(' ')
  return [status, Number(now), Number(ttl)]
}

/** An answer as an array, or `null`. */
function readAnswers (reply: Reply): Answer | null {
  if (reply === null) return null
  const [status = '', now = 0, ttl = 0, ...results] = reply as Reply[]
  return [String(status), now, ttl, ...results]
}

/** A record's user and ticket. */
function readBound ([user = null, ticket = null]: Reply[]): Bound | undefined {
  return user === null || ticket === null ? undefined : { user: String(user), ticket: String(ticket) }
}

/** Members of a user's list. Whatever else stands there was not put there by this plugin. */
function readEntries (members: readonly string[]): Entry[] {
  return members.flatMap((member) => {
    const [, id = '', ticket = '', since] = /^([^:]+):([^:]+:(\d+))$/.exec(member) ?? []
    return record.isId(id) ? [{ id, ticket, since: Number(since) }] : []
  })
}

function readDescription (id: string, reply: Reply[]): Description {
  const [now, ttl, created, accessed, user = null, ticket = null, authenticated, device, network] = reply
  const text = (value: Reply | undefined): string | undefined => value === null || value === undefined ? undefined : String(value)
  const number = (value: Reply | undefined): number | undefined => text(value) === undefined ? undefined : Number(text(value))
  return {
    id,
    now: Number(String(now)),
    ttl: Number(ttl),
    createdAt: number(created) ?? 0,
    lastAccessedAt: number(accessed) ?? 0,
    bound: readBound([user, ticket]),
    authenticatedAt: number(authenticated),
    device: text(device),
    network: text(network)
  }
}

/** Whether these are plain sets that are far from every limit: the usual content of a new record. */
function fitsAnyway (operations: readonly Operation[], rules: Rules): operations is Array<Extract<Operation, { type: 'set' }>> {
  if (operations.length > rules.maxFields) return false
  let characters = 0
  for (const operation of operations) {
    if (operation.type !== 'set') return false
    characters += operation.field.length + operation.text.length
  }
  // No character takes more than three bytes of UTF-8 per unit of its length.
  return characters * 3 <= rules.maxRecordSize
}

/** The most operations that the quick script takes: its HSET gets them all at once. */
const MAX_USUAL = 500

/** The arguments of the quick script for saving, or `undefined` where the write is more than it can do. */
function usualSave (lineage: string, { operations, settings, touch, binding }: Write): string[] | undefined {
  if (binding !== undefined || settings.elevate !== undefined) return undefined
  if (operations.length === 0 || operations.length > MAX_USUAL || touch === 'always' || settingsArgument(settings) !== '') return undefined
  const args = ['', lineage, touch === 'due' ? '1' : '0', '']
  let growth = 0
  for (const operation of operations) {
    if (operation.type !== 'set') return undefined
    growth += Buffer.byteLength(operation.field) + Buffer.byteLength(operation.text)
    args.push(operation.field, operation.text)
  }
  args[3] = String(growth)
  return args
}

/** The settings as the write script takes them: in a fixed order, `-` where nothing changes. */
function settingsArgument ({ idleTimeout, lifetime, persistent, digest }: Settings): string {
  if (idleTimeout === undefined && lifetime === undefined && persistent === undefined && digest === undefined) return ''
  const flag = persistent === undefined ? '-' : persistent ? '1' : '0'
  return `${idleTimeout ?? '-'} ${lifetime ?? '-'} ${flag} ${digest ?? '-'}`
}

/** Appends an operation as the write script takes it: its letter and arguments. */
function pushOperation (args: string[], operation: Operation): void {
  switch (operation.type) {
    case 'set': args.push('s', operation.field, operation.text); break
    case 'delete': args.push('d', operation.field); break
    case 'get': args.push('g', operation.field); break
    case 'setIfAbsent': args.push('n', operation.field, operation.text); break
    case 'increment': args.push('i', operation.field, operation.by, operation.min, operation.max); break
    case 'take': args.push('t', operation.field); break
    case 'replace': args.push('r', operation.field, optional(operation.expected), optional(operation.text)); break
    case 'clear': args.push('c'); break
  }
}

/** Appends what a write has to say about users, as the write script takes it. */
function pushUser (args: string[], { binding, announced, settings }: Write): void {
  if (binding !== undefined) {
    const { user, ticket, kept, when, authenticatedAt, device } = binding
    args.push('U', user ?? '', ticket, kept === true ? '1' : '', authenticatedAt === undefined ? '' : String(authenticatedAt), device?.label ?? '', device?.network ?? '', String(when.length))
    for (const [field, text] of when) args.push(field, optional(text))
  }
  if (announced !== undefined) args.push('A', announced)
  if (settings.elevate !== undefined) args.push('E', String(settings.elevate))
}

/** Appends whose a new record is, and says by which script it is created. */
function pushOwner (args: string[], { binding, settings }: Write): Script {
  const user = binding?.user ?? ''
  if (user === '' && settings.elevate === undefined) return createScript
  args.push(user, binding?.ticket ?? '', String(binding?.authenticatedAt ?? ''), String(settings.elevate ?? ''))
  const { label = '', network = '' } = binding?.device ?? {}
  if (user !== '' && label !== '') args.push(record.DEVICE, label)
  if (user !== '' && network !== '') args.push(record.NETWORK, network)
  return createForUserScript
}

/** A text that may be absent, told apart from the text `-`. */
function optional (text: string | null): string {
  return text === null ? '-' : `+${text}`
}

/** What the write script answered for one operation, in the contract's terms. */
function operationResult (operation: Operation, reply: Reply): OperationResult {
  if (Array.isArray(reply)) {
    const [head, detail] = reply as [Reply, Reply]
    if (operation.type === 'replace' && typeof head === 'number') {
      return { done: head === 1, current: detail === null ? null : String(detail) }
    }
    return { refused: String(detail) as Refusal['refused'] }
  }
  switch (operation.type) {
    case 'get': case 'take': return reply as Buffer | null
    case 'increment': return String(reply)
    default: return reply === 1
  }
}
