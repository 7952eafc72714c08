/**
 * The benchmark: `npm run bench`. One Redis and one server process per contender on this machine, driven by wrk in
 * turns. It judges no timing; what it counts (commands, bytes) is marked where it misses what was promised.
 */
import { Server } from './fleet.js'
import { countExactly, measure, weighSession, type Lane } from './measure.js'
import { readOptions, USAGE, UsageError, type Options } from './options.js'
import { OURS, plays } from './plan.js'
import { buildPlugin, buildServers, demand, installRivals, pluginUrl } from './prepare.js'
import { Observer, startRedis } from './redis.js'
import { describeMachine, json, markdown } from './report.js'
import type { Cell, Results } from './results.js'
import { guardStage } from './stage.js'

/** Seconds that a server runs on a route before it is measured there, for its code to be compiled. */
const WARM_UP = 1

/** Says what is going on, beside the report. */
function say (text: string): void {
  console.error(`bench: ${text}`)
}

/** Everything that can be known exactly, which needs no rounds. */
async function countAll (lanes: Lane[], options: Options): Promise<Results> {
  const results: Results = { cells: [], weights: new Map() }
  for (const lane of lanes) {
    if (lane.server.entry.sessions) results.weights.set(lane.server.entry.name, await weighSession(lane))
  }
  for (const route of options.routes) {
    for (const lane of lanes) {
      const { entry } = lane.server
      if (!plays(entry, route)) continue
      results.cells.push({ entry, route, exact: await countExactly(lane, route), samples: [] })
    }
  }
  return results
}

/**
 * One timed round of everything, on servers of its own: how V8 happens to compile a process stays with it for life, and
 * a single process per contender would carry that luck through the whole run. Every round starts with another contender,
 * so that no place in the row is better.
 */
async function timeRound (lanes: Lane[], results: Results, options: Options, round: number): Promise<void> {
  for (const route of options.routes) {
    const cells = results.cells.filter(cell => cell.route === route)
    /** Runs all contenders once, one after another. */
    const turn = async (seconds: number, keep: boolean): Promise<void> => {
      for (let step = 0; step < cells.length; step++) {
        const cell = cells[(step + round) % cells.length] as Cell
        const lane = lanes.find(({ server }) => server.entry === cell.entry) as Lane
        const sample = await measure(lane, route, options, seconds)
        if (keep) cell.samples.push(sample)
      }
    }
    await turn(WARM_UP, false)
    await turn(options.seconds, true)
  }
}

/** The whole run. */
async function run (options: Options): Promise<void> {
  const wrk = demand('wrk', '-v')
  const redis = demand('redis-server', '--version')
  const machine = describeMachine(redis, wrk)

  installRivals()
  if (!options.built && options.contenders.some(entry => entry.name === OURS)) buildPlugin()
  const script = buildServers()

  const cells = options.routes.flatMap(route => options.contenders.filter(entry => plays(entry, route))).length
  const expected = options.rounds * (cells * (options.seconds + WARM_UP) * 1.1 + options.contenders.length)
  guardStage((expected * 2 + 120) * 1000)
  say(`about ${Math.ceil(expected / 60)} min for ${options.contenders.map(entry => entry.name).join(', ')}`)

  const port = await startRedis()
  /** Does something with a fresh server of every contender. */
  const withLanes = async <T>(doing: (lanes: Lane[]) => Promise<T>): Promise<T> => {
    const lanes: Lane[] = []
    for (const [database, entry] of options.contenders.entries()) {
      const url = `redis://127.0.0.1:${port}/${database}`
      lanes.push({ server: await Server.start(script, entry, { redis: url, plugin: pluginUrl() }), observer: new Observer(url) })
    }
    const result = await doing(lanes)
    for (const { server, observer } of lanes) {
      await observer.empty()
      observer.close()
      await server.stop()
    }
    return result
  }

  say('counting commands and bytes')
  const results = await withLanes(async lanes => await countAll(lanes, options))
  for (let round = 1; round <= options.rounds; round++) {
    say(`timing, round ${round} of ${options.rounds}`)
    await withLanes(async lanes => { await timeRound(lanes, results, options, round) })
  }
  console.log(options.json ? json(results, options, machine) : markdown(results, options, machine))
}

try {
  const options = readOptions(process.argv.slice(2))
  if (options === undefined) console.log(USAGE)
  else await run(options)
  process.exit(0)
} catch (error) {
  console.error(error instanceof UsageError ? `bench: ${error.message}` : error)
  process.exit(1)
}
