/** The real command line, as a process of its own or in this one. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import tap from 'tap'
import ts from 'typescript'
import { runCommandLine } from '../../src/cli/command-line.js'

const SOURCES = fileURLToPath(new URL('../../src', import.meta.url))

/** The sources as JavaScript, once per test file: a process that compiles them first takes several times as long. */
let compiled: string | undefined

function compile (): string {
  const out = tap.testdir()
  for (const path of readdirSync(SOURCES, { recursive: true }).map(String).filter((path) => path.endsWith('.ts'))) {
    const { outputText } = ts.transpileModule(readFileSync(join(SOURCES, path), 'utf8'), {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true }
    })
    const file = join(out, path.replace(/\.ts$/, '.js'))
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, outputText)
  }
  return join(out, 'cli/main.js')
}

/** How a run ended. */
export interface Run { code: number | null, out: string, err: string }

/** Runs a command to its end. Nothing of this process' environment gets there but PATH. */
export async function run (args: string[], env: NodeJS.ProcessEnv = {}): Promise<Run> {
  compiled ??= compile()
  const child = spawn(process.execPath, [compiled, ...args], { env: { PATH: process.env['PATH'], ...env }, stdio: ['ignore', 'pipe', 'pipe'], timeout: 30_000 })
  const result: Run = { code: null, out: '', err: '' }
  child.stdout.on('data', (text: Buffer) => { result.out += text.toString() })
  child.stderr.on('data', (text: Buffer) => { result.err += text.toString() })
  const [code] = await once(child, 'close') as [number | null]
  return { ...result, code }
}

/** Runs a command in this process: all of it but `main.ts`, in a fraction of the time that a process takes to start. */
export async function runHere (args: string[], env: NodeJS.ProcessEnv = {}): Promise<Run> {
  const result: Run = { code: null, out: '', err: '' }
  result.code = await runCommandLine(args, {
    env,
    out: (text) => { result.out += `${text}\n` },
    err: (text) => { result.err += `${text}\n` },
    progress: () => {}
  })
  return result
}
