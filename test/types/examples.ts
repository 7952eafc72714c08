/**
 * The README's code blocks as files that can be type-checked and run. A comment in front of each block says what it is:
 *
 * - `<!-- example: program -->` a whole program: it is run as it stands;
 * - `<!-- example: module -->` a whole module of types;
 * - `<!-- example: boot -->` statements with a bare Fastify instance, `app`: they register the plugin;
 * - `<!-- example: routes -->` statements with an `app` on which the plugin is registered;
 * - `<!-- example: handler -->` statements inside of a route's handler, with `app`, `request` and `reply`.
 *
 * The last three are put into a function, and may use what `helpers.ts` exports. `, types only` after the kind: the
 * block is type-checked but not run, because it needs servers that are not there.
 *
 * `node --import tsx test/types/examples.ts <directory>` writes them all into a project of their own.
 */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** How the statements of a fragment are put into a module. */
const WRAPPERS: Readonly<Record<string, string>> = {
  boot: 'export default async function (app: FastifyInstance): Promise<void> {',
  routes: 'export default async function (app: FastifyInstance): Promise<void> {',
  handler: 'export default async function (app: FastifyInstance, request: FastifyRequest, reply: FastifyReply): Promise<object | string | void> {'
}

const IMPORTS = [
  "import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'",
  "import sessionPlugin, { errors, MemoryStore, RedisStore } from 'fastify-live-session'",
  "import { checkPassword, findReport, pageOf, price, progress } from './helpers.js'"
]

/** Strict, and with the types of all packages checked too: a mistake in the plugin's own would show. */
const COMPILER_OPTIONS = {
  target: 'es2022',
  lib: ['es2023'],
  types: ['node'],
  module: 'nodenext',
  moduleResolution: 'nodenext',
  strict: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  noFallthroughCasesInSwitch: true,
  verbatimModuleSyntax: true,
  allowJs: true,
  checkJs: true
}

/** One code block of the README. */
export interface Example {
  kind: 'program' | 'module' | 'boot' | 'routes' | 'handler'
  /** Whether it is run, too. */
  runs: boolean
  /** Its file, named after its line in the README. */
  file: string
  /** The block, wrapped where its kind says so. */
  source: string
}

/** The migration guide's text. Its blocks are examples like those of the README. */
export function readGuide (): string {
  return readFileSync(new URL('../../src/migrate/README.md', import.meta.url), 'utf8')
}

/** The README's text. */
export function readReadme (): string {
  return readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
}

/**
 * All blocks in JavaScript and TypeScript, in the README's order.
 *
 * @param prefix of the files' names
 * @throws Error where a block lacks the comment that says what it is, or the comment makes no sense
 */
export function examplesOf (readme: string, prefix = 'line'): Example[] {
  const lines = readme.split('\n')
  const examples: Example[] = []
  for (let start = 0; start < lines.length; start++) {
    const language = /^ *```(\S+)/.exec(lines[start]!)?.[1]
    if (language === undefined) continue
    const length = lines.slice(start + 1).findIndex(line => line.trim() === '```')
    const code = lines.slice(start + 1, start + 1 + length)
    if (/^(?:js|javascript|mjs|ts|typescript|mts)$/.test(language)) examples.push(exampleOf(code, language, lines[start - 1]!, start + 1, prefix))
    start += length + 1
  }
  return examples
}

function exampleOf (code: string[], language: string, comment: string, line: number, prefix: string): Example {
  const [, kind, typesOnly] = /^<!-- example: (program|module|boot|routes|handler)(, types only)? -->$/.exec(comment) ?? []
  if (kind === undefined) throw new Error(`README line ${line}: the line before a code block has to say what it is, not "${comment}"`)
  const runs = kind !== 'module' && typesOnly === undefined
  const file = `${prefix}-${line}.${language.startsWith('j') ? 'js' : 'ts'}`
  return { kind: kind as Example['kind'], runs, file, source: wrapped(kind, code) }
}

function wrapped (kind: string, code: string[]): string {
  const wrapper = WRAPPERS[kind]
  if (wrapper === undefined) return [...code, ''].join('\n')
  const isImport = (line: string): boolean => /^import\b/.test(line)
  return [...IMPORTS, ...code.filter(isImport), wrapper, ...code.filter(line => !isImport(line)), '}', ''].join('\n')
}

/**
 * Writes the examples, and a `tsconfig.json` for them, into `src` of a directory from which `fastify-live-session`,
 * `fastify`, `ioredis`, `@sinclair/typebox`, `prom-client`, `@opentelemetry/api` and `@types/node` can be imported.
 */
export function writeExamples (directory: string): Example[] {
  const examples = [...examplesOf(readReadme()), ...examplesOf(readGuide(), 'guide')]
  const source = join(directory, 'src')
  mkdirSync(source, { recursive: true })
  for (const { file, source: text } of examples) writeFileSync(join(source, file), text)
  copyFileSync(new URL('helpers.ts', import.meta.url), join(source, 'helpers.ts'))
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ name: 'readme-examples', private: true, type: 'module' }))
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({
    compilerOptions: { ...COMPILER_OPTIONS, rootDir: 'src', outDir: 'out' },
    include: ['src']
  }, undefined, 2))
  return examples
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const directory = process.argv[2]
  if (directory === undefined) throw new Error('name the directory to write the examples to')
  console.log(`${writeExamples(directory).length} examples of README and migration guide written`)
}
