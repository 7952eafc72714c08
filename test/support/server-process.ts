/** Apps as processes of their own. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { guard, release } from './guardian.js'
import { until } from './until.js'

/** A process that runs an app. Made by `startServer`. */
export class ServerProcess {
  /** What it has printed so far, line by line. */
  readonly lines: string[] = []
  readonly #child: ChildProcess
  /** Resolves with the exit status, or the signal, when the process has ended. */
  readonly ended: Promise<number | NodeJS.Signals>

  /** For `startServer`. */
  constructor (child: ChildProcess) {
    this.#child = child
    this.ended = once(child, 'exit').then(([code, signal]) => code ?? signal)
    createInterface(child.stdout!).on('line', (line) => { this.lines.push(line) })
  }

  /** Where it listens. */
  get url (): string { return this.lines[0]! }

  /** Sends a request, on a connection of its own: one that is kept alive would keep the server from closing. */
  async get (path: string, cookie = ''): Promise<{ status: number, body: any, cookies: string[] }> {
    const request = get(this.url + path, { agent: false, headers: { cookie } })
    const [response] = await once(request, 'response') as [IncomingMessage]
    const body = await text(response)
    return { status: response.statusCode!, body: body.startsWith('{') ? JSON.parse(body) : body, cookies: response.headers['set-cookie'] ?? [] }
  }

  /** Waits until it has printed a line. */
  async says (line: string): Promise<void> {
    await until(`the process says ${line}`, 20_000, () => this.lines.includes(line))
  }

  signal (name: NodeJS.Signals): void {
    this.#child.kill(name)
  }
}

/**
 * Starts a program of TypeScript as a process, and resolves when it has printed its first line. It ends with this process
 * at the latest.
 *
 * @param program its URL
 * @param env variables, beside those that every process needs
 */
export async function startServer (program: URL, env: Record<string, string>): Promise<ServerProcess> {
  const { PATH, HOME } = process.env
  const child = spawn(process.execPath, ['--import', 'tsx', program.pathname], { env: { PATH, HOME, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  guard(child.pid!)
  child.once('exit', () => { release(child.pid!) })
  const server = new ServerProcess(child)
  await until('the process listens', 60_000, () => server.lines.length > 0)
  return server
}
