/** What one check of `doctor` found. */
export interface Check {
  /** What was looked at. Where several things were found about it, several have the same name. */
  name: string
  /** `problem`: sessions do not work, or not safely, until it is corrected. `warning`: worth a thought. */
  result: 'ok' | 'warning' | 'problem'
  /** What was found, and what to do about it. */
  detail: string
}
