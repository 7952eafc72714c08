/**
 * Getting a script's call to Redis and its answer back: fast, in bounded time, and with errors that leak nothing.
 */
import { Command, type Cluster, type Redis } from 'ioredis'
import { RecordError, StoreUnavailableError } from '../errors.js'
import { Attention } from './attention.js'
import type { RedisClock } from './redis-clock.js'
import { Connections } from './redis-connections.js'
import { RedisHealth, type Report } from './redis-health.js'
import { NOT_A_RECORD } from './redis-scripts.js'
import type { Script } from './redis-script.js'
import { cutWhereOpeningFails } from './redis-silence.js'
import { redisCode } from './redis-trouble.js'
import type { StoreStatus } from './store.js'

/** What a call may answer: ioredis hands over strings as Buffers where no encoding is asked for. */
export type Reply = null | number | Buffer | Reply[]

/**
 * How many commands go out in one socket write. Writing the commands of a busy event-loop turn together saves system
 * calls; letting Redis begin while this process still prepares the next ones saves waiting. So: half of what is under way,
 * within these bounds. Measured on reads: always 16 halves the rate at 10 connections, always 4 costs a tenth at 50.
 */
const MIN_COMMANDS_PER_WRITE = 4
const MAX_COMMANDS_PER_WRITE = 16

/**
 * How many commands may be under way, given up ones that Redis has not answered yet included. No Redis answers more than
 * that within the default timeout; what came on top would only take memory, and fail later instead of now.
 */
const MAX_UNDER_WAY = 10_000

/** Replies after which a Cluster client sends a command to another node. The node that gave one did nothing. */
const REDIRECTION = /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /

/** The clock of the Redis that a call is written to, or that answered it. */
export interface RedisTime {
  /** Whether any answer over this connection told the time. */
  readonly known: boolean
  /** The time, about, whole milliseconds since 1970. Only where it is known. */
  now (): number
  /** Takes note of the time that the answer tells, milliseconds since 1970. */
  learn (now: number): void
  /**
   * By when the call may happen, as an argument for its script: as long as it is waited for, and no longer than `until`, by
   * `performance.now()`. 0 where the time is not known.
   */
  deadline (until: number): string
}

/** An argument that can be told only when, and to whom, a call is written. */
export interface Stamp {
  /** Which one of the arguments. */
  readonly index: number
  readonly text: (time: RedisTime) => string
}

/** What stands in a command before a script's own arguments: the script, the number of keys, the key. */
const OWN_ARGUMENTS = 3

/** A script call under way. They form a list in the order in which they were sent. */
class Call extends Command implements RedisTime {
  /** When it was sent, by `performance.now()`, and when it is overdue, by the attention of its transport. */
  sent = 0
  due = 0
  next: Call | undefined
  socket: Redis['stream'] | undefined
  readonly #stamp: Stamp | undefined
  readonly #connections: Connections
  #clock: RedisClock | undefined
  #written = 0
  #doubt = 0

  /**
   * @param name `evalsha` or `eval`
   * @param script SHA-1 or text
   */
  constructor (connections: Connections, name: string, script: string, key: string, args: readonly string[], stamp: Stamp | undefined) {
    // Handed to the constructor, the arguments would be flattened and searched for what is no string: for a session of
    // a few fields that costs more than all the rest of sending.
    super(name)
    this.args = [script, '1', key, ...args]
    this.#connections = connections
    this.#stamp = stamp
  }

  /** Called by ioredis for every socket that it is written to: more than one where a Cluster redirects it. */
  override toWritable (socket: Redis['stream']): string | Buffer {
    this.socket = socket
    this.#clock = this.#connections.clock(socket)
    this.#written = performance.now()
    if (this.#stamp !== undefined && this.args.length > 0) this.args[OWN_ARGUMENTS + this.#stamp.index] = this.#stamp.text(this)
    return super.toWritable(socket)
  }

  get known (): boolean {
    return this.#clock!.known
  }

  now (): number {
    return this.#clock!.at(performance.now())
  }

  learn (now: number): void {
    this.#clock!.learn(now, this.#written, performance.now())
  }

  deadline (until: number): string {
    const { doubt } = this.#clock!
    this.due += doubt - this.#doubt
    this.#doubt = doubt
    return String(this.#clock!.deadline(Math.min(this.sent + this.#connections.timeout, until)))
  }
}

/** Sends script calls over one ioredis client. */
export class RedisTransport {
  /** Milliseconds that a connection may stay silent after the timeout of a command that it did not answer; then it is cut. */
  readonly patience: number
  readonly #client: Redis | Cluster
  readonly #connections: Connections
  readonly #attention = new Attention()
  /** The calls under way, oldest first, with answered ones between them: all have the same timeout, so they are overdue in this order. */
  #oldest: Call | undefined
  #newest: Call | undefined
  #underWay = 0
  /** Those that are not sent yet. */
  #unsent: Call[] = []
  #isWriteScheduled = false
  /** Calls off what fails calls when they are overdue. */
  #leaveExpiring: (() => void) | undefined
  readonly #health: RedisHealth
  readonly #leaveOpening: () => void

  /**
   * @param client connected or connecting; Cluster and Sentinel clients work alike, whatever their options
   * @param options.timeout milliseconds that a call may take before it counts as failed
   * @param options.patience milliseconds that a connection may stay silent beyond that; then it is cut, and its client
   *   connects again
   * @param options.probeKey a key under which nothing is ever stored, see `RedisHealth`
   * @param options.report hears when Redis goes away and comes back
   */
  constructor (client: Redis | Cluster, { timeout, patience, probeKey, report }: { timeout: number, patience: number, probeKey: string, report: Report }) {
    this.#client = client
    // One that never connects again would be closed for good.
    this.patience = 'nodes' in client || typeof client.options.retryStrategy === 'function' ? patience : Infinity
    const silence = timeout + this.patience
    this.#connections = new Connections({ timeout, patience: this.patience })
    this.#health = new RedisHealth(client, { prefix: probeKey, silence, report })
    this.#leaveOpening = cutWhereOpeningFails(client, silence)
    client.on('close', this.#onClose)
  }

  /** See `Store`. Asks Redis nothing. */
  status (): StoreStatus {
    return this.#obstacle() === undefined ? this.#health.status() : 'down'
  }

  /** Leaves the client alone from now on; it is not closed. */
  close (): void {
    this.#health.close()
    this.#connections.close()
    if (this.#oldest === undefined) {
      this.#leaveExpiring?.()
      this.#leaveExpiring = undefined
    }
    this.#leaveOpening()
    this.#client.off('close', this.#onClose)
  }

  /**
   * Runs a script on one key. The key goes out as it is: a `keyPrefix` of the client is not added.
   *
   * @param read makes the result of the reply
   * @param stamp an argument that is told only when the call is written
   * @throws StoreUnavailableError where Redis is away, too slow, or refuses (full, read-only, loading, …)
   * @throws RecordError where the key holds something else than a session record
   */
  run<T> (script: Script, key: string, args: readonly string[], read: (reply: Reply, time: RedisTime) => T, stamp?: Stamp): Promise<T> {
    const call = new Call(this.#connections, 'evalsha', script.sha, key, args, stamp)
    return this.#send(call).then((reply) => {
      this.#settled()
      this.#health.noteAnswer()
      return read(reply, call)
    }, (error) => {
      this.#settled()
      if (!isRedisError(error, 'NOSCRIPT')) throw this.#failure(error)
      // Only its full text can teach a script to a Redis that restarted, or failed over.
      const lesson = new Call(this.#connections, 'eval', script.text, key, args, stamp)
      return this.#teach(lesson).then((reply) => read(reply, lesson))
    })
  }

  async #teach (call: Call): Promise<Reply> {
    try {
      const reply = await this.#send(call)
      this.#health.noteAnswer()
      return reply
    } catch (error) {
      throw this.#failure(error)
    } finally {
      this.#settled()
    }
  }

  /** Takes note of a failure, and makes it the error that callers see. */
  #failure (error: unknown): Error {
    const failure = publicError(error)
    if (failure !== error && failure instanceof StoreUnavailableError) this.#health.noteFailure(error as Error)
    return failure
  }

  /** Why nothing is sent to Redis at the moment, or `undefined`. */
  #obstacle (): string | undefined {
    // Asking the client to queue would turn 'away' into 'slow', and deliver the command long after its sender gave up.
    const obstacle = this.#health.obstacle()
    if (obstacle !== undefined) return obstacle
    const { owed } = this.#connections
    // One connection answers in the order of asking, so nothing gets an answer before what waits already too long.
    if (owed > 0 && !this.#client.isCluster) return 'Redis is behind with its answers'
    if (this.#underWay + owed >= MAX_UNDER_WAY) return 'too many commands are under way'
    return undefined
  }

  /**
   * Takes a call for the next socket write: at the end of this event-loop turn, or as soon as there are enough. What
   * depends on the time is told only then.
   */
  #send (call: Call): Promise<Reply> {
    const obstacle = this.#obstacle()
    this.#underWay++
    if (obstacle !== undefined) return Promise.reject(new StoreUnavailableError(obstacle))
    const enough = Math.min(Math.max(this.#underWay / 2, MIN_COMMANDS_PER_WRITE), MAX_COMMANDS_PER_WRITE)
    if (this.#unsent.length >= enough) this.#write()
    this.#unsent.push(call)
    if (!this.#isWriteScheduled) {
      this.#isWriteScheduled = true
      setImmediate(this.#writeRest)
    }
    return call.promise
  }

  readonly #writeRest = (): void => {
    this.#isWriteScheduled = false
    this.#write()
  }

  /** Writes the calls that wait for it. */
  #write (): void {
    const calls = this.#unsent
    this.#unsent = []
    const now = performance.now()
    const due = this.#attention.now() + this.#connections.timeout
    // Since a call was made, the connection may have broken, or somebody may have told it to go to another database.
    const obstacle = this.#health.obstacle()
    // The sockets of a Cluster's nodes are its own business.
    const stream = 'stream' in this.#client ? this.#client.stream : undefined
    stream?.cork()
    for (const call of calls) {
      call.sent = now
      call.due = due
      if (obstacle === undefined) this.#hand(call)
      else call.reject(new StoreUnavailableError(obstacle))
    }
    stream?.uncork()
  }

  /** Hands a call to the client. */
  #hand (call: Call): void {
    if (this.#newest === undefined) this.#oldest = call
    else this.#newest.next = call
    this.#newest = call
    this.#expireAt(call.due)
    const { reject } = call
    this.#client.sendCommand(call)
    if (this.#client.isCluster) {
      // By its own options a Cluster client may send a command again whose answer was lost: an increment would count twice.
      const redirect = call.reject
      call.reject = (error) => { (REDIRECTION.test(error.message) ? redirect : reject)(error) }
    }
  }

  /** A call has its answer, or failed. */
  #settled (): void {
    this.#underWay--
    while (this.#oldest?.isSettled === true) this.#oldest = this.#oldest.next
    if (this.#oldest === undefined) this.#newest = undefined
  }

  /** One timer for all calls, because a timer per call shows in profiles. */
  #expireAt (due: number): void {
    this.#leaveExpiring ??= this.#attention.at(due, this.#expire)
  }

  readonly #expire = (then: number): void => {
    this.#leaveExpiring = undefined
    this.#giveUpUntil(then, `no answer within ${this.#connections.timeout} ms`)
  }

  /** What the connection did not answer it never will. A client with options of its own may go on trying. */
  readonly #onClose = (): void => {
    this.#giveUpUntil(Infinity, 'the connection failed')
    this.#connections.forget()
  }

  /** Fails the calls that are due by then. */
  #giveUpUntil (then: number, why: string): void {
    for (let call = this.#oldest; call !== undefined; call = this.#oldest) {
      if (!call.isSettled) {
        if (call.due > then) {
          this.#expireAt(call.due)
          return
        }
        this.#giveUp(call, why)
      }
      this.#oldest = call.next
      // A client may keep a call for long; it shall not keep all that came after it.
      call.next = undefined
    }
    this.#newest = undefined
  }

  /** Fails a call whose fate is unknown. If its client ever sends it again, it will be a PING. */
  #giveUp (call: Call, why: string): void {
    const error = new StoreUnavailableError(why)
    this.#health.noteFailure(error)
    call.reject(error)
    call.name = 'ping'
    call.args = []
    call.resolve = call.reject = this.#connections.owe(call.socket)
  }
}

function isRedisError (error: unknown, code: string): boolean {
  return error instanceof Error && error.message.startsWith(code)
}

/**
 * The error that callers see. ioredis attaches the command with all arguments to its errors, and loggers print them:
 * keys, digests and values. So nothing of the original is kept but the code that Redis gave.
 */
export function publicError (error: unknown): Error {
  if (error instanceof RecordError || error instanceof StoreUnavailableError) return error
  const code = error instanceof Error ? redisCode(error) : undefined
  if (code === 'WRONGTYPE') return new RecordError('its key holds another type than a hash')
  if (code === NOT_A_RECORD) return new RecordError('created_at or session_ttl is missing or no number')
  return new StoreUnavailableError(code === undefined ? 'the connection failed' : `Redis answered ${code}`)
}
