/**
 * A client with a cookie jar, and a gate that holds requests.
 */
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { checkSetCookies, type SetCookie } from './set-cookie.js'

/** The Set-Cookie lines of a response, checked as those of every response are. */
export function setCookies ({ statusCode, headers }: LightMyRequestResponse): SetCookie[] {
  return checkSetCookies({ statusCode, setCookie: [headers['set-cookie'] ?? []].flat(), cacheControl: String(headers['cache-control'] ?? '') })
}

/** Sends requests into an app and keeps its cookies, as a browser would. */
export class Browser {
  readonly jar = new Map<string, string>()
  readonly #app: FastifyInstance

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  /** What this browser would send as Cookie header. */
  get cookie (): string {
    return [...this.jar].map(([name, value]) => `${name}=${value}`).join('; ')
  }

  /** The session cookie's value, whatever its name. */
  get token (): string | undefined {
    return [...this.jar].find(([name]) => name.endsWith('session-id'))?.[1]
  }

  /** Another browser with the same cookies: a thief, or the same person a moment ago. */
  clone (app: FastifyInstance = this.#app): Browser {
    const clone = new Browser(app)
    for (const [name, value] of this.jar) clone.jar.set(name, value)
    return clone
  }

  async get (url: string, options: InjectOptions = {}): Promise<LightMyRequestResponse> {
    const headers = { ...(this.jar.size > 0 && { cookie: this.cookie }), ...options.headers }
    const response = await this.#app.inject({ url, ...options, headers })
    for (const { name, value, attributes } of setCookies(response)) {
      if (attributes.get('max-age') === '0') this.jar.delete(name)
      else this.jar.set(name, value)
    }
    return response
  }

  /** The parsed JSON of an answer that has to be a 200. */
  async json (url: string, options: InjectOptions = {}): Promise<any> {
    const response = await this.get(url, options)
    if (response.statusCode !== 200) throw new Error(`${url}: ${response.statusCode} ${response.body}`)
    return response.json()
  }
}

/** Holds requests at a point until a test lets them go: forced overlaps instead of sleeping and hoping. */
export class Gate {
  readonly #waiting = new Set<() => void>()
  #arrivals: Array<{ count: number, resolve: () => void }> = []
  #open = false

  /** Called by a handler: waits here until the gate is opened. */
  async pass (): Promise<void> {
    if (this.#open) return
    await new Promise<void>((resolve) => {
      this.#waiting.add(resolve)
      this.#arrivals = this.#arrivals.filter(({ count, resolve: arrived }) => {
        if (this.#waiting.size < count) return true
        arrived()
        return false
      })
    })
  }

  /** Waits until so many handlers stand at the gate. */
  async arrived (count: number): Promise<void> {
    if (this.#waiting.size >= count) return
    await new Promise<void>((resolve) => { this.#arrivals.push({ count, resolve }) })
  }

  /** Lets everybody through, now and later. */
  open (): void {
    this.#open = true
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}
