/**
 * Everything this run starts, so that all of it goes away with it: child processes and one temporary folder. Works for a
 * normal end, an error and Ctrl-C alike.
 */
import { spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const children = new Set<ChildProcess>()
let folder: string | undefined

/** The run's temporary folder. */
export function scratch (): string {
  folder ??= mkdtempSync(join(tmpdir(), 'session-bench-'))
  return folder
}

/** Has a child ended with the run, whatever ends that; gives the child back. */
export function owned<T extends ChildProcess> (child: T): T {
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

/** Kills what is left. Synchronous: it has to work while the process exits. */
function clearStage (): void {
  for (const child of children) child.kill('SIGKILL')
  children.clear()
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
}

/** From now on nothing survives this process, and the process itself not more than so many milliseconds. */
export function guardStage (limit: number): void {
  process.once('exit', clearStage)
  process.once('SIGINT', () => process.exit(130))
  process.once('SIGTERM', () => process.exit(143))
  process.once('SIGHUP', () => process.exit(129))
  setTimeout(() => {
    console.error(`bench: gave up after ${Math.round(limit / 1000)} s, something hangs`)
    process.exit(1)
  }, limit).unref()
}

/** What a program answers when asked for its version, `undefined` where it is not installed. */
export function versionOf (program: string, argument: string): string | undefined {
  const { error, stdout, stderr } = spawnSync(program, [argument], { encoding: 'utf8', timeout: 10_000 })
  return error === undefined ? `${stdout}${stderr}`.trim().split('\n')[0] : undefined
}
