/** Uploads of pipelines, for `buildkite-agent pipeline upload`. */
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { aboutJob, type Endpoint, flag, lenientText, withBody } from "./agentRequest.ts"
import { errorResponse } from "./errorResponse.ts"
import * as PipelineUploads from "./pipelineUploads.ts"
import { basePath } from "./routes.ts"

const readUpload = withBody(Schema.Struct({ uuid: lenientText, pipeline: Schema.Unknown, replace: flag }))

/**
 * Applies the pipeline at once. An agent that asks for an asynchronous upload finds the result at the `Location`; others get it
 * with the response. A repeated upload is not applied again.
 */
const upload = aboutJob((job, request) =>
  readUpload(request, ({ pipeline, replace, uuid }) => {
    const { defaultQueueKey: queueKey, now, query, state } = request
    const id = uuid || state.agentRandom.uuid()
    if (!state.pipelineUploads.has(id)) {
      if (job.finishedAt !== undefined) return errorResponse(422, `The job is already ${job.state}`)
      const result = PipelineUploads.apply(state, job, { pipeline, queueKey, replace }, now)
      state.pipelineUploads.set(id, Result.isFailure(result) ? result.failure : undefined)
    }
    if (query.get("async") === "true") {
      const location = `${basePath}/jobs/${job.listed.id}/pipelines/${encodeURIComponent(id)}`
      return Result.succeed(
        HttpServerResponse.jsonUnsafe({}, { status: 202, headers: { location, "retry-after": "0" } })
      )
    }
    const error = state.pipelineUploads.get(id)
    return error === undefined ? Result.succeed({}) : errorResponse(422, error)
  })
)

const status = aboutJob((_, { params, state }) => {
  const id = params["uploadUuid"] ?? ""
  if (!state.pipelineUploads.has(id)) return errorResponse(404, `No pipeline upload found with UUID ${id}`)
  const error = state.pipelineUploads.get(id)
  return Result.succeed({ state: error === undefined ? "applied" : "rejected", message: error ?? "" })
})

export const endpoints: ReadonlyArray<Endpoint> = [
  ["POST", "jobs/:jobUuid/pipelines", "uploadPipeline", upload],
  ["GET", "jobs/:jobUuid/pipelines/:uploadUuid", "getPipelineUpload", status]
]
