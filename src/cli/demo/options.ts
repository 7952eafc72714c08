/** What the demo can be told, and what its routes have in common. */
import type { FastifyServerOptions } from 'fastify'

/** Idle timeout of a `POST /login` that names none, seconds. */
export const ENDPOINT_TTL = 60

/** The field that says whose a session is. The demo asks for no password: who gives the same name is the same user. */
export const USER_FIELD = 'username'

/** How many fields the parallel writes go to. */
export const FIELDS = 20

/** How many sessions one client may have: at most a fiftieth of what `memory:` holds. */
export const MAX_SESSIONS_PER_CLIENT = 200

/** How many sessions may have one name, so that nobody's list of devices is longer than a page. */
export const MAX_DEVICES = 50

/** Route options: looking at a session is not using it. */
export const peek = { config: { session: { touch: false } } }

/** What the demo server can be told. */
export interface DemoOptions {
  /** URL of the store, or `memory:`. */
  redis: string
  /** Signs the cookies; without it the plugin reads `SESSION_SECRET`. */
  secret?: string | undefined
  /** Idle timeout in seconds, for the page's form and for `POST /login` alike. */
  ttl?: number | undefined
  /** The cookie's `Secure` attribute; without it the plugin decides. */
  secureCookie?: boolean | undefined
  /** The cookie's name; without it the plugin decides. */
  cookieName?: string | undefined
  /** How many sessions one client may have, whatever their names. Default 200. */
  maxSessionsPerClient?: number | undefined
  /** Passed on to Fastify. */
  logger?: FastifyServerOptions['logger']
}
