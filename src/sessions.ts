import type { RawRecord, Store, StoreStatus } from './store/store.js'

/** Sessions from outside a request: `fastify.sessions`. */
export class Sessions {
  readonly #store: Store

  constructor (store: Store) {
    this.#store = store
  }

  /**
   * Whether sessions can be served, from what is known already: nothing is asked of Redis. For readiness probes; never
   * for liveness, because no restart of this process brings Redis back.
   *
   * @returns `ready`; `degraded`: some requests with a session are answered 503, or were within the last 5 s; `down`: all are
   */
  status (): StoreStatus {
    return this.#store.status()
  }

  /**
   * The record of a session as the store holds it, for people to look at. Nothing is extended by looking.
   *
   * @param id as `request.session.id` says it
   * @returns the record's key, the milliseconds it has left, and all fields with their text, metadata included;
   *   `undefined` where there is none
   * @throws `SESSION_STORE_UNAVAILABLE`
   */
  async inspect (id: string): Promise<RawRecord | undefined> {
    return await this.#store.inspect(id)
  }
}
