/** What came back, as far as it is looked at here. */
export interface Answer {
  status: number
  value: unknown
  /** The answer's Set-Cookie lines. */
  cookies: string[]
}

/** A browser that knows one application, and keeps its cookies. */
export class Visitor {
  readonly #jar: Map<string, string>

  constructor (readonly url: string, jar: Iterable<readonly [string, string]> = []) {
    this.#jar = new Map(jar)
  }

  /** Somebody else with the same cookies as of now. */
  copy (): Visitor {
    return new Visitor(this.url, this.#jar)
  }

  /** Asks for a route. Undefined: no answer within so many milliseconds. */
  async ask (action: string, field = 'field', patience = 5000): Promise<Answer | undefined> {
    const headers = new Headers()
    if (this.#jar.size > 0) headers.set('cookie', [...this.#jar].map(([name, value]) => `${name}=${value}`).join('; '))
    let response, text
    try {
      response = await fetch(`${this.url}/${action}?field=${field}`, { headers, signal: AbortSignal.timeout(patience) })
      text = await response.text()
    } catch (error) {
      if ((error as Error).name === 'TimeoutError') return undefined
      throw error
    }
    const cookies = response.headers.getSetCookie()
    for (const line of cookies) this.#keep(line)
    return { status: response.status, value: response.status === 200 ? JSON.parse(text) : undefined, cookies }
  }

  /** Asks for a route that has to answer. */
  async get (action: string, field?: string): Promise<Answer> {
    const answer = await this.ask(action, field)
    if (answer === undefined) throw new Error(`${action}: no answer`)
    return answer
  }

  #keep (line: string): void {
    const [name, value] = /^([^=]+)=([^;]*)/.exec(line)?.slice(1) as [string, string]
    if (clears(line)) this.#jar.delete(name)
    else this.#jar.set(name, value)
  }
}

/** Whether a Set-Cookie line makes a browser forget the cookie. */
export function clears (line: string): boolean {
  const age = /;\s*max-age=(-?\d+)/i.exec(line)?.[1]
  const expires = /;\s*expires=([^;]+)/i.exec(line)?.[1]
  return age === undefined ? expires !== undefined && Date.parse(expires) <= Date.now() : Number(age) <= 0
}
