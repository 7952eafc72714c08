/**
 * What a session has to know of its surroundings: the plugin instance that it belongs to, and the request and response that
 * use it.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SessionCookie } from '../cookie/cookie.js'
import type { TokenSigner } from '../cookie/token.js'
import { DisabledError, OutsidePathError } from '../errors.js'
import { isHijacked } from '../response/held-reply.js'
import type { Rules, Store } from '../store/store.js'
import { deviceLabel, networkOf } from '../users/device.js'
import type { Member, UserIndex } from '../users/user-index.js'
import type { Endings } from './endings.js'
import type { RouteSession } from './route.js'
import type { FieldRules } from './snapshot.js'
import type { TakeBacks } from './take-backs.js'

/** What all sessions of one plugin instance share. */
export interface SessionInstance {
  readonly store: Store
  readonly rules: Rules
  readonly fieldRules: FieldRules
  readonly signer: TokenSigner
  readonly cookie: SessionCookie
  /** The option `cookie.persistent`. */
  readonly persistent: boolean
  /** Where sessions of another library are moved; see the option `migrateFrom`. */
  readonly migrations: { end (header: string): Promise<void> } | undefined
  /** Where the option `userField` says whose a session is. */
  readonly users: UserIndex | undefined
  /** The option `devices`. */
  readonly devices: boolean
  readonly endings: Endings
  readonly takeBacks: TakeBacks
  /** Writes a warning that anybody can provoke, but not every time. */
  warn (kind: string, write: () => void): void
}

/** One request and its response; or neither, where a session is made from outside a request. */
export class SessionContext {
  readonly instance: SessionInstance
  readonly request: FastifyRequest | undefined
  readonly reply: FastifyReply | undefined
  readonly route: RouteSession

  constructor (instance: SessionInstance, request?: FastifyRequest, reply?: FastifyReply, route?: RouteSession) {
    this.instance = instance
    this.request = request
    this.reply = reply
    this.route = route
  }

  /** Whether requests to this route extend the session. */
  get touches (): boolean {
    return typeof this.route !== 'object' || this.route.touch !== false
  }

  /** Whether no header can be set any more. */
  get headersSent (): boolean {
    // The answer to a WebSocket upgrade is written by hand and takes no cookie.
    return this.reply?.raw.headersSent === true || this.isWebSocket
  }

  /** Whether Fastify runs no hook at the end of this response. */
  get byHand (): boolean {
    return this.reply === undefined || this.headersSent || isHijacked(this.reply)
  }

  get isWebSocket (): boolean {
    return (this.request as { ws?: boolean } | undefined)?.ws === true
  }

  /** What is kept of the device, where that is wanted. */
  get device (): Member['device'] {
    if (!this.instance.devices || this.request === undefined) return undefined
    return { label: deviceLabel(this.request.headers['user-agent']), network: networkOf(this.request.ip) }
  }

  /** Why no session can be had here, whatever the store says. */
  get obstacle (): Error | undefined {
    if (this.route === false) return new DisabledError()
    const { cookie } = this.instance
    return this.request === undefined || cookie.reaches(this.request) ? undefined : new OutsidePathError(cookie.path)
  }

  /** The route, for the log. */
  get routeName (): string {
    return this.request === undefined ? '' : `${this.request.method} ${this.request.routeOptions.url ?? ''}`
  }

  /** Writes a warning about what the program of this route does, but not every time. */
  warn (message: string, details: Record<string, unknown> = {}): void {
    const route = this.routeName
    this.instance.warn(`${message} ${route}`, () => { this.request?.log.warn({ route, ...details }, message) })
  }
}
