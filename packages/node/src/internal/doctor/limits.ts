/** The headers that say how many requests a stack may send. */
import { type Finding, finding, reportIt } from "./findings.ts"
import type { Response } from "./service.ts"

const names = ["ratelimit-scope", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]

/** Compares the headers of a response with the scope and limit that this library starts from. */
export const examine = (request: string, response: Response, scope: string, limit: number): ReadonlyArray<Finding> => {
  // Several requests have the default scope.
  const check = `rate limit of ${scope}${scope === "default" ? ` (${request})` : ""}`
  const missing = names.filter((name) => response.headers[name] === undefined)
  if (missing.length > 0) return [finding(check, "differs", `no header ${missing.join(", ")}`, reportIt)]
  const problems: Array<string> = []
  const actualScope = response.headers["ratelimit-scope"]
  if (actualScope !== scope) problems.push(`RateLimit-Scope is ${actualScope}, not ${scope}`)
  for (const name of names.slice(1)) {
    if (!/^\d+(\.\d+)?$/.test(response.headers[name] ?? "")) problems.push(`${name} is not a number`)
  }
  if (problems.length > 0) return [finding(check, "differs", problems.join("; "), reportIt)]
  const actual = Number(response.headers["ratelimit-limit"])
  return [
    actual === limit
      ? finding(check, "ok", `${limit} requests a second`)
      : finding(
          check,
          actual < limit ? "differs" : "note",
          `${actual} requests a second, not ${limit}`,
          "This library follows the headers after the first response"
        )
  ]
}
