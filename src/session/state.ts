/**
 * What is known of a session during one request: the record behind it, what the request changed, and what the response
 * owes to the browser. Nothing here asks the store.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SessionCookie } from '../cookie/cookie.js'
import { digestOf, newId, newSecret, type TokenSigner } from '../cookie/token.js'
import { PERSISTENT, SESSION_TTL } from '../store/record.js'
import type { Bound, LoadedRecord, Rules, Settings, Store } from '../store/store.js'
import { deviceLabel, networkOf } from '../users/device.js'
import type { Member, UserIndex } from '../users/user-index.js'
import type { Endings } from './endings.js'
import { Fields, type FieldRules } from './fields.js'
import type { RouteSession } from './route.js'

/** What all sessions of one plugin instance share. */
export interface SessionInstance {
  readonly store: Store
  readonly rules: Rules
  readonly fieldRules: FieldRules
  readonly signer: TokenSigner
  readonly cookie: Pick<SessionCookie, 'name' | 'issue' | 'clear'>
  /** The option `cookie.persistent`. */
  readonly persistent: boolean
  /** Where sessions of another library are moved; see the option `migrateFrom`. */
  readonly migrations: { end (header: string): Promise<void> } | undefined
  /** Where the option `userField` says whose a session is. */
  readonly users: UserIndex | undefined
  /** The option `devices`. */
  readonly devices: boolean
  readonly endings: Endings
}

export type { OnStoreError, RouteSession } from './route.js'

/** A record that ends when the one that takes its place is stored. */
export interface Replaced { id: string, digest: string, carried: boolean, bound: Bound | undefined }

export class SessionState {
  readonly instance: SessionInstance
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly route: RouteSession

  /**
   * new: no record backs it. stored: one does. gone: one did, and ended while this request was using it; nothing can be
   * saved any more, because whatever came in between (logout, another login) shall stand.
   */
  phase: 'new' | 'stored' | 'gone' = 'new'
  id: string | undefined
  secret = ''
  digest = ''
  /** The record as loaded. */
  loaded: LoadedRecord | undefined
  /** The store's clock and the milliseconds that the record had left, in the store's last answer. */
  clock = { now: 0, ttl: 0 }
  createdAt: number | undefined
  fields: Fields
  settings: Settings | undefined
  /** Idle timeout and lifetime of this session, seconds, where this request stored new ones. */
  ownIdleTimeout: number | undefined
  ownLifetime: number | undefined
  /** This request had the cookie outlive the browser. */
  remembered = false
  touch = false
  rotating = false
  ending = false
  /** The record that this session replaces: it ends when the new one is stored. */
  replaced: Replaced | undefined
  /** Whose this session is; known to the index of users. */
  member: Member | undefined
  /** Who was authenticated in the session that this one replaces, and when, where the user was carried over. */
  authenticated: Member['authenticated']
  /** What this request changed about the user's authentication, milliseconds by the store's clock; `null` for absence. */
  authenticatedAt: number | null | undefined
  elevatedUntil: number | null | undefined
  controller: AbortController | undefined
  /** A new token is to be issued as soon as nothing can go wrong any more. */
  tokenDue = false
  renewalDue = false
  /** The secret of a token that the browser should get anew with the response, if that token is still good then. */
  reissued: string | undefined
  cookieCame = false
  failure: Error | undefined
  /** The record could not be loaded: this session is neither anonymous nor anything else. */
  unreadable = false
  /** The record could not be loaded, and the route goes on without it. */
  degraded = false

  constructor (instance: SessionInstance, request: FastifyRequest, reply: FastifyReply, route: RouteSession) {
    this.instance = instance
    this.request = request
    this.reply = reply
    this.route = route
    this.fields = new Fields(instance.fieldRules)
  }

  /** Whether requests to this route extend the session. */
  get touches (): boolean {
    return this.route === undefined || this.route === false || this.route.touch !== false
  }

  /** Whether no cookie can be set any more. */
  get headersSent (): boolean {
    // The answer to a WebSocket upgrade is written by hand and takes no cookie.
    return this.reply.raw.headersSent || (this.request as { ws?: boolean }).ws === true
  }

  /** Whether the cookie outlives the browser. */
  get persistent (): boolean {
    return this.remembered || this.instance.persistent || this.loaded?.fields.get(PERSISTENT) === '1'
  }

  /** Seconds, as this request knows it. */
  get idleTimeout (): number {
    return this.settings?.idleTimeout ?? this.ownIdleTimeout ?? this.meta(SESSION_TTL) ?? this.instance.rules.idleTimeout / 1000
  }

  /** What is kept of the device, where that is wanted. */
  get device (): Member['device'] {
    // Without a request there is no device.
    if (!this.instance.devices || this.request.headers === undefined) return undefined
    return { label: deviceLabel(this.request.headers['user-agent']), network: networkOf(this.request.ip) }
  }

  /** A number among the metadata of the loaded record. */
  meta (name: string): number | undefined {
    const text = this.loaded?.fields.get(name)
    return text === undefined ? undefined : Number(text)
  }

  /** An id and a secret that nobody has. */
  newIdentity (): void {
    this.id = newId()
    this.secret = newSecret()
    this.digest = digestOf(this.secret)
  }

  /** An anonymous session again, without anything of what was. */
  becomeNew (): void {
    this.phase = 'new'
    this.id = undefined
    this.loaded = undefined
    this.createdAt = undefined
    this.fields = new Fields(this.instance.fieldRules)
    this.settings = this.ownIdleTimeout = this.ownLifetime = undefined
    this.remembered = false
    this.touch = this.rotating = this.ending = this.tokenDue = this.renewalDue = false
    this.replaced = this.reissued = this.member = this.authenticated = this.authenticatedAt = this.elevatedUntil = this.controller = undefined
  }

  /** Drops what this request changed and did not save. */
  discard (): void {
    this.fields.discard()
    this.settings = undefined
    this.touch = this.rotating = this.ending = false
    if (this.phase === 'new') this.replaced = undefined
  }
}
