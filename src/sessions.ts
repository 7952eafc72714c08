import type { FastifyReply, FastifyRequest } from 'fastify'
import { NoDataError } from './errors.js'
import { Session, type SessionInstance } from './session/session.js'
import type { SessionData } from './session/types.js'
import type { RawRecord, StoreStatus } from './store/store.js'

/** All that a session has to know of its request and response where there is none: a cookie could still be sent. */
const NO_REQUEST = {} as FastifyRequest
const NO_REPLY = { raw: { headersSent: false } } as FastifyReply

/** Sessions from outside a request: `fastify.sessions`. */
export class Sessions {
  readonly #instance: SessionInstance

  constructor (instance: SessionInstance) {
    this.#instance = instance
  }

  /**
   * Creates a session, as a request would that sets these fields, and hands out its cookie. For tests of applications:
   *
   * ```ts
   * await app.inject({ url: '/account', headers: await app.sessions.issue({ userId: 'u_48213' }) })
   * ```
   *
   * Whoever has the cookie is logged in: it belongs into no log and no address.
   *
   * @param data at least one field
   * @returns request headers with nothing but the `cookie`, `name=value`
   * @throws `SESSION_NO_DATA`, the errors of `session.set()`, and those of `session.save()`
   */
  async issue (data: Partial<SessionData> & Record<string, unknown>): Promise<{ cookie: string }> {
    const headers: { cookie?: string } = {}
    const { name } = this.#instance.cookie
    const cookie = { name, issue: (_: unknown, token: string) => { headers.cookie = `${name}=${token}` }, clear () {} }
    const session = new Session({ ...this.#instance, cookie }, NO_REQUEST, NO_REPLY, undefined)
    for (const [field, value] of Object.entries(data)) session.set(field, value)
    await session.save()
    if (headers.cookie === undefined) throw new NoDataError()
    return headers as { cookie: string }
  }

  /**
   * Whether sessions can be served, from what is known already: nothing is asked of Redis. For readiness probes; never
   * for liveness, because no restart of this process brings Redis back.
   *
   * @returns `ready`; `degraded`: some requests with a session are answered 503, or were within the last 5 s; `down`: all are
   */
  status (): StoreStatus {
    return this.#instance.store.status()
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
    return await this.#instance.store.inspect(id)
  }
}
