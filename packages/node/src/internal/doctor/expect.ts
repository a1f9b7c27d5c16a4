/** Compares responses with what this library assumes. */
import * as Effect from "effect/Effect"
import { type Finding, finding, reportIt } from "./findings.ts"
import type { Response } from "./service.ts"
import * as Shape from "./shape.ts"

export interface Expected {
  readonly statuses: ReadonlyArray<number>
  readonly shape?: Shape.Shape | undefined
  /** More that is wrong with the response, as sentences without a full stop. */
  readonly problemsIn?: ((body: unknown) => ReadonlyArray<string>) | undefined
  /** What to do about these problems. Default: report them. */
  readonly advice?: string | undefined
  /** What to do after a 403. */
  readonly forbidden?: string | undefined
  /** What to do after another 4xx that has no advice of its own. Default: report it. */
  readonly refusal?: string | undefined
}

/** One finding about a request, and one about fields that this library does not know. */
export const expectResponse = (
  check: string,
  request: Effect.Effect<Response, string>,
  expected: Expected
): Effect.Effect<{ readonly findings: ReadonlyArray<Finding>; readonly response: Response | undefined }> =>
  Effect.match(request, {
    onFailure: (reason) => ({
      findings: [finding(check, "failed", reason, "Check the network, the proxy and the endpoint")],
      response: undefined
    }),
    onSuccess: (response) => {
      const { body, isJson, status } = response
      const { advice, problemsIn, shape, statuses } = expected
      if (!statuses.includes(status)) {
        return {
          findings: [unexpectedStatus(check, status, expected)],
          response: status < 300 ? response : undefined
        }
      }
      const isExpectedError = status >= 400
      const expectedShape = isExpectedError ? Shape.errorBody : shape
      if (!isJson) {
        return {
          findings: [finding(check, "differs", `status ${status}, but the body is not JSON`, notTheService)],
          response
        }
      }
      const { problems, unknown } =
        expectedShape === undefined ? { problems: [], unknown: [] } : Shape.compare(body, expectedShape)
      const more = problems.length === 0 ? (problemsIn?.(body) ?? []) : []
      const findings =
        problems.length > 0
          ? [finding(check, "differs", problems.join("; "), reportIt)]
          : more.length > 0
            ? [finding(check, "differs", more.join("; "), advice ?? reportIt)]
            : [finding(check, "ok", `status ${status}`)]
      // Error bodies may have more, such as the errors of fields.
      if (unknown.length > 0 && !isExpectedError) {
        findings.push(finding(check, "note", `unknown fields: ${unknown.join(", ")}`, "This library ignores them"))
      }
      return { findings, response }
    }
  })

const notTheService = "Something else responded, for example a proxy. Check BUILDKITE_AGENT_ENDPOINT (or --endpoint)"

const unexpectedStatus = (check: string, status: number, { forbidden, refusal, statuses }: Expected): Finding => {
  const detail = `status ${status}, not ${statuses.join(" or ")}`
  if (status === 401) {
    return finding(check, "failed", detail, "Use an agent token of a cluster: it starts with bkct_")
  }
  if (status === 403) {
    return finding(check, "failed", detail, forbidden ?? "A proxy may refuse it, or the token may not allow it")
  }
  if (status === 429) return finding(check, "failed", detail, "Another process uses up the rate limit. Try again later")
  if (status >= 500) return finding(check, "failed", detail, "The service or a proxy has trouble. Try again later")
  if (status >= 400 && refusal !== undefined) return finding(check, "failed", detail, refusal)
  return finding(check, "differs", detail, reportIt)
}
