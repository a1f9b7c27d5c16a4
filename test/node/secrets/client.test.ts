/** No token ever shows: not in a failure, a log line or a span, whatever a service sends back. */
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, type StacksClient } from "@stacksapi/core"
import { Effect, Exit, Metric, Redacted } from "effect"
import { record } from "../../support/recording.ts"
import { answerTo, calls, jobUuid, operations, page, scheduledJob } from "../../support/samples.ts"
import * as Scripted from "../../support/scripted.ts"
import * as Secrets from "../../support/secrets.ts"

const clusterToken = "bkct_CLUSTER-SECRET"
const jobToken = "bkjat_JOB-SECRET"
const secret = /SECRET/

type Call = (client: StacksClient.Service) => Effect.Effect<unknown, unknown>

/** All that a call shows of itself: its failure in every rendering, its log lines, its spans, the metrics. */
const shownBy = Effect.fnUntraced(function* (
  answer: Scripted.Answer,
  call: Call,
  options: Partial<StacksClient.Options> = {}
) {
  const client = yield* Scripted.client(Scripted.make(answer), {
    token: Redacted.make(clusterToken),
    logPayloads: true,
    ...options
  })
  const { exit, recording } = yield* record(call(client).pipe(RetryPolicy.withPolicy(RetryPolicy.none)))
  assert.isAbove(recording.spans.length, 0)
  const shown = [...Secrets.recorded(recording), ...renderingsOf(exit), ...Secrets.renderings(yield* Metric.snapshot)]
  return { exit, shown }
})

/** What a call succeeds with is its caller's. */
const renderingsOf = (exit: Exit.Exit<unknown, unknown>): ReadonlyArray<string> =>
  Exit.isSuccess(exit) ? [] : Secrets.renderings(exit)

const assertNoSecret = (shown: ReadonlyArray<string>) => {
  for (const text of shown) assert.notMatch(text, secret)
}

const statuses = [200, 201, 204, 302, 400, 401, 403, 404, 422, 429, 500, 502, 503]

/** A service that sends back what it got, in every place where it can. */
const echoes: Record<string, (status: number) => Scripted.Answer> = {
  "in a JSON message": (status) => (request, index) =>
    Scripted.json(status, {
      message: `unknown header ${request.headers["authorization"]}`,
      scope: request.headers["authorization"],
      reset: 1
    })(request, index),
  "in a text": (status) => (request, index) =>
    Scripted.text(status, `<html>${JSON.stringify(request.headers)}</html>`)(request, index),
  "in headers": (status) => (request, index) =>
    Scripted.text(status, "oops", {
      "x-echo": request.headers["authorization"] ?? "",
      "set-cookie": `session=${request.headers["authorization"]}`,
      location: `https://elsewhere.test/?token=${clusterToken}`,
      "ratelimit-scope": clusterToken,
      "retry-after": request.headers["authorization"] ?? ""
    })(request, index),
  "in a valid answer": (status) => (request, index) =>
    Scripted.json(status, { ...page, echo: request.headers, jobs: [{ ...scheduledJob, id: clusterToken }] })(
      request,
      index
    )
}

describe("The cluster token, echoed by the service, is redacted", () => {
  it.effect.each(Object.keys(echoes))("%s", (where) =>
    Effect.gen(function* () {
      for (const status of statuses) {
        for (const operation of operations) {
          const { shown } = yield* shownBy(echoes[where]?.(status) ?? Scripted.silence, calls[operation])
          assertNoSecret(shown)
        }
      }
    })
  )

  it.effect.each([
    ["as a value of the wrong type", { id: [clusterToken], env: {}, command: "" }],
    ["as a key", { id: "j", env: { [clusterToken]: 5 }, command: "" }],
    ["as an unknown field", { [clusterToken]: clusterToken }],
    ["as the whole body", clusterToken],
    ["as a number's place", { id: "j", env: clusterToken, command: clusterToken }]
  ] as const)("in a body that does not decode, %s", ([, body]) =>
    Effect.gen(function* () {
      const { exit, shown } = yield* shownBy(Scripted.json(200, body), calls.getJob)
      assert.isTrue(Exit.isFailure(exit))
      assertNoSecret(shown)
    })
  )

  it.effect("in a page whose values do not decode", () =>
    Effect.gen(function* () {
      for (const body of [
        { ...page, jobs: clusterToken },
        { ...page, page_info: clusterToken },
        { ...page, cluster_queue: { id: clusterToken, dispatch_paused: clusterToken } }
      ]) {
        const { exit, shown } = yield* shownBy(Scripted.json(200, body), calls.listScheduledJobs)
        assert.isTrue(Exit.isFailure(exit))
        assertNoSecret(shown)
      }
    })
  )

  it.effect("in a page with a job that does not decode", () =>
    Effect.gen(function* () {
      for (const odd of [{ scheduled_at: clusterToken }, { priority: clusterToken }, { id: clusterToken, build: 1 }]) {
        const jobs = [{ ...scheduledJob, ...odd }]
        const { exit, shown } = yield* shownBy(Scripted.json(200, { ...page, jobs }), calls.listScheduledJobs)
        assert.isTrue(Exit.isSuccess(exit))
        assertNoSecret([...shown, ...Secrets.renderings(exit)])
      }
    })
  )

  it.effect("at the end of a cropped body", () =>
    Effect.gen(function* () {
      // Cut anywhere within the token, no recognizable part of it is left.
      for (let cut = 0; cut <= clusterToken.length; cut++) {
        const body = "x".repeat(64 * 1024 - cut) + clusterToken
        const { shown } = yield* shownBy(Scripted.text(500, body), calls.getJob)
        for (const text of shown) assert.notMatch(text, /bkct_CLUSTER/)
      }
    })
  )
})

describe("The cluster token is redacted in the error of an HttpClient", () => {
  const header = `Token ${clusterToken}`
  const causes: ReadonlyArray<readonly [string, unknown]> = [
    ["a message", new TypeError(`Headers.append: "${header}" is an invalid header value.`)],
    ["a cause", new Error("fetch failed", { cause: new Error(`bad header ${header}`) })],
    ["a property", Object.assign(new Error("failed"), { config: { headers: { authorization: header } } })],
    ["a plain object", { code: "ECONNRESET", request: { headers: [["authorization", header]] } }],
    ["a text", `could not send ${header}`],
    ["an error code", Object.assign(new Error("failed"), { code: clusterToken })]
  ]

  it.effect.each(causes)("in %s", ([, cause]) =>
    Effect.gen(function* () {
      for (const operation of ["getJob", "finishJob"] as const) {
        const { exit, shown } = yield* shownBy(() => Effect.fail(cause), calls[operation])
        assert.isTrue(Exit.isFailure(exit))
        assertNoSecret(shown)
      }
    })
  )
})

// The second form is one that nobody has announced.
describe.each([jobToken, "ANOTHER-FORM-OF-SECRET"])("a job acquisition token like %s", (jobToken) => {
  const token = { job_uuid: jobUuid, job_acquisition_token: jobToken, expires_at: "2026-10-01T12:49:56.789Z" }

  it.effect("is redacted in the response, and not in logged payloads", () =>
    Effect.gen(function* () {
      const { exit, shown } = yield* shownBy(
        Scripted.json(201, { job_acquisition_tokens: [token], not_issued: [] }),
        calls.issueJobAcquisitionTokens
      )
      assert.isTrue(Exit.isSuccess(exit))
      assertNoSecret([...shown, ...Secrets.renderings(exit)])
    })
  )

  it.effect.each([
    ["a broken time", { job_acquisition_tokens: [{ ...token, expires_at: jobToken }], not_issued: [] }],
    ["a token of another shape", { job_acquisition_tokens: [{ ...token, job_acquisition_token: [jobToken] }] }],
    ["tokens in the wrong place", { job_acquisition_tokens: [], not_issued: [{ jobToken }] }],
    ["a null", { job_acquisition_tokens: [{ ...token, job_uuid: null }] }]
  ] as const)("is not shown by an answer with something odd in it: %s", ([, body]) =>
    Effect.gen(function* () {
      const { exit, shown } = yield* shownBy(Scripted.json(201, body), calls.issueJobAcquisitionTokens)
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual(exit.value, { tokens: [], notIssued: [] })
      assertNoSecret([...shown, ...Secrets.renderings(exit)])
    })
  )

  it.effect.each([
    ["a map of tokens", { job_acquisition_tokens: { [jobUuid]: jobToken, [jobToken]: 1 } }],
    ["a token as a key", { job_acquisition_tokens: [], not_issued: { [jobToken]: 1 } }],
    ["one token as the whole answer", jobToken]
  ] as const)("is not shown by an answer that does not decode: %s", ([, body]) =>
    Effect.gen(function* () {
      const { exit, shown } = yield* shownBy(Scripted.json(201, body), calls.issueJobAcquisitionTokens)
      assert.isTrue(Exit.isFailure(exit))
      assertNoSecret(shown)
    })
  )

  it.effect("is not shown by a truncated response", () =>
    Effect.gen(function* () {
      const half = JSON.stringify({ job_acquisition_tokens: [token] }).slice(0, -3)
      const { exit, shown } = yield* shownBy(Scripted.text(201, half), calls.issueJobAcquisitionTokens)
      assert.isTrue(Exit.isFailure(exit))
      assertNoSecret(shown)
    })
  )
})

describe("Job acquisition tokens in other responses are redacted", () => {
  const token = { job_uuid: jobUuid, job_acquisition_token: jobToken, expires_at: "2026-10-01T12:49:56.789Z" }

  it.effect.each([
    ["an answer with a wrong status", 500, JSON.stringify({ job_acquisition_tokens: [token], not_issued: [] })],
    ["a redirect", 302, `<a href="https://elsewhere.test/?t=${jobToken}">`],
    ["an error with a message", 422, JSON.stringify({ message: `token ${jobToken} exists already` })]
  ] as const)("are not shown by %s", ([, status, body]) =>
    Effect.gen(function* () {
      const { exit, shown } = yield* shownBy(Scripted.text(status, body), calls.issueJobAcquisitionTokens)
      assert.isTrue(Exit.isFailure(exit))
      assertNoSecret(shown)
    })
  )
})

describe("The client", () => {
  it.effect("prints no token", () =>
    Effect.gen(function* () {
      const client = yield* Scripted.client(Scripted.make(Scripted.json(200, answerTo("getJob").body)), {
        token: Redacted.make(clusterToken)
      })
      assertNoSecret(Secrets.renderings(client))
    })
  )
})

describe("The user name and password of a base URL", () => {
  it.effect.each([
    "http://user:SECRET@stacks.test/v3",
    "http://SECRET@stacks.test/v3",
    "//user:SECRET@stacks.test",
    "user:SECRET@stacks.test",
    "http://user:SECRET/#?@stacks.test/v3"
  ])("is not shown, and nothing is sent: %s", (baseUrl) =>
    Effect.gen(function* () {
      for (const operation of operations) {
        const client = yield* Scripted.client(Scripted.make(Scripted.silence), { baseUrl })
        const { exit, recording } = yield* record(calls[operation](client))
        assert.isTrue(Exit.isFailure(exit))
        assertNoSecret([...Secrets.recorded(recording), ...renderingsOf(exit), ...Secrets.renderings(client)])
      }
    })
  )
})
