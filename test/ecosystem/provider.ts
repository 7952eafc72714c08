/**
 * A provider of logins by OAuth 2.0, on a loopback port, for clients under test. Whoever asks is logged in at once, as
 * the `login_hint` says.
 */
import Fastify from 'fastify'
import type { Test } from 'tap'

/** Where a client finds the provider's parts. */
export interface Provider {
  url: string
  authorizeUrl: string
  tokenUrl: string
  profileUrl: string
  /** Visits the provider as a browser would that was sent there, and returns where it is sent back to: path and query. */
  visit: (location: string) => Promise<string>
}

/** Starts a provider that ends with the test. */
export async function startProvider (t: Test): Promise<Provider> {
  const app = Fastify()
  t.teardown(() => app.close())
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, async (_request: unknown, body: string) => Object.fromEntries(new URLSearchParams(body)))
  app.get<{ Querystring: Record<string, string> }>('/authorize', async ({ query }, reply) => {
    const back = new URL(query['redirect_uri']!)
    back.searchParams.set('code', `code-of-${query['login_hint'] ?? 'andrew'}`)
    if (query['state'] !== undefined) back.searchParams.set('state', query['state'])
    return reply.redirect(back.href)
  })
  app.post<{ Body: Record<string, string> }>('/token', async ({ body }, reply) => {
    if (body['code']?.startsWith('code-of-') !== true) return reply.code(400).send({ error: 'invalid_grant' })
    return { access_token: body['code'].replace('code', 'token'), token_type: 'bearer', expires_in: 60 }
  })
  app.get('/profile', async ({ headers }) => ({ id: headers.authorization?.replace(/^Bearer token-of-/i, '') }))
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return {
    url,
    authorizeUrl: `${url}/authorize`,
    tokenUrl: `${url}/token`,
    profileUrl: `${url}/profile`,
    async visit (location) {
      const response = await fetch(location, { redirect: 'manual' })
      const { pathname, search } = new URL(response.headers.get('location')!)
      return pathname + search
    }
  }
}
