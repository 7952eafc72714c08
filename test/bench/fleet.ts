/** The server processes, one per contender, and the browsers that visit them for exact counts and for cookies. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Agent, get } from 'node:http'
import type { Answer, Message, Question, StartOptions } from './data.js'
import type { Entry } from './plan.js'
import { owned } from './stage.js'

/** One answer of a server. */
export interface Reply {
  value: unknown
  /** The cookies that came with it, as a browser would send them back. */
  cookie: string
}

/** A contender's running server process. */
export class Server {
  readonly #child: ChildProcess
  /** One connection, so that requests come one after another. */
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })

  private constructor (readonly entry: Entry, readonly port: number, child: ChildProcess) {
    this.#child = child
  }

  /** Starts a contender and waits until it listens. */
  static async start (script: string, entry: Entry, options: StartOptions): Promise<Server> {
    const child = owned(fork(script, [entry.name, JSON.stringify(options)], {
      execArgv: [], // not the runner's: servers have no loader
      env: { ...process.env, NODE_ENV: 'production' },
      stdio: ['ignore', 2, 2, 'ipc']
    }))
    const failed = once(child, 'exit').then(([code]): Message =>
      ({ type: 'failed', reason: `the process ended with ${String(code)}` }))
    const [message] = await Promise.race([once(child, 'message') as Promise<[Message]>, failed.then(first => [first])])
    if (message?.type !== 'ready') {
      throw new Error(`${entry.name} did not start: ${message?.type === 'failed' ? message.reason : 'no word from it'}`)
    }
    return new Server(entry, message.port, child)
  }

  /** The address of one of its routes. */
  url (path: string): string {
    return `http://127.0.0.1:${this.port}${path}`
  }

  /** Microseconds of CPU that the process has used so far, all its threads together. */
  async cpu (): Promise<number> {
    const answered = once(this.#child, 'message', { signal: AbortSignal.timeout(10_000) }) as Promise<[Message]>
    this.#child.send('cpu' satisfies Question)
    const [message] = await answered
    if (message.type !== 'cpu') throw new Error(`${this.entry.name} answered '${message.type}'`)
    return message.microseconds
  }

  /** Requests a route as a browser with these cookies would. */
  async visit (path: string, cookie?: string): Promise<Reply> {
    const headers = cookie === undefined ? {} : { cookie }
    return await new Promise((resolve, reject) => {
      const request = get(this.url(path), { agent: this.#agent, headers, timeout: 5000 }, response => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => { text += chunk })
        response.on('error', reject)
        response.on('end', () => {
          if (response.statusCode !== 200) {
            reject(new Error(`${this.entry.name} ${path}: ${String(response.statusCode)} ${text.slice(0, 300)}`))
            return
          }
          const cookies = (response.headers['set-cookie'] ?? []).map(line => line.split(';', 1)[0])
          resolve({ value: (JSON.parse(text) as Answer).value, cookie: cookies.join('; ') })
        })
      })
      request.on('timeout', () => request.destroy(new Error(`${this.entry.name} ${path}: no answer within 5 s`)))
      request.on('error', reject)
    })
  }

  /** Makes so many sessions with small or large data and gives back their cookies. */
  async seed (size: 'small' | 'large', count: number): Promise<string[]> {
    const cookies: string[] = []
    while (cookies.length < count) {
      const { cookie } = await this.visit(`/seed/${size}`)
      if (cookie === '') throw new Error(`${this.entry.name} sent no cookie for a new session`)
      cookies.push(cookie)
    }
    return cookies
  }

  /** Lets the process end by itself, which lets a profiler write its file. */
  async stop (): Promise<void> {
    this.#agent.destroy()
    if (this.#child.exitCode !== null) return
    const ended = once(this.#child, 'exit', { signal: AbortSignal.timeout(5000) })
    this.#child.disconnect()
    await ended.catch(() => this.#child.kill('SIGKILL'))
  }
}
