/**
 * Cutting up the one string in which the load script hands over a record: MessagePack, as Redis' cmsgpack writes it.
 *
 * Only what is asked for is decoded: a request that reads two of twenty fields pays for two strings, not for twenty.
 */
import { RecordError } from '../errors.js'
import { USER } from './record.js'
import type { LoadedRecord, Standing, StoredFields } from './store.js'

// eslint-disable-next-line no-control-regex
const NON_ASCII = /[^\x00-\x7f]/

/** Whether there is anything outside ASCII: there, bytes and characters do not coincide. */
function isAscii (text: string): boolean {
  // For a short text the loop is several times faster than the regular expression, for a long one slower.
  if (text.length > 40) return !NON_ASCII.test(text)
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false
  return true
}

/**
 * Reads the reply of the load script.
 *
 * @param reply standing, touched, clock, milliseconds left, fields, packed one after the other
 * @throws RecordError (`SESSION_RECORD_INVALID`) where the reply is not of that form
 */
export function readRecord (reply: Buffer): LoadedRecord {
  const reader = new Reader(reply)
  const standing = reader.string() as Standing
  const touched = reader.integer()
  const now = reader.integer()
  const ttl = reader.integer()
  const fields = new PackedFields(reader)
  return { standing, touched: touched === 1, due: touched === 2 && fields.get(USER) !== undefined, now, ttl, fields }
}

/**
 * The fields of a record, still packed: names and texts in turn. A look-up walks along them; for the few that a request
 * makes, that costs less than building an index, and makes no garbage.
 */
class PackedFields implements StoredFields {
  readonly #reader: Reader
  readonly #count: number
  readonly #start: number

  constructor (reader: Reader) {
    this.#reader = reader
    this.#count = reader.arrayLength() / 2
    this.#start = reader.at
  }

  get (name: string): string | undefined {
    const reader = this.#reader
    const bytes = isAscii(name) ? name : Buffer.from(name).toString('latin1')
    reader.at = this.#start
    for (let i = 0; i < this.#count; i++) {
      const found = reader.skipString(bytes)
      if (found) return reader.string()
      reader.skipString()
    }
    return undefined
  }

  names (): string[] {
    const reader = this.#reader
    const names: string[] = []
    reader.at = this.#start
    for (let i = 0; i < this.#count; i++) {
      names.push(reader.string())
      reader.skipString()
    }
    return names
  }
}

/** MessagePack, as far as the load script uses it (https://github.com/msgpack/msgpack/blob/master/spec.md). */
class Reader {
  readonly #bytes: Buffer
  /** The same bytes, one character each: substrings of it are cheap, where they are ASCII they are the text. */
  readonly #latin1: string
  /** Where reading goes on. */
  at = 0

  constructor (bytes: Buffer) {
    this.#bytes = bytes
    this.#latin1 = bytes.toString('latin1')
  }

  integer (): number {
    const head = this.#byte()
    if (head <= 0x7f) return head
    if (head >= 0xe0) return head - 0x100
    switch (head) {
      case 0xcc: return this.#bytes.readUInt8(this.#skip(1))
      case 0xcd: return this.#bytes.readUInt16BE(this.#skip(2))
      case 0xce: return this.#bytes.readUInt32BE(this.#skip(4))
      case 0xd0: return this.#bytes.readInt8(this.#skip(1))
      case 0xd1: return this.#bytes.readInt16BE(this.#skip(2))
      case 0xd2: return this.#bytes.readInt32BE(this.#skip(4))
      case 0xcf: case 0xd3: {
        const at = this.#skip(8)
        const high = head === 0xcf ? this.#bytes.readUInt32BE(at) : this.#bytes.readInt32BE(at)
        return high * 0x1_0000_0000 + this.#bytes.readUInt32BE(at + 4)
      }
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
    const start = this.#skip(this.#stringLength())
    const text = this.#latin1.substring(start, this.at)
    return isAscii(text) ? text : this.#bytes.toString('utf8', start, this.at)
  }

  /** Steps over a string, and says whether its bytes, as Latin-1, are the given ones. */
  skipString (bytes?: string): boolean {
    const length = this.#stringLength()
    const start = this.#skip(length)
    return bytes !== undefined && bytes.length === length && this.#latin1.startsWith(bytes, start)
  }

  #stringLength (): number {
    const head = this.#byte()
    if ((head & 0xe0) === 0xa0) return head & 0x1f
    if (head === 0xd9) return this.#length(1)
    if (head === 0xda) return this.#length(2)
    if (head === 0xdb) return this.#length(4)
    throw malformed()
  }

  #byte (): number {
    const byte = this.#bytes[this.at]
    if (byte === undefined) throw malformed()
    this.at++
    return byte
  }

  #length (size: number): number {
    return this.#bytes.readUIntBE(this.#skip(size), size)
  }

  /** Steps over bytes and answers where they begin; what would lie behind the end is no reply of ours. */
  #skip (length: number): number {
    const start = this.at
    if (start + length > this.#bytes.length) throw malformed()
    this.at = start + length
    return start
  }
}

function malformed (): Error {
  return new RecordError('the reply of the load script is malformed')
}
