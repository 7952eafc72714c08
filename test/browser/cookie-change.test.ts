/**
 * The cookie's domain or path is changed while browsers hold the cookie of before. Of two cookies of one name none counts; so
 * that the next login puts it right, the other one has to go. What a browser keeps and sends only a browser can tell.
 */
import { test, type Test } from 'tap'
import type { AddressInfo } from 'node:net'
import type { Browser } from 'playwright-core'
import { launchChromium } from './chromium.js'
import type { SessionOptions } from '../../src/index.js'
import { makeApp } from '../support/app.js'

let chromium: Promise<Browser> | undefined

type Cookie = SessionOptions['cookie']

/** An app of this configuration at a host of its own domain, as one browser sees it. */
async function deploy (t: Test, port: number, cookie: Cookie): Promise<{ port: number, close: () => Promise<void> }> {
  const app = await makeApp(t, { redis: 'memory:', cookie: { name: 'sid', ...cookie } }, (app) => {
    app.get('/app/shop/login', async ({ session }: any) => { await session.regenerate(); session.user = 'ann'; return 'ok' })
    app.get('/app/shop/me', async ({ session }: any) => session.user ?? 'anonymous')
    app.get('/app/shop/logout', async ({ session }: any) => { await session.destroy(); return 'ok' })
  })
  await app.listen({ port, host: '127.0.0.1' })
  return { port: (app.server.address() as AddressInfo).port, close: async () => { app.server.closeAllConnections(); await app.close() } }
}

const CHANGES: Array<[what: string, before: Cookie, after: Cookie]> = [
  ['this host, then its domain', {}, { domain: 'shop.test' }],
  ['its domain, then this host', { domain: 'shop.test' }, {}],
  ['a domain, then the one above', { domain: 'app.shop.test' }, { domain: 'shop.test' }],
  ['a domain, then the one below', { domain: 'shop.test' }, { domain: 'app.shop.test' }],
  ['every path, then one', {}, { path: '/app' }],
  ['one path, then every', { path: '/app' }, {}],
  ['a path, then one below', { path: '/app' }, { path: '/app/shop' }],
  ['domain and path at once', { domain: 'shop.test', path: '/app/shop' }, {}]
]

for (const [what, before, after] of CHANGES) {
  test(`${what}: the next login counts, and so does the logout`, async (t) => {
    chromium ??= launchChromium()
    const context = await (await chromium).newContext()
    t.teardown(() => context.close())
    const page = await context.newPage()
    let { port, close } = await deploy(t, 0, before)
    const visit = async (path: string): Promise<string> => {
      await page.goto(`http://app.shop.test:${port}/app/shop/${path}`)
      return await page.locator('body').innerText()
    }
    await visit('login')
    t.equal(await visit('me'), 'ann')
    await close()
    ;({ port, close } = await deploy(t, port, after))
    t.equal(await visit('me'), 'anonymous', 'a memory store that knows nobody')
    // The first login sets the second cookie, and the next one sees both.
    for (let i = 0; i < 2; i++) await visit('login')
    t.equal(await visit('me'), 'ann')
    t.equal((await context.cookies()).filter(({ name }) => name === 'sid').length, 1)
    await visit('logout')
    t.equal(await visit('me'), 'anonymous')
    t.strictSame((await context.cookies()).filter(({ name }) => name === 'sid'), [], 'nothing is left')
    await visit('login')
    t.equal(await visit('me'), 'ann', 'and it does not begin again')
    await close()
  })
}

test('close', async () => { await (await chromium)?.close() })
