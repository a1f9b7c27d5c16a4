/** Annotations of builds and jobs, for `buildkite-agent annotate` and `annotation remove`. */
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { aboutJob, type Endpoint, flag, lenient, lenientText, text, withBody } from "./agentRequest.ts"
import * as BuildData from "./buildData.ts"
import { errorResponse } from "./errorResponse.ts"
import type { Job } from "./state.ts"

/** The service's limit for a body, in bytes. */
const maxBodyBytes = 1024 * 1024

const defaultPriority = 3

const readAnnotation = withBody(
  Schema.Struct({
    body: text,
    context: lenientText,
    style: lenient(Schema.Literals(["", "default", "info", "success", "warning", "error"])),
    append: flag,
    priority: lenient(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10 }))),
    scope: lenient(Schema.Literals(["", "build", "job"]))
  })
)

/** Annotations of jobs are apart from those of the build and of other jobs. */
const keyOf = (job: Job, scope: string, context: string): string =>
  JSON.stringify(scope === "job" ? [job.listed.id, context] : ["build", context])

/** Creates an annotation, or changes the one of the same context. */
const annotate = aboutJob((job, request) =>
  readAnnotation(request, (input) => {
    const scope = input.scope === "job" ? "job" : "build"
    const context = input.context || "default"
    const { annotations } = BuildData.of(request.state, job)
    const existing = annotations.get(keyOf(job, scope, context))
    if (existing === undefined && input.body === "") return errorResponse(422, "The body is missing")
    const body = input.append ? (existing?.body ?? "") + input.body : input.body || (existing?.body ?? "")
    if (new TextEncoder().encode(body).length > maxBodyBytes) {
      return errorResponse(422, "The body is larger than 1 MiB")
    }
    annotations.set(keyOf(job, scope, context), {
      context,
      scope,
      body,
      jobUuid: job.listed.id,
      style: input.style || (existing?.style ?? "default"),
      priority: input.priority || (existing?.priority ?? defaultPriority)
    })
    return Result.succeed({})
  })
)

const remove = aboutJob((job, { params, query, state }) => {
  const context = params["context"] ?? ""
  const key = keyOf(job, query.get("scope") ?? "build", context)
  return BuildData.of(state, job).annotations.delete(key)
    ? Result.succeed(HttpServerResponse.empty())
    : errorResponse(404, `No annotation found with the context ${context}`)
})

export const endpoints: ReadonlyArray<Endpoint> = [
  ["POST", "jobs/:jobUuid/annotations", "annotateBuild", annotate],
  ["DELETE", "jobs/:jobUuid/annotations/:context", "removeAnnotation", remove]
]
