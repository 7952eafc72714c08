/** The README says what is the case: its tables are those of the sources, its commands exist, its examples work. */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import ts from 'typescript'
import { Browser } from './support/browser.js'
import { buildPackage } from './support/build-package.js'
import { startRedis } from './support/redis-process.js'
import { commentsOf } from './support/schema-comments.js'
import { setCookiesOf } from './support/set-cookie.js'
import { examplesOf, readReadme, writeExamples, type Example } from './types/examples.js'
import { channels } from '../src/diagnostics.js'
import { variablesOf } from '../src/environment.js'
import * as errors from '../src/errors.js'
import { OptionsSchema, resolveOptions } from '../src/options.js'
import { Sessions } from '../src/sessions.js'
import { leaves } from '../src/settings.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const readme = readReadme()

// Nobody's own settings: what the examples read is given to them below.
for (const name of Object.keys(process.env)) if (name.startsWith('SESSION_')) delete process.env[name]

/** What stands between the two comments of that name. */
function section (name: string): string {
  const [, text, more] = readme.split(new RegExp(`^ *<!-- ${name}:(?:begin|end) -->\\n`, 'm'))
  if (text === undefined || more === undefined) throw new Error(`the README has no section ${name}`)
  return text
}

/** The rows of the table in a section, without head and rule; in each the cells' texts. */
function table (name: string): string[][] {
  const rows = section(name).trim().split('\n').map(line => line.split(/(?<!\\)\|/).slice(1, -1).map(cell => cell.trim()))
  return rows.slice(2)
}

/** The names in the first column of a table: `incr(by)` is `incr`. */
function namesIn (name: string): string[] {
  return table(name).map(([first = '']) => /^`(\w+)/.exec(first)?.[1] ?? first)
}

test('the table of options is that of the schema', async t => {
  const code = (texts: readonly string[]): string => texts.map(text => `\`${text}\``).join(', ')
  const comments = commentsOf('options.ts', 'OptionsSchema')
  t.strictSame(table('options'), comments.map(({ path, text, standard }) => [code([path]), code(variablesOf(OptionsSchema, path)), standard, text]))
  const options = [...leaves(OptionsSchema)]
  t.strictSame(comments.map(({ path }) => path), options.map(([path]) => path.join('.')))
  for (const [i, [, { default: standard }]] of options.entries()) {
    if (standard !== undefined) t.equal(comments[i]!.standard, code([String(standard)]), comments[i]!.path)
  }
})

test('the table of routes has all settings', async t => {
  const rows = table('routes').map(([first]) => /^`\{ (\w+): .*\}`$/.exec(first!)?.[1] ?? first)
  t.strictSame(rows, ['`false`', ...commentsOf('session/route.ts', 'RouteSchema').map(({ path }) => path)])
})

test('the table of errors has all classes, with their codes and statuses', async t => {
  const classes = Object.values(errors).filter(value => typeof value === 'function').map(Class => new Class('', ''))
  t.strictSame(
    table('errors').map(([code, status]) => [code, status]).sort(),
    classes.map(({ code, statusCode }) => [`\`${code}\``, String(statusCode)]).sort())
  for (const row of table('errors')) t.notOk(row.includes(''), `${row[0]}: every cell is filled`)
})

test('no other code is mentioned', async t => {
  const known = [...namesIn('errors'), ...[...leaves(OptionsSchema)].flatMap(([, { env }]) => env as string[] | undefined ?? [])]
  t.strictSame([...new Set(readme.match(/\bSESSION_[A-Z_]+[A-Z]\b/g))].filter(name => !known.includes(name)), [])
})

test('the tables of the session and of live attributes name all members, and no others', async t => {
  const file = fileURLToPath(new URL('../src/session/types.ts', import.meta.url))
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest)
  const membersOf = (name: string, which: (member: ts.TypeElement) => boolean): string[] => {
    const declaration = source.statements.find(statement => ts.isInterfaceDeclaration(statement) && statement.name.text === name)
    const members = (declaration as ts.InterfaceDeclaration).members.filter(which)
    return [...new Set(members.map(member => (member.name as ts.Identifier).text))]
  }
  t.strictSame(namesIn('properties').sort(), membersOf('SessionMethods', ts.isPropertySignature).sort())
  t.strictSame(namesIn('methods').sort(), membersOf('SessionMethods', ts.isMethodSignature).sort())
  t.strictSame(namesIn('accessors').sort(), membersOf('LiveAttribute', ts.isPropertySignature).sort())
  t.strictSame(namesIn('operations').sort(), membersOf('LiveAttribute', ts.isMethodSignature).sort())
})

test('the table of fastify.sessions names all methods, and no others', async t => {
  t.strictSame(namesIn('sessions').sort(), Object.getOwnPropertyNames(Sessions.prototype).filter(name => name !== 'constructor').sort())
})

test('the table of events names all of them, and no others', async t => {
  t.strictSame(table('events').map(([event]) => event), Object.values(channels).map(({ name }) => `\`${String(name).replace('fastify-live-session:', '')}\``))
})

test('the production dependencies are named', async t => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: object }
  t.strictSame(/## Dependencies\n\n(.*?)\n\n/s.exec(readme)?.[1]?.split('\n').slice(2).map(row => row.split('|')[1]?.trim()), Object.keys(dependencies))
})

test('commands exist, and CI takes the test command from here', async t => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
  const named = [...readme.matchAll(/\bnpm (?:run ([a-z]+)|(test|start)\b)/g)].map(([, script, short]) => script ?? short!)
  t.strictSame(named.filter(name => !Object.hasOwn(scripts, name)), [])
  t.match(readme, '<!-- command: demo -->\n```sh\nnpm ci && npm start\n```')
  t.match(readme, '<!-- command: test -->\n```sh\nnpm ci && npm test\n```')
  t.match(readFileSync(join(root, '.ci/run'), 'utf8'), '<!-- command: test -->')
})

test('links within the repository lead somewhere', async t => {
  const anchorsOf = (text: string): string[] =>
    [...text.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) => title.toLowerCase().replace(/[^\w -]/g, '').replaceAll(' ', '-'))
  for (const page of ['README.md', 'src/migrate/README.md']) {
    const text = readFileSync(join(root, page), 'utf8')
    const links = [...text.matchAll(/\]\((?!https:)([^#)]*)(?:#([^)]*))?\)|srcset="([^"]*)"|src="([^"]*)"/g)]
    for (const [link, path, anchor, ...pictures] of links) {
      const file = join(root, dirname(page), pictures.find(picture => picture !== undefined) ?? (path || basename(page)))
      t.ok(existsSync(file), `${page}: ${link}`)
      if (anchor !== undefined) t.ok(anchorsOf(readFileSync(file, 'utf8')).includes(anchor), `${page}: ${link}`)
    }
  }
})

test('nobody can start an app with a secret from this page', async t => {
  const refused = (secret: string): boolean => {
    try {
      resolveOptions({ secret }, {})
      return false
    } catch (error) {
      return /this is a sample/.test((error as Error).message)
    }
  }
  const literals = readme.matchAll(/\bsecret\w*\s*[:=]\s*\[?['"]([^'"]*)['"]|SESSION_SECRET=(?!\$)([^\s`]+)/g)
  t.strictSame([...literals].map(([, literal, variable]) => literal ?? variable!).filter(secret => !refused(secret)), [])
})

/** Type-checks the examples and compiles them into `out`; returns what is wrong with them. */
function compileExamples (directory: string): string[] {
  const { config } = ts.readConfigFile(join(directory, 'tsconfig.json'), ts.sys.readFile)
  const { fileNames, options } = ts.parseJsonConfigFileContent(config, ts.sys, directory)
  // The types of packages are checked by .ci/run, which has more time.
  const program = ts.createProgram(fileNames, { ...options, skipLibCheck: true })
  const { diagnostics } = program.emit()
  return [...ts.getPreEmitDiagnostics(program), ...diagnostics].map(({ file, start, messageText }) => {
    const where = file === undefined ? '' : `${basename(file.fileName)}: ${file.text.slice(start).split('\n')[0]}: `
    return where + ts.flattenDiagnosticMessageText(messageText, '\n')
  })
}

/** What the file of a fragment exports. */
type Fragment = (...args: unknown[]) => Promise<unknown>

async function load (directory: string, { file }: Example): Promise<Fragment> {
  const url = pathToFileURL(join(directory, 'out', file.replace(/\.ts$/, '.js'))).href
  return (await import(url) as { default: Fragment }).default
}

/** Registers the compiled plugin, as the examples do. */
async function register (app: FastifyInstance, directory: string): Promise<void> {
  const url = pathToFileURL(join(directory, 'node_modules/fastify-live-session/dist/index.js')).href
  await app.register((await import(url) as typeof import('../src/index.js')).default)
}

/** Runs one fragment, and what came of it: its routes are called once each, one after the other, by one browser. */
async function runFragment (t: Test, directory: string, example: Example): Promise<void> {
  const app = Fastify()
  const routes: Array<{ method: 'GET' | 'POST', url: string }> = []
  app.addHook('onRoute', ({ method, url }) => { if (method !== 'HEAD') routes.push({ method: method as 'GET', url }) })
  t.teardown(() => app.close())
  const fragment = await load(directory, example)
  if (example.kind !== 'boot') await register(app, directory)
  if (example.kind === 'handler') app.get('/', (request, reply) => fragment(app, request, reply))
  else await fragment(app)
  const browser = new Browser(app)
  await t.resolves(async () => { await app.ready() })
  for (const { method, url } of routes) {
    const { statusCode, body } = await browser.get(url, { method, ...method === 'POST' && { payload: {} } })
    t.equal(statusCode, 200, `${method} ${url}: ${body}`)
  }
}

/** Runs a whole program: a server, which says on its first line where it listens. */
async function runProgram (t: Test, directory: string, { file }: Example): Promise<void> {
  // Port 3000 may be taken; the rest is as the README has it.
  const program = join(directory, 'out', file)
  ts.sys.writeFile(program, readFileSync(program, 'utf8').replace('port: 3000', 'port: 0'))
  const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill()
    await ended
  })
  const [url] = await once(createInterface(child.stdout), 'line') as [string]
  let cookie = ''
  const send = async (method: string, path: string): Promise<unknown> => {
    const response = await fetch(url + path, { method, headers: { cookie } })
    for (const { name, value } of setCookiesOf(response)) cookie = `${name}=${value}`
    return await response.json()
  }
  t.strictSame(await send('GET', '/'), { visits: 1, clicks: 0 })
  const clicks = await Promise.all(Array.from({ length: 10 }, () => send('POST', '/click'))) as Array<{ clicks: number }>
  t.strictSame(clicks.map(({ clicks }) => clicks).sort((a, b) => a - b), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  t.strictSame(await send('GET', '/'), { visits: 2, clicks: 10 })
  await send('POST', '/logout')
  t.strictSame(await send('GET', '/'), { visits: 1, clicks: 0 })
}

test('the examples', async t => {
  const directory = t.testdir()
  const examples = writeExamples(directory)
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  Object.assign(process.env, {
    SESSION_SECRET: randomBytes(32).toString('hex'),
    SESSION_REDIS: redis.url,
    SESSION_USER_FIELD: 'userId',
    REDIS_URL: redis.url,
    OLD_SECRET: randomBytes(32).toString('hex')
  })

  await t.test('have the right types', async t => {
    mkdirSync(join(directory, 'node_modules'))
    buildPackage(join(directory, 'node_modules/fastify-live-session'))
    t.strictSame(compileExamples(directory), [])
  })

  for (const example of examples.filter(({ runs }) => runs)) {
    await t.test(`${example.file} runs`, async t => {
      await (example.kind === 'program' ? runProgram : runFragment)(t, directory, example)
    })
  }
})

test('a block that does not say what it is, is an error', async t => {
  t.throws(() => examplesOf('text\n```ts\n1\n```\n'), { message: /README line 2/ })
  t.throws(() => examplesOf('<!-- example: nonsense -->\n```js\n1\n```\n'), { message: /nonsense/ })
  t.match(examplesOf('<!-- example: boot, types only -->\n```ts\n1\n```\n'), [{ kind: 'boot', runs: false, file: 'line-2.ts' }])
})
