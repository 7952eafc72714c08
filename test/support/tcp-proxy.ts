/**
 * A bad network between a client and a Redis: replies get lost, connections are cut, or nothing arrives any more.
 *
 * ```ts
 * const proxy = await startProxy(redis.port)
 * t.teardown(() => proxy.close())
 * const client = new Redis(proxy.url)
 * proxy.dropReplies(1)
 * ```
 */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { commandName, isReply, MessageSplitter } from './resp.js'

const HOST = '127.0.0.1'

/** What clients say to open a connection, rather than to do something. */
const OPENING = new Set(['HELLO', 'AUTH', 'SELECT', 'CLIENT', 'INFO', 'READONLY', 'COMMAND', 'CLUSTER'])
/** After these a connection carries messages that answer no command. */
const STREAMS = new Set(['SUBSCRIBE', 'PSUBSCRIBE', 'SSUBSCRIBE', 'MONITOR', 'SYNC', 'PSYNC'])

/** Which way through the proxy: to the server, to the client, or both. */
export type Direction = 'requests' | 'replies' | 'both'

/** What the proxy has seen since it was started. */
export interface Seen {
  /** Connections that clients have opened. */
  sockets: number
  /** Commands that clients have sent, those to open a connection included. */
  commands: number
  /** The same by name, in capitals. */
  names: Map<string, number>
  /** Replies that were swallowed. */
  dropped: number
}

/** What one connection needs to know of the proxy. */
interface Rules {
  holds: (direction: Direction) => boolean
  countCommand: (name: string) => void
  /** Whether the reply to a command is to be swallowed. Counts down. */
  takesReply: (name: string) => boolean
  countDropped: () => void
}

/** One connection of a client, and the one to the server that belongs to it. */
class Link {
  readonly #rules: Rules
  readonly #client: Socket
  readonly #server: Socket
  readonly #requests = new MessageSplitter()
  readonly #replies = new MessageSplitter()
  /** The commands without a reply so far, oldest first: Redis answers in the order of asking. */
  readonly #asked: string[] = []
  #isStream = false
  /** A reply was swallowed: no other one may get through, and the end is near. */
  #doomed = false

  /** @param gone is called when both sides are closed */
  constructor (client: Socket, server: Socket, rules: Rules, gone: (link: Link) => void) {
    this.#rules = rules
    this.#client = client
    this.#server = server
    client.on('data', chunk => { this.#fromClient(chunk) })
    server.on('data', chunk => { this.#fromServer(chunk) })
    for (const [socket, other] of [[client, server], [server, client]] as const) {
      socket.setNoDelay(true)
      socket.on('drain', () => { this.flow() })
      // 'close' follows, and takes the other side along.
      socket.on('error', () => {})
      socket.on('close', failed => {
        if (failed) other.destroy()
        else other.end()
        this.flow()
        if (client.destroyed && server.destroyed) gone(this)
      })
    }
    this.flow()
  }

  /** Whether the client's side is open. */
  get isOpen (): boolean { return !this.#client.destroyed }

  /** Lets bytes through, or not, as the proxy's state and the speed of the receiver ask for. */
  flow (): void {
    const { holds } = this.#rules
    const isFull = (socket: Socket): boolean => !socket.destroyed && socket.writableNeedDrain
    if (holds('requests') || this.#doomed || isFull(this.#server)) this.#client.pause()
    else this.#client.resume()
    if (holds('replies') || isFull(this.#client)) this.#server.pause()
    else this.#server.resume()
  }

  #fromClient (chunk: Buffer): void {
    for (const message of this.#requests.push(chunk)) {
      const name = commandName(message)
      if (name === '') continue
      this.#rules.countCommand(name)
      this.#asked.push(name)
      if (STREAMS.has(name)) this.#isStream = true
    }
    if (!this.#server.write(chunk)) this.flow()
  }

  #fromServer (chunk: Buffer): void {
    if (this.#isStream) {
      this.#toClient(chunk)
      return
    }
    for (const message of this.#replies.push(chunk)) {
      const isTaken = isReply(message) && this.#rules.takesReply(this.#asked.shift() ?? '')
      if (isTaken || this.#doomed) {
        this.#doomed = true
        if (isReply(message)) this.#rules.countDropped()
      } else this.#toClient(message)
    }
    if (!this.#doomed) return
    // What the client has sent is executed to the end, so that a test knows what the server did.
    if (this.#asked.length === 0) this.cut()
    else this.flow()
  }

  #toClient (data: Buffer): void {
    if (!this.#client.destroyed && !this.#client.write(data)) this.flow()
  }

  /** Closes both sides, without sending what is still on its way. */
  cut (): void {
    this.#client.destroy()
    this.#server.destroy()
  }
}

/** A proxy in front of one port of this machine. Made by `startProxy`. */
export class TcpProxy {
  readonly host = HOST
  readonly port: number
  readonly seen: Seen = { sockets: 0, commands: 0, names: new Map(), dropped: 0 }
  readonly #server: Server
  readonly #links = new Set<Link>()
  #held: Direction | undefined
  #toDrop = 0
  #act: { countdown: number, run: () => void } | undefined
  #dropsOnly: ReadonlySet<string> | undefined
  readonly #rules: Rules = {
    holds: direction => this.#held === 'both' || this.#held === direction,
    countCommand: name => {
      this.seen.commands += 1
      this.seen.names.set(name, (this.seen.names.get(name) ?? 0) + 1)
      if (this.#act === undefined || OPENING.has(name) || --this.#act.countdown > 0) return
      const { run } = this.#act
      this.#act = undefined
      run()
    },
    takesReply: name => {
      if (this.#toDrop === 0 || !(this.#dropsOnly?.has(name) ?? !OPENING.has(name))) return false
      this.#toDrop -= 1
      return true
    },
    countDropped: () => { this.seen.dropped += 1 }
  }

  /** For `startProxy`: `server` has to be listening. */
  constructor (server: Server, target: number) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
    server.on('connection', client => {
      this.seen.sockets += 1
      this.#links.add(new Link(client, connect(target, HOST), this.#rules, link => { this.#links.delete(link) }))
    })
  }

  get url (): string { return `redis://${this.host}:${this.port}` }

  /** How many connections clients have open at the moment. */
  get open (): number { return [...this.#links].filter(link => link.isOpen).length }

  /**
   * Makes the network half-open: connections stay, and new ones are taken, but nothing gets through. The ends of
   * connections do not get through either, so one side may hold a connection that the other has given up.
   *
   * @param direction `requests` holds back what goes to the server; `replies` what comes from it, so that commands are
   *   executed, but nobody learns of it. Default: `both`
   */
  pause (direction: Direction = 'both'): void {
    this.#held = direction
    for (const link of this.#links) link.flow()
  }

  /** Lets through again all that was held back, and all that comes. Late commands are executed now. */
  resume (): void {
    this.#held = undefined
    for (const link of this.#links) link.flow()
  }

  /**
   * Swallows the next replies: the server has executed the command, the client sees its connection close instead of an
   * answer. What else that client has sent is executed, too, and not answered either.
   *
   * @param count how many replies to swallow from now on; 0 takes an earlier call back
   * @param commands only replies to these commands. By default to all, except those by which clients open a
   *   connection: so the second of two lost replies is the one to the command that was sent again
   */
  dropReplies (count: number, ...commands: string[]): void {
    this.#toDrop = count
    this.#dropsOnly = commands.length === 0 ? undefined : new Set(commands.map(name => name.toUpperCase()))
  }

  /**
   * Does something when a command has come, before it is handed on to the server.
   *
   * @param count the how many-th from now on; what opens a connection does not count
   * @param run as in `() => { redis.freeze() }`, so that the server executes this command later, or
   *   `() => { proxy.pause('replies') }`, so that it does so now, and nobody learns of it. Takes the place of an earlier one
   */
  at (count: number, run: () => void): void {
    this.#act = { countdown: count, run }
  }

  /** Closes all connections that are open now, at once. New ones are taken as before. */
  cut (): void {
    for (const link of this.#links) link.cut()
  }

  /** Closes all connections and listens no more. May be called again. */
  async close (): Promise<void> {
    this.cut()
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    await closed
  }
}

/**
 * Starts a proxy on a free port of 127.0.0.1.
 *
 * @param target the port of 127.0.0.1 that connections lead to. Nobody needs to listen there: clients then see their
 *   connections closed
 */
export async function startProxy (target: number): Promise<TcpProxy> {
  const server = createServer()
  server.listen(0, HOST)
  await once(server, 'listening')
  return new TcpProxy(server, target)
}
