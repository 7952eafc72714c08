/**
 * Refuses what pages of other sites send in a visitor's name (cross-site request forgery). The cookie's `SameSite` does not
 * do that alone: another port or another subdomain is the same site, and a login needs no cookie.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { refuse } from './answers.js'

/** Methods that must not change anything (RFC 9110, 9.2.1): a link to them may stand anywhere. */
const SAFE_METHODS: readonly string[] = ['GET', 'HEAD', 'OPTIONS']

/** Adds the check to all routes of the app. Register it before the session plugin: what is refused needs no session. */
export function refuseOtherOrigins (app: FastifyInstance): void {
  app.addHook('onRequest', async (request, reply) => {
    if (!isFromOtherOrigin(request)) return
    return reply.send(refuse(reply, 403, 'A page of another site sent this'))
  })
}

/**
 * Whether a browser says that a page of another origin sent this request, and it could change something. Browsers always
 * say one of two: `Sec-Fetch-Site` to https and to this machine (W3C Fetch Metadata), `Origin` with every POST (Fetch
 * Standard). No page can forge them. Who sends neither is no browser: there, nobody else's cookie comes along.
 *
 * @param request its method and headers
 */
export function isFromOtherOrigin ({ method, headers }: Pick<FastifyRequest, 'method' | 'headers'>): boolean {
  if (SAFE_METHODS.includes(method)) return false
  const site = headers['sec-fetch-site']
  // `none`: the visitor's own doing, such as a page that is loaded again.
  if (site !== undefined) return site !== 'same-origin' && site !== 'none'
  const { origin, host = '' } = headers
  // Without the scheme: behind a proxy that speaks https for us, only the browser knows it.
  return origin !== undefined && hostOf(origin) !== host.toLowerCase()
}

/** Host and port of an origin; `undefined` where it has none, as `null` has, which stands for one that shall not be known. */
function hostOf (origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host || undefined : undefined
}
