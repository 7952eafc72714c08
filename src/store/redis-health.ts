/**
 * Whether it makes sense to ask Redis for anything, as far as the connection and its last answers tell. Nothing here is
 * asked of Redis on behalf of a request: what is known is what events and failures said, and the check of every connection.
 */
import type { Cluster, Redis } from 'ioredis'
import { checkConnection, databaseOf, hasPassed, selectedBy } from './connection-check.js'
import { Diagnosis } from './redis-diagnosis.js'
import { placeOf } from './redis-place.js'
import { CLOSED, isReadOnly, isVague, redisCode, troubleOf, type Trouble } from './redis-trouble.js'
import type { StoreStatus } from './store.js'

/** How long a failure counts, milliseconds. After that, only the next one says that something is still wrong. */
const RECENT = 5000
/** So many failures in a row, without an answer in between, and nothing seems to work. */
const HOPELESS = 10
/** How long a Redis that cannot be used is left alone before it is looked at again, milliseconds. */
const CHECK_INTERVAL = 200
/**
 * A connection that closed and is back within this is no outage, milliseconds: servers and networks close what is idle.
 * Where the first attempt to connect again fails, it is one at once.
 */
const GRACE = 1000
/** How soon it is looked again at what is there, where failures do not tell why there is no connection, milliseconds. */
const LOOK_INTERVAL = 10_000

/** Hears when Redis goes away, with the reason in a word or two and what it means, and when it is back. */
export type Report = (available: boolean, reason: string, advice?: string) => void

/** What is known of the Redis behind one client. */
export class RedisHealth {
  readonly #client: Redis | Cluster
  readonly #prefix: string
  readonly #silence: number
  readonly #database: number
  readonly #report: Report
  #available: boolean | undefined
  #reason = ''
  /** The socket of the connection that may be used; never that of a Cluster. */
  #usable: object | undefined
  /** Why the last connection that was checked may not be used. */
  #trouble: Trouble | undefined
  #checking = false
  #next: NodeJS.Timeout | undefined
  #grace: NodeJS.Timeout | undefined
  readonly #diagnosis: Diagnosis
  #looking = false
  #lookedAt = -Infinity
  #closed = false
  #failures = 0
  #failedAt = -Infinity

  /**
   * @param client listens to its events until `close`, its errors among them
   * @param options.prefix of the keys by which it is found out whether Redis can be written to; nothing is ever stored there
   * @param options.silence milliseconds for which a connection may leave its check without an answer; then it is cut
   * @param options.report called once per change
   */
  constructor (client: Redis | Cluster, { prefix, silence, report }: { prefix: string, silence: number, report: Report }) {
    this.#client = client
    this.#prefix = prefix
    this.#silence = silence
    this.#report = report
    this.#database = client.isCluster ? 0 : databaseOf(client as Redis)
    this.#diagnosis = new Diagnosis(client, this.#onTrouble)
    client.on('close', this.#onClose)
    client.on('ready', this.#onReady)
    client.on('select', this.#onSelect)
    if (client.status === 'ready') this.#begin()
  }

  /** Why nothing may be sent at the moment, or `undefined`. Asks Redis nothing, and trusts no event to have been seen. */
  obstacle (): string | undefined {
    if (this.#client.status !== 'ready') return 'not connected'
    if (this.#client.isCluster) return undefined
    const client = this.#client as Redis
    if (client.stream === this.#usable && selectedBy(client) === this.#database) return undefined
    return this.#trouble === undefined ? 'the connection is not checked yet' : `Redis cannot be used: ${this.#trouble.reason}`
  }

  /** To be called with every answer. */
  noteAnswer (): void {
    this.#failures = 0
  }

  /** To be called with every command that was sent, and refused or not answered. */
  noteFailure (error: Error): void {
    this.#failures++
    this.#failedAt = performance.now()
    // A node of a Cluster that lost its slots says MOVED instead, and ioredis follows.
    if (this.#client.isCluster) return
    // What it still answers to reads may be old: a session that ended on the master is alive here.
    if (isReadOnly(error)) this.#refuse(troubleOf(error, placeOf(this.#client)))
    else if (redisCode(error) === 'MOVED') this.#check()
  }

  /** What the connection and the last answers say together. */
  status (): StoreStatus {
    if (this.obstacle() !== undefined) return 'down'
    const recent = performance.now() - this.#failedAt < RECENT
    if (recent && this.#failures >= HOPELESS) return 'down'
    return recent || !isComplete(this.#client) ? 'degraded' : 'ready'
  }

  /** Leaves the client alone from now on. */
  close (): void {
    clearTimeout(this.#next)
    clearTimeout(this.#grace)
    this.#closed = true
    this.#diagnosis.close()
    this.#client.off('close', this.#onClose)
    this.#client.off('ready', this.#onReady)
    this.#client.off('select', this.#onSelect)
  }

  /** With a client that is connected already. */
  #begin (): void {
    const client = this.#client as Redis
    // Whoever hands over a connection to database 0 has it connected; what else is wrong, answers will show.
    const usable = client.isCluster || this.#database === 0 || hasPassed(client, this.#database)
    if (!usable) {
      this.#check()
      return
    }
    if (!client.isCluster) this.#usable = client.stream
    this.#available = true
  }

  /** What goes wrong while there is no connection. */
  readonly #onTrouble = (trouble: Trouble): void => {
    if (this.#client.status === 'ready') return
    if (!isVague(trouble) || performance.now() - this.#lookedAt < LOOK_INTERVAL) {
      this.#unavailable(trouble)
      return
    }
    if (this.#looking) return
    this.#looking = true
    const done = (found?: Trouble): void => {
      this.#looking = false
      this.#lookedAt = performance.now()
      if (!this.#closed && this.#client.status !== 'ready') this.#unavailable(found ?? trouble)
    }
    this.#diagnosis.look().then(done, () => { done() })
  }

  readonly #onClose = (): void => {
    clearTimeout(this.#next)
    this.#grace ??= setTimeout(() => {
      this.#onTrouble({ reason: CLOSED, advice: `${placeOf(this.#client)} closed the connection, and there is no other one yet`, lasting: false })
    }, GRACE).unref()
  }

  readonly #onReady = (): void => {
    // What the connection before this one met says nothing of this one.
    this.#failures = 0
    this.#failedAt = -Infinity
    if (this.#client.isCluster) this.#back()
    // Where a replica makes the client connect again, its check would do so for ever, without a pause.
    else if (this.#trouble !== undefined) this.#checkLater()
    else this.#check()
  }

  /** Somebody else who uses the client told it to go to another database, or back. */
  readonly #onSelect = (database: number): void => {
    this.#usable = undefined
    if (database === this.#database) this.#check()
    else {
      this.#unavailable(this.#trouble = {
        reason: 'SELECT',
        advice: `the Redis client was switched to database ${database}, and sessions are in ${this.#database}: give sessions a client of their own`,
        lasting: true
      })
    }
  }

  #checkLater (): void {
    clearTimeout(this.#next)
    this.#next = setTimeout(this.#check, CHECK_INTERVAL).unref()
  }

  readonly #check = (): void => {
    clearTimeout(this.#next)
    const client = this.#client as Redis
    // The next 'ready' or 'select' goes on from here.
    if (client.status !== 'ready' || selectedBy(client) !== this.#database) return
    if (this.#checking) {
      this.#checkLater()
      return
    }
    this.#checking = true
    const { stream } = client
    const switched = this.#usable !== stream && this.#trouble?.reason === 'SELECT'
    checkConnection(client, { database: this.#database, prefix: this.#prefix, silence: this.#silence, switched }).then((trouble) => {
      this.#checking = false
      if (client.stream !== stream) this.#check()
      else if (trouble !== undefined) this.#refuse(trouble)
      else {
        this.#trouble = undefined
        this.#usable = stream
        this.#back()
      }
    }, () => {
      this.#checking = false
      // The connection broke, or the client's own patience ended.
      this.#checkLater()
    })
  }

  /** The present connection may not be used, until a check finds that it may. */
  #refuse (trouble: Trouble): void {
    this.#usable = undefined
    this.#trouble = trouble
    this.#unavailable(trouble)
    this.#checkLater()
  }

  #back (): void {
    clearTimeout(this.#grace)
    this.#grace = undefined
    this.#lookedAt = -Infinity
    this.#change(true, '')
  }

  #unavailable ({ reason, advice, lasting }: Trouble): void {
    clearTimeout(this.#grace)
    this.#grace = undefined
    this.#change(false, reason, advice, lasting)
  }

  /** Reports what is new. Of an absent Redis only that somebody has to change something is: waiting will not help then. */
  #change (available: boolean, reason: string, advice?: string, lasting = false): void {
    const known = available === this.#available && (available || reason === this.#reason || !lasting)
    if (known) return
    this.#available = available
    this.#reason = reason
    this.#report(available, reason, advice)
  }
}

/** Whether every slot of a Cluster has a master that can be asked. */
function isComplete (client: Redis | Cluster): boolean {
  if (!client.isCluster) return true
  const { slots } = client as Cluster
  const usable = new Set<string>()
  for (const node of (client as Cluster).nodes('master')) {
    // 'wait': nobody needed that node yet.
    if (node.status === 'ready' || node.status === 'wait') usable.add(`${node.options.host}:${node.options.port}`)
  }
  for (let slot = 0; slot < 16_384; slot++) {
    const master = slots[slot]?.[0]
    if (master === undefined || !usable.has(master)) return false
  }
  return true
}
