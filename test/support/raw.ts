/**
 * HTTP byte by byte, for requests that a client library would refuse or tidy up.
 */
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** An answer as it came over the wire. */
export interface RawResponse {
  status: number
  /** Lower-case names; several lines of one name stay several. */
  headers: Array<[name: string, value: string]>
  body: string
}

/** Has an app listen on a free port of this machine, and gives the port. */
export async function listen (app: FastifyInstance): Promise<number> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  return (app.server.address() as AddressInfo).port
}

/**
 * Sends one request over a connection of its own.
 *
 * @param lines header lines after the request line, each character one byte; `Host` and `Connection: close` are added
 * @param target the request line's target
 */
export async function sendRaw (port: number, lines: readonly string[], target = '/', method = 'GET'): Promise<RawResponse> {
  const socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => { chunks.push(chunk) })
  const head = [`${method} ${target} HTTP/1.1`, 'Host: app.example', 'Connection: close', ...lines, '', '']
  socket.write(Buffer.from(head.join('\r\n'), 'latin1'))
  await once(socket, 'close')
  const text = Buffer.concat(chunks).toString('latin1')
  const end = text.indexOf('\r\n\r\n')
  const [status = '', ...headers] = text.slice(0, end).split('\r\n')
  return {
    status: Number(status.split(' ')[1]),
    headers: headers.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    body: text.slice(end + 4)
  }
}
