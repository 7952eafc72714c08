/**
 * What session libraries do in the same situation: `npm run compare` prints the README's comparison. No library is
 * measured in time here, and none is judged; every situation is forced, so that it turns out the same each time.
 */
import { Redis } from 'ioredis'
import { UsageError } from '../options.js'
import { demand, installedVersion, installRivals } from '../prepare.js'
import { startRedis } from '../redis.js'
import { guardStage } from '../stage.js'
import { LIBRARIES, type App, type Library } from './libraries.js'
import { SITUATIONS, type Situation } from './situations.js'

/** Plays one situation on one library, and clears up. */
async function play (situation: Situation, library: Library, redis: string): Promise<string> {
  const client = new Redis(redis)
  await client.flushdb()
  client.disconnect()
  const apps: App[] = []
  try {
    return await situation.observe({
      library,
      redis,
      start: async (setting = {}) => {
        const app = await library.start({ redis, ...setting })
        apps.push(app)
        return app
      }
    })
  } finally {
    for (const app of apps) await app.close()
  }
}

/** One line of a Markdown table. */
function line (cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}

/** Plays everything and prints the table. */
async function run (): Promise<void> {
  demand('redis-server', '--version')
  installRivals()
  guardStage(300_000)
  const redis = `redis://127.0.0.1:${await startRedis()}`
  const versions = LIBRARIES.flatMap(({ packages }) => packages.map(name => `${name} ${installedVersion(name) ?? ''}`))
  console.log(`Observed with ${versions.join(', ')}.\n`)
  console.log(line(['', ...LIBRARIES.map(({ label }) => label)]))
  console.log(line(['---', ...LIBRARIES.map(() => '---')]))
  for (const situation of SITUATIONS) {
    const cells = []
    for (const library of LIBRARIES) cells.push(await play(situation, library, redis))
    console.log(line([situation.about, ...cells]))
  }
}

try {
  await run()
  process.exit(0)
} catch (error) {
  console.error(error instanceof UsageError ? `bench: ${error.message}` : error)
  process.exit(1)
}
