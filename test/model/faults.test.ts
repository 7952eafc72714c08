import fc from 'fast-check'
import { test } from 'tap'
import * as product from '../../src/index.js'
import { breakable, historiesUnderFaults, LATE, lateWrite } from './faults.js'

test('what clients do in parallel while things break has an order that explains it', async (t) => {
  const scene = await breakable(t, product, { durable: true, timeout: 100 })
  await fc.assert(historiesUnderFaults(scene), { numRuns: 10, endOnFailure: true })
  t.pass('10 histories on a Redis that keeps everything')
})

test('the same on a Redis that starts empty', async (t) => {
  const scene = await breakable(t, product, { durable: false, timeout: 100 })
  await fc.assert(historiesUnderFaults(scene), { numRuns: 5, endOnFailure: true })
  t.pass('5 histories')
})

test('a write that arrives after its sender was told that it failed does not happen', async (t) => {
  const scene = await breakable(t, product, { durable: false, timeout: 400 })
  for (const kind of Object.keys(LATE)) {
    await lateWrite(scene, kind)
    t.pass(kind)
  }
})
