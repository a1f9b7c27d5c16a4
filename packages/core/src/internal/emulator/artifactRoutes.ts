/** Artifacts, for `buildkite-agent artifact` and `BUILDKITE_ARTIFACT_PATHS`. */
import * as Bytes from "effect/Bytes"
import * as DateTime from "effect/DateTime"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as MultipartParser from "effect/http/MultipartParser"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import {
  type AgentRequest,
  type Answer,
  aboutBuild,
  aboutJob,
  type Endpoint,
  lenient,
  lenientText,
  text,
  toCount,
  withBody
} from "./agentRequest.ts"
import * as Artifacts from "./artifacts.ts"
import { errorResponse } from "./errorResponse.ts"
import { basePath } from "./routes.ts"
import type { State } from "./state.ts"

/** The base of the URLs for uploads and downloads: the host by which the agent reaches the emulator. */
const originOf = ({ headers }: AgentRequest): string => `http://${headers["host"] ?? "stacks-emulator.invalid"}`

// -----------------------------------------------------------------------------
// Creating
// -----------------------------------------------------------------------------

const readBatch = withBody(
  Schema.Struct({
    id: text,
    upload_destination: lenientText,
    multipart_supported: lenient(Schema.Boolean),
    artifacts: Schema.Array(
      Schema.Struct({
        path: Schema.NonEmptyString,
        absolute_path: text,
        glob_path: text,
        file_size: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
        sha1sum: text,
        sha256sum: text,
        content_type: lenientText,
        url: lenientText
      })
    )
  })
)

const create = aboutJob((job, request) =>
  readBatch(request, ({ artifacts, id, multipart_supported, upload_destination }) => {
    const batch: Artifacts.Batch = {
      id: id === "" ? request.state.agentRandom.uuid() : id,
      uploadDestination: upload_destination || undefined,
      supportsParts: multipart_supported ?? false,
      artifacts: artifacts.map((artifact) => ({
        path: artifact.path,
        absolutePath: artifact.absolute_path,
        globPath: artifact.glob_path,
        fileSize: artifact.file_size,
        sha1sum: artifact.sha1sum,
        sha256sum: artifact.sha256sum,
        contentType: artifact.content_type || "application/octet-stream",
        url: artifact.url || undefined
      }))
    }
    return Result.map(Artifacts.create(request.state, job, batch, request.now), (created) => ({
      id: batch.id,
      artifact_ids: created.map((artifact) => artifact.id),
      upload_instructions: formInstructions(request, batch.id),
      per_artifact_instructions: Object.fromEntries(
        created.flatMap((artifact) =>
          artifact.parts.length > 1 ? [[artifact.id, partInstructions(request, artifact)]] : []
        )
      )
    }))
  })
)

/** One form for all artifacts of a batch. The agent fills in the path. */
const formInstructions = (request: AgentRequest, batchId: string) => ({
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the agent replaces it
  data: { path: "${artifact:path}" },
  action: {
    url: originOf(request),
    method: "POST",
    path: `${basePath}/emulator/uploads/${encodeURIComponent(batchId)}`,
    file_input: "file"
  }
})

const partInstructions = (request: AgentRequest, artifact: Artifacts.Artifact) => ({
  data: {},
  actions: artifact.parts.map((_, part) => ({
    url: `${originOf(request)}${basePath}/emulator/artifacts/${artifact.urlKey}/${part + 1}`,
    method: "PUT",
    part_number: part + 1
  }))
})

// -----------------------------------------------------------------------------
// Uploading and downloading: without a token, like signed URLs of a storage
// -----------------------------------------------------------------------------

interface Form {
  readonly path: string | undefined
  readonly file: Uint8Array | undefined
}

const readForm = (contentType: string, body: Uint8Array): Form | undefined => {
  let path: string | undefined
  let file: Uint8Array | undefined
  let isValid = true
  const parser = MultipartParser.make({
    headers: { "content-type": contentType },
    isFile: ({ name }) => name === "file",
    // The service has limited the whole body.
    maxPartSize: body.length,
    maxTotalSize: body.length,
    onField: ({ name }, value) => {
      if (name === "path") path = new TextDecoder().decode(value)
    },
    onFile: () => {
      const chunks: Array<Uint8Array> = []
      return (chunk) => {
        if (chunk === null) file = Bytes.concat(chunks)
        else chunks.push(chunk)
      }
    },
    onError: () => {
      isValid = false
    },
    onDone: () => {}
  })
  parser.write(body)
  parser.end()
  return isValid ? { path, file } : undefined
}

const uploadForm = ({ body, headers, params, state }: AgentRequest): Answer => {
  const form = readForm(headers["content-type"] ?? "", body)
  if (form?.file === undefined) return errorResponse(400, "The form has no file")
  const artifact = state.artifacts.batches.get(params["batchId"] ?? "")?.find(({ path }) => path === form.path)
  if (artifact === undefined) return errorResponse(404, "No artifact found for this upload")
  return Result.map(Artifacts.store(artifact, 0, form.file), () => HttpServerResponse.empty())
}

const findByKey = (state: State, key: string | undefined) => {
  const artifact = state.artifacts.byKey.get(key ?? "")
  return artifact === undefined ? errorResponse(404, "No artifact found at this URL") : Result.succeed(artifact)
}

const uploadPart = ({ body, params, state }: AgentRequest): Answer =>
  Result.flatMap(findByKey(state, params["urlKey"]), (artifact) =>
    Result.map(Artifacts.store(artifact, (toCount(params["part"] ?? null) ?? 0) - 1, body), () =>
      HttpServerResponse.empty({ status: 200, headers: { "content-length": "0", etag: `"${params["part"]}"` } })
    )
  )

const download = ({ params, state }: AgentRequest): Answer =>
  Result.flatMap(findByKey(state, params["urlKey"]), (artifact) =>
    artifact.state === "finished"
      ? Result.succeed(
          HttpServerResponse.uint8Array(Artifacts.content(artifact), { contentType: "application/octet-stream" })
        )
      : errorResponse(404, "The artifact is not uploaded")
  )

// -----------------------------------------------------------------------------
// Finishing and searching
// -----------------------------------------------------------------------------

const readStates = withBody(
  Schema.Struct({
    artifacts: Schema.Array(Schema.Struct({ id: Schema.String, state: Schema.Literals(["finished", "error"]) }))
  })
)

const update = aboutJob((job, request) =>
  readStates(request, ({ artifacts }) => Result.map(Artifacts.update(request.state, job, artifacts), () => ({})))
)

const search = aboutBuild((build, request) => {
  const { query } = request
  const found = Artifacts.search(build, {
    query: query.get("query") ?? "",
    scope: query.get("scope") ?? "",
    state: query.get("state") ?? "",
    includesDuplicates: query.get("include_duplicates") === "true",
    includesRetried: query.get("include_retried_jobs") === "true"
  })
  return Result.succeed(found.map((artifact) => describe(request, artifact)))
})

const describe = (request: AgentRequest, artifact: Artifacts.Artifact) => ({
  id: artifact.id,
  path: artifact.path,
  absolute_path: artifact.absolutePath,
  glob_path: artifact.globPath,
  file_size: artifact.fileSize,
  sha1sum: artifact.sha1sum,
  sha256sum: artifact.sha256sum,
  job_id: artifact.job.listed.id,
  created_at: DateTime.formatIso(DateTime.makeUnsafe(artifact.createdAt)),
  url: artifact.url ?? `${originOf(request)}${basePath}/emulator/artifacts/${artifact.urlKey}`,
  upload_destination: artifact.uploadDestination ?? "",
  content_type: artifact.contentType
})

export const endpoints: ReadonlyArray<Endpoint> = [
  ["POST", "jobs/:jobUuid/artifacts", "createArtifacts", create],
  ["PUT", "jobs/:jobUuid/artifacts", "updateArtifacts", update],
  ["GET", "builds/:buildUuid/artifacts/search", "searchArtifacts", search],
  ["POST", "emulator/uploads/:batchId", "uploadArtifact", uploadForm],
  ["PUT", "emulator/artifacts/:urlKey/:part", "uploadArtifact", uploadPart],
  ["GET", "emulator/artifacts/:urlKey", "downloadArtifact", download]
]
