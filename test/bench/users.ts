/**
 * What it costs to list sessions by user: commands per call whatever the total, memory per session, and how a walk over all
 * sessions is felt by those who use theirs meanwhile.
 *
 * `node --import tsx test/bench/users.ts [--sessions 20000] [--users 4000]`; large: `--sessions 1000000 --users 200000`, which
 * takes some minutes and about 0.6 GB in Redis.
 */
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { Observer, startRedis } from './redis.js'
import { guardStage } from './stage.js'
import { digestOf, newId, newSecret } from '../../src/cookie/token.js'
import { RedisStore } from '../../src/store/redis.js'
import type { Rules, Write } from '../../src/store/store.js'
import { UserField } from '../../src/users/user-field.js'
import { UserIndex, type Member } from '../../src/users/user-index.js'

const { values } = parseArgs({ options: { sessions: { type: 'string', default: '20000' }, users: { type: 'string', default: '4000' } } })
const total = Number(values.sessions)
const users = Number(values.users)
/** Sessions created, or loads sent, at the same time. */
const PARALLEL = 200
/** How long loads are measured without and with a walk, at least, milliseconds. */
const SPAN = 2000

const RULES: Rules = {
  idleTimeout: 1_800_000, touchInterval: 30_000, lifetime: 43_200_000, rotateEvery: 0, rotateGrace: 10_000, maxFields: 100, maxRecordSize: 65_536, users: true
}

class Session implements Member {
  readonly id = newId()
  readonly digest = digestOf(newSecret())
  readonly idleTimeout = 1800
  readonly replaces = []
  readonly authenticated = undefined
  readonly device = undefined
  bound: Member['bound']
  readonly entered = new Set<string>()
  storedText (): null { return null }
}

function dataOf (user: string): Write {
  const fields = { userId: user, visits: '17', locale: 'cs', theme: 'dark' }
  return { operations: Object.entries(fields).map(([field, text]) => ({ type: 'set', field, text })), settings: {}, touch: 'never', mode: 'together' }
}

/** Does something so many times, many at a time. */
async function times (count: number, run: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0
  await Promise.all(Array.from({ length: PARALLEL }, async () => { while (next < count) await run(next++) }))
}

function quantile (sorted: readonly number[], q: number): string {
  return (sorted[Math.floor(sorted.length * q)] ?? 0).toFixed(2)
}

guardStage(30 * 60_000)
const url = `redis://127.0.0.1:${await startRedis()}`
const client = new Redis(url)
await client.ping()
const store = new RedisStore(client, { timeout: 60_000 })
const observer = new Observer(url)
const memory = async (): Promise<number> => Number(/used_memory:(\d+)/.exec(await client.info('memory'))?.[1])

/** Creates all sessions, and says what one takes of Redis' memory. */
async function fill (index: UserIndex | undefined): Promise<{ sessions: Session[], bytes: number, seconds: number }> {
  await observer.empty()
  const before = await memory()
  const begin = performance.now()
  const sessions = Array.from({ length: total }, () => new Session())
  await times(total, async (i) => {
    const { id, digest } = sessions[i]!
    const write = dataOf(`user-${i % users}`)
    if (index === undefined) await store.create(id, digest, write, { ...RULES, users: false })
    else await index.create(id, digest, write, sessions[i]!)
  })
  return { sessions, bytes: (await memory() - before) / total, seconds: (performance.now() - begin) / 1000 }
}

const options = { store, rules: RULES, timeout: 60_000, field: new UserField('userId'), maxSessions: 0, onLimit: 'end-oldest' as const }
const index = new UserIndex(options)
const capped = new UserIndex({ ...options, maxSessions: Math.ceil(total / users) })

const plain = await fill(undefined)
const { sessions, bytes, seconds } = await fill(index)
console.log(`${total} sessions of ${users} users, ${(total / users).toFixed(1)} each; created in ${seconds.toFixed(1)} s, without lists in ${plain.seconds.toFixed(1)} s`)
console.log(`bytes in Redis per session: ${bytes.toFixed(0)} with lists, ${plain.bytes.toFixed(0)} without`)

// Younger than a touch interval, a list is in doubt, and ending all walks over everything: that is not what is measured here.
for (let user = 0; user < Math.min(users, 100); user++) await client.zincrby(`session:@user:user-${user}`, 3_600_000, '@since')
const calls: Array<[string, () => Promise<unknown>]> = [
  ['list', async () => await index.list('user-1')],
  ['login', async () => await index.create(newId(), digestOf(newSecret()), dataOf('user-2'), new Session())],
  ['login at the limit', async () => await capped.create(newId(), digestOf(newSecret()), dataOf('user-3'), new Session())],
  ['end', async () => await index.end(sessions[4]!.id)],
  ['endAll', async () => await index.endAll('user-5')]
]
for (const [name, call] of calls) {
  // Once before, so that Redis knows all scripts.
  await index.create(newId(), digestOf(newSecret()), dataOf('user-0'), new Session())
  await index.endAll('user-0')
  await index.end(sessions[6]!.id)
  const { commands, trips } = await observer.watch(async () => { await call() })
  console.log(`${name}: ${commands} commands, ${trips} round trips`)
}

/** Loads sessions one after the other until something is done, and tells how long each took. */
async function loadsDuring (doing: Promise<unknown>): Promise<number[]> {
  const state = { done: false }
  doing.finally(() => { state.done = true }).catch(() => {})
  const took: number[] = []
  for (let i = 0; !state.done; i++) {
    const { id, digest } = sessions[(i * 7919) % total]!
    const begin = performance.now()
    await store.load(id, digest, true, RULES)
    took.push(performance.now() - begin)
  }
  return took.sort((a, b) => a - b)
}

async function walk (): Promise<number> {
  let found = 0
  const end = performance.now() + SPAN
  do {
    for await (const ids of store.scan()) found += (await store.describe(ids)).length
  } while (performance.now() < end)
  return found
}

const alone = await loadsDuring(new Promise((resolve) => setTimeout(resolve, SPAN)))
const cpu = await observer.cpu()
const begin = performance.now()
let found = 0
const meanwhile = await loadsDuring(walk().then((count) => { found = count }))
const elapsed = performance.now() - begin
console.log(`a walk over all: ${(found / elapsed).toFixed(0)} sessions per ms; Redis used ${((await observer.cpu() - cpu) / elapsed / 10).toFixed(0)} % of a core, loads included`)
console.log(`a load meanwhile: median ${quantile(meanwhile, 0.5)} ms, 99 % ${quantile(meanwhile, 0.99)} ms, slowest ${quantile(meanwhile, 0.99999)} ms; ` +
  `without: ${quantile(alone, 0.5)}, ${quantile(alone, 0.99)}, ${quantile(alone, 0.99999)}`)
observer.close()
client.disconnect()
process.exit()
