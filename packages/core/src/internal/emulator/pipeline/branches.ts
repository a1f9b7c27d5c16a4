/** Branch filters of steps, such as `main release/* !release/old`. */
import * as RegExp from "effect/RegExp"

/** Whether a branch matches one of the positive patterns, or there are none, and none of the negative ones. */
export const matchesBranch = (patterns: ReadonlyArray<string>, branch: string): boolean => {
  const all = patterns.flatMap((pattern) => pattern.split(/[\s,]+/)).filter((pattern) => pattern !== "")
  const positive = all.filter((pattern) => !pattern.startsWith("!"))
  const negative = all.filter((pattern) => pattern.startsWith("!")).map((pattern) => pattern.slice(1))
  const matches = (pattern: string) => toRegExp(pattern).test(branch)
  return (positive.length === 0 || positive.some(matches)) && !negative.some(matches)
}

const toRegExp = (pattern: string): globalThis.RegExp =>
  new globalThis.RegExp(`^${pattern.split(/\*+/).map(RegExp.escape).join(".*")}$`, "s")
