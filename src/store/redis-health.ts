/**
 * Whether it makes sense to ask Redis for anything, as far as the connection and its last answers tell. Nothing here is
 * asked of Redis on behalf of a request: what is known is what events and failures said, and one small command after
 * each connect.
 */
import { Command, type Cluster, type Redis } from 'ioredis'
import { cutWhereSilent } from './redis-silence.js'
import type { StoreStatus } from './store.js'

/** How long a failure counts, milliseconds. After that, only the next one says that something is still wrong. */
const RECENT = 5000
/** So many failures in a row, without an answer in between, and nothing seems to work. */
const HOPELESS = 10
/** How long a Redis that only reads is left alone before it is looked at again, milliseconds. */
const PROBE_INTERVAL = 200

/** Hears when Redis goes away, with the reason in a word or two, and when it is back. */
export type Report = (available: boolean, reason: string) => void

/** What is known of the Redis behind one client. */
export class RedisHealth {
  readonly #client: Redis | Cluster
  readonly #key: string
  readonly #silence: number
  readonly #report: Report
  #available: boolean | undefined
  #reason = ''
  #readOnly = false
  #probe: NodeJS.Timeout | undefined
  #failures = 0
  #failedAt = -Infinity

  /**
   * @param client listens to its events until `close`, its errors among them
   * @param options.key of the commands by which it is found out whether Redis can be written to; nothing is ever stored there
   * @param options.silence milliseconds for which a connection may leave such a command without an answer; then it is cut
   * @param options.report called once per change
   */
  constructor (client: Redis | Cluster, { key, silence, report }: { key: string, silence: number, report: Report }) {
    this.#client = client
    this.#key = key
    this.#silence = silence
    this.#report = report
    if (client.status === 'ready') this.#available = true
    client.on('error', this.#onError)
    client.on('close', this.#onClose)
    client.on('ready', this.#onReady)
  }

  /**
   * Redis answered that it cannot be written to (`isReadOnly`), and has not taken it back. What it still answers to reads
   * may be old: a session that ended on the master is alive here.
   */
  get readOnly (): boolean {
    return this.#readOnly
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
    if (isReadOnly(error) && !this.#readOnly && !this.#client.isCluster) {
      this.#readOnly = true
      this.#change(false, 'READONLY')
      this.#probeLater()
    }
  }

  /** What the connection and the last answers say together. */
  status (): StoreStatus {
    if (this.#client.status !== 'ready' || this.#readOnly) return 'down'
    const recent = performance.now() - this.#failedAt < RECENT
    if (recent && this.#failures >= HOPELESS) return 'down'
    return recent || !isComplete(this.#client) ? 'degraded' : 'ready'
  }

  /** Leaves the client alone from now on. */
  close (): void {
    clearTimeout(this.#probe)
    this.#client.off('error', this.#onError)
    this.#client.off('close', this.#onClose)
    this.#client.off('ready', this.#onReady)
  }

  readonly #onError = (error: Error & { lastNodeError?: Error }): void => {
    // A Cluster says only that it failed; why is in what its last node said.
    if (this.#client.status !== 'ready') this.#change(false, reasonOf(error.lastNodeError ?? error))
  }

  readonly #onClose = (): void => {
    this.#change(false, 'the connection was closed')
  }

  readonly #onReady = (): void => {
    // What the connection before this one met says nothing of this one.
    this.#failures = 0
    this.#failedAt = -Infinity
    if (this.#client.isCluster) this.#change(true, '')
    else if (this.#readOnly) this.#probeLater()
    else this.#probeNow()
  }

  /** Reports what is new. Of an absent Redis only that it refuses the credentials is: waiting will not help then. */
  #change (available: boolean, reason: string): void {
    const known = available === this.#available && (available || reason === this.#reason || !isAccessDenied(reason))
    if (known) return
    this.#available = available
    this.#reason = reason
    this.#report(available, reason)
  }

  #probeLater (): void {
    clearTimeout(this.#probe)
    this.#probe = setTimeout(this.#probeNow, PROBE_INTERVAL).unref()
  }

  readonly #probeNow = (): void => {
    if (this.#client.status !== 'ready') return // the next 'ready' goes on from here
    let isWaiting = true
    if ('stream' in this.#client) cutWhereSilent(this.#client.stream, this.#silence, () => isWaiting)
    canWrite(this.#client, this.#key).finally(() => { isWaiting = false }).then((writable) => {
      this.#readOnly = !writable
      this.#change(writable, 'READONLY')
      if (!writable) this.#probeLater()
    }, () => {}) // the connection broke
  }
}

/**
 * Asks Redis to delete a key that does not exist: a write that changes nothing.
 *
 * @returns whether Redis takes writes. Another refusal than READONLY counts as yes: it is told to those whom it concerns
 * @throws where the connection breaks
 */
export async function canWrite (client: Redis | Cluster, key: string): Promise<boolean> {
  const command = new Command('del', [key])
  client.sendCommand(command)
  try {
    await command.promise
    return true
  } catch (error) {
    if ((error as Error).name !== 'ReplyError') throw error
    return !isReadOnly(error as Error)
  }
}

/** Whether an error of Redis says that it is a replica, whose data may be old and which takes no writes. */
export function isReadOnly (error: Error): boolean {
  const code = redisCode(error)
  return code === 'READONLY' || code === 'MASTERDOWN'
}

/**
 * The code in an error reply of Redis, which is its first word. Before Redis 7, what a command said inside of a script
 * stood at the end of `ERR Error running script (call to f_…): @user_script: 3: -READONLY You can't write …`.
 *
 * @returns `undefined` where the error is none of Redis
 */
export function redisCode ({ message }: Error): string | undefined {
  return /^ERR Error running script\b.*?: -?([A-Z]{2,32}) /.exec(message)?.[1] ?? /^([A-Z]{2,32})\b/.exec(message)?.[1]
}

/** What went wrong, in a word that holds no credentials. */
export function reasonOf (error: Error | undefined): string {
  return (error as NodeJS.ErrnoException | undefined)?.code ?? (error === undefined ? undefined : redisCode(error)) ?? 'no answer'
}

/** Whether Redis refused who wants to connect, rather than what he wants: nothing that waiting will change. */
export function isAccessDenied (reason: string): boolean {
  return reason === 'WRONGPASS' || reason === 'NOAUTH' || reason === 'NOPERM'
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
