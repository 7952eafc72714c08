/** What `doctor` checks, and in which order. */
import { Cluster, type Redis } from 'ioredis'
import { newId } from '../cookie/token.js'
import { resolveOptions } from '../options.js'
import { databaseOf, hasPassed } from '../store/connection-check.js'
import type { Check } from './check.js'
import { CommandError, type Context } from './command.js'
import { checkCommands } from './command-checks.js'
import { inWords, type Connection } from './connection.js'
import { counted, grouped } from './output.js'
import { scanRecords } from './scan.js'
import { checkServer, readInfo } from './server-checks.js'

type Report = (check: Check) => void

/** Clocks further apart are worth a word, milliseconds. */
const CLOCK_LIMIT = 2000

/**
 * The variables, as an app without options of its own would read them.
 *
 * @param flags from the command line; they win over the environment
 */
export function checkOptions (env: NodeJS.ProcessEnv, { redis, prefix }: { redis?: string | undefined, prefix?: string | undefined }): Check[] {
  const name = 'options'
  try {
    const { warnings, secrets } = resolveOptions({ ...(redis !== undefined && { redis }), ...(prefix !== undefined && { prefix }) }, env)
    const found: Check[] = warnings.map((detail) => ({ name, result: 'warning', detail }))
    return [...found, { name, result: 'ok', detail: `the SESSION_* variables make sense; ${secrets.length === 1 ? 'one secret' : `${secrets.length} secrets`}` }]
  } catch (error) {
    // An app may have its secret from elsewhere; anything else that is wrong here is wrong there, too.
    const message = (error as Error).message.replace(/^fastify-live-session: /, '')
    return [{ name, result: env['SESSION_SECRET'] || !message.startsWith('secret') ? 'problem' : 'warning', detail: message }]
  }
}

/** Everything that needs a connection; every master of a Cluster is looked at. What fails keeps nothing else from being checked. */
export async function checkRedis (connection: Connection, context: Context, report: Report): Promise<void> {
  const { client, prefix } = connection
  const cluster = client instanceof Cluster
  const nodes = cluster ? client.nodes('master') : [client]
  const database = cluster ? 0 : databaseOf(client)
  const arrived = cluster || hasPassed(client, database)
  for (const node of nodes) {
    const at = nodes.length === 1 ? '' : ` of ${node.options.host}:${node.options.port}`
    await attempt(`version, eviction, persistence, role${at}`, report, async () => checkServer(readInfo(await node.info())).map((check) => ({ ...check, name: check.name + at })), 'warning')
    await attempt(`clock${at}`, report, async () => [await checkClock(node, `clock${at}`)], 'warning')
    await attempt(`commands${at}`, report, async () => (await checkCommands(node, { prefix, cluster, database, arrived })).map((check) => ({ ...check, name: check.name + at })))
  }
  const there = async (check: () => Promise<Check[]>): Promise<Check[]> => {
    if (!arrived) throw new CommandError(`database ${database} cannot be selected`)
    return await check()
  }
  await attempt('scripts', report, async () => await there(async () => [await checkScripts(connection)]))
  await attempt('records', report, async () => await there(async () => await checkRecords(connection, context)), 'warning')
}

/** Runs one check. Where it cannot be done, that is what it found. */
async function attempt (name: string, report: Report, check: () => Promise<Check[]>, result: 'warning' | 'problem' = 'problem'): Promise<void> {
  try {
    for (const found of await check()) report(found)
  } catch (error) {
    const reason = error instanceof CommandError ? error.message : inWords(error)
    if (reason === undefined) throw error
    report({ name, result, detail: `not checked: ${reason}` })
  }
}

async function checkClock (node: Redis, name: string): Promise<Check> {
  const before = Date.now()
  const [seconds, micros] = await node.time() as unknown as [number | string, number | string]
  const after = Date.now()
  const apart = Math.round(Number(seconds) * 1000 + Number(micros) / 1000 - (before + after) / 2)
  const result = Math.abs(apart) - (after - before) > CLOCK_LIMIT ? 'warning' : 'ok'
  const detail = `${Math.abs(apart)} ms ${apart < 0 ? 'behind' : 'ahead of'} this machine's`
  return { name, result, detail: result === 'ok' ? detail : `${detail}; sessions go by the clock of Redis: let both follow NTP` }
}

/** One session's life, by the store itself. */
async function checkScripts ({ store }: Connection): Promise<Check> {
  const name = 'scripts'
  const id = newId()
  const rules = { idleTimeout: 5000, touchInterval: 0, lifetime: 5000, rotateEvery: 0, rotateGrace: 0, maxFields: 10, maxRecordSize: 1000 }
  const write = { operations: [{ type: 'set', field: 'doctor', text: '1' }], settings: {}, touch: 'always', mode: 'together' } as const
  try {
    await store.create(id, 'doctor', write, rules)
    await store.write(id, 'doctor', write, rules)
    const loaded = await store.load(id, 'doctor', true, rules)
    const ended = await store.destroy(id, 'doctor')
    if (loaded === undefined || !ended) return { name, result: 'problem', detail: 'a record that was just written is gone' }
    return { name, result: 'ok', detail: 'a session was created, changed, loaded and ended' }
  } catch (error) {
    await store.destroy(id).catch(() => {})
    const reason = inWords(error)
    if (reason === undefined) throw error
    return { name, result: 'problem', detail: `a session could not be created, changed, loaded and ended: ${reason}` }
  }
}

async function checkRecords (connection: Connection, context: Context): Promise<Check[]> {
  const name = 'records'
  const count = { session: 0, remainder: 0, foreign: 0 }
  const immortal = { session: 0, remainder: 0, foreign: 0 }
  for await (const outlines of scanRecords(connection, context)) {
    for (const { kind, ttl } of outlines) {
      count[kind]++
      if (ttl < 0) immortal[kind]++
    }
  }
  const found: Check[] = []
  const sessions = counted(count.session, 'session')
  if (immortal.session > 0) found.push({ name, result: 'problem', detail: `without an expiry: ${grouped(immortal.session)} of ${sessions}; somebody ran PERSIST` })
  const strays = immortal.foreign + immortal.remainder
  if (strays > 0) found.push({ name, result: 'problem', detail: `without an expiry, and no session: ${counted(strays, 'hash', 'hashes')}; somebody writes to sessions that have ended, see "The record" in the README` })
  const others = count.foreign - immortal.foreign
  if (others > 0) found.push({ name, result: 'warning', detail: `no session: ${counted(others, 'hash', 'hashes')} under such keys; another program uses the prefix ${connection.prefix}, too` })
  if (found.length === 0) found.push({ name, result: 'ok', detail: `${sessions}${count.session === 0 ? '' : ', each with an expiry'}` })
  return found
}
