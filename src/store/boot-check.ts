/**
 * Waiting at boot for a Redis that sessions can be kept in, and finding out why there is none.
 */
import type { Cluster, Redis } from 'ioredis'
import { OptionError } from '../errors.js'
import { checkConnection, databaseOf, troubleWithScripts } from './connection-check.js'
import { Diagnosis } from './redis-diagnosis.js'
import { placeOf } from './redis-place.js'
import { NO_ANSWER, troubleOf, type Trouble } from './redis-trouble.js'

/** Opening a connection at boot may take this long, milliseconds: less than Fastify's own limit of 10 s. */
const LIMIT = 5000
/** When it is looked at what listens there, if there is no connection yet: soon, and once more before the end, milliseconds. */
const LOOKS = [300, 3500]
/** What cannot be used now is checked again after this, milliseconds. */
const INTERVAL = 200

/** What is to be known besides. */
export interface BootOptions {
  /** Of the keys of sessions. */
  prefix: string
  /** See `Target`. */
  silence?: number
  lenient?: boolean
  anywhere?: boolean
  /** A sentence to add to what is wrong. */
  remark?: string
}

/**
 * Waits until a client is connected to a Redis that can be used. Where waiting will not help, it is given up at once.
 *
 * @throws OptionError (`SESSION_OPTION_INVALID`) where that is not so within 5 s; it names host and port, and what to do
 */
export async function untilUsable (client: Redis | Cluster, { remark = '', ...options }: BootOptions): Promise<void> {
  const trouble = await new BootCheck(client, options).outcome()
  if (trouble === undefined) return
  const { reason, advice, lasting } = trouble
  throw new OptionError('redis (SESSION_REDIS)', lasting
    ? `${advice}${remark}`
    : `Redis could not be reached within ${LIMIT / 1000} s (${reason}): ${advice}${remark}. Start it, correct the address, set startup to lazy to boot without it, or use memory: to try things out`)
}

class BootCheck {
  readonly #client: Redis | Cluster
  readonly #options: Omit<BootOptions, 'remark'>
  #diagnosis: Diagnosis | undefined
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #listeners: ReadonlyArray<readonly [string, (...args: never[]) => void]>
  #last: Trouble = { reason: NO_ANSWER, advice: '', lasting: false }
  #finish: (trouble: Trouble | undefined) => void = () => {}

  constructor (client: Redis | Cluster, options: Omit<BootOptions, 'remark'>) {
    this.#client = client
    this.#options = options
    this.#listeners = [['ready', this.#check], ['end', this.#onEnd]]
    this.#note(troubleOf(undefined, placeOf(client)))
  }

  /** @returns why the client cannot be used, or `undefined` as soon as it can */
  async outcome (): Promise<Trouble | undefined> {
    const client = this.#client
    const diagnosis = this.#diagnosis = new Diagnosis(client, (trouble) => { this.#note(trouble) })
    try {
      return await new Promise((resolve) => {
        this.#finish = resolve
        for (const [event, listener] of this.#listeners) client.on(event, listener as () => void)
        for (const delay of LOOKS) this.#later(delay, () => { this.#look().catch(() => {}) })
        this.#later(LIMIT, () => { resolve(this.#last) })
        if (client.status === 'ready') this.#check()
        else if (client.status === 'wait') client.connect().catch(() => {}) // told to its listeners
      })
    } finally {
      diagnosis.close()
      for (const timer of this.#timers) clearTimeout(timer)
      for (const [event, listener] of this.#listeners) client.off(event, listener as () => void)
    }
  }

  #later (delay: number, act: () => void): void {
    this.#timers.add(setTimeout(act, delay))
  }

  #note (trouble: Trouble | undefined): void {
    if (trouble === undefined) return
    // That there was no answer says less than anything that was said before.
    if (trouble.reason !== NO_ANSWER || this.#last.reason === NO_ANSWER) this.#last = trouble
    if (trouble.lasting) this.#finish(trouble)
  }

  readonly #check = (): void => {
    if (this.#client.status !== 'ready') return // the next 'ready' goes on from here
    const again = (): void => { this.#later(INTERVAL, this.#check) }
    troubleWith(this.#client, this.#options).then((trouble) => {
      if (trouble === undefined) this.#finish(undefined)
      else {
        this.#note(trouble)
        again()
      }
    }, again)
  }

  readonly #onEnd = (): void => {
    // This client will not try again by itself.
    this.#look().then(() => { this.#finish(this.#last) }, () => { this.#finish(this.#last) })
  }

  async #look (): Promise<void> {
    if (this.#client.status !== 'ready') this.#note(await this.#diagnosis?.look())
  }
}

async function troubleWith (client: Redis | Cluster, options: Omit<BootOptions, 'remark'>): Promise<Trouble | undefined> {
  if (!client.isCluster) return await checkConnection(client as Redis, { database: databaseOf(client as Redis), ...options })
  return options.lenient === true ? undefined : await troubleWithScripts(client, options.prefix, options.silence)
}
