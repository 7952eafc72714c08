/**
 * Draws the README's pictures anew: `npm run screenshots`. They show the demo with its sessions in a real Redis, once in
 * light and once in dark.
 */
import { fileURLToPath } from 'node:url'
import { CliProcess } from '../support/cli-process.js'
import { startRedis } from '../support/redis-process.js'
import { launchChromium } from './chromium.js'
import { Visitor } from './visitor.js'

const PHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1'

const redis = await startRedis()
const demo = new CliProcess(['demo', '--port', '0', '--redis', redis.url])
const browser = await launchChromium()
try {
  const url = await demo.url()
  for (const colorScheme of ['light', 'dark'] as const) {
    const tab = await (await Visitor.enter(browser, url, { colorScheme, viewport: { width: 1120, height: 920 } })).open()
    await tab.logIn('ada', 60)
    await (await (await Visitor.enter(browser, url, { userAgent: PHONE })).open()).logIn('ada', 60)
    await tab.button('Sign out Safari on iPhone').waitFor()
    await tab.button('Send 20 requests').click()
    await tab.told('none was lost')
    await tab.button('Count a page view').click()
    await tab.told('Page views: 2.')
    // The status line goes away by itself; it would lie over what is to be seen.
    await tab.status.waitFor({ state: 'hidden' })
    await tab.page.mouse.move(0, 0)
    await tab.page.evaluate(() => { (document.activeElement as HTMLElement).blur() })
    await tab.page.screenshot({ path: fileURLToPath(new URL(`../../.github/demo-${colorScheme}.png`, import.meta.url)) })
    await tab.button('Sign out everywhere else').click()
    await tab.told('One device was signed out.')
    await tab.button('Log out').click()
    await tab.told('Logged out.')
  }
} finally {
  await browser.close()
  demo.kill()
  await redis.stop()
}
