/** Where requests wait for each other, so that they overlap for certain. */
export class Gate {
  #waiting = 0
  #noticed = (): void => {}
  #open = (): void => {}
  readonly #opened = new Promise<void>(resolve => { this.#open = resolve })

  /** A request comes here and waits until the gate opens. */
  async pass (): Promise<void> {
    this.#waiting += 1
    this.#noticed()
    await this.#opened
  }

  /** Waits until so many requests stand before the gate, and opens it when `meanwhile` is done. */
  async openAt (count: number, meanwhile: () => Promise<unknown> = async () => {}): Promise<void> {
    await new Promise<void>(resolve => {
      this.#noticed = () => { if (this.#waiting >= count) resolve() }
      this.#noticed()
    })
    await meanwhile()
    this.#open()
  }
}
