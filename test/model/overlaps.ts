/** Forced overlaps: what a request may still do when the session ended while it was being handled. */
import type { Cluster, Redis } from 'ioredis'
import { Gate } from '../support/browser.js'
import type { Application, Step } from './application.js'
import { Client, idOf, into, type Answer, type Send } from './client.js'
import { hold } from './invariants.js'

/** A slow request loads the session, waits, and does this then. */
export const SLOW: Readonly<Record<string, readonly Step[]>> = {
  read: [['get', 'n']],
  'live read': [['live.get', 'n']],
  touch: [['touch']],
  write: [['set', 'a', 1]],
  delete: [['delete', 'n']],
  'nested change': [['push', 'list', 1]],
  clear: [['clear']],
  save: [['set', 'a', 1], ['save']],
  'live set': [['live.set', 'a', 1]],
  'live incr': [['live.incr', 'n', 1]],
  'live delete': [['live.delete', 'n']],
  'live take': [['live.take', 'n']],
  'live setIfAbsent': [['live.setIfAbsent', 'a', 1]],
  'live update': [['live.append', 'list', 1]],
  'idle timeout': [['idle', 50]],
  remember: [['remember', { idleTimeout: 50 }]],
  rotate: [['rotate']],
  'regenerate with data': [['regenerate', ['n']]],
  reload: [['reload']]
}
/** What asks for nothing that could get lost. */
const HARMLESS = new Set(['read', 'live read', 'touch'])

/** How the session ends meanwhile, by another request or by time. */
export const ENDS = ['logout', 'login', 'rotate', 'expiry'] as const

export interface Overlap {
  /** Handles the slow request. */
  readonly slow: Application
  /** Another process. */
  readonly fast: Send
  /** What the session begins with. */
  readonly begin?: readonly Step[]
  /** What is there under the key of an id. */
  look (id: string): Promise<Record<string, string> | undefined>
  /** Has all records expire. */
  expire (): Promise<void>
}

/** Looks at single records, on a Cluster as well. */
export function lookAt (witness: Redis | Cluster): Overlap['look'] {
  return async (id) => {
    const fields = await witness.hgetall(`session:${id}`)
    return Object.keys(fields).length === 0 ? undefined : fields
  }
}

/**
 * Has a session end while a slow request is using it. The slow request comes to nothing: 409 where it changed something,
 * no cookie, nothing revived.
 */
export async function overlap ({ slow, fast, begin = [], look, expire }: Overlap, kind: string, end: typeof ENDS[number]): Promise<Answer> {
  slow.gate = new Gate()
  const owner = new Client()
  await owner.send(fast, { steps: [['assign', { n: 5, list: [0] }], ...begin] })
  const late = new Client(owner.token)
  const id = idOf(owner.token!)
  const before = await look(id)
  const answered = late.send(into(slow), { steps: [['get', 'n'], ['get', 'list'], ['gate'], ...SLOW[kind]!] })
  await slow.gate.arrived(1)
  switch (end) {
    case 'logout': await owner.send(fast, { steps: [['destroy']] }); break
    case 'login': await owner.send(fast, { steps: [['regenerate', []], ['set', 'user', 'andrew']] }); break
    case 'rotate': await owner.send(fast, { steps: [['rotate']] }); break
    case 'expiry': await expire(); break
  }
  slow.gate.open()
  const answer = await answered
  const after = await look(id)
  const what = `${kind} after ${end}`
  if (end === 'rotate') hold('I8', after?.['n'] === before?.['n'] && after?.['list'] === before?.['list'] && after?.['a'] === undefined, () => `${what} changed the record`)
  else hold('I6', after === undefined, () => `${what} left a record: ${Object.keys(after!)}`)
  hold('I10', answer.cookie === undefined, () => `${what} sets a cookie`)
  hold(end === 'rotate' ? 'I8' : 'I6', answer.status === (HARMLESS.has(kind) ? 200 : 409), () => `${what} was answered ${answer.status}`)
  hold('I6', HARMLESS.has(kind) || answer.code === 'SESSION_GONE', () => `${what} was answered ${answer.code}`)
  if (end === 'login' || end === 'rotate') {
    const { results: [seen] } = await owner.send(fast, { steps: [['data']] })
    hold('I9', end === 'rotate' ? (seen as any).n === 5 : (seen as any).user === 'andrew', () => `${what}: the winner lost his session`)
  }
  return answer
}
