/**
 * The lists of users in the memory of this process. What it does is what the scripts in redis-user-scripts.ts do.
 */
import { randomBytes } from 'node:crypto'
import type { Announced, Announcement, Entry, UserList } from './store.js'

interface List {
  /** When its first entry was made. */
  since: number | undefined
  /** All sessions but one were ended then. */
  ended: { at: number, survivor: string | undefined } | undefined
  /** Entries by id and ticket, and when their records will have ended for certain. */
  entries: Map<string, Entry & { until: number }>
  keepUntil: number
}

export class MemoryLists {
  readonly #lists = new Map<string, List>()
  readonly #now: () => number

  /** @param now the store's clock, milliseconds */
  constructor (now: () => number) {
    this.#now = now
  }

  announce (user: string, announcement: Announcement): Announced {
    const { id, lasts, keep, limit } = announcement
    const now = this.#now()
    const ticket = announcement.ticket ?? `${randomBytes(8).toString('base64url')}:${now}`
    const made = Number(ticket.split(':')[1])
    const list = this.#find(user)
    const listed = list?.entries.get(keyOf({ id, ticket }))
    const began = announcement.since ?? (announcement.ticket === undefined ? undefined : made)
    if (list?.ended !== undefined && began !== undefined && began <= list.ended.at && id !== list.ended.survivor && listed === undefined) {
      return { outcome: 'ended', ticket, now, entries: [] }
    }
    let out: Entry[] = []
    if (limit !== undefined && list !== undefined) {
      out = surplus(entriesOf(list).filter((entry) => entry.id !== id && announcement.replaces?.includes(entry.id) !== true), limit)
      if (out.length > 0 && limit.then !== 'end-oldest') return { outcome: 'full', ticket, now, entries: out }
    }
    const entered = list ?? this.#open(user)
    entered.since ??= now
    const until = Math.max(now + lasts, listed?.until ?? 0)
    entered.entries.set(keyOf({ id, ticket }), { id, ticket, since: made, until })
    entered.keepUntil = Math.max(entered.keepUntil, now + keep, until)
    return { outcome: 'entered', ticket, now, entries: out }
  }

  leave (user: string, entries: ReadonlyArray<Pick<Entry, 'id' | 'ticket'>>): void {
    const list = this.#find(user)
    for (const entry of entries) list?.entries.delete(keyOf(entry))
  }

  entries (user: string, ending?: { except: string | undefined, keep: number }): UserList {
    const now = this.#now()
    const found = this.#find(user)
    if (ending !== undefined) {
      const list = found ?? this.#open(user)
      list.ended = { at: Math.max(now, list.ended?.at ?? 0), survivor: ending.except }
      list.keepUntil = Math.max(list.keepUntil, now + ending.keep)
    }
    return { now, since: found?.since, entries: found === undefined ? [] : entriesOf(found) }
  }

  clear (): void {
    this.#lists.clear()
  }

  #open (user: string): List {
    const list: List = { since: undefined, ended: undefined, entries: new Map(), keepUntil: 0 }
    this.#lists.set(user, list)
    return list
  }

  /** A user's list without what has passed. */
  #find (user: string): List | undefined {
    const now = this.#now()
    const list = this.#lists.get(user)
    if (list === undefined) return undefined
    if (list.keepUntil <= now) {
      this.#lists.delete(user)
      return undefined
    }
    for (const [key, { until }] of list.entries) if (until <= now) list.entries.delete(key)
    return list
  }
}

function entriesOf ({ entries }: List): Entry[] {
  return Array.from(entries.values(), ({ id, ticket, since }) => ({ id, ticket, since }))
}

function keyOf ({ id, ticket }: Pick<Entry, 'id' | 'ticket'>): string {
  return `${id}:${ticket}`
}

/** The entries of the sessions that are too many where one more comes: the oldest, or where nobody is to end, all. */
function surplus (entries: Entry[], { max, then }: NonNullable<Announcement['limit']>): Entry[] {
  const ages = new Map<string, number>()
  for (const { id, since } of entries) ages.set(id, Math.max(ages.get(id) ?? 0, since))
  if (ages.size < max) return []
  const ids = [...ages].sort(([a, older], [b, newer]) => older - newer || (a < b ? -1 : 1)).map(([id]) => id)
  const leaving = new Set(then === 'end-oldest' ? ids.slice(0, ids.length - max + 1) : ids)
  return entries.filter(({ id }) => leaving.has(id))
}
