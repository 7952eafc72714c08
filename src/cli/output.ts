/** How commands write: for people in columns, for scripts in JSON. */

/**
 * What a terminal obeys, or does not show: control characters of both ranges (C0, DEL, C1), characters that only format
 * (direction, zero width), separators of lines and paragraphs, halves of surrogate pairs. By general category, Unicode
 * Standard, section 4.5.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/** A character as JSON may write it: what was JSON before is the same JSON afterwards. */
function escape (character: string): string {
  return Array.from({ length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')
}

/**
 * Text that a terminal shows as it is: what is in a session was written by its users, and must not be able to move the
 * cursor or to colour the screen.
 *
 * @param text anything
 * @param width at most so many characters, with an ellipsis where there was more
 */
export function printable (text: string, width = Infinity): string {
  const safe = text.replace(UNPRINTABLE, escape)
  if (safe.length <= width) return safe
  const characters = [...safe]
  return characters.length > width ? `${characters.slice(0, width - 1).join('')}…` : safe
}

/** The same for whole output: its line breaks are its own. Everything that the program writes goes through here. */
export function printableLines (text: string): string {
  return text.split('\n').map((line) => printable(line)).join('\n')
}

/**
 * An argument as a message may repeat it. Whoever mixes arguments up may have given a password, a cookie or a URL that
 * holds one, and messages end up in logs; so only what is short and plain is repeated.
 */
export function quoted (argument: string): string {
  return /^[\w.=+-]{1,30}$/.test(argument) ? `"${argument}"` : `an argument of ${argument.length} characters`
}

/** Lines in which the columns stand below each other. */
export function columns (rows: readonly string[][], rightAligned: readonly number[] = []): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]!.length)))
  return rows.map((row) => row.map((cell, i) => rightAligned.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)).join('  ').trimEnd())
}

/** A time span in two units at most: `45 s`, `29 min 3 s`, `2 h`, `3 d 4 h`; `-` where it is no number. */
export function span (ms: number): string {
  if (!Number.isFinite(ms)) return '-'
  const seconds = Math.round(ms / 1000)
  const units: Array<[number, string]> = [[86_400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]
  const first = units.findIndex(([size]) => seconds >= size)
  if (first === -1) return '0 s'
  const [size, name] = units[first]!
  const [smaller, smallerName] = units[first + 1] ?? [1, 's']
  const rest = Math.floor(seconds % size / smaller)
  return `${Math.floor(seconds / size)} ${name}${size > 1 && rest > 0 ? ` ${rest} ${smallerName}` : ''}`
}

/** A moment, in UTC, so that it means the same to everybody. `-` where there is none. */
export function moment (ms: number): string {
  return isoMoment(ms)?.replace('T', ' ').replace(/\.\d+Z$/, 'Z') ?? '-'
}

/** The same for scripts. `null` where there is none. */
export function isoMoment (ms: number): string | null {
  return Number.isFinite(ms) && Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : null
}

/** Bytes in a unit that keeps the number short. */
export function bytes (count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = Math.min(Math.floor(Math.log2(Math.max(count, 1)) / 10), units.length - 1)
  const value = count / 1024 ** power
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`
}

/** A number of things: `no warnings`, `1 warning`, `1,234 warnings`. */
export function counted (count: number, thing: string, things = `${thing}s`): string {
  return `${count === 0 ? 'no' : grouped(count)} ${count === 1 ? thing : things}`
}

/** A whole number with separators. */
export function grouped (count: number): string {
  return count.toLocaleString('en-US')
}
