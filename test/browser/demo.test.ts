/** The demo, as its command starts it, in a real browser: what people do there, and what they must never see. */
import Fastify from 'fastify'
import type { Browser, BrowserContextOptions } from 'playwright-core'
import tap, { type Test } from 'tap'
import { CliProcess } from '../support/cli-process.js'
import { startRedis } from '../support/redis-process.js'
import { until } from '../support/until.js'
import { launchChromium } from './chromium.js'
import { Visitor, type Tab } from './visitor.js'

/** How long the page may take to notice what it is not told, milliseconds. */
const NOTICE = 5000
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }

const redis = await startRedis()
const demos = {
  // Beside a browser, Redis may have to wait for its turn.
  redis: new CliProcess(['demo', '--port', '0', '--redis', redis.url], { SESSION_TIMEOUT: '2000' }),
  memory: new CliProcess(['demo', '--port', '0', '--redis', 'memory:'])
}
const browser: Browser = await launchChromium()
tap.teardown(async () => {
  await browser.close()
  for (const demo of Object.values(demos)) demo.kill()
  await redis.stop()
})

/** What a test gets to bring people to the demo. */
type Enter = (options?: BrowserContextOptions) => Promise<Visitor>

/** A test whose visitors' browsers must have had nothing to complain about when it ends. */
function visit (name: string, run: (t: Test, enter: Enter) => Promise<void>, store: keyof typeof demos = 'redis'): void {
  tap.test(name, async t => {
    const url = await demos[store].url()
    const visitors: Visitor[] = []
    t.teardown(() => Promise.all(visitors.map(({ context }) => context.close())))
    await run(t, async options => {
      const visitor = await Visitor.enter(browser, url, options)
      visitors.push(visitor)
      return visitor
    })
    t.strictSame(visitors.flatMap(({ complaints }) => complaints), [], 'nothing in the console, no other host, no server error')
  })
}

/** The fields of a session's record, as Redis has them. */
async function recordOf (tab: Tab): Promise<Record<string, string>> {
  return await redis.client().hgetall(`session:${await tab.property('Id')}`)
}

for (const store of ['redis', 'memory'] as const) {
  visit(`log in, count, rotate, write in parallel, log out (${store})`, async (t, enter) => {
    const visitor = await enter()
    const tab = await visitor.open()
    t.notOk(await visitor.cookie(), 'who only looks gets no cookie')
    await tab.logIn('  Ada Lovelace ', 60)
    await tab.told('Session started. Unused, it ends in 60 s.')
    t.equal(await tab.property('User'), 'Ada Lovelace')
    t.equal(await tab.property('Page views'), '1')
    t.equal(await tab.property('Idle timeout'), '60 s')
    t.match(await tab.section('Current session').innerText(), /Time left if unused\s+[56]\d s/)
    t.equal(await tab.button('Start session').count(), 0, 'the form is gone')

    for (const views of ['2', '3']) {
      await tab.button('Count a page view').click()
      await tab.shows('Page views', views)
    }
    await tab.told('Page views: 3.')
    await tab.page.reload()
    t.equal(await tab.property('Page views'), '3', 'the server renders the same')

    const [id, cookie] = [await tab.property('Id'), await visitor.cookie()]
    await tab.button('Rotate').click()
    await tab.told('New secret in the cookie; the session is the same.')
    t.equal(await tab.property('Id'), id)
    const rotated = await visitor.cookie()
    t.not(rotated, cookie)
    t.equal(rotated?.split('.')[0], id)
    const [, before, after] = /cookie's secret: ([\w-]{8})… before, ([\w-]{8})… now/.exec(await tab.section('Current session').innerText()) ?? []
    t.ok(before !== undefined && before !== after, 'the secret\'s hash before and after')

    await tab.button('Send 20 requests').click()
    await tab.told('20 of 20 fields are in the record: none was lost.')
    t.strictSame(await tab.section('20 writes at once').getByRole('listitem').allInnerTexts(), Array.from({ length: 20 }, (_, index) => `${String(index + 1).padStart(2, '0')} ✓`))
    const shown = await tab.section('The record as stored').getByRole('region').innerText()
    t.match(shown, `HGETALL session:${id}`)
    t.match(shown, /^\$.*\n +1\) "(?:username|page_views|field\d\d)"\n/, 'data first')
    t.ok(shown.lastIndexOf('"field') < shown.indexOf('"created_at"'), 'then metadata')
    if (store === 'redis') {
      const stored = await recordOf(tab)
      t.equal(Object.keys(stored).filter(name => /^field\d\d$/.test(name)).length, 20, 'Redis has all of them')
      // The times go on, and 'last_accessed_at' with them.
      for (const [name, value] of Object.entries(stored)) t.ok(shown.includes(`"${name}"`) && (name === 'last_accessed_at' || shown.includes(`"${value}"`)), `the page shows ${name} as Redis has it`)
    }

    await tab.button('Log out').click()
    await tab.told('Logged out. The record is deleted.')
    t.notOk(await visitor.cookie(), 'the browser has dropped its cookie')
    await tab.page.reload()
    await tab.button('Start session').waitFor()
    if (store === 'redis') t.equal(await redis.client().exists(`session:${id}`), 0)
  }, store)
}

visit('a shorter idle timeout, and the end that it brings', async (t, enter) => {
  const visitor = await enter()
  const tab = await visitor.open()
  await tab.logIn('Grace', 300)
  const id = await tab.property('Id')
  await tab.field(/^New idle timeout/).fill('2')
  await tab.button('Apply').click()
  await tab.told('The session now ends when it is not used for 2 s.')
  await tab.shows('Idle timeout', '2 s')
  t.ok(await redis.client().pttl(`session:${id}`) <= 2000)
  const countdown = await tab.textsOf('#left')
  await tab.told('The session expired: it was not used for 2 s.')
  const seconds = (await countdown()).map(text => Number.parseFloat(text))
  t.ok(seconds.length > 2 && seconds.at(-1)! < 1 && seconds.every(left => left <= 2), 'the time left went down to its end')
  t.ok(await tab.section('Start a session').getByText('The session expired').isVisible(), 'that stays when the status line has gone')
  await tab.button('Start session').waitFor()
  t.equal(await redis.client().exists(`session:${id}`), 0, 'Redis has ended it')
  t.notOk(await visitor.cookie())
  await tab.logIn('Grace', 60)
  t.not(await tab.property('Id'), id)
})

visit('using the session sets the countdown back', async (t, enter) => {
  const tab = await (await enter()).open()
  await tab.logIn('Grace', 9)
  const left = async (): Promise<number> => Number.parseFloat((/Time left if unused\s+(\S+) s/.exec(await tab.section('Current session').innerText()) ?? [])[1] ?? '')
  const before = await until('some of the time has gone', NOTICE, async () => {
    const seconds = await left()
    return seconds < 8 ? seconds : undefined
  })
  await tab.button('Count a page view').click()
  await until('the countdown starts over', NOTICE, async () => await left() > before)
  t.ok(await redis.client().pttl(`session:${await tab.property('Id')}`) > before * 1000)
})

visit('two tabs are one session', async (t, enter) => {
  const visitor = await enter()
  const [one, two] = [await visitor.open(), await visitor.open()]
  await one.logIn('Ada', 60)
  await two.page.reload()
  t.equal(await two.property('Id'), await one.property('Id'))
  await Promise.all([one, two].map(tab => tab.button('Count a page view').click()))
  for (const tab of [one, two]) await tab.shows('Page views', '3')

  await one.button('Rotate').click()
  await one.told('New secret')
  await two.button('Count a page view').click()
  for (const tab of [one, two]) await tab.shows('Page views', '4')

  await Promise.all([one.button('Log out').click(), two.told('Logged out in another tab.')])
  await two.button('Start session').waitFor()
})

visit('a tab that looks while the session ends tells why it ended, not what the look came to', async (t, enter) => {
  const visitor = await enter()
  const [one, two] = [await visitor.open(), await visitor.open()]
  await one.logIn('Ada', 60)
  await two.page.reload()
  // However long the news takes: for the page, no time goes by until then.
  await two.page.clock.install()
  await two.page.clock.pauseAt(Date.now() + 1000)
  await two.page.route('**/record', async route => { await route.fulfill({ status: 401, json: { error: 'Session expired' } }) })
  const told = await two.textsOf('[role=status]')
  const refused = two.page.waitForResponse('**/record')
  await one.button('Count a page view').click()
  await refused
  const heard = two.page.waitForRequest('**/session')
  await one.button('Log out').click()
  await heard
  await until('the page says why', NOTICE, async () => {
    await two.page.clock.runFor(50)
    return (await told()).length > 0
  })
  t.strictSame(await told(), ['Logged out in another tab.'])
})

const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
const SAFARI = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1'

/** The list of devices; a star marks the own one. */
async function devicesOn (tab: Tab): Promise<string[]> {
  return await tab.section('Your devices').getByRole('listitem').evaluateAll(rows => rows.map(row =>
    `${row.querySelector('strong')?.textContent}${row.textContent?.includes('This browser') ? ' *' : ''}`))
}

/** Waits until the list of devices is this one. Who came later stands further down. */
async function seeDevices (tab: Tab, ...devices: string[]): Promise<void> {
  await until(`the devices are ${devices.join(', ')}`, NOTICE, async () => (await devicesOn(tab)).join() === devices.join())
}

visit('two browsers of one user see each other, and one signs the other out', async (t, enter) => {
  const [one, two] = await Promise.all([enter(), enter({ userAgent: FIREFOX })])
  const [here, there] = await Promise.all([one.open(), two.open()])
  await here.logIn('Ada of the devices', 60)
  await seeDevices(here, 'Chrome on Linux *')
  await there.logIn('Ada of the devices', 60)
  t.not(await here.property('Id'), await there.property('Id'))
  await seeDevices(here, 'Chrome on Linux *', 'Firefox on Linux')
  await seeDevices(there, 'Chrome on Linux', 'Firefox on Linux *')
  t.match(await here.section('Your devices').innerText(), /Last seen \d+:\d\d:\d\d.*network 127\.0\.0\.0\/24/)
  t.equal(await here.button('Sign out Chrome on Linux').count(), 0, 'this browser logs out')

  const id = await there.property('Id')
  await there.page.evaluate(() => { (globalThis as { sameDocument?: boolean }).sameDocument = true })
  const begin = performance.now()
  await Promise.all([
    here.button('Sign out Firefox on Linux').click(),
    here.told('One device was signed out.'),
    there.told('You were signed out from another device.').then(() => { t.comment(`told after ${Math.round(performance.now() - begin)} ms`) })
  ])
  t.ok(await there.button('Start session').isVisible())
  t.ok(await there.page.evaluate(() => (globalThis as { sameDocument?: boolean }).sameDocument), 'without a reload')
  t.equal(await redis.client().exists(`session:${id}`), 0)
  t.notOk(await two.cookie(), 'the dead cookie is gone')
  await seeDevices(here, 'Chrome on Linux *')
  t.equal(await here.page.evaluate(() => document.activeElement?.textContent), 'Your devices', 'the focus does not vanish with its row')
})

visit('signed out everywhere else', async (t, enter) => {
  const visitors = await Promise.all([enter(), enter({ userAgent: FIREFOX }), enter({ userAgent: SAFARI }), enter()])
  const tabs = await Promise.all(visitors.map(visitor => visitor.open()))
  const [mine, firefox, safari, somebody] = tabs as [Tab, Tab, Tab, Tab]
  for (const tab of [firefox, mine, safari]) await tab.logIn('Grace of the devices', 60)
  await somebody.logIn('Somebody else', 60)
  for (const tab of [mine, firefox, safari]) await until('all three', NOTICE, async () => (await devicesOn(tab)).length === 3)
  await seeDevices(mine, 'Firefox on Linux', 'Chrome on Linux *', 'Safari on iPhone')
  await seeDevices(somebody, 'Chrome on Linux *')
  await Promise.all([
    mine.button('Sign out everywhere else').click(),
    mine.told('2 devices were signed out.'),
    ...[firefox, safari].map(tab => tab.told('You were signed out from another device.'))
  ])
  await seeDevices(mine, 'Chrome on Linux *')
  t.equal(await mine.page.evaluate(() => document.activeElement?.textContent), 'Your devices', 'the focus does not vanish with the button')
  for (const tab of [mine, somebody]) {
    await tab.button('Count a page view').click()
    await tab.shows('Page views', '2')
  }
  t.notOk(await mine.button('Sign out everywhere else').isVisible(), 'there is nothing else any more')
  t.ok(await mine.section('Current session').isVisible())
})

visit('a device that logs out, or whose session expires, leaves the list', async (_, enter) => {
  const visitors = await Promise.all([enter(), enter({ userAgent: FIREFOX }), enter({ userAgent: SAFARI })])
  const [mine, firefox, safari] = await Promise.all(visitors.map(visitor => visitor.open())) as [Tab, Tab, Tab]
  await mine.logIn('Joan of the devices', 60)
  await firefox.logIn('Joan of the devices', 60)
  await seeDevices(mine, 'Chrome on Linux *', 'Firefox on Linux')
  await firefox.button('Log out').click()
  await seeDevices(mine, 'Chrome on Linux *')
  await safari.logIn('Joan of the devices', 3)
  await Promise.all([
    seeDevices(mine, 'Chrome on Linux *', 'Safari on iPhone').then(() => seeDevices(mine, 'Chrome on Linux *')),
    safari.told('The session expired: it was not used for 3 s.')
  ])
})

visit('a stolen cookie is dead after a rotation', async (t, enter) => {
  const [owner, thief] = await Promise.all([enter(), enter()])
  const tab = await owner.open()
  await tab.logIn('Ada', 60)
  await thief.context.addCookies(await owner.context.cookies())
  t.equal(await (await thief.open()).property('User'), 'Ada', 'good until then')
  await tab.button('Rotate').click()
  await tab.told('New secret')
  await (await thief.open()).button('Start session').waitFor()
  await tab.button('Count a page view').click()
  await tab.shows('Page views', '2')
})

visit('a page that asked with the cookie of before a rotation is not told that its session ended', async (t, enter) => {
  const tab = await (await enter()).open()
  await tab.logIn('Ada', 60)
  let announce = (): void => {}
  const asked = new Promise<void>((resolve) => { announce = resolve })
  // The answer to the rotation is on its way while the page asks how its session stands: with the old cookie, who is anonymous.
  await tab.page.route('**/rotate', async route => {
    const response = await route.fetch()
    await asked
    await route.fulfill({ response })
  })
  await tab.page.route('**/session', async route => {
    await route.fulfill({ json: { authenticated: false, session: null } })
    announce()
  }, { times: 1 })
  await tab.button('Rotate').click()
  // The page was out of sight for a moment.
  await tab.page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')))
  await tab.told('New secret')
  await tab.button('Count a page view').click()
  await tab.shows('Page views', '2')
  t.notOk(await tab.button('Start session').isVisible())
})

visit('the keyboard is enough', async (t, enter) => {
  const tab = await (await enter()).open()
  const { keyboard } = tab.page
  /** Presses Tab until the focus is on a control, which has to show it. */
  const tabTo = async (name: string): Promise<void> => {
    for (let presses = 0; presses < 20; presses++) {
      await keyboard.press('Tab')
      const focus = await tab.page.evaluate(() => {
        const element = document.activeElement as HTMLElement
        const label = (element as HTMLInputElement).labels?.[0]?.textContent ?? element.textContent
        return { label: label?.trim(), outline: getComputedStyle(element).outlineStyle }
      })
      if (focus.label !== name) continue
      t.equal(focus.outline, 'solid', `${name}: the focus can be seen`)
      return
    }
    throw new Error(`the focus does not get to ${name}`)
  }
  await tabTo('Your name')
  await keyboard.type('Ada')
  await tabTo('Idle timeout (seconds)')
  await keyboard.press('ControlOrMeta+A')
  await keyboard.type('60')
  await keyboard.press('Enter')
  await tab.told('Session started.')
  t.equal(await tab.page.evaluate(() => document.activeElement?.textContent), 'Current session', 'the focus goes along')
  await tabTo('Count a page view')
  await keyboard.press('Space')
  await tab.shows('Page views', '2')
  t.equal(await tab.page.evaluate(() => document.activeElement?.textContent), 'Count a page view', 'and stays where it was used')
  await tabTo('Rotate')
  await keyboard.press('Enter')
  await tab.told('New secret')
  await tabTo('New idle timeout (seconds)')
  await keyboard.press('ControlOrMeta+A')
  await keyboard.type('100')
  await keyboard.press('Enter')
  await tab.shows('Idle timeout', '1 min 40 s')
  await tabTo('Send 20 requests')
  await keyboard.press('Enter')
  await tab.told('none was lost')
  await tab.button('Count a page view').focus()
  await tabTo('Log out')
  await keyboard.press('Enter')
  await tab.told('Logged out.')
  t.equal(await tab.page.evaluate(() => document.activeElement?.textContent), 'Start a session', 'the focus does not vanish with its panel')
})

for (const width of [360, 320]) {
  visit(`a screen of ${width} px needs no scrolling to the side`, async (t, enter) => {
    const tab = await (await enter({ ...PHONE, viewport: { width, height: 740 } })).open()
    t.equal(await tab.overflow(), 0, 'start')
    const name = 'W'.repeat(37) + width
    await tab.logIn(name, 86_400)
    await (await (await enter({ userAgent: SAFARI })).open()).logIn(name, 60)
    await tab.page.reload()
    await seeDevices(tab, 'Chrome on Linux *', 'Safari on iPhone')
    t.equal(await tab.overflow(), 0, 'a long name without a space')
    await tab.button('Rotate').click()
    await tab.told('New secret')
    await tab.button('Send 20 requests').click()
    await tab.told('none was lost')
    t.equal(await tab.overflow(), 0, 'with all results')
    const small = await tab.page.evaluate(() => [...document.querySelectorAll('button, input')]
      .map(element => ({ text: element.textContent, ...element.getBoundingClientRect().toJSON() as DOMRect }))
      .filter(({ width, height }) => width > 0 && (width < 44 || height < 44)))
    t.strictSame(small, [], 'what is touched is large enough for a finger')
    const { clipped } = await tab.page.evaluate(() => ({
      clipped: [...document.querySelectorAll('button, dd, dt, li, h1, h2')].filter(element => element.scrollWidth > element.clientWidth + 1).map(element => element.textContent)
    }))
    t.strictSame(clipped, [], 'no text is cut off')
  })
}

const INJECTIONS = [
  '<img src=x onerror=alert(1)>',
  '"><script>alert(2)</script>',
  '\'"--><svg/onload=alert(3)>',
  '</script><script>alert(4)</script>',
  '&lt;b&gt;$' + '{alert(5)}{{6*7}}',
  'javascript:alert(6)//" autofocus=1'
]

visit('HTML in a name, a field or a user agent stays text', async (t, enter) => {
  const visitor = await enter({ userAgent: INJECTIONS.join(' ') })
  const tab = await visitor.open()
  const elements = async (): Promise<number> => await tab.page.locator('img, svg, iframe, object, embed, base, script, [onerror], [onload]').count()
  t.equal(await elements(), 1, 'the page has its one script')
  for (const name of INJECTIONS) {
    await tab.logIn(name, 60)
    t.equal(await tab.property('User'), name, 'set by the script')
    await seeDevices(tab, 'Unknown device *')
    t.strictSame(await tab.post('/field', { name: 'field01', value: name }), { status: 200, body: { name: 'field01', value: name } })
    await tab.button('Read again').click()
    await tab.told('Record read.')
    t.ok((await tab.section('The record as stored').getByRole('region').innerText()).includes(`"${name.replaceAll('"', '\\"')}"`))
    t.equal(await elements(), 1)
    await tab.page.reload()
    t.equal(await tab.property('User'), name, 'rendered by the server')
    t.equal(await elements(), 1)
    await tab.button('Log out').click()
    await tab.button('Start session').waitFor()
  }
})

tap.test('what gets into the page all the same does not run: its Content-Security-Policy', async t => {
  const visitor = await Visitor.enter(browser, await demos.redis.url())
  t.teardown(() => visitor.context.close())
  const { page, complaints } = await visitor.open()
  const violations = await page.evaluate(async () => {
    const seen: string[] = []
    document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => { seen.push(effectiveDirective) })
    const script = document.createElement('script')
    script.textContent = 'window.injected = 1'
    document.body.append(script)
    document.body.insertAdjacentHTML('beforeend', '<img src="/session" onerror="window.injected = 2"><p style="color: red">')
    await fetch('http://127.0.0.1:9/').catch(() => {})
    while (new Set(seen).size < 5) await new Promise(resolve => setTimeout(resolve, 10))
    return [...new Set(seen)].sort()
  })
  t.strictSame(violations, ['connect-src', 'img-src', 'script-src-attr', 'script-src-elem', 'style-src-attr'])
  t.equal(await page.evaluate(() => (globalThis as { injected?: number }).injected), undefined)
  t.ok(complaints.length > 0, 'and the console would tell: in all other tests it says nothing')
})

for (const [screen, options] of Object.entries({ desk: {}, phone: PHONE })) {
  visit(`no barriers on a ${screen}, in light and dark`, async (t, enter) => {
    const tab = await (await enter(options)).open()
    const check = async (state: string): Promise<void> => {
      for (const colorScheme of ['light', 'dark'] as const) {
        await tab.page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
        t.strictSame(await tab.barriers(), [], `${state}, ${colorScheme}`)
      }
    }
    await check('start')
    await tab.logIn(`Ada on a ${screen}`, 60)
    await (await (await enter({ userAgent: SAFARI })).open()).logIn(`Ada on a ${screen}`, 60)
    await tab.button('Sign out Safari on iPhone').waitFor()
    await check('a session')
    await tab.button('Rotate').click()
    await tab.told('New secret')
    await tab.button('Send 20 requests').click()
    await tab.told('none was lost')
    await check('results')
    await tab.button('Log out').click()
    await tab.told('Logged out.')
    await check('the end')
    // As without the script, which does not hear of this.
    await tab.page.evaluate(() => { document.querySelector<HTMLFormElement>('form[action="/increment"]')!.submit() })
    await tab.page.getByRole('link', { name: 'Back to the demo' }).waitFor()
    await check('a page of one sentence')
  })
}

visit('Redis that does not answer, and then does', async (t, enter) => {
  const visitor = await enter()
  const tab = await visitor.open()
  await tab.logIn('Ada', 60)
  const cookie = await visitor.cookie()
  redis.freeze()
  t.teardown(() => { if (redis.state === 'frozen') redis.thaw() })
  await tab.button('Count a page view').click()
  await tab.told(/store|Redis/)
  t.ok(await tab.section('Current session').isVisible(), 'nobody is sent away')
  redis.thaw()
  await until('it goes on', NOTICE, async () => {
    await tab.button('Count a page view').click()
    return await tab.property('Page views') !== '1'
  })
  t.equal(await visitor.cookie(), cookie)
})

visit('what went wrong last is not covered by what went well before', async (t, enter) => {
  const tab = await (await enter()).open()
  await tab.logIn('Ada', 60)
  await tab.told('Session started.')
  const said = await tab.textsOf('[role=status]')
  await tab.page.route('**/record', route => route.abort())
  await tab.button('Count a page view').click()
  await tab.told('The server does not answer.')
  await tab.shows('Page views', '2')
  t.notOk((await said()).some(text => text.startsWith('Page views')))
})

tap.test('a server that has gone', async t => {
  const demo = new CliProcess(['demo', '--port', '0'])
  t.teardown(() => { demo.kill() })
  const visitor = await Visitor.enter(browser, await demo.url())
  t.teardown(() => visitor.context.close())
  const tab = await visitor.open()
  await tab.logIn('Ada', 60)
  await tab.told('Session started.')
  demo.kill()
  await tab.button('Count a page view').click()
  await tab.told('The server does not answer.')
  t.ok(await tab.section('Current session').isVisible())
  t.strictSame(visitor.complaints, [])
})

visit('strangers who give no name do not see each other', async (t, enter) => {
  const [one, two] = await Promise.all([enter(), enter({ userAgent: FIREFOX })])
  const [here, there] = await Promise.all([one.open(), two.open()])
  await here.logIn('', 60)
  await there.logIn('', 60)
  await seeDevices(here, 'Chrome on Linux *')
  await seeDevices(there, 'Firefox on Linux *')
  t.match(await here.property('User'), /^Guest \w+$/)
  t.not(await here.property('User'), await there.property('User'))
})

visit('without scripts every form works', async (t, enter) => {
  const visitor = await enter({ javaScriptEnabled: false })
  const tab = await visitor.open()
  t.match(await tab.page.locator('header').innerText(), /Without JavaScript/)
  await tab.logIn('Ada without scripts', 60)
  t.match(await tab.section('The record as stored').innerText(), `HGETALL session:${await tab.property('Id')}`)
  await tab.button('Count a page view').click()
  await tab.shows('Page views', '2')
  const cookie = await visitor.cookie()
  await tab.button('Rotate').click()
  await until('another cookie', NOTICE, async () => await visitor.cookie() !== cookie)
  await tab.field(/^New idle timeout/).fill('100')
  await tab.button('Apply').click()
  await tab.shows('Idle timeout', '100 s')

  const others = await Promise.all([enter({ userAgent: FIREFOX }), enter({ userAgent: SAFARI })])
  const [firefox, safari] = await Promise.all(others.map(visitor => visitor.open())) as [Tab, Tab]
  for (const other of [firefox, safari]) await other.logIn('Ada without scripts', 60)
  await tab.page.reload()
  t.strictSame(await devicesOn(tab), ['Chrome on Linux *', 'Firefox on Linux', 'Safari on iPhone'])
  await Promise.all([tab.button('Sign out Firefox on Linux').click(), firefox.told('You were signed out from another device.')])
  await tab.button('Sign out Firefox on Linux').waitFor({ state: 'detached' })
  await Promise.all([tab.button('Sign out everywhere else').click(), safari.told('You were signed out from another device.')])
  await tab.button('Sign out Safari on iPhone').waitFor({ state: 'detached' })
  t.notOk(await tab.button('Sign out everywhere else').isVisible())
  t.strictSame(await tab.page.getByRole('button').allInnerTexts(), ['Count a page view', 'Rotate', 'Log out', 'Apply'], 'no button is dead')

  const id = await tab.property('Id')
  await redis.client().del(`session:${id}`)
  await tab.button('Count a page view').click()
  await tab.page.getByText('Session expired').waitFor()
  await tab.page.getByRole('link', { name: 'Back to the demo' }).click()
  await tab.logIn('Ada without scripts', 60)
  await tab.button('Log out').click()
  await tab.button('Start session').waitFor()
  t.notOk(await visitor.cookie())
})

/** Another site: its page sends a form to the demo at once, and then one by a script. */
async function startOtherSite (t: Test, target: string): Promise<string> {
  const app = Fastify()
  app.get('/', async (_request, reply) => reply.type('text/html').send(`<!doctype html><title>x</title><link rel="icon" href="data:,"><iframe name="frame"></iframe>
    <form method="post" action="${target}/devices/end-others" target="frame"></form>
    <script>
      document.forms[0].submit()
      fetch('${target}/login', { method: 'POST', mode: 'no-cors', credentials: 'include', body: new URLSearchParams({ username: 'Mallory' }) })
    </script>`))
  t.teardown(() => app.close())
  return await app.listen({ port: 0, host: '127.0.0.1' })
}

// Chromium says 'Sec-Fetch-Site' to this machine, and over plain http to no other one: there it says 'Origin' only.
for (const host of ['127.0.0.1', 'demo.test']) {
  tap.test(`what another site sends in a visitor's name is refused (${host})`, async t => {
    const url = (await demos.redis.url()).replace('127.0.0.1', host)
    const [victim, other] = await Promise.all([Visitor.enter(browser, url), Visitor.enter(browser, url, { userAgent: FIREFOX })])
    t.teardown(() => Promise.all([victim, other].map(({ context }) => context.close())))
    const [tab, device] = await Promise.all([victim.open(), other.open()])
    for (const one of [tab, device]) await one.logIn(`Ada at ${host}`, 60)
    await tab.button('Count a page view').click()
    await tab.shows('Page views', '2')
    const cookie = await victim.cookie()

    for (const from of ['127.0.0.1', 'localhost', 'demo.test']) {
      const page = await victim.context.newPage()
      const answers = Promise.all(['end-others', 'login'].map(async path => await page.waitForResponse(response => response.url().endsWith(path))))
      await page.goto((await startOtherSite(t, url)).replace('127.0.0.1', from))
      t.strictSame((await answers).map(answer => answer.status()), [403, 403], `from another port of ${from}`)
      await page.close()
    }
    t.equal(await victim.cookie(), cookie, 'nobody else was logged in')
    await device.button('Count a page view').click()
    await device.shows('Page views', '2')

    const plain = await Visitor.enter(browser, url, { javaScriptEnabled: false })
    t.teardown(() => plain.context.close())
    const form = await plain.open()
    await form.logIn(`Ada at ${host}`, 60)
    await form.button('Log out').click()
    await form.button('Start session').waitFor()
    // Over plain http Chromium does not take this header, and says so.
    t.strictSame([victim, other, plain].flatMap(({ complaints }) => complaints).filter(complaint => !complaint.includes('Cross-Origin-Opener-Policy')), [])
  })
}
