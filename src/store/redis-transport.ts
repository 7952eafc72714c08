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

/** Sends script calls over one ioredis client. */
export class RedisTransport {
  readonly #client: Redis | Cluster
  readonly #timeout: number
  /** Commands under way, oldest first, with the time at which they are overdue: all have the same timeout, so they get there in this order. */
  readonly #pending = new Map<Command, number>()
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
    const command = new Command('evalsha', [script.sha, '1', key, ...args])
    return this.#send(command).then((reply) => {
      this.#pending.delete(command)
      return read(reply)
    }, (error) => {
      this.#pending.delete(command)
      if (!isRedisError(error, 'NOSCRIPT')) throw publicError(error)
      return this.#teach(script, key, args).then(read)
    })
  }

  /** Runs a script by its full text: only that can teach a Redis that restarted, or failed over, the script. */
  async #teach (script: Script, key: string, args: readonly string[]): Promise<Reply> {
    const command = new Command('eval', [script.text, '1', key, ...args])
    try {
      return await this.#send(command)
    } catch (error) {
      throw publicError(error)
    } finally {
      this.#pending.delete(command)
    }
  }

  #send (command: Command): Promise<Reply> {
    // Asking the client to queue would turn 'away' into 'slow', and deliver the command long after its sender gave up.
    if (this.#client.status !== 'ready') return Promise.reject(new Error('not connected'))
    this.#pending.set(command, performance.now() + this.#timeout)
    // Unreferenced: a command under way keeps its socket, and so the process, alive by itself.
    this.#timer ??= setTimeout(this.#expire, this.#timeout).unref()
    this.#cork()
    this.#client.sendCommand(command)
    return command.promise
  }

  /** Fails the commands that are overdue. One timer for all of them, because a timer per command shows in profiles. */
  readonly #expire = (): void => {
    this.#timer = undefined
    const now = performance.now()
    for (const [command, due] of this.#pending) {
      if (due > now) {
        this.#timer = setTimeout(this.#expire, Math.ceil(due - now)).unref()
        return
      }
      command.reject(new Error(`no answer within ${this.#timeout} ms`))
    }
  }

  /** Gathers the commands of this event-loop turn, up to the limit, into one socket write. */
  #cork (): void {
    const enough = Math.min(Math.max(this.#pending.size / 2, MIN_COMMANDS_PER_WRITE), MAX_COMMANDS_PER_WRITE)
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
