/**
 * Cleaning up that does not depend on how this process ends.
 *
 * A test file may end by itself, by a signal, or by the SIGKILL that tap sends after a timeout, and no handler in this
 * process would see the last. So a small shell process stands by: it holds the other end of a pipe from here, and when
 * that pipe closes, for whatever reason, it kills what still runs and removes the files.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Every line holds the whole list, so the last one is what counts. SIGKILL also ends processes that are stopped. */
const SCRIPT = `
trap '' HUP INT TERM
pids=
while read -r line; do pids=$line; done
[ -z "$pids" ] || kill -KILL $pids
rm -rf "$1"
`

const guarded = new Set<number>()
let guardian: { root: string, pipe: Socket } | undefined

function theGuardian (): { root: string, pipe: Socket } {
  if (guardian === undefined) {
    const root = mkdtempSync(join(tmpdir(), 'live-session-test-'))
    // In a session of its own: Ctrl-C in a terminal goes to everybody else in this one.
    const shell = spawn('sh', ['-c', SCRIPT, 'sh', root], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
    const pipe = shell.stdin as Socket
    // It waits for this process; this process need not wait for it.
    shell.unref()
    pipe.unref()
    guardian = { root, pipe }
  }
  return guardian
}

function tell (): void {
  theGuardian().pipe.write([...guarded].join(' ') + '\n')
}

/** Makes a new, empty directory, which is removed with all that it holds when this process ends. */
export function scratchDirectory (): string {
  return mkdtempSync(join(theGuardian().root, 'redis-'))
}

/** Has a child process killed when this process ends. */
export function guard (pid: number): void {
  guarded.add(pid)
  tell()
}

/** Takes back `guard`: to be called when the process has ended, since its number may then go to another one. */
export function release (pid: number): void {
  if (guarded.delete(pid)) tell()
}
