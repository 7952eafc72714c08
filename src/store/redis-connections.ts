/**
 * What is known of single connections: a client has one after the other, one of a Cluster also has several at a time. Each
 * leads to one Redis, with a clock of its own.
 */
import type { Redis } from 'ioredis'
import { RedisClock } from './redis-clock.js'
import { cutWhereSilent } from './redis-silence.js'

type Socket = Redis['stream']

/** One connection. */
class Connection {
  readonly clock: RedisClock
  /** Answers to commands that were given up, and that may still come. */
  owed = 0
  watched = false

  constructor (clock: RedisClock) {
    this.clock = clock
  }
}

/** The connections of one client. */
export class Connections {
  /** Milliseconds that a command may take. */
  readonly timeout: number
  readonly #patience: number
  readonly #known = new WeakMap<Socket, Connection>()
  /** Those that owe answers. */
  readonly #behind = new Set<Connection>()
  /** For commands that the client keeps for a connection to come. */
  #none: Connection
  #closed = false

  /**
   * @param options.timeout milliseconds that a command may take
   * @param options.patience milliseconds that a connection which owes an answer may be silent; then it is cut
   */
  constructor ({ timeout, patience }: { timeout: number, patience: number }) {
    this.timeout = timeout
    this.#patience = patience
    this.#none = this.#make()
  }

  /** How many answers are owed, over all connections. */
  get owed (): number {
    let sum = 0
    for (const { owed } of this.#behind) sum += owed
    return sum
  }

  /** The clock of the Redis that a socket leads to. */
  clock (socket: Socket): RedisClock {
    return this.#of(socket).clock
  }

  /**
   * Takes note of a command that was given up.
   *
   * @param socket what it was written to, if it was
   * @returns to be called when it is answered, or fails, after all
   */
  owe (socket: Socket | undefined): () => void {
    const connection = socket === undefined ? this.#none : this.#of(socket)
    connection.owed++
    if (socket?.destroyed !== true) this.#behind.add(connection)
    if (socket !== undefined && !connection.watched) {
      connection.watched = true
      cutWhereSilent(socket, this.#patience, () => {
        connection.watched = connection.owed > 0 && !this.#closed
        return connection.watched
      })
    }
    return () => { if (--connection.owed === 0) this.#behind.delete(connection) }
  }

  /** What was not answered never will be: the client lost all connections. */
  forget (): void {
    this.#behind.clear()
    this.#none = this.#make()
  }

  /** Cuts nothing from now on. */
  close (): void {
    this.#closed = true
  }

  #of (socket: Socket): Connection {
    let connection = this.#known.get(socket)
    if (connection === undefined) {
      const made = connection = this.#make()
      this.#known.set(socket, made)
      socket.once('close', () => { this.#behind.delete(made) })
    }
    return connection
  }

  #make (): Connection {
    return new Connection(new RedisClock(this.timeout))
  }
}
