/** Puts the results into words: a Markdown table for people, JSON for programs. */
import { cpus, loadavg } from 'node:os'
import type { Options } from './options.js'
import { OURS } from './plan.js'
import { installedVersion } from './prepare.js'
import { facts, find, goals, middle, ratio, spread, type Cell, type Results } from './results.js'

/** What the numbers depend on. */
export interface Machine {
  processor: string
  cores: number
  node: string
  redis: string
  wrk: string
  /** Runnable processes before the run: how busy others keep the machine. */
  load: number
}

/** Describes this machine; to be asked before the run. */
export function describeMachine (redis: string, wrk: string): Machine {
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    node: process.version,
    redis: /v=(\S+)/.exec(redis)?.[1] ?? redis,
    wrk: /wrk (\S+)/.exec(wrk)?.[1] ?? wrk,
    load: loadavg()[0] ?? 0
  }
}

/** A number with so many digits after the point, or a dash where there is none. */
function digits (value: number | undefined, count: number): string {
  return value === undefined ? '–' : value.toFixed(count)
}

/** A count per request without needless zeros. */
function count (value: number): string {
  return String(Math.round(value * 100) / 100)
}

/** One row of the table. */
function row (results: Results, cell: Cell): string[] {
  const { entry, route, exact } = cell
  const weight = route.name === 'create' ? results.weights.get(entry.name) : undefined
  const failures = cell.samples.reduce((sum, sample) => sum + sample.failures, 0)
  const ours = find(results, OURS, route)
  return [
    route.name,
    entry.label,
    `${middle(cell, 'rate').toFixed(0)}${failures > 0 ? ` (**${failures} failed**)` : ''}`,
    `${(spread(cell) * 100).toFixed(0)} %`,
    digits(ratio(cell, find(results, 'bare', route), 'rate'), 2),
    digits(ratio(cell, find(results, 'raw', route), 'rate'), 2),
    entry.name === OURS ? '–' : digits(ratio(ours, cell, 'rate'), 2),
    digits(middle(cell, 'p50'), 2),
    digits(middle(cell, 'p99'), 2),
    digits(middle(cell, 'cpu'), 1),
    digits(ratio(cell, find(results, 'raw', route), 'cpu'), 2),
    digits(middle(cell, 'redisCpu'), 1),
    count(exact.commands),
    count(exact.trips),
    weight === undefined ? '' : `${count(weight.bytes)} ${weight.kinds.join(', ')}`
  ]
}

const HEAD = [
  'route', 'contender', 'req/s', '±', '/ bare', '/ raw', 'ours is × this', 'p50 ms', 'p99 ms', 'CPU µs/req', 'CPU / raw',
  'Redis µs/req', 'commands', 'round trips', 'bytes in Redis'
]

/** A Markdown table whose columns line up in a terminal too. */
function table (rows: string[][]): string {
  const widths = HEAD.map((head, column) => Math.max(head.length, ...rows.map(cells => (cells[column] ?? '').length)))
  /** Numbers stand right, the first two columns and the last one left. */
  const pad = (text: string, column: number): string =>
    column < 2 || column === HEAD.length - 1 ? text.padEnd(widths[column] as number) : text.padStart(widths[column] as number)
  const rule = widths.map((width, column) =>
    column < 2 || column === HEAD.length - 1 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)
  return [HEAD.map(pad), rule, ...rows.map(cells => cells.map(pad))].map(cells => `| ${cells.join(' | ')} |`).join('\n')
}

/** The versions of everything that took part. */
function versions (options: Options): string {
  const names = new Set(['fastify', 'ioredis', ...options.contenders.flatMap(entry => entry.packages)])
  return [...names].map(name => `${name} ${installedVersion(name) ?? '?'}`).join(', ')
}

/** The report for people. */
export function markdown (results: Results, options: Options, machine: Machine): string {
  const lines = [
    `${machine.processor}, ${machine.cores} cores shared by server, Redis and wrk (load before the run ` +
      `${machine.load.toFixed(2)}); Node ${machine.node}, Redis ${machine.redis}, wrk ${machine.wrk}; ${versions(options)}.`,
    `Medians of ${options.rounds} rounds of ${options.seconds} s, fresh processes in each, contenders taking turns; ` +
      `${options.connections} connections, ${options.sessions} sessions; ± is half the distance between best and worst round. Ratios are ` +
      'medians of the rounds\' own ratios. Commands and round trips are counted one request after another.',
    '',
    table(results.cells.map(cell => row(results, cell))),
    '',
    ...options.routes.map(route => `- ${route.name}: ${route.about}`)
  ]
  const known = facts(results, options.routes)
  if (known.length > 0) {
    lines.push('', 'Exact:', '', ...known.map(fact => `- ${fact.holds ? '✓' : '**✗ MISSED**'} ${fact.text}`))
  }
  const wished = goals(results, options.routes)
  if (wished.length > 0) {
    lines.push('', 'Timed (depends on the machine and on who else uses it; no verdict):', '', ...wished.map(goal =>
      `- ${goal.route}: ${goal.measured.toFixed(2)} of ${goal.than}, the goal is ${goal.wanted.toFixed(2)}`))
  }
  return lines.join('\n')
}

/** The report for programs: every single measurement. */
export function json (results: Results, options: Options, machine: Machine): string {
  return JSON.stringify({
    machine,
    options: {
      rounds: options.rounds,
      seconds: options.seconds,
      connections: options.connections,
      sessions: options.sessions
    },
    versions: versions(options),
    cells: results.cells.map(cell => ({
      contender: cell.entry.name,
      route: cell.route.name,
      exact: cell.exact,
      median: {
        rate: middle(cell, 'rate'),
        p50: middle(cell, 'p50'),
        p99: middle(cell, 'p99'),
        cpu: middle(cell, 'cpu'),
        redisCpu: middle(cell, 'redisCpu')
      },
      toRaw: ratio(cell, find(results, 'raw', cell.route), 'rate') ?? null,
      toBare: ratio(cell, find(results, 'bare', cell.route), 'rate') ?? null,
      samples: cell.samples
    })),
    weights: Object.fromEntries(results.weights),
    facts: facts(results, options.routes),
    goals: goals(results, options.routes)
  }, null, 2)
}
