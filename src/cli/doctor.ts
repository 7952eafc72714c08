/** `fastify-live-session doctor`: runs the checks and reports. */
import { CommandError, type Command, type Context, type ExitCode } from './command.js'
import { place, withRedis } from './connection.js'
import type { Check } from './check.js'
import { checkOptions, checkRedis } from './checks.js'
import { readFlags, REDIS_FLAGS, REDIS_HELP } from './flags.js'
import { counted } from './output.js'

export const doctor: Command = {
  summary: 'check the settings, and whether the Redis suits sessions',
  help: `Checks the SESSION_* variables, and whether the Redis is one to keep sessions in: product and version, eviction,
persistence, the clock, every command and right that sessions use, keys without an expiry.

Usage: fastify-live-session doctor [flags]

${REDIS_HELP}
  --json             as JSON: {"ok": …, "checks": [{"name", "result": "ok" | "warning" | "problem", "detail"}]}
  -h, --help         this text

To see what works it writes records of its own, which it removes again; everything else only reads. Values of sessions are
not shown, nor are secrets. Ends with 3 where something has to be corrected; warnings end with 0.`,
  run
}

async function run (args: string[], context: Context): Promise<ExitCode | undefined> {
  const { values } = readFlags('doctor', args, REDIS_FLAGS)
  const { print, env } = context
  const checks: Check[] = []
  const report = (check: Check): void => {
    checks.push(check)
    context.progress('')
    if (values.json !== true) print(`${{ ok: 'ok       ', warning: 'warning  ', problem: 'PROBLEM  ' }[check.result]}${check.name}: ${check.detail}`)
  }
  const { url } = place(values, env)
  for (const check of checkOptions(env, values)) report(check)
  if (url === 'memory:') report({ name: 'Redis', result: 'warning', detail: 'sessions are kept in memory: they end with the process, and other processes do not know them' })
  else await examine(values, context, report)

  const problems = checks.filter(({ result }) => result === 'problem').length
  const warnings = checks.filter(({ result }) => result === 'warning').length
  if (values.json === true) print(JSON.stringify({ ok: problems === 0, checks }, undefined, 2))
  else print(`\n${capital(counted(problems, 'problem'))}, ${counted(warnings, 'warning')}.`)
  return problems === 0 ? undefined : 3
}

async function examine (flags: Parameters<typeof place>[0], context: Context, report: (check: Check) => void): Promise<void> {
  try {
    await withRedis(flags, context.env, async (connection) => {
      report({ name: 'Redis', result: 'ok', detail: `${connection.where} answers` })
      await checkRedis(connection, context, report)
    }, true)
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    report({ name: 'Redis', result: 'problem', detail: error.message })
  }
}

function capital (text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
