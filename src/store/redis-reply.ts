/**
 * Cutting up the one string in which the load script hands over a record: MessagePack, as Redis' cmsgpack writes it.
 *
 * Only what is asked for is decoded. A request that reads two of twenty fields pays for an index of twenty positions
 * and two strings, not for twenty.
 */
import { RecordError } from '../errors.js'
import type { LoadedRecord, Standing, StoredFields } from './store.js'

/** Anything outside ASCII: there, bytes and characters do not coincide. */
// eslint-disable-next-line no-control-regex
const NON_ASCII = /[^\x00-\x7f]/

/**
 * Reads the reply of the load script.
 *
 * @param reply standing, touched, clock, milliseconds left, fields, packed one after the other
 * @throws RecordError (`SESSION_RECORD_INVALID`) where the reply is not of that form
 */
export function readRecord (reply: Buffer): LoadedRecord {
  const reader = new Reader(reply)
  const standing = reader.string() as Standing
  const touched = reader.integer() === 1
  const now = reader.integer()
  const ttl = reader.integer()
  return { standing, touched, now, ttl, fields: new PackedFields(reader) }
}

/** The fields of a record, still packed. */
class PackedFields implements StoredFields {
  readonly #reader: Reader
  #texts: Map<string, Position> | undefined

  constructor (reader: Reader) {
    this.#reader = reader
  }

  get (name: string): string | undefined {
    const position = this.#index().get(name)
    return position === undefined ? undefined : this.#reader.text(position)
  }

  names (): Iterable<string> {
    return this.#index().keys()
  }

  #index (): Map<string, Position> {
    if (this.#texts === undefined) {
      const texts = new Map<string, Position>()
      for (let left = this.#reader.arrayLength(); left > 0; left -= 2) {
        const name = this.#reader.string()
        texts.set(name, this.#reader.position())
      }
      this.#texts = texts
    }
    return this.#texts
  }
}

/** Where a string's bytes begin and end. */
interface Position { start: number, end: number }

/** MessagePack, as far as the load script uses it (https://github.com/msgpack/msgpack/blob/master/spec.md). */
class Reader {
  readonly #bytes: Buffer
  /** The same bytes, one character each: substrings of it are cheap, where they are ASCII they are the text. */
  readonly #latin1: string
  #at = 0

  constructor (bytes: Buffer) {
    this.#bytes = bytes
    this.#latin1 = bytes.toString('latin1')
  }

  integer (): number {
    const head = this.#byte()
    if (head <= 0x7f) return head
    if (head >= 0xe0) return head - 0x100
    const at = this.#at
    switch (head) {
      case 0xcc: this.#skip(1); return this.#bytes.readUInt8(at)
      case 0xcd: this.#skip(2); return this.#bytes.readUInt16BE(at)
      case 0xce: this.#skip(4); return this.#bytes.readUInt32BE(at)
      case 0xcf: this.#skip(8); return this.#bytes.readUInt32BE(at) * 0x1_0000_0000 + this.#bytes.readUInt32BE(at + 4)
      case 0xd0: this.#skip(1); return this.#bytes.readInt8(at)
      case 0xd1: this.#skip(2); return this.#bytes.readInt16BE(at)
      case 0xd2: this.#skip(4); return this.#bytes.readInt32BE(at)
      case 0xd3: this.#skip(8); return this.#bytes.readInt32BE(at) * 0x1_0000_0000 + this.#bytes.readUInt32BE(at + 4)
      default: throw malformed()
    }
  }

  arrayLength (): number {
    const head = this.#byte()
    if ((head & 0xf0) === 0x90) return head & 0x0f
    if (head === 0xdc) return this.#length(2)
    if (head === 0xdd) return this.#length(4)
    throw malformed()
  }

  string (): string {
    return this.text(this.position())
  }

  /** Steps over a string and says where it is. */
  position (): Position {
    const head = this.#byte()
    let length: number
    if ((head & 0xe0) === 0xa0) length = head & 0x1f
    else if (head === 0xd9) length = this.#length(1)
    else if (head === 0xda) length = this.#length(2)
    else if (head === 0xdb) length = this.#length(4)
    else throw malformed()
    const start = this.#at
    this.#skip(length)
    return { start, end: this.#at }
  }

  text ({ start, end }: Position): string {
    const text = this.#latin1.substring(start, end)
    return NON_ASCII.test(text) ? this.#bytes.toString('utf8', start, end) : text
  }

  #byte (): number {
    const byte = this.#bytes[this.#at]
    if (byte === undefined) throw malformed()
    this.#at++
    return byte
  }

  #length (size: number): number {
    const length = this.#bytes.readUIntBE(this.#at, size)
    this.#at += size
    return length
  }

  #skip (length: number): void {
    this.#at += length
    if (this.#at > this.#bytes.length) throw malformed()
  }
}

function malformed (): Error {
  return new RecordError('the reply of the load script is malformed')
}
