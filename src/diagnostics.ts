/**
 * What happens to sessions, published on channels of `node:diagnostics_channel` for whoever measures or audits
 * (OWASP Session Management, "Session ID Life Cycle").
 *
 * Nobody listens, nothing is done: whoever publishes asks `hasSubscribers` before it builds a message. A message names
 * the session by its id, which authenticates nobody; none ever holds a secret, a token or a value. It is published
 * synchronously within the request, so `AsyncLocalStorage` and active spans are those of the request.
 *
 * Node documentation: https://nodejs.org/api/diagnostics_channel.html
 */
import { channel } from 'node:diagnostics_channel'

/** In every message. */
export interface InstanceEvent {
  /** The option `decoratorName` of the plugin instance. */
  readonly instance: string
}

/** What the store did with one session. */
export interface SessionEvent extends InstanceEvent {
  /** The session's id. */
  readonly id: string
  /** Milliseconds that the store took, the way there and back included. */
  readonly duration: number
}

/** The message of each channel, by the channel's name without `fastify-live-session:`. */
export interface SessionEvents {
  /** A record was created. */
  created: SessionEvent
  /** A record was found and read: for a request, or by `reload()`. `touched`: this extended its expiry. */
  loaded: SessionEvent & { readonly touched: boolean }
  /** A genuine token came, or `reload()` was called, and there is no such record any more, or its secret is another one by now. */
  missed: SessionEvent
  /** A record was written to. `live`: by live attributes; else by a save. */
  saved: SessionEvent & { readonly live: boolean }
  /** A record has a new secret: at once by `rotate()`, or on offer by the `routine` of `rotateEvery`. */
  rotated: SessionEvent & { readonly routine: boolean }
  /** A secret came that had been renewed away before; the record was ended. A sign of theft. */
  reused: SessionEvent
  /** A record was ended: logout, regeneration, or from outside a request. */
  destroyed: SessionEvent
  /** A request under way found that its record had ended or has a new secret. What it wanted to change was dropped. */
  gone: SessionEvent & { readonly operation: 'read' | 'write' | 'retire' }
  /**
   * A cookie of the session's name came that proves nothing. `malformed`: no token at all. `signature`: signed with none
   * of the secrets. `duplicate`: several cookies of that name came (cookie tossing).
   */
  rejected: InstanceEvent & { readonly reason: 'malformed' | 'signature' | 'duplicate' }
  /**
   * The store failed. `code` is the error's, `SESSION_STORE_UNAVAILABLE` or `SESSION_RECORD_INVALID`; `message` says more.
   * `id` is missing where the operation was not about one session.
   */
  'store-error': Omit<SessionEvent, 'id'> & { readonly id: string | undefined, readonly operation: StoreOperation, readonly code: string, readonly message: string }
}

/**
 * The store's operations, as `store-error` names them: on a record, on the list of a user's sessions (`announce`, `leave`,
 * `entries`), and on many records (`describe`, `scan`).
 */
export type StoreOperation = 'load' | 'create' | 'write' | 'read' | 'look' | 'stands' | 'renew' | 'retire' | 'finalize' |
  'takeBack' | 'destroy' | 'inspect' |
  'announce' | 'leave' | 'entries' | 'describe' | 'scan'

/** One channel, with the type of its messages. */
interface TypedChannel<Message> {
  readonly name: string | symbol
  readonly hasSubscribers: boolean
  publish (message: Message): void
}

function open<Name extends keyof SessionEvents> (name: Name): TypedChannel<SessionEvents[Name]> {
  return channel(`fastify-live-session:${name}`)
}

/** All channels. They belong to the process: several plugin instances share them, and say in each message who they are. */
export const channels = {
  created: open('created'),
  loaded: open('loaded'),
  missed: open('missed'),
  saved: open('saved'),
  rotated: open('rotated'),
  reused: open('reused'),
  destroyed: open('destroyed'),
  gone: open('gone'),
  rejected: open('rejected'),
  storeError: open('store-error')
} as const
