/**
 * What the program changed and has not stored yet, up to the moment at which it asked for something: from then on these
 * changes belong to what was asked for, and later ones to what is asked for next. So everything takes effect in the order
 * in which it was written down, whatever is under way.
 */
import type { Settings } from '../store/store.js'

export class Changes {
  /** All fields were removed, before what `texts` says. */
  cleared = false
  /** The texts of fields that were set; `null` for those that were removed. */
  readonly texts = new Map<string, string | null>()
  /** The field that a live operation writes: what will stand there is the store's to say. */
  live: string | undefined
  /** Idle timeout, lifetime, persistence and elevation. The digest of a new secret is never among them: `rotate` stands for it. */
  settings: Settings = {}
  /** The expiry is to be extended in any case. */
  touch = false
  /** The secret is to be replaced. */
  rotate = false

  /** Whether these change the record, and not only its expiry. */
  get any (): boolean {
    return this.cleared || this.texts.size > 0 || this.rotate || Object.keys(this.settings).length > 0
  }

  clear (): void {
    this.texts.clear()
    this.cleared = true
  }

  /** Drops what is about the data, where there are none. */
  withoutData (): this {
    this.texts.clear()
    this.cleared = false
    return this
  }

  /** Puts changes beneath these that were made before: what is said here outranks them. */
  putBeneath (earlier: Changes): void {
    if (!this.cleared) {
      const later = [...this.texts]
      this.texts.clear()
      for (const [name, text] of [...earlier.texts, ...later]) this.texts.set(name, text)
      this.cleared = earlier.cleared
    }
    this.settings = { ...earlier.settings, ...this.settings }
    this.touch ||= earlier.touch
    this.rotate ||= earlier.rotate
  }

  /**
   * The same for a live operation, whose business are the data before it and no more.
   *
   * @param field the one that it writes
   * @returns what it leaves to whatever comes next
   */
  takeBeneath (earlier: Changes, field: string): Changes {
    const mine = new Changes()
    const rest = new Changes()
    const { settings, touch, rotate } = earlier
    Object.assign(rest, { settings, touch, rotate })
    mine.cleared = earlier.cleared
    // Before a clear() that has to happen first, nothing else can wait.
    const all = earlier.cleared || this.cleared
    for (const [name, text] of earlier.texts) (all || name === field ? mine : rest).texts.set(name, text)
    this.putBeneath(mine)
    return rest
  }
}
