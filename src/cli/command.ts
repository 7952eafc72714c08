/** What a subcommand looks like to the dispatcher. One file per command; `main.ts` lists them. */

/** What a command gets from the process, so that tests can hand in their own. */
export interface Context {
  /** The environment. */
  env: NodeJS.ProcessEnv
  /** Writes one line for the user. */
  print: (line: string) => void
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
   * @returns when the command is done, or is serving in the background
   * @throws UsageError for arguments that make no sense (exit code 2)
   * @throws CommandError for a failure that has a plain explanation (exit code 1)
   */
  run: (args: string[], context: Context) => Promise<void>
}

/** The command line is wrong: the message says how. */
export class UsageError extends Error {}

/** The command could not do its work: the message says why, in one line. */
export class CommandError extends Error {}
