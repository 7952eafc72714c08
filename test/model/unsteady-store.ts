/** A store that dawdles and fails, around any other. */
import { setImmediate as turn } from 'node:timers/promises'
import type { Store } from '../../src/index.js'
import type { Product } from './application.js'
import type { Fault } from './programs.js'

/** What answers at once, or is no part of a request. */
const STEADY: ReadonlySet<PropertyKey> = new Set(['scan', 'subscribe', 'status', 'inspect', 'close'])

export class UnsteadyStore {
  /** To be handed to the plugin. Whatever the contract names is passed on. */
  readonly store: Store
  /** Does the work; another one at any time. */
  inner: Store
  /** The calls that failed since `begin`. */
  failures: PropertyKey[] = []
  #yields: readonly number[] = []
  #faults: readonly Fault[] = []
  #calls = 0
  #underWay = 0
  readonly #methods = new Map<PropertyKey, unknown>()
  readonly #unavailable: new (why: string) => Error

  constructor (inner: Store, { errors }: Product) {
    this.inner = inner
    this.#unavailable = errors.StoreUnavailableError
    this.store = new Proxy({} as Store, { get: (_, name) => this.#get(name) })
  }

  /** How many calls failed since `begin`. */
  get failed (): number {
    return this.failures.length
  }

  /** From now on calls take so many turns of the event loop, one after the other, and those that are named fail. */
  begin (yields: readonly number[], faults: readonly Fault[]): void {
    this.#yields = yields
    this.#faults = faults
    this.#calls = 0
    this.failures = []
  }

  /** Nothing dawdles or fails any more, once what is under way has ended. */
  async end (): Promise<void> {
    this.#faults = []
    do await turn()
    while (this.#underWay > 0)
    this.#yields = []
  }

  #get (name: PropertyKey): unknown {
    if (typeof Reflect.get(this.inner, name) !== 'function') return Reflect.get(this.inner, name)
    if (!this.#methods.has(name)) {
      this.#methods.set(name, (...args: unknown[]) => {
        const call = (): unknown => (Reflect.get(this.inner, name) as (...args: unknown[]) => unknown).apply(this.inner, args)
        return STEADY.has(name) ? call() : this.#call(name, call)
      })
    }
    return this.#methods.get(name)
  }

  async #call (name: PropertyKey, call: () => unknown): Promise<unknown> {
    const number = this.#calls++
    const fault = this.#faults.find((fault) => number >= fault.call && number < fault.call + fault.count)
    const yields = this.#yields.length === 0 ? 0 : this.#yields[number % this.#yields.length]!
    this.#underWay++
    try {
      for (let i = 0; i < yields; i++) await turn()
      if (fault?.when === 'before') this.#fail(name, 'not sent')
      const answer = await call()
      for (let i = 0; i < yields; i++) await turn()
      if (fault?.when === 'after') this.#fail(name, 'no answer')
      return answer
    } finally {
      this.#underWay--
    }
  }

  #fail (name: PropertyKey, why: string): never {
    this.failures.push(name)
    throw new this.#unavailable(`${String(name)}: ${why}`)
  }
}
