/** The command line program of these sources, as a process of its own. */
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { guard, release } from './guardian.js'
import { until } from './until.js'

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

/** The program has to listen within this, milliseconds; compiling the sources included. */
const LISTEN_LIMIT = 30_000

/** One run of `fastify-live-session`. It ends with this process, at the latest. */
export class CliProcess {
  readonly child: ChildProcessByStdio<null, Readable, Readable>
  /** What it has written so far, on standard output … */
  out = ''
  /** … and on standard error. */
  err = ''

  /**
   * @param args the command line
   * @param env its environment, beside PATH
   */
  constructor (args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.child = spawn(process.execPath, ['--import', 'tsx', MAIN, ...args], { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    this.child.stdout.on('data', (text: Buffer) => { this.out += text.toString() })
    this.child.stderr.on('data', (text: Buffer) => { this.err += text.toString() })
    const { pid } = this.child
    if (pid === undefined) return
    guard(pid)
    this.child.once('exit', () => { release(pid) })
  }

  /** Resolves with the exit code when the program has ended by itself or by a signal. */
  async ended (): Promise<number | null> {
    const [code] = await once(this.child, 'close') as [number | null]
    return code
  }

  /**
   * Where the program says it listens, as soon as it does.
   *
   * @throws Error with what the program has to say, where it ends instead
   */
  async url (): Promise<string> {
    const url = (): string | undefined => /http:\/\/\S+/.exec(this.out)?.[0]
    await until('the program listens', LISTEN_LIMIT, () => url() !== undefined || this.child.exitCode !== null)
    return url() ?? await Promise.reject(new Error(this.err))
  }

  /** Ends the program at once, whatever it is doing. */
  kill (): void {
    this.child.kill('SIGKILL')
  }
}
