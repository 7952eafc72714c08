/** The numbers of a run, and what can be said about them. */
import type { Exact, Sample, Weight } from './measure.js'
import { MOST_BYTES, OURS, type Entry, type Route } from './plan.js'

/** Everything measured for one contender on one route. */
export interface Cell {
  entry: Entry
  route: Route
  exact: Exact
  /** One per round; the same index in two cells is the same round. */
  samples: Sample[]
}

/** Everything measured in a run. */
export interface Results {
  cells: Cell[]
  weights: Map<string, Weight>
}

/** The middle one of some numbers. */
export function median (numbers: number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] as number : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** The median of one number of a cell. */
export function middle (cell: Cell, key: keyof Sample): number {
  return median(cell.samples.map(sample => sample[key]))
}

/** Half the distance between the best and the worst round, as a share of the median rate. */
export function spread (cell: Cell): number {
  const rates = cell.samples.map(sample => sample.rate)
  return (Math.max(...rates) - Math.min(...rates)) / 2 / median(rates)
}

/** The cell of a contender on a route, if it was measured. */
export function find ({ cells }: Results, name: string, route: Route): Cell | undefined {
  return cells.find(cell => cell.entry.name === name && cell.route.name === route.name)
}

/**
 * How a cell compares with another one: the median of the rounds' own ratios. What slows the whole machine down for a
 * while hits neighbours alike and so falls out.
 */
export function ratio (cell: Cell | undefined, other: Cell | undefined, key: 'rate' | 'cpu'): number | undefined {
  if (cell === undefined || other === undefined) return undefined
  return median(cell.samples.map((sample, round) => sample[key] / (other.samples[round] as Sample)[key]))
}

/** A promise that either holds or does not: counted, not timed. */
export interface Fact {
  text: string
  holds: boolean
}

/** The exact promises about our plugin that this run can check. */
export function facts (results: Results, routes: readonly Route[]): Fact[] {
  const list: Fact[] = []
  for (const route of routes) {
    const cell = find(results, OURS, route)
    if (cell === undefined) continue
    const { commands, trips, names } = cell.exact
    list.push({
      text: `${route.name}: commands per request ${commands}${names === '' ? '' : ` (${names})`}, ` +
        `round trips ${trips}; allowed ${route.commands}`,
      holds: commands <= route.commands && trips <= route.commands
    })
  }
  const weight = results.weights.get(OURS)
  if (weight !== undefined) {
    list.push({ text: `a 7-field session takes ${weight.bytes} bytes; ${MOST_BYTES} allowed`, holds: weight.bytes <= MOST_BYTES })
    list.push({
      text: `Redis holds it as ${weight.kinds.join(', ')}; hash/listpack wanted`,
      holds: weight.kinds.every(kind => kind === 'hash/listpack' || kind === 'hash/ziplist')
    })
  }
  return list
}

/** A goal for a rate, with what came out. Never a verdict: machines and neighbours differ. */
export interface Goal {
  route: string
  than: string
  wanted: number
  measured: number
}

/** The goals about speed that this run says something about. */
export function goals (results: Results, routes: readonly Route[]): Goal[] {
  return routes.flatMap(route => route.goals.flatMap(goal => {
    const measured = ratio(find(results, OURS, route), find(results, goal.than, route), 'rate')
    return measured === undefined ? [] : [{ route: route.name, than: goal.than, wanted: goal.ratio, measured }]
  }))
}
