/** The checks that need a job. They take the first job of a queue that is set aside for them, and finish it at the end. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { field, includes, type Probe } from "./checks.ts"
import { type Expected, expectResponse } from "./expect.ts"
import { type Finding, finding, report } from "./findings.ts"
import { Service } from "./service.ts"
import * as Shape from "./shape.ts"

const expirySeconds = 60

/** How long a shortened reservation may take to lapse. */
const lapseSeconds = 10

/** Reserves a job, extends and shortens its reservation, asks for its token, and finishes it. */
export const examine = Effect.fnUntraced(function* ({ key, queue }: Probe) {
  const service = yield* Service
  const findings: Array<Finding> = []
  const path = `stacks/${key}`
  const ask = Effect.fnUntraced(function* (
    check: string,
    [method, end, body]: readonly ["GET" | "POST" | "PUT", string, unknown?],
    expected: Expected
  ) {
    const { findings: found, response } = yield* expectResponse(
      `canary: ${check}`,
      service.send(method, `${path}/${end}`, { body }),
      expected
    )
    findings.push(...found)
    return response?.body
  })
  const list = `scheduled-jobs?${new URLSearchParams({ queue_key: queue, limit: "1" })}`
  const page = yield* ask("list", ["GET", list], { statuses: [200], shape: Shape.scheduledJobs })
  const jobs = field(page, "jobs")
  const job: unknown = Array.isArray(jobs) ? field(jobs[0], "id") : undefined
  if (typeof job !== "string") {
    findings.push(
      finding("canary", "skipped", `no job waits in the queue ${queue}`, "Start a build with a job for that queue")
    )
    return findings
  }
  const stateIs = (check: string, expected: string) =>
    ask(check, ["POST", "jobs/get-states", { job_uuids: [job] }], {
      statuses: [200],
      shape: Shape.jobStates,
      check: (body) => {
        const state = String(field(field(body, "states"), job))
        return state === expected ? [] : [`the job is ${state}, not ${expected}`]
      }
    })
  /** Whether the job is reserved. */
  const reserve = Effect.fnUntraced(function* (check: string, seconds: number) {
    const body = { job_uuids: [job], reservation_expiry_seconds: seconds }
    const response = yield* ask(check, ["PUT", "scheduled-jobs/batch-reserve", body], {
      statuses: [200],
      shape: Shape.reservation,
      check: (response) => (includes(response, "reserved", job) ? [] : [notReserved])
    })
    return includes(response, "reserved", job)
  })
  // A job that is not reserved may be another stack's, which runs it.
  if (!(yield* reserve("reserve", expirySeconds))) return findings
  yield* stateIs("state when reserved", "reserved")
  if (!(yield* reserve("extend", 2 * expirySeconds))) return findings
  yield* ask("token", ["POST", "job-acquisition-tokens", { job_uuids: [job] }], {
    statuses: [201],
    shape: Shape.tokens,
    check: tokenProblems
  })
  yield* reserve("shorten", 1)
  findings.push(yield* whenLapsed(path, job))
  if (!(yield* reserve("reserve after the lapse", expirySeconds))) return findings
  const finish = ["POST", `jobs/${encodeURIComponent(job)}/finish`, finishBody] as const
  yield* ask("finish", finish, { statuses: [200, 204] })
  yield* stateIs("state when finished", "finished")
  yield* ask("finish twice", finish, { statuses: [422] })
  return findings
})

const notReserved = "the job was not reserved: another stack may take jobs from this queue"

const finishBody = { exit_status: 0, detail: "Finished by stacksapi doctor" }

const tokenProblems = (body: unknown): ReadonlyArray<string> => {
  const list = field(body, "job_acquisition_tokens")
  const token: unknown = Array.isArray(list) ? field(list[0], "job_acquisition_token") : undefined
  if (typeof token !== "string") return ["there is no token for the reserved job"]
  return /^bkjat_[\w.-]+$/.test(token) ? [] : ["the token does not look like bkjat_…, which redaction recognizes"]
}

/** Releasing a job relies on this: a shorter reservation replaces a longer one. */
const whenLapsed = Effect.fnUntraced(function* (path: string, job: string) {
  const service = yield* Service
  const check = "canary: lapse of a shortened reservation"
  for (let second = 1; second <= lapseSeconds; second++) {
    yield* Effect.sleep(Duration.seconds(1))
    const response = yield* Effect.option(
      service.send("POST", `${path}/jobs/get-states`, { body: { job_uuids: [job] } })
    )
    if (response._tag === "Some" && field(field(response.value.body, "states"), job) === "scheduled") {
      return finding(check, "ok", `after ${second} seconds`)
    }
  }
  return finding(
    check,
    "differs",
    `not within ${lapseSeconds} seconds: jobs that a stack gives back stay reserved`,
    report
  )
})
