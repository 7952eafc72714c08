/** `fastify-live-session secret`. */
import { randomBytes } from 'node:crypto'
import type { Command } from './command.js'
import { readFlags } from './flags.js'

export const secret: Command = {
  summary: 'print a new secret for SESSION_SECRET',
  help: `Prints a new random secret of 256 bits, for the option secret or the variable SESSION_SECRET.

Usage: fastify-live-session secret [flags]

  --json        as JSON: {"secret": "…"}
  -h, --help    this text

To replace a secret without logging anybody out, put the new one first and keep the old one behind it,
separated by a comma, until the longest lifetime of a session has passed.`,

  async run (args, { print }) {
    const { values } = readFlags('secret', args, { json: { type: 'boolean' } })
    const text = randomBytes(32).toString('base64url')
    print(values.json === true ? JSON.stringify({ secret: text }) : text)
    return undefined
  }
}
