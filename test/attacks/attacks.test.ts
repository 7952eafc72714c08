/** The table of attacks in README.md. */
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'tap'

const here = new URL('./', import.meta.url)
const rows = readFileSync(new URL('README.md', here), 'utf8').split('\n').filter((line) => line.startsWith('|')).slice(2)

test('every attack has a home, and it exists', async (t) => {
  t.ok(rows.length > 30)
  for (const row of rows) {
    const [, attack = '', , home = ''] = row.split('|').map((cell) => cell.trim())
    const [, file = '', title = ''] = /^`([\w/-]+)`: (.*)$/.exec(home) ?? []
    const sources = ['.test.ts', '.ts'].map((suffix) => {
      try {
        return readFileSync(new URL(`../${file}${suffix}`, here), 'utf8')
      } catch {
        return ''
      }
    })
    const titles = sources.flatMap((source) => [...source.matchAll(/test\((['`])((?:\\.|(?!\1).)*)\1/g)].map(([, , text = '']) => text.replaceAll('\\', '')))
    t.ok(titles.includes(title), `${attack}: ${home}`)
  }
})

test('every file here is in the table', async (t) => {
  for (const file of readdirSync(here)) {
    const name = /^(\w+)\.test\.ts$/.exec(file)?.[1]
    if (name === undefined || name === 'attacks') continue
    t.ok(rows.some((row) => row.includes(`\`attacks/${name}\``)), name)
  }
})
