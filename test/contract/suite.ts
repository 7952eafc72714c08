/**
 * The contract of `src/store/store.ts` as tests: one suite, run against every store.
 *
 * Tests share one store and keep out of each other's way by using fresh ids.
 */
import type { Test } from 'tap'
import type { Subject } from './kit.js'
import { creating } from './creating.js'
import { expiring } from './expiring.js'
import { guarding } from './guarding.js'
import { limiting } from './limiting.js'
import { listing } from './listing.js'
import { naming } from './naming.js'
import { operating } from './operating.js'
import { overlapping } from './overlapping.js'
import { renewing } from './renewing.js'
import { reversing } from './reversing.js'
import { rotating } from './rotating.js'

const PARTS = { creating, guarding, operating, limiting, naming, expiring, rotating, reversing, renewing, overlapping, listing }

/** Holds a store against the contract. */
export async function storeContract (t: Test, subject: Subject): Promise<void> {
  for (const [name, part] of Object.entries(PARTS)) await t.test(name, async (t) => { await part(t, subject) })
}
