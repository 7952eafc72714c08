/** The system's own Chromium, driven without a display. */
import { chromium, type Browser } from 'playwright-core'
import { CHROMIUM, findProgram } from '../support/tools.js'

/** Names under `.test` (RFC 6761) lead to this machine: other sites, and such that are not this machine by their names. */
const NAMES = '--host-resolver-rules=MAP *.test 127.0.0.1'

/**
 * Starts Chromium. It ends with this process, however that ends, because the two talk through a pipe.
 *
 * @throws Error where it is not installed
 */
export async function launchChromium (): Promise<Browser> {
  const executablePath = findProgram(CHROMIUM)
  if (executablePath === undefined) throw new Error('No Chromium: put chromium on PATH, or name it in CHROMIUM')
  return await chromium.launch({ executablePath, args: [NAMES] })
}
