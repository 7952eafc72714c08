/** What a subcommand looks like to the dispatcher. One file per command; `main.ts` lists them. */

/**
 * How a process ends: 0, done; 1, it could not be done; 2, the command line is wrong; 3, it was done, and the answer is
 * no (there is no such session, or something has to be corrected).
 */
export type ExitCode = 0 | 1 | 2 | 3

/** What a command gets from the process, so that tests can hand in their own. */
export interface Context {
  /** The environment. */
  env: NodeJS.ProcessEnv
  /** Writes one line for the user. */
  print: (line: string) => void
  /** Shows how far a long command is, in place of what it showed before; only on a terminal, so that it is in nobody's way. */
  progress: (text: string) => void
}

/** A subcommand of `fastify-live-session`. */
export interface Command {
  /** One line for the list of commands. */
  summary: string
  /** The whole text of `<command> --help`. */
  help: string
  /**
   * Does the work.
   *
   * @param args what followed the command's name
   * @param context environment and output
   * @returns when the command is done, or is serving in the background; the exit code where that is another than 0
   * @throws UsageError for arguments that make no sense (exit code 2)
   * @throws CommandError for a failure that has a plain explanation (exit code 1)
   */
  run: (args: string[], context: Context) => Promise<ExitCode | undefined>
}

/** The command line is wrong: the message says how. */
export class UsageError extends Error {}

/** The command could not do its work: the message says why, in one line. */
export class CommandError extends Error {}
