#!/usr/bin/env node
/** `npx fastify-live-session <command>`, connected to the process that it runs in. */
import { explain, runCommandLine } from './command-line.js'

let shown = false

function progress (text: string): void {
  if (!process.stderr.isTTY || (text === '' && !shown)) return
  shown = text !== ''
  process.stderr.write(`\r\x1b[K${text}`)
}

for (const stream of [process.stdout, process.stderr]) {
  // Whoever reads only the first lines, as `head` does, has what he wanted.
  stream.on('error', (error: NodeJS.ErrnoException) => { process.exit(error.code === 'EPIPE' ? 0 : 1) })
}

process.on('uncaughtException', (error) => {
  console.error(explain(error))
  process.exit(1)
})

process.exitCode = await runCommandLine(process.argv.slice(2), { env: process.env, out: console.log, err: console.error, progress })
