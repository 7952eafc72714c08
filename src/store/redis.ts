/**
 * Sessions in Redis: one hash per session, one script per operation, one key per script. So everything works on a
 * Cluster as it is.
 */
import type { Cluster, Redis } from 'ioredis'
import { readRecord } from './redis-reply.js'
import {
  destroyScript, inspectScript, readScript, renewScript, scriptsFor, type RuledScripts, type Script
} from './redis-scripts.js'
import { RedisTransport, type Reply } from './redis-transport.js'
import { StoreUnavailableError } from '../errors.js'
import type { LoadedRecord, Operation, OperationResult, RawRecord, Refusal, Rules, Settings, Store, Write, Written } from './store.js'

/** The deadline while the clock of Redis is not known yet: before the first answer there is nothing to be late for. */
const NO_DEADLINE = String(Number.MAX_SAFE_INTEGER)

export class RedisStore implements Store {
  readonly #transport: RedisTransport
  readonly #prefix: string
  readonly #timeout: number
  readonly #scripts = new WeakMap<Rules, RuledScripts>()
  /** Redis' clock minus this process' monotonic one, as the last answer showed it. */
  #clockOffset: number | undefined

  /**
   * @param client an ioredis client or Cluster, connected or connecting; the store never closes it
   * @param options.prefix what stands before the id in a key. Default `session:`
   * @param options.timeout milliseconds that one operation may take. Default 250
   */
  constructor (client: Redis | Cluster, options: { prefix?: string, timeout?: number } = {}) {
    this.#prefix = options.prefix ?? 'session:'
    this.#timeout = options.timeout ?? 250
    this.#transport = new RedisTransport(client, this.#timeout)
  }

  async load (id: string, digest: string, touch: boolean, rules: Rules): Promise<LoadedRecord | undefined> {
    const reply = await this.#run(this.#scriptsOf(rules).load, id, [digest, touch ? '1' : '0'])
    if (reply === null) return undefined
    const loaded = readRecord(reply as Buffer)
    this.#learnClock(loaded.now)
    return loaded
  }

  async create (id: string, digest: string, write: Write, rules: Rules): Promise<Written | undefined> {
    return await this.#write('c', id, digest, write, rules)
  }

  async write (id: string, digest: string, write: Write, rules: Rules): Promise<Written | undefined> {
    return await this.#write('u', id, digest, write, rules)
  }

  async read (id: string, digest: string, names: readonly string[]): Promise<Array<Buffer | null> | undefined> {
    const reply = await this.#run(readScript, id, [digest, ...names])
    return reply === null ? undefined : reply as Array<Buffer | null>
  }

  async renew (id: string, digest: string, nextDigest: string, sealed: string): Promise<string | undefined> {
    const reply = await this.#run(renewScript, id, [digest, nextDigest, sealed])
    return reply === null ? undefined : String(reply)
  }

  async destroy (id: string, digest = ''): Promise<boolean> {
    return await this.#run(destroyScript, id, [digest]) === 1
  }

  async inspect (id: string): Promise<RawRecord | undefined> {
    const reply = await this.#run(inspectScript, id, [])
    if (reply === null) return undefined
    const [ttl, flat] = reply as [number, Buffer[]]
    const fields: Record<string, string> = {}
    for (let i = 0; i < flat.length; i += 2) {
      Object.defineProperty(fields, String(flat[i]), { value: String(flat[i + 1]), enumerable: true, configurable: true, writable: true })
    }
    return { key: this.#prefix + id, ttl, fields }
  }

  /** Nothing to release: whoever made the client closes it. */
  async close (): Promise<void> {}

  async #write (flag: 'c' | 'u', id: string, digest: string, write: Write, rules: Rules): Promise<Written | undefined> {
    const flags = flag + (write.mode === 'together' ? 't' : 'a') + write.touch.charAt(0)
    const args = [flags, digest, this.#deadline(), settingsArgument(write.settings)]
    for (const operation of write.operations) pushOperation(args, operation)
    const { write: script } = this.#scriptsOf(rules)
    let reply = await this.#run(script, id, args)
    if (Array.isArray(reply) && String(reply[0]) === 'late') {
      // Redis' clock is ahead of what it was, after a failover for instance. Nothing happened; now the time is known.
      this.#learnClock(Number(reply[1]))
      args[2] = this.#deadline()
      reply = await this.#run(script, id, args)
    }
    if (reply === null) return undefined
    const [status, now, ttl, ...results] = reply as Reply[]
    this.#learnClock(Number(now))
    const written = { now: Number(now), ttl: Number(ttl) }
    switch (String(status)) {
      case 'ok':
        return { ...written, results: results.map((result, i) => operationResult(write.operations[i]!, result)) }
      case 'refused':
        return { ...written, results: [], refusal: { refused: String(results[0]) as Refusal['refused'], field: String(results[1]) } }
      default:
        throw new StoreUnavailableError('the clock of Redis is not steady')
    }
  }

  #run (script: Script, id: string, args: readonly string[]): Promise<Reply> {
    return this.#transport.run(script, this.#prefix + id, args)
  }

  #scriptsOf (rules: Rules): RuledScripts {
    let scripts = this.#scripts.get(rules)
    if (scripts === undefined) {
      scripts = scriptsFor(rules)
      this.#scripts.set(rules, scripts)
    }
    return scripts
  }

  #learnClock (now: number): void {
    this.#clockOffset = now - performance.now()
  }

  /**
   * Until when, by Redis' clock, a write may still happen. A frozen server or a stuck connection may deliver a command
   * long after its sender was told that it failed, and after later writes; the script drops it then.
   */
  #deadline (): string {
    if (this.#clockOffset === undefined) return NO_DEADLINE
    return String(Math.ceil(performance.now() + this.#clockOffset + this.#timeout))
  }
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
