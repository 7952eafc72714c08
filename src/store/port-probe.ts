/**
 * What listens at an address: asked by a connection of one's own where a client only says that it could not connect. No
 * name and no password is sent, and no process is kept from ending.
 */
import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { nameOf, type Port } from './redis-place.js'
import { troubleOf, type Trouble } from './redis-trouble.js'

/** One look may take this long, milliseconds. */
const LIMIT = 1000
/** So long a server has to object to a TLS connection after the handshake, where TLS 1.3 lets it, milliseconds. */
const OBJECTION = 100

/**
 * Looks at what listens somewhere.
 *
 * @returns what is wrong there, or `undefined` where it seems to be a Redis that speaks as it should, or nothing came of it
 */
export async function probePort (port: Port): Promise<Trouble | undefined> {
  const place = nameOf(port)
  const { host, path, family, tls } = port
  const address = path == null || path === '' ? { host: host ?? 'localhost', port: port.port ?? 6379, ...(family !== undefined && { family }) } : { path }
  const speakTls = (more: ConnectionOptions): Promise<Exchange> => exchange(connectTls({ ...address, ...more }), 'secureConnect', OBJECTION)
  const speakPlain = (): Promise<Exchange> => exchange(connectPlain(address), 'connect', 0)

  if (tls == null || tls === false) {
    const plain = await speakPlain()
    if (plain.connected && !isRedis(plain.answer) && (await speakTls({ rejectUnauthorized: false })).connected) {
      return { reason: 'TLS', lasting: true, advice: `${place} speaks TLS: connect by rediss://, or with tls: {} in ioredis options` }
    }
    return troubleAt(place, plain)
  }
  const secure = await speakTls(tls === true ? {} : tls)
  if (isRedis(secure.answer)) return undefined
  const trouble = troubleAt(place, secure)
  if (trouble?.lasting === true) return trouble
  const plain = await speakPlain()
  if (isRedis(plain.answer)) return { reason: 'TLS', lasting: true, advice: `${place} does not speak TLS: connect by redis://, or without tls in ioredis options` }
  return plain.answer === '' ? trouble : troubleAt(place, plain)
}

/** What an exchange tells. Whoever says nothing for a second may only be slow. */
function troubleAt (place: string, { answer, error, closed }: Exchange): Trouble | undefined {
  if (answer !== '') return isRedis(answer) ? undefined : { reason: 'EPROTO', lasting: true, advice: `what listens at ${place} is no Redis: correct the address` }
  if (error !== undefined) return troubleOf(error, place)
  return closed ? { reason: 'ECONNRESET', lasting: false, advice: `${place} takes connections and closes them at once: look into its log, or that of the proxy there` } : undefined
}

interface Exchange { connected: boolean, answer: string, closed: boolean, error?: Error }

/** Connects, says PING and waits for the first words of an answer, or for the end. */
async function exchange (socket: Socket, event: 'connect' | 'secureConnect', pause: number): Promise<Exchange> {
  const result: Exchange = { connected: false, answer: '', closed: false }
  let isOver = false
  let timer: NodeJS.Timeout | undefined
  socket.unref()
  await new Promise<void>((resolve) => {
    const limit = setTimeout(resolve, LIMIT).unref()
    const done = (): void => { clearTimeout(limit); resolve() }
    socket.once(event, () => {
      result.connected = true
      timer = setTimeout(() => { socket.write('PING\r\n') }, pause).unref()
    })
    socket.once('data', (data) => { result.answer = String(data); done() })
    socket.once('error', (error) => { result.error = error; done() })
    socket.once('close', () => { result.closed = !isOver; done() })
  })
  isOver = true
  clearTimeout(timer)
  // Whatever it may still say.
  socket.on('error', () => {})
  socket.destroy()
  return result
}

/** The kinds of RESP replies that may stand for PING: done, or refused. */
function isRedis (answer: string): boolean {
  return /^[+-]/.test(answer)
}
