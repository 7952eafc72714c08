/** Runs a command beside a Redis server of its own, which REDIS_URL names: `node --import tsx test/support/with-redis.ts <command>`. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { startRedis } from './redis-process.js'

const [command, ...args] = process.argv.slice(2)
if (command === undefined) throw new Error('Usage: with-redis.ts <command> [arguments]')
const redis = await startRedis()
try {
  const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, REDIS_URL: redis.url } })
  const [code] = await once(child, 'exit') as [number | null]
  process.exitCode = code ?? 1
} finally {
  await redis.stop()
}
