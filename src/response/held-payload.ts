/**
 * A payload that waits while the session is being saved. Nobody listens to it meanwhile but this: Fastify does so when it
 * begins to send.
 */
import type { EventEmitter } from 'node:events'

/** What is asked of payloads: of streams, web streams, and web `Response`s. */
type Payload = Partial<EventEmitter & {
  pipe: unknown
  destroy (): void
  getReader: unknown
  cancel (): Promise<void>
  body: { cancel (): Promise<void> } | null
}>

export class HeldPayload {
  readonly #payload: Payload
  #error: Error | undefined

  constructor (payload: unknown) {
    this.#payload = (payload ?? {}) as Payload
    // Without a listener, the failure of a stream ends the process.
    if (this.#isStream) this.#payload.on?.('error', this.#note)
  }

  /**
   * It is sent now, by whoever listens from here on.
   *
   * @returns with what it failed meanwhile
   */
  release (): Error | undefined {
    if (this.#isStream) this.#payload.off?.('error', this.#note)
    return this.#error
  }

  /** It will not be sent: files and connections behind it are closed. */
  close (): void {
    // A stream's listener stays: it may fail yet.
    if (this.#isStream) this.#payload.destroy?.()
    else if (typeof this.#payload.getReader === 'function') this.#payload.cancel?.().catch(nothing)
    else if (typeof this.#payload.body?.cancel === 'function') this.#payload.body.cancel().catch(nothing)
  }

  get #isStream (): boolean {
    return typeof this.#payload.pipe === 'function'
  }

  readonly #note = (error: Error): void => {
    this.#error ??= error
  }
}

/** Somebody else reads it, so it is his to close. */
function nothing (): void {}
