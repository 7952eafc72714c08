/** How many sessions one client may have, whatever names it gives: nobody shall fill the store for all others. */
import type { Sessions } from '../../sessions.js'
import { networkOf } from '../../users/device.js'

/** How many clients are remembered. Of more, those are forgotten that started no session for longest. */
const MAX_CLIENTS = 1000

/** The sessions that each client started last. A client is a network: one household has many addresses. */
export class ClientLimit {
  readonly #sessions: Pick<Sessions, 'end'>
  readonly #max: number
  /** Ids by client, the oldest first. Who started one last stands last. */
  readonly #started = new Map<string, string[]>()

  /**
   * @param sessions ends those that are too many
   * @param max how many sessions a client may have
   */
  constructor (sessions: Pick<Sessions, 'end'>, max: number) {
    this.#sessions = sessions
    this.#max = max
  }

  /**
   * Notes a session that a client has just started. Where that is one too many, it ends the client's oldest: a client that
   * floods the demo only ever takes places from itself, and the next person from there still gets in.
   *
   * @param address of the client, as `request.ip` says it
   * @param id of the session
   * @throws StoreUnavailableError (`SESSION_STORE_UNAVAILABLE`)
   */
  async started (address: string, id: string): Promise<void> {
    const client = networkOf(address)
    const ids = this.#started.get(client) ?? []
    this.#started.delete(client)
    this.#started.set(client, ids)
    ids.push(id)
    for (const first of this.#started.keys()) {
      if (this.#started.size <= MAX_CLIENTS) break
      this.#started.delete(first)
    }
    const surplus = ids.splice(0, Math.max(0, ids.length - this.#max))
    await Promise.all(surplus.map(async id => await this.#sessions.end(id)))
  }
}
