/** What the doctor finds. */

/**
 * - `ok`: as this library assumes.
 * - `note`: worth knowing, and no problem for this library.
 * - `differs`: not as this library assumes.
 * - `failed`: there was no usable response.
 * - `skipped`: the check was not possible.
 */
export type Verdict = "ok" | "note" | "differs" | "failed" | "skipped"

export interface Finding {
  /** What was examined, for example `rate limit of list-scheduled-jobs`. */
  readonly check: string
  readonly verdict: Verdict
  readonly detail: string
  /** What to do about it. */
  readonly advice: string | undefined
}

export const finding = (check: string, verdict: Verdict, detail: string, advice?: string): Finding => ({
  check,
  verdict,
  detail,
  advice
})

/** Whether something is not as this library assumes. */
export const isBad = ({ verdict }: Finding): boolean => verdict === "differs" || verdict === "failed"

/** The advice after a difference that only the library can be adapted to. */
export const reportIt = "Please send the report of --json to this library's authors"
