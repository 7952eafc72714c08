/**
 * Real Redis servers for tests: started, killed, frozen and restarted at will, and never left behind. The program is
 * `redis-server` or `valkey-server`, or what the environment variable REDIS_SERVER names, of any version that the plugin
 * supports.
 *
 * ```ts
 * const redis = await startRedis()
 * t.teardown(() => redis.stop())
 * ```
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis, type RedisOptions } from 'ioredis'
import { guard, release, scratchDirectory } from './guardian.js'
import { findProgram, REDIS } from './tools.js'

const HOST = '127.0.0.1'

/** A server has to be ready within this, milliseconds. */
const READY_LIMIT = 5000
/** One question to a server, by `ask`, may take this long, milliseconds. */
const ASK_LIMIT = 1000
/** How many ports are tried before it is taken for a problem of another kind. */
const PORT_ATTEMPTS = 20

/**
 * Servers listen on a port from here …
 *
 * Below the range from which systems take the ports of outgoing connections, so that nobody takes the port of a server
 * that is away for a moment; and such that 10000 more, where nodes of a Cluster talk to each other, hits no server.
 */
const FIRST_PORT = 10_000
/** … up to here. */
const LAST_PORT = 19_999

const READY = /Ready to accept connections|Sentinel ID is/
const PORT_TAKEN = /Address already in use/

class PortTakenError extends Error {}

/** How a Redis is to be started. */
export interface StartOptions {
  /** Further arguments of the command line, as in `['--maxmemory', '2mb']`. They win over everything else. */
  args?: readonly string[]
  /** The port to use. By default one that is free. */
  port?: number
  /** Further lines of `redis.conf`; they win over the defaults. */
  config?: string
  /** Starts a Sentinel instead. Its `config` has to name what it watches. */
  sentinel?: boolean
}

/** What a server is doing. */
export type RedisState = 'running' | 'frozen' | 'down'

let program: { path: string, major: number } | undefined

/** The program with its major version, which is asked once. */
function theProgram (): { path: string, major: number } {
  if (program === undefined) {
    const path = findProgram(REDIS)
    if (path === undefined) throw new Error(`No Redis: put ${REDIS.names.join(' or ')} on PATH, or name a program that runs in ${REDIS.variable}`)
    program = { path, major: Number(/v=(\d+)/.exec(spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout)?.[1]) }
  }
  return program
}

/** The configuration file's text. */
function configuration ({ config = '', sentinel = false }: StartOptions): string {
  const lines = [`bind ${HOST}`]
  if (!sentinel) {
    lines.push('save ""', 'appendonly no')
    // For DEBUG SLEEP. Older versions know no such setting, and always allow the command.
    if (theProgram().major >= 7) lines.push('enable-debug-command local')
  }
  return [...lines, config, ''].join('\n')
}

/** One Redis server, or Sentinel, on this machine. Made by `startRedis`. */
export class RedisProcess {
  readonly host = HOST
  readonly port: number
  /** The server's own directory: configuration, log, and whatever it stores. It outlives a restart. */
  readonly directory = scratchDirectory()
  readonly #args: readonly string[]
  readonly #clients = new Set<Redis>()
  #child: ChildProcess | undefined
  #frozen = false
  #stopped = false

  private constructor (port: number, options: StartOptions) {
    this.port = port
    this.#args = ['redis.conf', '--port', String(port), ...options.sentinel === true ? ['--sentinel'] : [], ...options.args ?? []]
    writeFileSync(join(this.directory, 'redis.conf'), configuration(options))
  }

  /** What `startRedis` does. */
  static async start (options: StartOptions): Promise<RedisProcess> {
    for (let attempt = 1; ; attempt += 1) {
      // The server itself is the best judge of whether a port is free, so nobody looks beforehand.
      const redis = new RedisProcess(options.port ?? randomInt(FIRST_PORT, LAST_PORT + 1), options)
      try {
        await redis.#launch()
        return redis
      } catch (error) {
        await redis.stop()
        if (!(error instanceof PortTakenError) || options.port !== undefined || attempt === PORT_ATTEMPTS) throw error
      }
    }
  }

  get url (): string { return `redis://${this.host}:${this.port}` }

  /** The number of the server's process; `undefined` while it is down. */
  get pid (): number | undefined { return this.#child?.pid }

  /** What the server is doing, so far as that was done from here; one that ended by itself counts as `down`, too. */
  get state (): RedisState {
    if (this.#child === undefined) return 'down'
    return this.#frozen ? 'frozen' : 'running'
  }

  /** All that the server has written to its log, over all its restarts. */
  log (): string { return readFileSync(this.#logFile, 'utf8') }

  get #logFile (): string { return join(this.directory, 'redis.log') }

  /** Runs the program and resolves when it takes connections. */
  async #launch (): Promise<void> {
    const log = openSync(this.#logFile, 'a')
    const before = fstatSync(log).size
    const child = spawn(theProgram().path, this.#args, { cwd: this.directory, stdio: ['ignore', log, log] })
    closeSync(log)
    let failure: Error | undefined
    child.once('error', error => { failure = error })
    child.once('exit', (code, signal) => {
      failure = new Error(`ended with ${signal ?? `status ${code}`}`)
      if (child.pid !== undefined) release(child.pid)
      this.#child = undefined
      this.#frozen = false
    })
    if (child.pid !== undefined) {
      guard(child.pid)
      this.#child = child
    }
    // A test that forgets to stop a server should end all the same.
    child.unref()

    const news = (): string => readFileSync(this.#logFile).subarray(before).toString()
    const end = performance.now() + READY_LIMIT
    while (!READY.test(news())) {
      if (failure === undefined && performance.now() > end) {
        await this.kill()
        failure = new Error(`not ready after ${READY_LIMIT} ms`)
      }
      if (failure !== undefined) {
        const Failure = PORT_TAKEN.test(news()) ? PortTakenError : Error
        throw new Failure(`${theProgram().path} on port ${this.port}: ${failure.message}\n${news()}`, { cause: failure })
      }
      await sleep(5)
    }
  }

  /** Ends the server at once (SIGKILL), also a frozen one, as a crash would. Resolves when the process is gone. */
  async kill (): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    const gone = once(child, 'exit')
    child.ref()
    child.kill('SIGKILL')
    await gone
  }

  /**
   * Stops the server where it is (SIGSTOP): connections stay, and even new ones are taken by the system, but nothing
   * is answered until `thaw`.
   *
   * @throws Error where the server is down
   */
  freeze (): void {
    this.#signal('SIGSTOP')
    this.#frozen = true
  }

  /**
   * Lets a frozen server go on (SIGCONT): it then executes all that was sent to it meanwhile.
   *
   * @throws Error where the server is down
   */
  thaw (): void {
    this.#signal('SIGCONT')
    this.#frozen = false
  }

  #signal (signal: NodeJS.Signals): void {
    if (this.#child?.kill(signal) !== true) throw new Error(`No ${signal} for the Redis on port ${this.port}: it is down`)
  }

  /**
   * Starts the server again, on the same port and in the same directory; one that still runs is killed first. By
   * default nothing is stored on disk, so the data are gone.
   *
   * @throws Error with the server's log where it is not ready within 5 s
   */
  async restart (): Promise<void> {
    if (this.#stopped) throw new Error(`The Redis on port ${this.port} was stopped: its directory is gone`)
    await this.kill()
    const end = performance.now() + READY_LIMIT
    for (;;) {
      try {
        return await this.#launch()
      } catch (error) {
        if (!(error instanceof PortTakenError) || performance.now() > end) throw error
        await sleep(50)
      }
    }
  }

  /**
   * A plain ioredis client for looking at the server, closed by `stop`. It comes back soon after a restart; while the
   * server is away a command waits for about 1 s and then fails, while it is frozen a command waits for as long as that
   * takes.
   *
   * @param options for ioredis, where the defaults do not suit
   */
  client (options: RedisOptions = {}): Redis {
    const client = new Redis({ host: this.host, port: this.port, retryStrategy: () => 50, ...options })
    // Tests take servers away: the command that cannot be answered tells of it, no need to print every lost connection.
    client.on('error', () => {})
    client.once('end', () => { this.#clients.delete(client) })
    this.#clients.add(client)
    return client
  }

  /**
   * Sends one command over a connection of its own, and gives the answer back.
   *
   * @throws Error where the server refuses the command, is down, or does not answer within 1 s
   */
  async ask (command: string, ...args: string[]): Promise<unknown> {
    const client = new Redis({
      host: this.host,
      port: this.port,
      protocol: 2,
      lazyConnect: true,
      enableReadyCheck: false,
      disableClientInfo: true,
      retryStrategy: () => null,
      connectTimeout: ASK_LIMIT,
      commandTimeout: ASK_LIMIT
    })
    client.on('error', () => {})
    try {
      await client.connect()
      return await client.call(command, ...args)
    } finally {
      client.disconnect()
    }
  }

  /** Ends the server and its clients and removes its directory. May be called again. */
  async stop (): Promise<void> {
    this.#stopped = true
    for (const client of this.#clients) client.disconnect()
    await this.kill()
    await rm(this.directory, { recursive: true, force: true })
  }
}

/**
 * Starts a Redis that listens on 127.0.0.1 only, stores nothing on disk and allows DEBUG to clients of this machine.
 * Resolves when it takes connections. When this process ends, in whatever way, the server ends with it.
 *
 * @throws Error with the server's log where it is not ready within 5 s, does not accept its options, or the given port
 *   is taken; where no port was given, another one is tried
 */
export async function startRedis (options: StartOptions = {}): Promise<RedisProcess> {
  return await RedisProcess.start(options)
}

/** Stops several servers at the same time. */
export async function stopAll (servers: readonly RedisProcess[]): Promise<void> {
  await Promise.all(servers.map(server => server.stop()))
}

/**
 * Starts several servers at the same time; where one of them does not start, the others are stopped again.
 *
 * @throws Error the first one of `startRedis`
 */
export async function startAll (options: readonly StartOptions[]): Promise<RedisProcess[]> {
  const results = await Promise.allSettled(options.map(startRedis))
  const started = results.flatMap(result => result.status === 'fulfilled' ? [result.value] : [])
  const failed = results.find(result => result.status === 'rejected')
  if (failed === undefined) return started
  await stopAll(started)
  throw failed.reason
}
