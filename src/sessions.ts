/**
 * Sessions from outside a request: `fastify.sessions`.
 */
import { NoDataError, NoUsersError } from './errors.js'
import { Session } from './session/session.js'
import type { SessionInstance } from './session/context.js'
import type { SessionData } from './session/types.js'
import { decode } from './store/codec.js'
import { isId, isReserved } from './store/record.js'
import type { Description, RawRecord, StoreStatus } from './store/store.js'
import { userKey, type UserValue } from './users/user-field.js'
import type { UserIndex } from './users/user-index.js'

/** One session, as `fastify.sessions` shows it. Times are by the store's clock. */
export interface SessionInfo {
  /** Names the record; safe to log; authenticates nobody. */
  id: string
  createdAt: Date
  /** When the expiry was last extended; accurate to `touchInterval`. */
  lastAccessedAt: Date
  /** When it ends if nobody uses it any more. */
  expiresAt: Date
  /** When its user was authenticated; `undefined` where it is nobody's. */
  authenticatedAt: Date | undefined
  /** Browser and system at the login, such as `Firefox on Linux`; `undefined` without the option `devices`. */
  device: string | undefined
  /** The network of the login, such as `203.0.113.0/24`; `undefined` without the option `devices`. */
  network: string | undefined
  /** Whether it is the session given as `current`. */
  current: boolean
}

/** One session with its data. */
export interface SessionDetails extends SessionInfo {
  data: Record<string, unknown>
}

/** A session or its id. */
export type SessionOrId = string | { readonly id: string }

/** How many sessions `each()` describes in one round trip. */
const STEP = 100

/** Sessions from outside a request: `fastify.sessions`. All methods but `status` throw `SESSION_STORE_UNAVAILABLE`. */
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
    const session = new Session(this.#instance)
    for (const [field, value] of Object.entries(data)) session.set(field, value)
    await session.save()
    const { cookie } = session.answer(200)
    if (cookie === undefined || cookie === 'clear') throw new NoDataError()
    return { cookie: `${this.#instance.cookie.name}=${cookie.token}` }
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
   * The sessions of a user, the one used last first.
   *
   * @param user as `userField` gives it: the number 5 and the string `5` are two users
   * @param options.current marks this session in the list: usually `request.session`
   * @throws `SESSION_NO_USERS` without the option `userField`
   */
  async list (user: UserValue, { current }: { current?: SessionOrId | undefined } = {}): Promise<SessionInfo[]> {
    const found = await this.#index.list(userKey(user))
    return found.map((description) => infoOf(description, idOf(current))).sort((a, b) => b.lastAccessedAt.getTime() - a.lastAccessedAt.getTime())
  }

  /** How many sessions a user has. Throws as `list` does. */
  async count (user: UserValue): Promise<number> {
    return (await this.#index.list(userKey(user))).length
  }

  /**
   * Ends one session, at once, on every process, for requests under way too.
   *
   * @returns whether there was one
   */
  async end (id: string): Promise<boolean> {
    if (!isId(id)) return false
    return await (this.#instance.users ?? this.#instance.store).end(id)
  }

  /**
   * Ends all sessions of a user, at once, on every process. A login that is under way either ends or counts as one that
   * began later.
   *
   * @param options.except goes on: usually `request.session`
   * @returns how many were ended
   * @throws `SESSION_NO_USERS`; `SESSION_STORE_UNAVAILABLE`: some may be left
   */
  async endAll (user: UserValue, { except }: { except?: SessionOrId | undefined } = {}): Promise<number> {
    return await this.#index.endAll(userKey(user), idOf(except))
  }

  /** One session with its data, or `undefined`. Nothing is extended by looking. */
  async get (id: string): Promise<SessionDetails | undefined> {
    if (!isId(id)) return undefined
    const [[description], record] = await Promise.all([this.#instance.store.describe([id]), this.#instance.store.inspect(id)])
    if (description === undefined || record === undefined) return undefined
    const data = Object.entries(record.fields).filter(([name]) => !isReserved(name)).map(([name, text]) => [name, decode(text)])
    return { ...infoOf(description, undefined), data: Object.fromEntries(data) }
  }

  /**
   * All sessions, in no order, in small steps that hold nobody up. Those that come or go meanwhile may be missing, and one
   * may come twice.
   */
  async * each (): AsyncGenerator<SessionInfo> {
    for await (const ids of this.#instance.store.scan()) {
      for (let first = 0; first < ids.length; first += STEP) {
        for (const description of await this.#instance.store.describe(ids.slice(first, first + STEP))) {
          if (description !== undefined) yield infoOf(description, undefined)
        }
      }
    }
  }

  /**
   * The record of a session as the store holds it, for people to look at. Nothing is extended by looking.
   *
   * @param id as `request.session.id` says it
   * @returns the record's key, the milliseconds it has left, and all fields with their text, metadata included;
   *   `undefined` where there is none
   */
  async inspect (id: string): Promise<RawRecord | undefined> {
    return await this.#instance.store.inspect(id)
  }

  get #index (): UserIndex {
    if (this.#instance.users === undefined) throw new NoUsersError()
    return this.#instance.users
  }
}

function idOf (session: SessionOrId | undefined): string | undefined {
  return typeof session === 'object' ? session.id : session
}

function infoOf (description: Description, current: string | undefined): SessionInfo {
  const { id, now, ttl, createdAt, lastAccessedAt, authenticatedAt, device, network } = description
  return {
    id,
    createdAt: new Date(createdAt),
    lastAccessedAt: new Date(lastAccessedAt),
    expiresAt: new Date(now + ttl),
    authenticatedAt: authenticatedAt === undefined ? undefined : new Date(authenticatedAt),
    device,
    network,
    current: id === current
  }
}
