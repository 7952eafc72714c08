/**
 * Whether a history of overlapping operations can be explained by some order in which they happened one after the other
 * (Herlihy and Wing, Linearizability, 1990; the search is that of Wing and Gong, 1993, with the memory of Lowe, 2017).
 */

/** One operation of a history. Times are of one clock, whatever its unit. */
export interface Operation<State> {
  /** When it was asked for: it happened after that … */
  readonly invoke: number
  /** … and before this. `Infinity` for one that nobody waits for any more, but that may still happen. */
  readonly return: number
  /** Its outcome is unknown: it happened once or not at all. */
  readonly optional: boolean
  /** The state after it; `undefined` where it cannot have had the result that it had. */
  apply (state: State): State | undefined
  toString (): string
}

/** The search gives up, with an error, beyond so many configurations: a history that needs more is too concurrent. */
const MAX_CONFIGURATIONS = 200_000

/**
 * Looks for an order that explains a history.
 *
 * @param keyOf tells states apart
 * @returns `undefined` where there is one; else the longest beginning that could be explained, for the report
 */
export function explain<State> (operations: ReadonlyArray<Operation<State>>, initial: State, keyOf: (state: State) => string): Array<Operation<State>> | undefined {
  const seen = new Set<string>()
  let longest: Array<Operation<State>> = []

  function search (left: ReadonlyArray<Operation<State>>, state: State, order: ReadonlyArray<Operation<State>>): boolean {
    if (order.length > longest.length) longest = [...order]
    const mandatory = left.filter(({ optional }) => !optional)
    if (mandatory.length === 0) return true
    const key = `${left.map((operation) => operations.indexOf(operation)).join()} ${keyOf(state)}`
    if (seen.has(key)) return false
    seen.add(key)
    if (seen.size > MAX_CONFIGURATIONS) throw new Error(`no verdict on a history of ${operations.length} operations: too concurrent`)
    const firstReturn = Math.min(...mandatory.map((operation) => operation.return))
    const lastInvoke = Math.max(...order.map(({ invoke }) => invoke), -Infinity)
    for (const operation of left) {
      // Something that is left returned before this one was asked for; or this one was over before something that happened already.
      if (operation.invoke > firstReturn || operation.return < lastInvoke) continue
      const next = operation.apply(state)
      if (next !== undefined && search(left.filter((other) => other !== operation), next, [...order, operation])) return true
    }
    return false
  }

  return search([...operations].sort((a, b) => a.invoke - b.invoke), initial, []) ? undefined : longest
}
