/** Somebody who looks at the demo: a browser context of their own, with one page open, or several. */
/// <reference lib="dom" />
import axe, { type AxeResults } from 'axe-core'
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from 'playwright-core'

/** Everything that is waited for has to come within this, milliseconds. */
const LIMIT = 20_000

/** A page of the demo, and what can be done and seen there, by the words that people see. */
export class Tab {
  readonly page: Page
  /** What went wrong in the page without the visitor being told: in the console, as an exception, at another host, in the server. */
  readonly complaints: string[] = []
  /** Refused and failed requests, for who has to find out why the page said something else. */
  readonly #refusals: string[] = []

  constructor (page: Page, origin: string) {
    this.page = page
    page.setDefaultTimeout(LIMIT)
    page.on('console', message => {
      // Chromium's own line about an answer that is no success. Which of them may be is said below.
      if (message.text().startsWith('Failed to load resource: ')) return
      if (['error', 'warning'].includes(message.type())) this.complaints.push(`${message.type()}: ${message.text()}`)
    })
    page.on('pageerror', error => { this.complaints.push(`exception: ${error.message}`) })
    page.on('requestfailed', request => { this.#refusals.push(`${request.method()} ${request.url()}: ${request.failure()?.errorText ?? ''}`) })
    page.on('response', response => {
      if (!response.ok()) this.#refusals.push(`${response.request().method()} ${response.url()}: ${response.status()}`)
      // 503: the store is away. Of this and of 4xx the page tells in words.
      if (response.status() >= 500 && response.status() !== 503) this.complaints.push(`${response.status()}: ${response.url()}`)
    })
    page.on('dialog', dialog => {
      this.complaints.push(`dialog: ${dialog.message()}`)
      dialog.dismiss().catch(() => {})
    })
    page.on('request', request => {
      if (!request.url().startsWith(`${origin}/`) && request.url() !== 'data:,') this.complaints.push(`request: ${request.url()}`)
    })
  }

  button (name: string): Locator { return this.page.getByRole('button', { name, exact: true }) }
  field (label: string | RegExp): Locator { return this.page.getByLabel(label) }
  section (name: string | RegExp): Locator { return this.page.getByRole('region', { name }) }

  /** The page's status line. */
  get status (): Locator { return this.page.getByRole('status') }

  /** Waits until the status line says something. */
  async told (text: string | RegExp): Promise<void> {
    try {
      await this.status.filter({ hasText: text }).waitFor()
    } catch (error) {
      const said = await this.page.evaluate(() => (globalThis as unknown as Heard).said)
      throw new Error(`Not told: ${String(text)}. Told, since the page was loaded: ${JSON.stringify(said)}. Refused: ${JSON.stringify(this.#refusals)}`, { cause: error })
    }
  }

  /** What stands beside a name in the list of the session's properties. */
  async property (name: string): Promise<string> {
    return await this.page.locator('dt', { hasText: new RegExp(`^${name}$`) }).locator('xpath=following-sibling::dd[1]').innerText()
  }

  /** Waits until a property has a value. */
  async shows (name: string, value: string): Promise<void> {
    await this.page.locator(`xpath=//dt[.=${JSON.stringify(name)}]/following-sibling::dd[1][.=${JSON.stringify(value)}]`).waitFor()
  }

  /** Every text that an element shows from now on, once it is asked for. */
  async textsOf (selector: string): Promise<() => Promise<string[]>> {
    const texts = await this.page.evaluateHandle(selector => (globalThis as unknown as Heard).textsOf(selector), selector)
    return async () => await texts.jsonValue()
  }

  /** Fills in the start form and sends it. */
  async logIn (name: string, seconds: number): Promise<void> {
    await this.field('Your name').fill(name)
    await this.field(/^Idle timeout/).fill(String(seconds))
    await this.button('Start session').click()
    await this.section('Current session').waitFor()
  }

  /** Sends a request as a script of the page would, with the visitor's cookie. */
  async post (path: string, form: Record<string, string> = {}): Promise<{ status: number, body: unknown }> {
    return await this.page.evaluate(async ([path, form]) => {
      const response = await fetch(path, { method: 'POST', body: new URLSearchParams(form) })
      return { status: response.status, body: await response.json() as unknown }
    }, [path, form] as const)
  }

  /** How much wider the content is than the window, in pixels. */
  async overflow (): Promise<number> {
    return await this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  }

  /** What axe-core finds to be wrong for people with disabilities, as one line per rule and element. */
  async barriers (): Promise<string[]> {
    await this.page.evaluate(axe.source)
    const { violations } = await this.page.evaluate(async () => await (globalThis as unknown as { axe: { run: () => Promise<AxeResults> } }).axe.run())
    return violations.flatMap(({ id, impact, nodes }) => nodes.map(({ html, failureSummary }) => `${impact} ${id}: ${html}: ${failureSummary}`))
  }
}

/** What `listen` adds to a page. */
interface Heard {
  textsOf: (selector: string) => string[]
  /** What the status line has said, which is gone from there after a while. */
  said: string[]
}

/** Runs in every page before its own script. */
function listen (): void {
  const heard = globalThis as unknown as Heard
  heard.textsOf = selector => {
    const shown: string[] = []
    const element = document.querySelector(selector)
    if (element !== null) new MutationObserver(() => { shown.push(element.textContent) }).observe(element, { childList: true })
    return shown
  }
  document.addEventListener('DOMContentLoaded', () => { heard.said = heard.textsOf('[role=status]') })
}

/** A browser context: cookies of its own. */
export class Visitor {
  readonly context: BrowserContext
  readonly #url: string
  readonly #tabs: Tab[] = []

  private constructor (context: BrowserContext, url: string) {
    this.context = context
    this.#url = url
  }

  /**
   * @param url of the demo
   * @param options such as window size and colour scheme
   */
  static async enter (browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Visitor> {
    return new Visitor(await browser.newContext(options), url)
  }

  /** Opens the demo in a new tab. */
  async open (): Promise<Tab> {
    const page = await this.context.newPage()
    await page.addInitScript(listen)
    const tab = new Tab(page, this.#url)
    this.#tabs.push(tab)
    await page.goto(this.#url)
    return tab
  }

  /** The session cookie's value. */
  async cookie (): Promise<string | undefined> {
    return (await this.context.cookies()).find(({ name }) => name.endsWith('session-id'))?.value
  }

  /** What went wrong in all tabs. */
  get complaints (): string[] { return this.#tabs.flatMap(({ complaints }) => complaints) }
}
