/** What editors show and offer to whoever writes options and routes: asked of TypeScript's language service. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import ts from 'typescript'
import { MigrationSchema } from '../../src/migrate/options.js'
import { OptionsSchema } from '../../src/options.js'
import { RouteSchema } from '../../src/session/route.js'
import { leaves } from '../../src/settings.js'
import { buildPackage } from '../support/build-package.js'
import { commentsOf, type SchemaComment } from '../support/schema-comments.js'

/** What stands before every program. */
const HEAD = `
import Fastify from 'fastify'
import sessionPlugin, { MemoryStore, RedisStore, type RouteSession, type SessionOptions } from 'fastify-live-session'

declare module 'fastify-live-session' {
  interface SessionData { userId?: string, visits?: number, theme?: 'dark' | 'light' }
}
declare module 'fastify' {
  interface FastifyContextConfig { staff?: RouteSession }
}
declare const any: never
const app = Fastify()
`

interface Editor {
  /** What is shown of the names at the places that `/*?*\/` marks in a program. */
  hover (program: string): Array<{ text: string, standard: string }>
  /** What is offered at that place. */
  offers (program: string): string[]
  /** What is wrong with a program. */
  problems (program: string): string[]
}

/** An editor in a project that has the package as users have it. */
function openEditor (t: Test): Editor {
  const directory = t.testdir()
  mkdirSync(join(directory, 'node_modules'))
  buildPackage(join(directory, 'node_modules/fastify-live-session'))
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ type: 'module' }))
  const file = join(directory, 'app.ts')
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2023.d.ts'],
    types: ['node'],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: true,
    noEmit: true
  }
  let text = ''
  let version = 0
  const service = ts.createLanguageService({
    getScriptFileNames: () => [file],
    getScriptVersion: (name) => name === file ? String(version) : '1',
    getScriptSnapshot: (name) => name === file
      ? ts.ScriptSnapshot.fromString(text)
      : ts.sys.fileExists(name) ? ts.ScriptSnapshot.fromString(ts.sys.readFile(name)!) : undefined,
    getCurrentDirectory: () => directory,
    getCompilationSettings: () => options,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    fileExists: (name) => name === file || ts.sys.fileExists(name),
    readFile: ts.sys.readFile,
    readDirectory: ts.sys.readDirectory,
    directoryExists: ts.sys.directoryExists,
    getDirectories: ts.sys.getDirectories
  })
  /** Returns where the marks were. */
  const write = (program: string): number[] => {
    const [head = '', ...pieces] = (HEAD + program).split('/*?*/')
    text = head
    version++
    return pieces.map((piece) => {
      const at = text.length
      text += piece
      return at
    })
  }
  const inLine = (parts: ts.SymbolDisplayPart[] | undefined): string => ts.displayPartsToString(parts).replace(/\s+/g, ' ').trim()
  return {
    hover: (program) => write(program).map((at) => {
      const info = service.getQuickInfoAtPosition(file, at)
      return { text: inLine(info?.documentation), standard: inLine(info?.tags?.find(({ name }) => name === 'default')?.text) }
    }),
    offers (program) {
      const { entries = [] } = service.getCompletionsAtPosition(file, write(program)[0]!, undefined) ?? {}
      return entries.map(({ name }) => name).sort()
    },
    problems (program) {
      write(program)
      return service.getSemanticDiagnostics(file).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))
    }
  }
}

/** Settings as they are written in an object, each name marked; `cookie.name` as `cookie: { name: value }`. */
function written (comments: readonly SchemaComment[], values: Readonly<Record<string, string>>): string {
  return comments.map(({ path }, i) => {
    const [name = '', inner] = path.split('.')
    const opens = comments[i - 1]?.path.split('.')[0] !== name
    const closes = comments[i + 1]?.path.split('.')[0] !== name
    return inner === undefined
      ? `/*?*/${name}: ${values[path] ?? 'any'}`
      : `${opens ? `${name}: { ` : ''}/*?*/${inner}: any${closes ? ' }' : ''}`
  }).join(', ')
}

test('in an editor', async (t) => {
  const editor = openEditor(t)
  const shows = (t: Test, comments: SchemaComment[], program: (settings: string) => string, values: Record<string, string> = {}): void => {
    t.strictSame(editor.hover(program(written(comments, values))), comments.map(({ text, standard }) => ({ text, standard })))
  }

  await t.test('every option shows what it is, with its unit and default', async (t) => {
    const comments = commentsOf('options.ts', 'OptionsSchema')
    t.equal(comments.length, [...leaves(OptionsSchema)].length)
    shows(t, comments, (options) => `app.register(sessionPlugin, { ${options} })`)
    shows(t, comments, (options) => `export const options: SessionOptions = { ${options} }`)
    shows(t, commentsOf('migrate/options.ts', 'MigrationSchema'), (options) => `app.register(sessionPlugin, { migrateFrom: { ${options} } })`)
    for (const { path, text, standard } of [...comments, ...commentsOf('migrate/options.ts', 'MigrationSchema')]) {
      t.not(standard, '', `${path} has a default`)
      t.ok(text.length > 20, path)
    }
    for (const [path, { type }] of leaves(OptionsSchema)) {
      const { text } = comments.find((comment) => comment.path === path.join('.'))!
      if (['number', 'integer'].includes(type as string)) t.match(text, /^(?:Seconds|Milliseconds|Bytes|How many|How deep)\b/, `${path.join('.')} has a unit`)
    }
    t.match(editor.hover('app.register(sessionPlugin, { /*?*/cookie: {} })')[0], { text: /attributes of the cookie/ })
  })

  await t.test('every setting of a route shows what it is, wherever it is written', async (t) => {
    const comments = commentsOf('session/route.ts', 'RouteSchema')
    t.strictSame(comments.map(({ path }) => path), [...leaves(RouteSchema)].map(([path]) => path.join('.')))
    for (const { path, standard } of comments) t.not(standard, '', path)
    const values = { touch: 'false', onStoreError: "'fail'", maxAuthAge: '60', elevated: 'true' }
    shows(t, comments, (settings) => `app.get('/', { config: { session: { ${settings} } } }, async () => '')`, values)
    shows(t, comments, (settings) => `app.route({ method: 'GET', url: '/', config: { staff: { ${settings} } }, handler: async () => '' })`, values)
    shows(t, comments, (settings) => `export const rule: RouteSession = { ${settings} }`, values)
    t.match(editor.hover("app.get('/', { config: { /*?*/session: false } }, async () => '')")[0], { text: /decoratorName.*no cookie is read/, standard: /loaded/ })
  })

  await t.test('what can be written is offered', async (t) => {
    t.strictSame(editor.offers("app.register(sessionPlugin, { userField: '/*?*/' })"), ['theme', 'userId', 'visits'])
    t.strictSame(editor.offers("app.register(sessionPlugin, { cookie: { sameSite: '/*?*/' } })"), ['lax', 'none', 'strict'])
    // Beside them what belongs to `false`, which may stand there, too.
    const offered = editor.offers("app.get('/', { config: { session: { /*?*/ } } }, async () => '')").filter((name) => name !== 'valueOf')
    t.strictSame(offered, [...leaves(RouteSchema)].map(([path]) => path[0]!).sort())
    const options = editor.offers('app.register(sessionPlugin, { /*?*/ })')
    for (const name of Object.keys(OptionsSchema.properties)) t.ok(options.includes(name), name)
    t.strictSame(editor.offers('app.register(sessionPlugin, { cookie: { /*?*/ } })'), Object.keys(OptionsSchema.properties.cookie.properties).sort())
    t.strictSame(editor.offers('app.register(sessionPlugin, { migrateFrom: { cookie: { /*?*/ } } })'), Object.keys(MigrationSchema.properties.cookie.properties).sort())
  })

  await t.test('userField is a name, or a function of the data that knows its fields', async (t) => {
    t.strictSame(editor.problems(`
      app.register(sessionPlugin, { userField: 'userId' })
      app.register(sessionPlugin, { userField: 'another' })
      app.register(sessionPlugin, { userField: String(process.env['USER_FIELD']) })
      app.register(sessionPlugin, { userField: (data) => data.userId ?? data.visits })
      app.register(sessionPlugin, { userField: (data) => (data['passport'] as { user?: string } | undefined)?.user })
    `), [])
    t.match(editor.problems('app.register(sessionPlugin, { userField: 5 })'), [/not assignable/])
    t.match(editor.problems("app.register(sessionPlugin, { userField: (data) => data.theme === 'blue' ? 'x' : 'y' })"), [/no overlap/])
  })

  await t.test('undefined is what is left out, wherever that may be', async (t) => {
    const nothing = (names: string[]): string => names.map((name) => `${name}: undefined`).join(', ')
    // Fastify has an option of this name and takes no undefined for it.
    const options = Object.keys(OptionsSchema.properties).filter((name) => name !== 'prefix')
    const optional = Object.keys(MigrationSchema.properties).filter((name) => !['format', 'secret', 'until'].includes(name))
    t.strictSame(editor.problems(`
      app.register(sessionPlugin, { ${nothing(options)} })
      app.register(sessionPlugin, { cookie: { ${nothing(Object.keys(OptionsSchema.properties.cookie.properties))} } })
      app.register(sessionPlugin, { migrateFrom: { format: 'express-session', secret: 'x', until: '2999-01-01', ${nothing(optional)} } })
      app.register(sessionPlugin, { migrateFrom: { format: 'express-session', secret: 'x', until: '2999-01-01', cookie: { ${nothing(Object.keys(MigrationSchema.properties.cookie.properties))} } } })
      app.get('/a', { config: { session: { ${nothing(Object.keys(RouteSchema.properties))} }, staff: undefined } }, async () => '')
      app.get('/b', async ({ session }) => { session.remember({ ${nothing(['idleTimeout', 'lifetime'])} }); return '' })
      app.sessions.list('u', { current: undefined })
      app.sessions.endAll('u', { except: undefined })
      new MemoryStore({ ${nothing(['prefix', 'maxRecords', 'now'])} })
      new RedisStore(any, { ${nothing(['prefix', 'timeout', 'patience', 'report'])} })
    `), [])
    t.match(editor.problems('app.register(sessionPlugin, { migrateFrom: { format: undefined, secret: "x", until: "2999-01-01" } })'), [/not assignable/], 'but not where it may not')
  })
})
