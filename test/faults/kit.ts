/** What the tests of faults share: an app's routes, and what an answer has to look like while Redis cannot be used. */
import { once } from 'node:events'
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import { SECRET } from '../support/app.js'
import { Browser, setCookies } from '../support/browser.js'
import { startServer, type ServerProcess } from '../support/server-process.js'

/** Milliseconds that a busy machine may add to what is promised. What would hang takes longer than that. */
export const SLACK = 750

/** The option `timeout` as it is by default, milliseconds; `makeApp` sets a longer one. */
export const DEFAULT_TIMEOUT = 250

export function routes (app: FastifyInstance): void {
  app.get('/', async ({ session }: any) => session.data())
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
  app.get('/incr', async ({ session }: any) => ({ n: await session.live.n.incr() }))
  app.get('/logout', async ({ session }: any) => { await session.destroy(); return {} })
  // Answers when the session ends.
  app.get('/wait', { config: { session: { touch: false } } }, async ({ session: { signal } }: any) => {
    if (!signal.aborted) await once(signal, 'abort')
    return { reason: signal.reason.reason }
  })
  app.get('/plain', async () => ({ plain: true }))
  app.get('/status', { config: { session: false } }, async () => ({ status: app.sessions.status() }))
}

/** Browsers that each have a session with `user`. */
export async function sessions (app: FastifyInstance, count: number): Promise<Browser[]> {
  return await Promise.all(Array.from({ length: count }, async (_, i) => {
    const browser = new Browser(app)
    await browser.json(`/set?user=${i}`)
    return browser
  }))
}

/** The id of a browser's session. */
export function idOf (browser: Browser): string {
  return browser.token!.split('.')[0]!
}

/** Checks that an answer is what clients and browsers need while the store is away. */
export function unavailable (t: Test, response: LightMyRequestResponse, what: string): void {
  t.equal(response.statusCode, 503, `${what}: ${response.body}`)
  t.match(response.json(), { code: 'SESSION_STORE_UNAVAILABLE' }, what)
  t.match(response.headers['retry-after'], /^[123]$/, what)
  t.equal(response.headers['cache-control'], 'no-store', what)
  t.strictSame(setCookies(response), [], `${what}: the cookie is left alone`)
}

/** Checks that every request with a session is answered like that, within some time, and that all others go on. */
export async function allUnavailable (t: Test, app: FastifyInstance, browser: Browser, within: number): Promise<void> {
  for (const url of ['/', '/set?a=lost', '/incr', '/logout', '/plain']) {
    const begin = performance.now()
    unavailable(t, await browser.get(url), url)
    const took = performance.now() - begin
    t.ok(took < within + SLACK, `${url} took ${Math.round(took)} of ${within} ms`)
  }
  const anonymous = new Browser(app)
  t.strictSame(await anonymous.json('/plain'), { plain: true }, 'a request without a session goes on')
  t.strictSame(await anonymous.json('/'), {}, 'also where it looks for one')
  unavailable(t, await anonymous.get('/set?a=lost'), 'a first write is a write')
  t.equal(anonymous.jar.size, 0)
}

/** Starts the app of `server.ts` as a process, which ends with the test. */
export async function startApp (t: Test, redis: string, env: Record<string, string> = {}): Promise<ServerProcess> {
  const server = await startServer(new URL('server.ts', import.meta.url), { SESSION_SECRET: SECRET, SESSION_REDIS: redis, SESSION_COOKIE_SECURE: 'false', ...env })
  t.teardown(() => { server.signal('SIGKILL') })
  return server
}
