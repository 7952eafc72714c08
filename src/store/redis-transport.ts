/**
 * Getting a script's call to Redis and its answer back: fast, in bounded time, and with errors that leak nothing.
 */
import { Command, type Cluster, type Redis } from 'ioredis'
import { RecordError, StoreUnavailableError } from '../errors.js'
import { NOT_A_RECORD, type Script } from './redis-scripts.js'

/** What a call may answer: ioredis hands over strings as Buffers where no encoding is asked for. */
export type Reply = null | number | Buffer | Reply[]

/**
 * How many commands go out in one socket write. Writing the commands of a busy event-loop turn together saves system
 * calls; letting Redis begin while this process still prepares the next ones saves waiting. So: half of what is under way,
 * within these bounds. Measured on reads: always 16 halves the rate at 10 connections, always 4 costs a tenth at 50.
 */
const MIN_COMMANDS_PER_WRITE = 4
const MAX_COMMANDS_PER_WRITE = 16

/** Error codes of Redis that are safe, and useful, to name: the first word of its error replies. */
const REDIS_ERROR_CODE = /^([A-Z]{2,32})\b/

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

  /**
   * @param client a connected client; Cluster and Sentinel clients work alike
   * @param timeout milliseconds that a call may take before it counts as failed
   */
  constructor (client: Redis | Cluster, timeout: number) {
    this.#client = client
    this.#timeout = timeout
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
      return read(reply)
    }, (error) => {
      this.#settled()
      if (!isRedisError(error, 'NOSCRIPT')) throw publicError(error)
      return this.#teach(script, key, args).then(read)
    })
  }

  /** Runs a script by its full text: only that can teach a Redis that restarted, or failed over, the script. */
  async #teach (script: Script, key: string, args: readonly string[]): Promise<Reply> {
    try {
      return await this.#send(new Call('eval', script.text, key, args))
    } catch (error) {
      throw publicError(error)
    } finally {
      this.#settled()
    }
  }

  #send (call: Call): Promise<Reply> {
    this.#underWay++
    // Asking the client to queue would turn 'away' into 'slow', and deliver the command long after its sender gave up.
    if (this.#client.status !== 'ready') return Promise.reject(new Error('not connected'))
    call.due = performance.now() + this.#timeout
    if (this.#newest === undefined) this.#oldest = call
    else this.#newest.next = call
    this.#newest = call
    // Unreferenced: a command under way keeps its socket, and so the process, alive by itself.
    this.#timer ??= setTimeout(this.#expire, this.#timeout).unref()
    this.#cork()
    this.#client.sendCommand(call)
    return call.promise
  }

  /** A call has its answer, or failed. */
  #settled (): void {
    this.#underWay--
    while (this.#oldest?.isSettled === true) this.#oldest = this.#oldest.next
    if (this.#oldest === undefined) this.#newest = undefined
  }

  /** Fails the calls that are overdue. One timer for all of them, because a timer per call shows in profiles. */
  readonly #expire = (): void => {
    this.#timer = undefined
    const now = performance.now()
    for (let call = this.#oldest; call !== undefined; call = call.next) {
      if (call.isSettled) continue
      if (call.due > now) {
        this.#timer = setTimeout(this.#expire, Math.ceil(call.due - now)).unref()
        return
      }
      call.reject(new Error(`no answer within ${this.#timeout} ms`))
    }
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
function publicError (error: unknown): Error {
  if (error instanceof RecordError) return error
  if (isRedisError(error, 'WRONGTYPE')) return new RecordError('its key holds another type than a hash')
  if (isRedisError(error, NOT_A_RECORD)) return new RecordError('created_at or session_ttl is missing or no number')
  if (!(error instanceof Error)) return new StoreUnavailableError('unknown error')
  const code = REDIS_ERROR_CODE.exec(error.message)?.[1]
  if (code !== undefined) return new StoreUnavailableError(`Redis answered ${code}`)
  if (/^(?:not connected|no answer within \d+ ms)$/.test(error.message)) return new StoreUnavailableError(error.message)
  return new StoreUnavailableError('the connection failed')
}
