/** What the parts of the contract suite are written with. */
import type { Test } from 'tap'
import { digestOf, newId, newSecret } from '../../src/cookie/token.js'
import { isReserved } from '../../src/store/record.js'
import type { Operation, RawRecord, Rules, Settings, Store, Write } from '../../src/store/store.js'

/** A store under test, and what the suite has to be able to do beside using it. */
export interface Subject {
  readonly store: Store
  /** What stands before the id in `inspect().key`. */
  readonly prefix: string
  /** Lets time pass for one record, by moving the store's clock or everything in the record that depends on it. */
  pass (id: string, ms: number): Promise<void>
  /** How much time a test may take on the store's clock, milliseconds: 0 where that clock stands still. */
  readonly slack: number
}

/** One part of the suite. */
export type Part = (t: Test, subject: Subject) => Promise<void>

/** The rules of most tests: far apart, so that what depends on one of them cannot be mistaken for another. */
export const RULES: Rules = {
  idleTimeout: 100_000,
  touchInterval: 10_000,
  lifetime: 1_000_000,
  rotateEvery: 0,
  rotateGrace: 20_000,
  maxFields: 10,
  maxRecordSize: 1000
}

/** The same, with routine renewal after a minute, and a predecessor welcome for 20 seconds. */
export const RENEWING: Rules = { ...RULES, rotateEvery: 60_000 }

/** What names and owns a record. */
export interface Owner { readonly id: string, readonly digest: string }

export function newDigest (): string {
  return digestOf(newSecret())
}

export function newOwner (): Owner {
  return { id: newId(), digest: newDigest() }
}

export const get = (field: string): Operation => ({ type: 'get', field })
export const set = (field: string, text: string): Operation => ({ type: 'set', field, text })
export const setIfAbsent = (field: string, text: string): Operation => ({ type: 'setIfAbsent', field, text })
export const remove = (field: string): Operation => ({ type: 'delete', field })
export const take = (field: string): Operation => ({ type: 'take', field })
export const clear = (): Operation => ({ type: 'clear' })
export const replace = (field: string, expected: string | null, text: string | null): Operation =>
  ({ type: 'replace', field, expected, text })
export const increment = (field: string, by = '1', min = '-9007199254740991', max = '9007199254740991'): Operation =>
  ({ type: 'increment', field, by, min, max })

/** A write that changes nothing but what is asked for. */
export function delta (operations: Operation[] = [], rest: Partial<Omit<Write, 'operations'>> = {}): Write {
  return { operations, settings: {}, touch: 'never', mode: 'together', ...rest }
}

/** The same with every operation on its own. */
export function apart (...operations: Operation[]): Write {
  return delta(operations, { mode: 'apart' })
}

/** One operation of every kind, none of which is refused by itself. */
export function everyOperation (field = 'f'): Operation[] {
  return [
    get(field), set(field, '1'), setIfAbsent(field, '1'), increment(field), remove(field), take(field),
    replace(field, null, '1'), clear()
  ]
}

/** Creates a record with these data, and says who owns it. */
export async function created ({ store }: Subject, data: Record<string, string> = {}, settings: Settings = {}, rules = RULES): Promise<Owner> {
  const owner = newOwner()
  // Only the entries: data fields may be called __proto__.
  const operations = Object.entries(data).map(([field, text]) => set(field, text))
  const written = await store.create(owner.id, owner.digest, delta(operations, { settings }), rules)
  if (written === undefined || written.refusal !== undefined) throw new Error('the record was not created')
  return owner
}

/** The record as it is kept, which has to exist. */
export async function kept ({ store }: Subject, { id }: Owner): Promise<RawRecord> {
  const record = await store.inspect(id)
  if (record === undefined) throw new Error('the record is gone')
  return record
}

/** The data fields of a record as they are kept. */
export async function dataOf (subject: Subject, owner: Owner): Promise<Record<string, string>> {
  return withoutMetadata((await kept(subject, owner)).fields)
}

export function withoutMetadata (fields: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !isReserved(name)))
}

/** Checks a time that shrinks while the test runs. */
export function near (t: Test, { slack }: Subject, actual: number | undefined, expected: number, what: string): void {
  // Redis keeps whole milliseconds, and two clock readings of one moment may differ by one.
  const rounding = slack === 0 ? 0 : 2
  const off = actual === undefined ? Number.NaN : expected - actual
  t.ok(off >= -rounding && off <= slack, `${what}: ${expected} ms left, to ${slack}`, { found: actual })
}

/** Runs something, and checks that the record is in every detail what it was. */
export async function unchanged (t: Test, subject: Subject, owner: Owner, what: string, run: () => Promise<unknown>): Promise<void> {
  const before = await kept(subject, owner)
  await run()
  const after = await subject.store.inspect(owner.id)
  t.strictSame(after?.fields, before.fields, `${what}: fields are what they were`)
  near(t, subject, after?.ttl, before.ttl, `${what}: the expiry is what it was`)
}
