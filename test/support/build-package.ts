/** The package as it would be published, of the sources as they are. */
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/** Compiles the plugin into a package of its own. `npm run build` and `npm run types` check the sources; here they are only compiled. */
export function buildPackage (directory: string): void {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  const { fileNames, options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  ts.createProgram(fileNames, { ...options, outDir: join(directory, 'dist'), noCheck: true }).emit()
  cpSync(join(root, 'package.json'), join(directory, 'package.json'))
}
