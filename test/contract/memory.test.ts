import { test } from 'tap'
import { storeContract } from './suite.js'
import { MemoryStore } from '../../src/store/memory.js'

test('the memory store fulfils the contract', async (t) => {
  let now = 1_700_000_000_000
  const store = new MemoryStore({ prefix: 'session:', now: () => now })
  t.teardown(() => store.close())
  await storeContract(t, { store, prefix: 'session:', slack: 0, pass: async (_id, ms) => { now += ms } })
})
