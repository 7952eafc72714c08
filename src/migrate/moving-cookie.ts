/**
 * The session cookie of an app that also gets the cookies of another library: where ours is set, an old one has done its
 * work; where ours is cleared, none may be left.
 */
import type { FastifyRequest } from 'fastify'
import { findCookie } from '../cookie/header.js'
import { SessionCookie } from '../cookie/cookie.js'
import type { CookieOptions } from '../options.js'
import type { OwedCookie } from '../response/headers.js'
import type { ResolvedMigration } from './options.js'

/** A SessionCookie that expires the old cookies which the request brought. */
export class MovingCookie extends SessionCookie {
  readonly #old: ReadonlyArray<{ keep: boolean, cookie: SessionCookie }>

  /**
   * @param options checked cookie options
   * @param serialize the serializer of @fastify/cookie
   * @param migrations the old systems
   */
  constructor (options: CookieOptions, serialize: ConstructorParameters<typeof SessionCookie>[1], migrations: readonly ResolvedMigration[]) {
    super(options, serialize)
    this.#old = migrations.map(({ keep, cookie }) => ({
      keep,
      // Name, path and domain are what browsers go by (RFC 6265bis, section 5.7), and the prefixes demand Secure.
      cookie: new SessionCookie({
        ...cookie,
        secure: options.secure || /^__(?:host|secure)-/i.test(cookie.name),
        httpOnly: true,
        sameSite: 'lax',
        partitioned: false,
        persistent: false
      }, serialize)
    }))
  }

  override lines (owed: OwedCookie, request: FastifyRequest): string[] {
    const header = request.raw.headers.cookie ?? ''
    const done = this.#old.filter(({ keep, cookie }) => (owed === 'clear' || !keep) && findCookie(header, cookie.name) !== undefined)
    return [...super.lines(owed, request), ...done.flatMap(({ cookie }) => cookie.lines('clear', request))]
  }
}
