/** The checks that need a job. They take the first job of a queue that is set aside for them, and finish it at the end. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { field, includes, listPath, type Probe } from "./checks.ts"
import { type Expected, expectResponse } from "./expect.ts"
import { type Finding, finding, reportIt } from "./findings.ts"
import { Service } from "./service.ts"
import * as Shape from "./shape.ts"

const expirySeconds = 60

/** How long a shortened reservation may take to lapse. */
const lapseSeconds = 10

type Ask = (
  check: string,
  request: readonly [method: "GET" | "POST" | "PUT", path: string, body?: unknown],
  expected: Expected
) => Effect.Effect<unknown, never, Service>

/** Finds a job, and examines what a stack does with it. */
export const examine = Effect.fnUntraced(function* (probe: Probe) {
  const findings: Array<Finding> = []
  /** Sends a request, and returns the body of its response. */
  const ask: Ask = Effect.fnUntraced(function* (check, [method, path, body], expected) {
    const service = yield* Service
    const request = service.send(method, path, { body })
    const { findings: found, response } = yield* expectResponse(`canary: ${check}`, request, expected)
    findings.push(...found)
    return response?.body
  })
  const list = ["GET", listPath(probe, { limit: "1" })] as const
  const page = yield* ask("list", list, { statuses: [200], shape: Shape.scheduledJobs })
  const jobs = field(page, "jobs")
  const id: unknown = Array.isArray(jobs) ? field(jobs[0], "id") : undefined
  if (typeof id !== "string" || id === "") {
    const detail = `no job waits in the queue ${probe.queue}`
    findings.push(finding("canary", "skipped", detail, "Start a build with a job for that queue"))
    return findings
  }
  const job: Job = { id, path: `stacks/${probe.key}`, isHeld: false }
  yield* Effect.ensuring(
    Effect.flatMap(examineJob(job, ask), (lapse) => Effect.sync(() => findings.push(...lapse))),
    giveBack(job)
  )
  return findings
})

interface Job {
  readonly id: string
  /** The path of the probe stack. */
  readonly path: string
  /** Whether the probe stack may have reserved it. */
  isHeld: boolean
}

/** Reserves a job, extends and shortens its reservation, reads its details and token, and finishes it. */
const examineJob = Effect.fnUntraced(function* (job: Job, ask: Ask) {
  const { id, path } = job
  const jobPath = `${path}/jobs/${encodeURIComponent(id.toWellFormed())}`
  /** Whether the job is reserved. */
  const reserve = Effect.fnUntraced(function* (check: string, seconds: number) {
    // Without a response it may be reserved too.
    job.isHeld = true
    const response = yield* ask(check, ["PUT", `${path}/scheduled-jobs/batch-reserve`, reservation(job, seconds)], {
      statuses: [200],
      shape: Shape.reservation,
      problemsIn: (response) => (includes(response, "reserved", id) ? [] : ["the job was not reserved"]),
      advice: otherStack
    })
    // A job that is not reserved may be another stack's, which runs it.
    if (includes(response, "not_reserved", id)) job.isHeld = false
    return includes(response, "reserved", id)
  })
  const stateIs = (check: string, expected: string) =>
    ask(check, ["POST", `${path}/jobs/get-states`, { job_uuids: [id] }], {
      statuses: [200],
      shape: Shape.jobStates,
      problemsIn: (body) => {
        const state = stateIn(body, id)
        return state === expected ? [] : [`the job is ${state ?? "unknown"}, not ${expected}`]
      }
    })
  if (!(yield* reserve("reserve", expirySeconds))) return []
  yield* stateIs("state when reserved", "reserved")
  yield* ask("details", ["GET", jobPath], {
    statuses: [200],
    shape: Shape.jobDetails,
    problemsIn: (body) => (field(body, "id") === id ? [] : ["id is not the one that was asked for"])
  })
  if (!(yield* reserve("extend", 2 * expirySeconds))) return []
  yield* ask("token", ["POST", `${path}/job-acquisition-tokens`, { job_uuids: [id] }], {
    statuses: [201],
    shape: Shape.tokens,
    problemsIn: tokenProblems
  })
  const isShortened = yield* reserve("shorten", 1)
  const lapse = isShortened ? yield* whenLapsed(job) : finding(lapseCheck, "skipped", "it was not shortened")
  if (!(yield* reserve("reserve after the lapse", expirySeconds))) return [lapse]
  const finish = ["POST", `${jobPath}/finish`, finishBody] as const
  yield* ask("finish", finish, { statuses: [200, 204] })
  yield* stateIs("state when finished", "finished")
  yield* ask("finish twice", finish, { statuses: [422] })
  return [lapse]
})

const reservation = ({ id }: Job, seconds: number) => ({ job_uuids: [id], reservation_expiry_seconds: seconds })

const stateIn = (body: unknown, id: string): string | undefined => {
  const state = field(field(body, "states"), id)
  return typeof state === "string" ? state : undefined
}

/** Lets the reservation lapse at once, whatever has ended the checks. Has no effect on a job that is finished. */
const giveBack = (job: Job) =>
  Effect.flatMap(Service, (service) =>
    job.isHeld
      ? Effect.ignore(service.send("PUT", `${job.path}/scheduled-jobs/batch-reserve`, { body: reservation(job, 1) }))
      : Effect.void
  )

const otherStack = "Another stack may take jobs from this queue. Use a queue that is set aside for this"

const finishBody = { exit_status: 0, detail: "Finished by stacksapi doctor" }

const tokenProblems = (body: unknown): ReadonlyArray<string> => {
  const list = field(body, "job_acquisition_tokens")
  const token: unknown = Array.isArray(list) ? field(list[0], "job_acquisition_token") : undefined
  if (typeof token !== "string") return ["there is no token for the reserved job"]
  return /^bkjat_[\w.-]+$/.test(token) ? [] : ["the token does not look like bkjat_…, which redaction recognizes"]
}

// -----------------------------------------------------------------------------
// The lapse
// -----------------------------------------------------------------------------

const lapseCheck = "canary: lapse of a shortened reservation"

/** Releasing a job relies on this: a shorter reservation replaces a longer one. */
const whenLapsed = Effect.fnUntraced(function* ({ id, path }: Job) {
  const service = yield* Service
  let last = finding(lapseCheck, "failed", "no response")
  for (let second = 1; second <= lapseSeconds; second++) {
    yield* Effect.sleep(Duration.seconds(1))
    last = yield* Effect.match(service.send("POST", `${path}/jobs/get-states`, { body: { job_uuids: [id] } }), {
      onFailure: (reason) => finding(lapseCheck, "failed", reason, "Check the network, the proxy and the endpoint"),
      onSuccess: ({ body, status }) =>
        status === 200
          ? afterSeconds(second, stateIn(body, id))
          : finding(lapseCheck, "failed", `status ${status}, not 200`, "Try again later")
    })
    if (last.verdict === "ok" || last.verdict === "skipped") break
  }
  return last
})

const afterSeconds = (seconds: number, state: string | undefined): Finding => {
  switch (state) {
    case "scheduled":
      return finding(lapseCheck, "ok", `after ${seconds} seconds`)
    case "reserved": {
      const detail = `not within ${seconds} seconds: jobs that a stack gives back stay reserved`
      return finding(lapseCheck, "differs", detail, reportIt)
    }
    case undefined:
      return finding(lapseCheck, "differs", "the job has no state any more", reportIt)
    default:
      return finding(lapseCheck, "skipped", `the job is ${state}: somebody else changed it`, otherStack)
  }
}
