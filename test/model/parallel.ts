/** Properties of parties: on a real Redis, and in every order of the store's calls. */
import fc from 'fast-check'
import type { Redis } from 'ioredis'
import type { Store } from '../../src/store/store.js'
import type { Product } from './application.js'
import { makeRenewalDue, redisArena, scheduledArena, ScheduledStore, startApplications } from './arenas.js'
import type { Send } from './client.js'
import { check } from './history.js'
import { parties, PEACEFUL, play, type Party } from './parties.js'

/** Histories of clients in parallel, over two processes, have an order that explains them. */
export function parallelHistories (servers: readonly Send[], witness: Redis): fc.IAsyncProperty<[Party]> {
  return fc.asyncProperty(parties(), async (party) => {
    check(await play(party, await redisArena(servers, witness)))
  })
}

/** The same while a renewal is due and answers get lost: nobody is logged out, and all get the same successor. */
export function parallelRenewals (servers: readonly Send[], witness: Redis, kinds = PEACEFUL): fc.IAsyncProperty<[Party]> {
  return fc.asyncProperty(parties({ kinds, losses: true }), async (party) => {
    check(await play(party, await redisArena(servers, witness), async () => { await makeRenewalDue(witness) }))
  })
}

/** Every order in which a store's calls may happen and be answered. */
export function interleavings (product: Product, store: Store): fc.IAsyncProperty<[fc.Scheduler, Party]> {
  return fc.asyncProperty(fc.scheduler(), parties({ clients: 3, turns: 3 }), async (scheduler, party) => {
    const redis = new ScheduledStore(store, scheduler)
    const { servers, close } = await startApplications(product, { redis })
    try {
      check(await play(party, scheduledArena(servers, scheduler, redis)))
    } finally {
      await close()
    }
  })
}
