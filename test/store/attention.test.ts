import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { Attention, patiently } from '../../src/store/attention.js'
import { compute } from '../support/compute.js'
import { until } from '../support/until.js'

/** Waits for a moment. The attention's own timer does not keep this process going. */
async function passed (attention: Attention, moment: number): Promise<number> {
  const going = setInterval(() => {}, 1000)
  const then = await new Promise<number>((resolve) => { attention.at(moment, resolve) })
  clearInterval(going)
  return then
}

test('milliseconds in which the process was busy hardly count', async (t) => {
  const attention = new Attention()
  const begin = performance.now()
  const start = attention.now()
  const over = passed(attention, start + 600)
  for (let i = 0; i < 3; i++) {
    await turn()
    compute(500)
  }
  const counted = attention.now() - start
  t.ok(counted <= 450, `${counted} ms: not much for each`)
  t.ok(await over >= start + 600)
  const took = performance.now() - begin
  t.ok(took >= 1500 + 100, `${took} ms`)
})

test('a process that is not busy waits as long as it was told, also after nobody waited', async (t) => {
  const attention = new Attention()
  for (const [pause, milliseconds] of [[0, 120], [300, 120], [300, 1]] as const) {
    await sleep(pause)
    const begin = performance.now()
    await passed(attention, attention.now() + milliseconds)
    const took = performance.now() - begin
    // Timers count whole milliseconds, and are late on a busy machine.
    t.ok(took >= milliseconds - 1 && took < milliseconds + 1000, `${took} of ${milliseconds} ms`)
  }
})

test('several wait, each for its own time; one that is called off never hears', async (t) => {
  const attention = new Attention()
  const order: string[] = []
  const now = attention.now()
  attention.at(now + 150, () => { order.push('second') })
  const callOff = attention.at(now + 60, () => { order.push('called off') })
  attention.at(now + 30, () => { order.push('first') })
  await sleep(10)
  callOff()
  callOff()
  await passed(attention, now + 300)
  t.strictSame(order, ['first', 'second'])
})

test('nobody wants to know any more: no timer is left', async (t) => {
  let asked = 0
  patiently(60_000, () => {}, () => ++asked < 3)
  await until('it was asked', 5000, () => asked === 3)
  await sleep(200)
  t.equal(asked, 3)
})

test('called off by what was read last', async (t) => {
  const server = createServer((socket) => { socket.end('x') }).listen(0, '127.0.0.1')
  t.teardown(() => { server.close() })
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => { socket.destroy() })
  await once(socket, 'connect')
  let late = false
  const callOff = patiently(20, () => { late = true })
  socket.once('data', callOff)
  await once(socket, 'data')
  await sleep(200)
  t.equal(late, false)
})

test('what arrived while the process was busy is read before anybody is told that the time is over', async (t) => {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  t.teardown(() => { server.close() })
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => { socket.destroy() })
  const [peer] = await once(server, 'connection')
  for (let i = 0; i < 5; i++) {
    const told: string[] = []
    const over = new Promise<void>((resolve) => { patiently(1, () => { told.push('over'); resolve() }) })
    const data = once(socket, 'data').then(() => { told.push('read') })
    // From now on it lies in the socket's buffer; and the timer is due, too.
    peer.write('x')
    compute(300)
    await Promise.all([over, data])
    t.strictSame(told, ['read', 'over'])
  }
})
