/** Changes of running jobs, for `buildkite-agent job update` and `job promise-failure`. */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { aboutJob, type Endpoint, withBody } from "./agentRequest.ts"
import * as Deadlines from "./deadlines.ts"
import { errorResponse } from "./errorResponse.ts"

const readUpdate = withBody(Schema.Record(Schema.String, Schema.String))

/** Changes the timeout, which is in minutes and counts from the job's start. */
const update = aboutJob((job, request) =>
  readUpdate(request, (attributes) => {
    if (job.finishedAt !== undefined) return errorResponse(422, `The job is already ${job.state}`)
    const unknown = Object.keys(attributes).find((name) => name !== "timeout")
    if (unknown !== undefined) return errorResponse(422, `The emulator can't update the attribute ${unknown} of a job`)
    const timeout = attributes["timeout"]?.trim() ?? ""
    if (!/^\d{1,6}$/.test(timeout) || Number(timeout) === 0) {
      return errorResponse(422, "A timeout is a number of minutes, at least 1")
    }
    job.timeout = Duration.toMillis(Duration.minutes(Number(timeout)))
    Deadlines.startTimeout(request.state, job)
    return Result.succeed({ id: job.listed.id })
  })
)

const readPromise = withBody(Schema.Struct({ exit_status: Schema.Int }))

/** Records a failure that the job will have, whatever it reports. */
const promiseFailure = aboutJob((job, request) =>
  readPromise(request, ({ exit_status }) => {
    if (exit_status === 0) return errorResponse(422, "An exit status of 0 is not a failure")
    if (job.state !== "running") return errorResponse(422, `The job is ${job.state}`)
    if ((job.promisedExitStatus ?? exit_status) !== exit_status) {
      return errorResponse(422, `The job has promised to fail with ${job.promisedExitStatus}`)
    }
    job.promisedExitStatus = exit_status
    return Result.succeed({})
  })
)

export const endpoints: ReadonlyArray<Endpoint> = [
  ["PUT", "jobs/:jobUuid", "updateJob", update],
  ["PUT", "jobs/:jobUuid/promise_failure", "promiseFailure", promiseFailure]
]
