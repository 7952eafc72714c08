/** The command line of the benchmark. */
import { parseArgs } from 'node:util'
import { CONTENDERS, ROUTES, type Entry, type Route } from './plan.js'

/** What was asked for. */
export interface Options {
  rounds: number
  seconds: number
  connections: number
  sessions: number
  contenders: Entry[]
  routes: Route[]
  json: boolean
  built: boolean
}

/** A wrong command line; the message is for the person who typed it. */
export class UsageError extends Error {}

export const USAGE = `npm run bench -- [options]

  --rounds n         measure everything that many times, medians count   (5)
  --seconds n        length of one measurement                           (2)
  --connections n    open at the same time                               (50)
  --sessions n       distinct sessions that the requests take turns with (64)
  --only a,b         contenders: ${CONTENDERS.map(entry => entry.name).join(', ')}
  --routes a,b       routes: ${ROUTES.map(route => route.name).join(', ')}
  --built            measure dist/ as it is, without building it first
  --json             all numbers as JSON instead of the table (use npm run -s)
  --help`

/** A whole number between bounds, or a complaint that names the option. */
function whole (name: string, text: string, least: number, most: number): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new UsageError(`--${name} must be a whole number from ${least} to ${most}, not '${text}'`)
  }
  return value
}

/** The chosen ones of a list, in the list's own order; everything when nothing was chosen. */
function chosen<T extends { name: string }> (option: string, all: readonly T[], text: string | undefined): T[] {
  if (text === undefined) return [...all]
  const names = text.split(',').map(name => name.trim()).filter(name => name !== '')
  for (const name of names) {
    if (!all.some(item => item.name === name)) {
      throw new UsageError(`--${option} knows ${all.map(item => item.name).join(', ')}, not '${name}'`)
    }
  }
  if (names.length === 0) throw new UsageError(`--${option} needs at least one name`)
  return all.filter(item => names.includes(item.name))
}

/** Reads the command line; `undefined` when only help was wanted. */
export function readOptions (args: string[]): Options | undefined {
  let values
  try {
    ({ values } = parseArgs({
      args,
      options: {
        rounds: { type: 'string', default: '5' },
        seconds: { type: 'string', default: '2' },
        connections: { type: 'string', default: '50' },
        sessions: { type: 'string', default: '64' },
        only: { type: 'string' },
        routes: { type: 'string' },
        json: { type: 'boolean', default: false },
        built: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false }
      }
    }))
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
  if (values.help) return undefined
  return {
    rounds: whole('rounds', values.rounds, 1, 50),
    seconds: whole('seconds', values.seconds, 1, 60),
    connections: whole('connections', values.connections, 1, 1000),
    sessions: whole('sessions', values.sessions, 1, 1000),
    contenders: chosen('only', CONTENDERS, values.only),
    routes: chosen('routes', ROUTES, values.routes),
    json: values.json,
    built: values.built
  }
}
