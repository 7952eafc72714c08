/**
 * What has to exist before servers can start: the rivals' packages, the built plugin and the contenders as plain
 * JavaScript. Servers run without a loader: tsx wraps functions to keep their names, which would be measured too.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import ts from 'typescript'
import { UsageError } from './options.js'
import { versionOf } from './stage.js'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = fileURLToPath(new URL('../..', import.meta.url))

/** Inside node_modules, so that linters, git and the test runner leave it alone and the rivals' packages are found. */
const output = join(here, 'node_modules', '.bench')

/** Reads a JSON file, `undefined` where there is none. */
function readJson<T> (path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T
  } catch {
    return undefined
  }
}

/** The installed version of a package: a rival's, or one of the main install that all contenders share. */
export function installedVersion (name: string): string | undefined {
  for (const folder of [here, root]) {
    const found = readJson<{ version: string }>(join(folder, 'node_modules', name, 'package.json'))
    if (found !== undefined) return found.version
  }
  return undefined
}

/** What a program answers when asked for its version; a complaint that says how to get it where it is not installed. */
export function demand (program: string, argument: string): string {
  const version = versionOf(program, argument)
  if (version === undefined) throw new UsageError(`${program} is missing; install it with: sudo apt-get install ${program}`)
  return version
}

/** Runs npm where its own chatter can't get between the report. */
function npm (args: string[]): void {
  try {
    execFileSync('npm', args, { cwd: root, stdio: ['ignore', 2, 2], timeout: 300_000 })
  } catch {
    // npm has said why already, on the same terminal.
    throw new UsageError(`'npm ${args.join(' ')}' failed`)
  }
}

/** Installs the rivals from their lock file unless just those versions are there already. */
export function installRivals (): void {
  const wanted = readJson<{ dependencies: Record<string, string> }>(join(here, 'package.json'))?.dependencies ?? {}
  const complete = Object.entries(wanted).every(([name, version]) =>
    readJson<{ version: string }>(join(here, 'node_modules', name, 'package.json'))?.version === version)
  if (complete) return
  console.error('bench: installing the rivals into test/bench/node_modules')
  npm(['ci', '--prefix', here])
}

/** Builds the plugin as it is published. */
export function buildPlugin (): void {
  console.error('bench: building the plugin')
  npm(['run', '--silent', 'build'])
}

/** Where the built plugin is. */
export function pluginUrl (): string {
  return pathToFileURL(join(root, 'dist', 'index.js')).href
}

/** Turns the servers' TypeScript into JavaScript and says where the entry file is. Types are `npm run types`' business. */
export function buildServers (): string {
  rmSync(output, { recursive: true, force: true })
  mkdirSync(join(output, 'contenders'), { recursive: true })
  writeFileSync(join(output, 'package.json'), '{ "type": "module" }\n')
  const contenders = readdirSync(join(here, 'contenders')).map(file => join('contenders', file))
  for (const file of ['data.ts', 'server.ts', ...contenders]) {
    const { outputText } = ts.transpileModule(readFileSync(join(here, file), 'utf8'), {
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true }
    })
    writeFileSync(join(output, file.replace(/\.ts$/, '.js')), outputText)
  }
  return join(output, 'server.js')
}
