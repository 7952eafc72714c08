/** The run's own Redis, and the exact counts that it can tell: commands, round trips, bytes. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import { owned, scratch } from './stage.js'

/** A port of this machine that nobody listens on. */
async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Starts a Redis that writes nothing to disk and listens on this machine only; gives back its port. */
export async function startRedis (): Promise<number> {
  const port = await freePort()
  const server = owned(spawn('redis-server', [
    '--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', scratch()
  ], { stdio: ['ignore', 'pipe', 'inherit'] }))
  let log = ''
  await new Promise<void>((resolve, reject) => {
    server.stdout.on('data', (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-2000)
      if (log.includes('Ready to accept connections')) resolve()
    })
    server.once('error', reject)
    server.once('exit', code => reject(new Error(`redis-server ended with ${code}\n${log}`)))
  })
  return port
}

/** What some requests cost in Redis. */
export interface Traffic {
  /** Commands that the server process sent, by name; what scripts call inside Redis is not in it. */
  names: Map<string, number>
  commands: number
  /** How often Redis read from a socket: for requests one after another, the number of round trips. */
  trips: number
}

/** The records that a contender has in Redis. */
export interface Records {
  /** All of them together. */
  bytes: number
  keys: number
  /** How Redis holds them, as `type/encoding`. */
  kinds: string[]
}

/** A look at one contender's database from outside. */
export class Observer {
  readonly #client: Redis

  constructor (readonly url: string) {
    this.#client = new Redis(url)
  }

  /** Removes everything from the database. Synchronous in Redis, so that no clean-up runs into a measurement. */
  async empty (): Promise<void> {
    await this.#client.flushdb('SYNC')
  }

  /** Reads how often Redis has read from any socket so far, this question included. */
  async #reads (): Promise<number> {
    return Number(/total_reads_processed:(\d+)/.exec(await this.#client.info('stats'))?.[1])
  }

  /** Microseconds of CPU that Redis has used so far. */
  async cpu (): Promise<number> {
    const used = await this.#client.info('cpu')
    return [...used.matchAll(/^used_cpu_(?:user|sys):([\d.]+)/gm)].reduce((sum, match) => sum + Number(match[1]) * 1e6, 0)
  }

  /** Counts what arrives in Redis while something is done. Nobody else may talk to this Redis meanwhile. */
  async watch (doing: () => Promise<void>): Promise<Traffic> {
    const names = new Map<string, number>()
    const monitor = await this.#client.monitor()
    try {
      let own: string | undefined
      const drained = new Promise<void>(resolve => {
        monitor.on('monitor', (_time: string, [name = '', text]: string[], source: string) => {
          const command = name.toUpperCase()
          if (command === 'ECHO' && text === 'bench:begin') own = source
          else if (command === 'ECHO' && text === 'bench:end') resolve()
          // Inside a script: no traffic, and it comes with the script's own line.
          else if (source !== 'lua' && source !== own && own !== undefined) {
            names.set(command, (names.get(command) ?? 0) + 1)
          }
        })
      })
      await this.#client.echo('bench:begin')
      const before = await this.#reads()
      await doing()
      const after = await this.#reads()
      await this.#client.echo('bench:end')
      await drained
      const commands = [...names.values()].reduce((sum, count) => sum + count, 0)
      return { names, commands, trips: after - before - 1 }
    } finally {
      monitor.disconnect()
    }
  }

  /** Weighs everything in the database. */
  async weigh (): Promise<Records> {
    const kinds = new Set<string>()
    let bytes = 0
    let keys = 0
    let cursor = '0'
    do {
      const [next, found] = await this.#client.scan(cursor, 'COUNT', 500)
      cursor = next
      for (const key of found) {
        bytes += Number(await this.#client.memory('USAGE', key, 'SAMPLES', 0))
        kinds.add(`${await this.#client.type(key)}/${await this.#client.object('ENCODING', key) as string}`)
        keys += 1
      }
    } while (cursor !== '0')
    return { bytes, keys, kinds: [...kinds].sort() }
  }

  /** Ends the connection. */
  close (): void {
    this.#client.disconnect()
  }
}
