/**
 * Getting a script's call to Redis and its answer back: fast, in bounded time, and with errors that leak nothing.
 */
import { Command, type Cluster, type Redis } from 'ioredis'
import { RecordError, StoreUnavailableError } from '../errors.js'
import { RedisHealth, type Report } from './redis-health.js'
import { NOT_A_RECORD } from './redis-scripts.js'
import type { Script } from './redis-script.js'
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

/** A script call under way. They form a list in the order in which they were sent. */
class Call extends Command {
  /** When it is overdue, by `performance.now()`. */
  due = 0
  next: Call | undefined

  /**
   * @param name `evalsha` or `eval`
   * @param script SHA-1 or text
   */
  constructor (name: string, script: string, key: string, args: readonly string[]) {
    // Handed to the constructor, the arguments would be flattened and searched for what is no string: for a session of
    // a few fields that costs more than all the rest of sending.
    super(name)
    this.args = [script, '1', key, ...args]
  }
}

/** Sends script calls over one ioredis client. */
export class RedisTransport {
  readonly #client: Redis | Cluster
  readonly #timeout: number
  /** The calls under way, oldest first, with answered ones between them: all have the same timeout, so they are overdue in this order. */
  #oldest: Call | undefined
  #newest: Call | undefined
  #underWay = 0
  #timer: NodeJS.Timeout | undefined
  #corked: { uncork (): void } | undefined
  #corkedCommands = 0
  #flushScheduled = false
  readonly #health: RedisHealth
  /** Commands that were given up and that the present connection may still answer. */
  #owed = { count: 0 }

  /**
   * @param client connected or connecting; Cluster and Sentinel clients work alike, whatever their options
   * @param options.timeout milliseconds that a call may take before it counts as failed
   * @param options.probeKey a key under which nothing is ever stored, see `RedisHealth`
   * @param options.report hears when Redis goes away and comes back
   */
  constructor (client: Redis | Cluster, { timeout, probeKey, report }: { timeout: number, probeKey: string, report: Report }) {
    this.#client = client
    this.#timeout = timeout
    this.#health = new RedisHealth(client, probeKey, report)
    client.on('close', this.#onClose)
  }

  /** See `Store`. Asks Redis nothing. */
  status (): StoreStatus {
    return this.#obstacle() === undefined ? this.#health.status() : 'down'
  }

  /** Leaves the client alone from now on; it is not closed. */
  close (): void {
    this.#health.close()
    this.#client.off('close', this.#onClose)
  }

  /**
   * Runs a script on one key. The key goes out as it is: a `keyPrefix` of the client is not added.
   *
   * @param read makes the result of the reply
   * @throws StoreUnavailableError where Redis is away, too slow, or refuses (full, read-only, loading, …)
   * @throws RecordError where the key holds something else than a session record
   */
  run<T> (script: Script, key: string, args: readonly string[], read: (reply: Reply) => T): Promise<T> {
    const call = new Call('evalsha', script.sha, key, args)
    return this.#send(call).then((reply) => {
      this.#settled()
      this.#health.noteAnswer()
      return read(reply)
    }, (error) => {
      this.#settled()
      if (!isRedisError(error, 'NOSCRIPT')) throw this.#failure(error)
      return this.#teach(script, key, args).then(read)
    })
  }

  /** Runs a script by its full text: only that can teach a Redis that restarted, or failed over, the script. */
  async #teach (script: Script, key: string, args: readonly string[]): Promise<Reply> {
    try {
      const reply = await this.#send(new Call('eval', script.text, key, args))
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
    // One connection answers in the order of asking, so nothing gets an answer before what waits already too long.
    if (this.#owed.count > 0 && !this.#client.isCluster) return 'Redis is behind with its answers'
    if (this.#underWay + this.#owed.count >= MAX_UNDER_WAY) return 'too many commands are under way'
    return undefined
  }

  #send (call: Call): Promise<Reply> {
    const obstacle = this.#obstacle()
    this.#underWay++
    if (obstacle !== undefined) return Promise.reject(new StoreUnavailableError(obstacle))
    call.due = performance.now() + this.#timeout
    if (this.#newest === undefined) this.#oldest = call
    else this.#newest.next = call
    this.#newest = call
    // Unreferenced: a command under way keeps its socket, and so the process, alive by itself.
    this.#timer ??= setTimeout(this.#expire, this.#timeout).unref()
    this.#cork()
    const { reject } = call
    this.#client.sendCommand(call)
    if (this.#client.isCluster) {
      // By its own options a Cluster client may send a command again whose answer was lost: an increment would count twice.
      const redirect = call.reject
      call.reject = (error) => { (REDIRECTION.test(error.message) ? redirect : reject)(error) }
    }
    return call.promise
  }

  /** A call has its answer, or failed. */
  #settled (): void {
    this.#underWay--
    while (this.#oldest?.isSettled === true) this.#oldest = this.#oldest.next
    if (this.#oldest === undefined) this.#newest = undefined
  }

  /**
   * One timer for all calls, because a timer per call shows in profiles. Where this process was too busy to read the
   * answers that are there already, they are read before anything is given up.
   */
  readonly #expire = (): void => {
    setImmediate(() => {
      this.#timer = undefined
      this.#giveUpUntil(performance.now(), `no answer within ${this.#timeout} ms`)
    })
  }

  /** What the connection did not answer it never will. A client with options of its own may go on trying. */
  readonly #onClose = (): void => {
    this.#giveUpUntil(Infinity, 'the connection failed')
    this.#owed = { count: 0 }
  }

  /** Fails the calls that are due by then. */
  #giveUpUntil (then: number, why: string): void {
    for (let call = this.#oldest; call !== undefined; call = this.#oldest) {
      if (!call.isSettled) {
        if (call.due > then) {
          this.#timer ??= setTimeout(this.#expire, Math.ceil(call.due - then)).unref()
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
    const owed = this.#owed
    owed.count++
    call.resolve = call.reject = () => { owed.count-- }
  }

  /** Gathers the commands of this event-loop turn, up to the limit, into one socket write. */
  #cork (): void {
    const enough = Math.min(Math.max(this.#underWay / 2, MIN_COMMANDS_PER_WRITE), MAX_COMMANDS_PER_WRITE)
    if (this.#corkedCommands >= enough) this.#uncork()
    if (this.#corked === undefined) {
      if (!('stream' in this.#client)) return // a Cluster: its nodes' sockets are its own business
      this.#corked = this.#client.stream
      this.#client.stream.cork()
    }
    this.#corkedCommands++
    if (!this.#flushScheduled) {
      this.#flushScheduled = true
      setImmediate(this.#flush)
    }
  }

  readonly #flush = (): void => {
    this.#flushScheduled = false
    this.#uncork()
  }

  #uncork (): void {
    const stream = this.#corked
    this.#corked = undefined
    this.#corkedCommands = 0
    stream?.uncork()
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
