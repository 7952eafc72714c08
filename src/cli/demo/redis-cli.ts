/** A record in the words of redis-cli. */
import { isReserved } from '../../store/record.js'
import type { RawRecord } from '../../store/store.js'

/**
 * The fields of a record, data before metadata. A hash has no order of its own, and who looks is after the data.
 *
 * @param fields by name
 */
export function dataFirst (fields: Record<string, string>): Record<string, string> {
  const entries = Object.entries(fields)
  return Object.fromEntries([...entries.filter(([name]) => !isReserved(name)), ...entries.filter(([name]) => isReserved(name))])
}

/**
 * What redis-cli prints on a terminal when it is asked for a record and the time that it has left.
 *
 * @param record as the store has it
 */
export function redisCliOutput ({ key, ttl, fields }: RawRecord): string {
  const texts = Object.entries(dataFirst(fields)).flat()
  const width = String(texts.length).length
  return [
    `$ redis-cli HGETALL ${key}`,
    ...texts.map((text, index) => `${String(index + 1).padStart(width)}) ${quoted(text)}`),
    `$ redis-cli PTTL ${key}`,
    `(integer) ${ttl}`
  ].join('\n')
}

/** Escapes for bytes that have a short one. */
const NAMED = new Map([[7, '\\a'], [8, '\\b'], [9, '\\t'], [10, '\\n'], [13, '\\r'], [34, '\\"'], [92, '\\\\']])

/** redis-cli quotes bytes, not characters: whatever is not printable ASCII becomes an escape. */
function quoted (text: string): string {
  const bytes = Array.from(Buffer.from(text), byte => (
    NAMED.get(byte) ?? (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`)
  ))
  return `"${bytes.join('')}"`
}
