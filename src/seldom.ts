/** How long the same warning is kept quiet, milliseconds. */
const QUIET = 60_000
/** How many kinds are remembered; beyond that all are forgotten, which costs a few lines more in the log. */
const MAX_KINDS = 1000

/**
 * Keeps warnings that anybody can provoke from flooding the log.
 *
 * @returns a function that runs `write` unless it did so for the same `kind` within the last minute
 */
export function seldom (): (kind: string, write: () => void) => void {
  const last = new Map<string, number>()
  return (kind, write) => {
    const now = performance.now()
    if (now - (last.get(kind) ?? -QUIET) < QUIET) return
    if (last.size >= MAX_KINDS) last.clear()
    last.set(kind, now)
    write()
  }
}
