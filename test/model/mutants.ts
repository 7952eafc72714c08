/**
 * Deliberately broken copies of the plugin, to prove that the properties of this directory can fail.
 *
 * A mutation replaces text of the source, which has to be there exactly once: a refactoring that moves it makes the test
 * fail, instead of quietly testing nothing.
 */
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import ts from 'typescript'
import { scratchDirectory } from '../support/guardian.js'
import type { Product } from './application.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export interface Replacement {
  /** Path below src. */
  readonly file: string
  readonly from: string
  readonly to: string
}

/** What was made of a text: most files are the same in every copy. */
const transpiled = new Map<string, string>()

function transpile (text: string): string {
  let output = transpiled.get(text)
  if (output === undefined) {
    output = ts.transpileModule(text, { compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true } }).outputText
    transpiled.set(text, output)
  }
  return output
}

/**
 * The package as its sources say, with some texts replaced.
 *
 * @throws Error where a text is not there exactly once
 */
export async function mutant (replacements: readonly Replacement[] = []): Promise<Product> {
  const directory = scratchDirectory()
  // The sources import their dependencies by name, and the package's type tells what a .js file is.
  await symlink(join(ROOT, 'node_modules'), join(directory, 'node_modules'))
  await writeFile(join(directory, 'package.json'), '{ "type": "module" }')
  const left = new Set(replacements)
  for (const file of await readdir(join(ROOT, 'src'), { recursive: true })) {
    if (!file.endsWith('.ts')) continue
    let text = await readFile(join(ROOT, 'src', file), 'utf8')
    for (const replacement of replacements) {
      if (replacement.file !== file) continue
      const count = text.split(replacement.from).length - 1
      if (count !== 1) throw new Error(`src/${file} holds ${count} times: ${replacement.from}`)
      text = text.replace(replacement.from, () => replacement.to)
      left.delete(replacement)
    }
    const target = join(directory, 'src', file.replace(/\.ts$/, '.js'))
    await mkdir(dirname(target), { recursive: true })
    await writeFile(target, transpile(text))
  }
  if (left.size > 0) throw new Error(`there is no ${[...left].map(({ file }) => `src/${file}`).join()}`)
  return await import(pathToFileURL(join(directory, 'src', 'index.js')).href) as Product
}
