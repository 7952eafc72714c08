/** One server process: starts the contender named on the command line and answers the runner's questions over IPC. */
import type { Contender, Message, Question, StartOptions } from './data.js'

const [, , name = '', options = '{}'] = process.argv

/** Tells the runner something. */
function tell (message: Message): void {
  process.send?.(message)
}

// The runner is gone or done: a normal exit, so that NODE_OPTIONS=--cpu-prof can write its file.
process.on('disconnect', () => process.exit(0))
// Ctrl-C reaches the whole process group; the runner decides when to stop.
process.on('SIGINT', () => {})

process.on('message', (question: Question) => {
  if (question !== 'cpu') return
  const { user, system } = process.cpuUsage()
  tell({ type: 'cpu', microseconds: user + system })
})

try {
  const contender = await import(`./contenders/${name}.js`) as Contender
  tell({ type: 'ready', port: await contender.start(JSON.parse(options) as StartOptions) })
} catch (error) {
  tell({ type: 'failed', reason: error instanceof Error ? error.stack ?? error.message : String(error) })
}
