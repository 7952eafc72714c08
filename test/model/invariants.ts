/**
 * What has to hold whatever requests do at the same time and whatever breaks: the invariants by name, so that a failing
 * run says which one it broke, and a mutation can be asked which one it breaks.
 */
export const INVARIANTS = {
  I1: 'field independence: writes to different fields never lose each other',
  I2: 'register: what is written to and read from one field is linearizable',
  I3: 'counter: every acknowledged increment counts exactly once',
  I4: 'session order: what a client was answered, its next request sees',
  I5: 'monotonic reads: nobody sees an older state than he saw before',
  I6: 'destroy is final: what ended never comes back',
  I7: 'no partial record: every key has all metadata, and an expiry within its limits',
  I8: 'old secret: dead after rotate(), good during the grace of a renewal, one successor',
  I9: 'rotation is atomic: same record, no data lost, never two live secrets by rotate()',
  I10: 'cookie discipline: at most one cookie, only for what is stored, none on a 503',
  I11: 'opaque cookie: constant length, no content',
  I12: 'isolation: nobody sees data of another session',
  I13: 'no adoption: an id that the server did not issue is never kept',
  I14: 'expiry: alive before the idle timeout and the lifetime, dead after',
  I15: 'anonymous purity: who has no session and writes nothing stores nothing',
  I16: 'honest status: 2xx means all of it is stored together, anything else means none or all of it',
  I17: 'bounds: what exceeds a limit changes nothing',
  I18: 'hygiene: no secret, token or value in a log line or an error',
  I19: 'fidelity: what was stored is read back, nested changes included'
} as const

export type Invariant = keyof typeof INVARIANTS

export class InvariantBroken extends Error {
  readonly invariant: Invariant

  constructor (invariant: Invariant, detail: string) {
    super(`${invariant}, ${INVARIANTS[invariant]}. ${detail}`)
    this.invariant = invariant
  }
}

/** Throws where a condition of an invariant does not hold. */
export function hold (invariant: Invariant, condition: boolean, detail: string | (() => string)): void {
  if (!condition) throw new InvariantBroken(invariant, typeof detail === 'string' ? detail : detail())
}
