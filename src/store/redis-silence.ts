/**
 * Cutting connections over which no answer comes any more: a server or a network that went away without a word leaves them
 * open, for minutes. ioredis has the option `socketTimeout` for it, whose timer also runs while this process is too busy to
 * read what has long arrived.
 */
import { Command, type Cluster, type Redis } from 'ioredis'
import { patiently } from './attention.js'

type Socket = Redis['stream']

/**
 * Cuts a connection when nothing at all comes over it for some time, although somebody waits for an answer. Its client then
 * connects again, as its options say.
 *
 * @param socket `undefined` where there is no connection
 * @param milliseconds how long it may be silent
 * @param isWaiting asked now and then; if not, nobody looks any further
 */
export function cutWhereSilent (socket: Socket | undefined, milliseconds: number, isWaiting: () => boolean): void {
  if (socket === undefined || milliseconds === Infinity) return
  const { bytesRead } = socket
  const isWatched = (): boolean => !socket.destroyed && isWaiting()
  patiently(milliseconds, () => {
    if (!isWatched()) return
    if (socket.bytesRead > bytesRead) cutWhereSilent(socket, milliseconds, isWaiting)
    else socket.destroy(new Error(`Redis was silent for ${milliseconds} ms`))
  }, isWatched)
}

/** A command that cuts whatever connection it is written to, where that is silent while it waits for its answer. */
export class WatchedCommand extends Command {
  readonly #silence: number

  /** @param silence how long the connection may be silent, milliseconds */
  constructor (name: string, args: string[], silence: number) {
    super(name, args)
    this.#silence = silence
  }

  /** Called by ioredis for every socket that it is written to. */
  override toWritable (socket: Socket): string | Buffer {
    cutWhereSilent(socket, this.#silence, () => !this.isSettled)
    return super.toWritable(socket)
  }
}

/**
 * Cuts connections of a client that are silent while they are being opened: the system takes connections for a server that
 * is frozen, and ioredis waits for ever for the answers to its first commands.
 *
 * @param milliseconds how long they may be silent
 * @returns leaves the client alone from now on
 */
export function cutWhereOpeningFails (client: Redis | Cluster, milliseconds: number): () => void {
  function watchNode (this: Redis): void {
    const { stream, options } = this
    // While Redis is loading its data, ioredis says nothing for as long as that.
    const pause = options.maxLoadingRetryTime ?? 0
    cutWhereSilent(stream, milliseconds + pause, () => this.status === 'connect' && this.stream === stream)
  }
  if (!('nodes' in client)) {
    client.on('connect', watchNode)
    if (client.status === 'connect') watchNode.call(client)
    return () => { client.off('connect', watchNode) }
  }
  const add = (node: Redis): void => {
    node.on('connect', watchNode)
    if (node.status === 'connect') watchNode.call(node)
  }
  // Then it asks one of its nodes, connected or not yet, how the Cluster is.
  const watchCluster = (): void => {
    const isOpening = (): boolean => client.status === 'connect'
    patiently(milliseconds, () => { if (isOpening()) client.disconnect(true) }, isOpening)
  }
  client.nodes().forEach(add)
  client.on('+node', add)
  client.on('connect', watchCluster)
  return () => {
    for (const node of client.nodes()) node.off('connect', watchNode)
    client.off('+node', add)
    client.off('connect', watchCluster)
  }
}
