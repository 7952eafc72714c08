/** The measurements: exact ones with a few requests one after another, timed ones with wrk. */
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LARGE, LARGE_FIELD, SMALL } from './data.js'
import type { Server } from './fleet.js'
import type { Options } from './options.js'
import { foreignCookies, type Route } from './plan.js'
import type { Observer } from './redis.js'
import { owned, scratch } from './stage.js'

const script = fileURLToPath(new URL('load.lua', import.meta.url))

/** Requests of an exact count; and sessions that they take turns with, and that are weighed. */
const EXACT_REQUESTS = 50
const EXACT_SESSIONS = 5
const WEIGHED_SESSIONS = 50

/** What Redis had to do for one request. */
export interface Exact {
  commands: number
  trips: number
  /** For instance `GET + SET`. */
  names: string
}

/** What one session takes in Redis. */
export interface Weight {
  bytes: number
  kinds: string[]
}

/** One timed measurement. */
export interface Sample {
  /** Requests per second. */
  rate: number
  /** Latency in milliseconds. */
  p50: number
  p99: number
  /** Microseconds of the server process's CPU per request. */
  cpu: number
  /** Microseconds of Redis's CPU per request. */
  redisCpu: number
  requests: number
  /** Answers that said the request had failed, and connections that broke or timed out. */
  failures: number
}

/** One contender with its database. */
export interface Lane {
  server: Server
  observer: Observer
}

/** The cookies for a route's requests, made anew in an empty database; none where the route wants none. */
async function cookiesFor ({ server, observer }: Lane, route: Route, sessions: number): Promise<readonly string[]> {
  await observer.empty()
  if (route.cookies !== 'small' && route.cookies !== 'large') return foreignCookies(route)
  return await server.seed(route.cookies, sessions)
}

/** What the n-th request of an exact count has to be answered with: numbers for wrong answers would be worthless. */
function expected (route: Route, request: number): unknown {
  switch (route.path) {
    case '/read': return SMALL.userId
    case '/read-large': return LARGE[LARGE_FIELD]
    case '/write': return SMALL.count + 1 + Math.floor(request / EXACT_SESSIONS)
    case '/create': return true
    default: return null
  }
}

/** Counts commands and round trips per request, and checks the answers on the way. */
export async function countExactly (lane: Lane, route: Route): Promise<Exact> {
  const { server, observer } = lane
  // One round for connections and scripts to settle, then the real one with fresh sessions.
  const settling = await cookiesFor(lane, route, EXACT_SESSIONS)
  for (let request = 0; request < EXACT_SESSIONS; request++) await server.visit(route.path, settling[request])
  const cookies = await cookiesFor(lane, route, EXACT_SESSIONS)
  const traffic = await observer.watch(async () => {
    for (let request = 0; request < EXACT_REQUESTS; request++) {
      const { value } = await server.visit(route.path, cookies[request % cookies.length])
      if (value !== expected(route, request)) {
        throw new Error(`${server.entry.name} ${route.path} answered ${JSON.stringify(value)} ` +
          `where ${JSON.stringify(expected(route, request))} was right`)
      }
    }
  })
  return {
    commands: traffic.commands / EXACT_REQUESTS,
    trips: traffic.trips / EXACT_REQUESTS,
    names: [...traffic.names].map(([name, count]) => {
      const each = count / EXACT_REQUESTS
      return each === 1 ? name : `${each} ${name}`
    }).join(' + ')
  }
}

/** Weighs 7-field sessions, as they are new and once they were written to, whichever is more. */
export async function weighSession ({ server, observer }: Lane): Promise<Weight> {
  await observer.empty()
  const cookies = await server.seed('small', WEIGHED_SESSIONS)
  const fresh = await observer.weigh()
  for (const cookie of cookies) await server.visit('/write', cookie)
  const used = await observer.weigh()
  return {
    bytes: Math.max(fresh.bytes, used.bytes) / WEIGHED_SESSIONS,
    kinds: [...new Set([...fresh.kinds, ...used.kinds])]
  }
}

/** What load.lua prints. */
interface Printed {
  requests: number
  microseconds: number
  p50: number
  p99: number
  refused: number
  broken: number
}

/** Runs wrk for so many seconds. */
async function runWrk (url: string, cookies: readonly string[], connections: number, seconds: number): Promise<Printed> {
  const list = join(scratch(), 'cookies')
  writeFileSync(list, cookies.map(cookie => `${cookie}\n`).join(''))
  const output = await new Promise<string>((resolve, reject) => {
    owned(execFile('wrk', [
      '-t', '1', '-c', String(connections), '-d', `${seconds}s`, '--timeout', '5s', '-s', script, url, '--', list
    ], { timeout: (seconds + 20) * 1000 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(`wrk failed: ${error.message}\n${stderr}`))
    }))
  })
  const line = /^BENCH (.*)$/m.exec(output)?.[1]
  if (line === undefined) throw new Error(`wrk printed no result:\n${output}`)
  return JSON.parse(line) as Printed
}

/** Measures a contender on a route once. */
export async function measure (lane: Lane, route: Route, options: Options, seconds: number): Promise<Sample> {
  const { server, observer } = lane
  const cookies = await cookiesFor(lane, route, options.sessions)
  const redisBefore = await observer.cpu()
  const before = await server.cpu()
  const printed = await runWrk(server.url(route.path), cookies, options.connections, seconds)
  const used = await server.cpu() - before
  const redisUsed = await observer.cpu() - redisBefore
  if (printed.requests === 0) throw new Error(`${server.entry.name} ${route.path}: not one answer in ${seconds} s`)
  return {
    rate: printed.requests / (printed.microseconds / 1e6),
    p50: printed.p50 / 1000,
    p99: printed.p99 / 1000,
    cpu: used / printed.requests,
    redisCpu: redisUsed / printed.requests,
    requests: printed.requests,
    failures: printed.refused + printed.broken
  }
}
