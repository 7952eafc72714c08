/**
 * Random strings from the operating system's generator. Asking it for a few bytes at a time costs a system call each, so
 * bytes are drawn in bulk, and wiped as they are handed out: what was used once cannot be read from the pool later.
 */
import { randomFillSync } from 'node:crypto'

const pool = Buffer.allocUnsafeSlow(8192)
let used = pool.length

/**
 * Random bytes as base64url text.
 *
 * @param bytes how many, at most 8192
 */
export function randomText (bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const text = pool.toString('base64url', used, used + bytes)
  pool.fill(0, used, used + bytes)
  used += bytes
  return text
}
