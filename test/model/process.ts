/** The application under test as a process of its own: `fork(process.ts, [redis url])`. The parent works its gate. */
import { Gate } from '../support/browser.js'
import * as product from '../../src/index.js'
import { startApplication } from './application.js'
import { TIMES } from './arenas.js'

/** What the parent may ask for: to be told when so many requests stand at the gate, or to let them through. */
export type Order = { readonly arrived: number } | 'open'

if (process.send !== undefined) {
  const application = await startApplication(product, { redis: process.argv[2]!, timeout: 5000, ...TIMES })
  const { app } = application
  process.on('message', (order: Order) => {
    if (order === 'open') {
      application.gate.open()
      application.gate = new Gate()
    } else application.gate.arrived(order.arrived).then(() => process.send!('arrived'), () => {})
  })
  process.on('disconnect', () => { app.close().then(() => process.exit(), () => process.exit(1)) })
  await app.listen({ port: 0, host: '127.0.0.1' })
  process.send(app.listeningOrigin)
}
