/**
 * The session cookie of an app that also gets the cookies of another library: where ours is set, an old one has done its
 * work; where ours is cleared, none may be left.
 */
import type { FastifyReply } from 'fastify'
import { findCookie } from '../cookie/header.js'
import { SessionCookie } from '../cookie/cookie.js'
import type { CookieOptions } from '../options.js'
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

  override issue (reply: FastifyReply, token: string, maxAge: number | undefined): void {
    super.issue(reply, token, maxAge)
    for (const { keep, cookie } of this.#old) if (!keep) expire(reply, cookie)
  }

  override clear (reply: FastifyReply): void {
    super.clear(reply)
    for (const { cookie } of this.#old) expire(reply, cookie)
  }

  override withdraw (reply: FastifyReply): void {
    super.withdraw(reply)
    for (const { cookie } of this.#old) cookie.withdraw(reply)
  }
}

function expire (reply: FastifyReply, cookie: SessionCookie): void {
  const header = reply.request.raw.headers.cookie
  if (header !== undefined && findCookie(header, cookie.name) !== undefined) cookie.clear(reply)
}
