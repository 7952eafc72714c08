/** The situations of the README's comparison. Each is brought about, and what can be seen from outside is put in words. */
import { Redis } from 'ioredis'
import { Observer } from '../redis.js'
import type { App, Library, Setting } from './libraries.js'
import { clears, Visitor, type Answer } from './visitor.js'

/** Where a situation is played. */
export interface Scene {
  library: Library
  /** Connection string of the Redis, which holds nothing when the situation begins. */
  redis: string
  /** Starts the application; it is closed when the situation is over. */
  start: (setting?: Partial<Setting>) => Promise<App>
}

/** One line of the comparison. */
export interface Situation {
  about: string
  /** What happens in it, in words. */
  observe: (scene: Scene) => Promise<string>
}

/** Milliseconds after which an answer no longer counts as one. */
const PATIENCE = 15_000

/** Milliseconds that a client with a time limit waits. */
const LIMIT = 500

const NO_REDIS = 'no Redis'

/** A visitor with a session, in which `user` stands. */
async function visitorOf (app: App): Promise<Visitor> {
  const visitor = new Visitor(app.url)
  await visitor.get('write', 'user')
  return visitor
}

/** Whether the visitor's session, as the application sees it now, has the field. */
async function has (visitor: Visitor, field: string): Promise<boolean> {
  const { status, value } = await visitor.get('read', field)
  return status === 200 && value !== null
}

async function parallelFields ({ start }: Scene): Promise<string> {
  const app = await start()
  const visitor = await visitorOf(app)
  const writes = [visitor.ask('writeLater', 'a'), visitor.ask('writeLater', 'b')]
  await app.gate.openAt(2)
  await Promise.all(writes)
  return await has(visitor, 'a') && await has(visitor, 'b') ? 'both are kept' : 'one is lost'
}

async function parallelIncrements ({ library, start }: Scene): Promise<string> {
  /** What the counter says after 20 increments that all began before the first one ended. */
  const count = async (action: string): Promise<unknown> => {
    const app = await start()
    const visitor = await visitorOf(app)
    const requests = Array.from({ length: 20 }, async () => await visitor.ask(action, 'count'))
    await app.gate.openAt(20)
    const answers = await Promise.all(requests)
    if (answers.some(answer => answer?.status !== 200)) throw new Error(`${action}: not every request succeeded`)
    return (await visitor.get('read', 'count')).value
  }
  const byProperty = String(await count('countByProperty'))
  return library.increments ? `${String(await count('countInPlace'))} with \`live.incr()\`, ${byProperty} by property` : byProperty
}

async function logoutMeanwhile ({ start }: Scene): Promise<string> {
  const app = await start()
  // Without any race: is what a browser kept good for anything after the logout?
  const leaver = await visitorOf(app)
  const keeper = leaver.copy()
  await leaver.get('logout')
  if (await has(keeper, 'user')) return 'old cookie stays valid in any case'
  const other = await visitorOf(app)
  const writer = other.copy()
  const write = writer.ask('writeLater', 'late')
  await app.gate.openAt(1, async () => await other.get('logout'))
  const status = (await write)?.status
  return await has(writer, 'user') ? 'session is back' : `that one gets ${String(status)}, the session stays ended`
}

async function cookieFromBefore ({ library, start }: Scene): Promise<string> {
  if (!library.regenerates) return 'no `regenerate()`'
  const app = await start()
  const before = await visitorOf(app)
  await before.copy().get('login')
  return await has(before, 'user') ? 'stays valid' : 'dead'
}

async function anonymous ({ library, redis, start }: Scene): Promise<string> {
  const app = await start()
  const client = new Redis(redis)
  const seen = new Set<string>()
  for (const path of ['page', 'nothing-is-here']) {
    const { cookies } = await new Visitor(app.url).get(path)
    const records = await client.dbsize()
    await client.flushdb()
    const record = library.redis ? records === 0 ? ', nothing stored' : ' and record' : ''
    seen.add(`${cookies.length === 0 ? 'no cookie' : 'cookie'}${record}`)
  }
  client.disconnect()
  return [...seen].join('; 404: ')
}

async function throwing ({ start }: Scene): Promise<string> {
  const visitor = await visitorOf(await start())
  await visitor.get('writeAndThrow', 'draft')
  return await has(visitor, 'draft') ? 'change stored' : 'change dropped'
}

async function logoutClears ({ start }: Scene): Promise<string> {
  const { cookies } = await (await visitorOf(await start())).get('logout')
  return cookies.some(clears) ? 'yes' : 'no'
}

/** Does something while Redis answers nothing: it is stopped, connections stay open. */
async function whileFrozen<T> (redis: string, doing: () => Promise<T>): Promise<T> {
  const client = new Redis(redis)
  const pid = Number(/process_id:(\d+)/.exec(await client.info('server'))?.[1])
  client.disconnect()
  process.kill(pid, 'SIGSTOP')
  try {
    return await doing()
  } finally {
    process.kill(pid, 'SIGCONT')
  }
}

/** What an answer to a logged-in visitor is worth. */
function inWords (answer: Answer | undefined): string {
  if (answer === undefined) return `no answer within ${PATIENCE / 1000} s`
  if (answer.status !== 200) return String(answer.status)
  const data = answer.value === null ? ' with an empty session' : ''
  return `200${data}${answer.cookies.length > 0 ? ' and a new cookie' : ''}`
}

function hanging (patience?: number): Situation['observe'] {
  return async ({ library, redis, start }) => {
    if (!library.redis) return NO_REDIS
    const visitor = await visitorOf(await start({ ...patience !== undefined && { patience } }))
    return inWords(await whileFrozen(redis, async () => await visitor.ask('read', 'user', PATIENCE)))
  }
}

async function full ({ library, redis, start }: Scene): Promise<string> {
  if (!library.redis) return NO_REDIS
  const visitor = await visitorOf(await start())
  const client = new Redis(redis)
  await client.config('SET', 'maxmemory', '1')
  const { status } = await visitor.get('write', 'page')
  await client.config('SET', 'maxmemory', '0')
  client.disconnect()
  return `${status}${status !== 200 || await has(visitor, 'page') ? '' : ', nothing stored'}`
}

async function commands ({ library, redis, start }: Scene): Promise<string> {
  const app = await start()
  const observer = new Observer(redis)
  const counts: number[] = []
  const visitor = await visitorOf(app)
  // Once before it is counted: scripts are sent in full the first time.
  for (const action of ['read', 'write']) await visitor.get(action, 'user')
  for (const [who, action] of [[visitor, 'read'], [visitor, 'write'], [new Visitor(app.url), 'write']] as const) {
    counts.push((await observer.watch(async () => { await who.get(action, `field${counts.length}`) })).commands)
  }
  observer.close()
  return library.redis ? counts.join(', ') : NO_REDIS
}

/** All of them, in the report's order. */
export const SITUATIONS: readonly Situation[] = [
  { about: 'two parallel requests change different fields', observe: parallelFields },
  { about: '20 parallel increments of one field', observe: parallelIncrements },
  { about: 'logout while another request is about to write', observe: logoutMeanwhile },
  { about: 'the cookie from before a login with `regenerate()`', observe: cookieFromBefore },
  { about: 'anonymous page view, and 404', observe: anonymous },
  { about: 'the handler changes data, then throws', observe: throwing },
  { about: 'logout clears the cookie', observe: logoutClears },
  { about: 'Redis hangs, default client', observe: hanging() },
  { about: `Redis hangs, client with a time limit of ${LIMIT} ms`, observe: hanging(LIMIT) },
  { about: 'Redis is full, the handler changed data', observe: full },
  { about: 'Redis commands to read, write, create', observe: commands }
]
