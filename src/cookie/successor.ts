/**
 * The successor of a secret in a routine renewal, sealed so that only holders of the predecessor can open it.
 *
 * All requests that still come with the predecessor have to be given the same successor, on every process; so it is kept
 * in the record. Sealed, because what Redis holds must never be usable as a cookie.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto'

const ALGORITHM = 'aes-256-gcm'
const TAG_BYTES = 16
/** A nonce must not repeat under one key (NIST SP 800-38D, section 8). Each predecessor makes its own key and seals once. */
const NONCE = Buffer.alloc(12)

/**
 * Seals the successor's secret with the predecessor's.
 *
 * @returns base64url text, 54 characters
 */
export function seal (id: string, predecessor: string, successor: string): string {
  const cipher = createCipheriv(ALGORITHM, keyOf(id, predecessor), NONCE)
  return Buffer.concat([cipher.update(successor, 'base64url'), cipher.final(), cipher.getAuthTag()]).toString('base64url')
}

/**
 * Opens what `seal` made.
 *
 * @returns the successor's secret, or `undefined` where the predecessor is another one or the text was changed
 */
export function open (id: string, predecessor: string, sealed: string): string | undefined {
  const bytes = Buffer.from(sealed, 'base64url')
  if (bytes.length <= TAG_BYTES) return undefined
  const decipher = createDecipheriv(ALGORITHM, keyOf(id, predecessor), NONCE, { authTagLength: TAG_BYTES })
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(0, -TAG_BYTES)), decipher.final()]).toString('base64url')
  } catch {
    return undefined
  }
}

function keyOf (id: string, predecessor: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', predecessor, id, 'fastify-live-session successor', 32))
}
