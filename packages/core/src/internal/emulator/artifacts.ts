/** The artifacts of builds, in bounded memory. */
import * as Bytes from "effect/Bytes"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as BuildData from "./buildData.ts"
import { type ErrorResponse, errorResponse } from "./errorResponse.ts"
import type { Job, State } from "./state.ts"

/** The bytes of all artifacts together. An upload beyond them is refused. */
const maxBytes = 256 * 1024 * 1024

/** The largest part of an artifact. The service offers several parts for large files to agents that can upload them. */
const maxPartBytes = 5 * 1024 * 1024

/** The largest artifact of an agent that can't upload parts. */
export const maxFileMebibytes = 64

interface NewArtifact {
  readonly path: string
  readonly absolutePath: string
  readonly globPath: string
  readonly fileSize: number
  readonly sha1sum: string
  readonly sha256sum: string
  readonly contentType: string
  /** Where the agent says that it can be downloaded. */
  readonly url: string | undefined
}

export interface Artifact extends NewArtifact {
  readonly id: string
  /** The secret in its URLs: uploads and downloads have no token, as with the service's storage. */
  readonly urlKey: string
  readonly job: Job
  /** Where the agent uploads it by itself; undefined for the emulator. */
  readonly uploadDestination: string | undefined
  readonly createdAt: number
  /** The bytes that the emulator has received; none if the agent uploads them elsewhere. */
  readonly parts: Array<Uint8Array | undefined>
  state: "new" | "finished" | "error"
}

export interface Batch {
  readonly id: string
  readonly uploadDestination: string | undefined
  /** Whether the agent can upload an artifact in parts. */
  readonly supportsParts: boolean
  readonly artifacts: ReadonlyArray<NewArtifact>
}

/** Creates the artifacts of a batch. A repeated batch returns those that exist. */
export const create = (
  state: State,
  job: Job,
  batch: Batch,
  now: number
): Result.Result<ReadonlyArray<Artifact>, ErrorResponse> => {
  const batches = state.artifacts.batches
  const existing = batches.get(batch.id)
  if (existing !== undefined) return Result.succeed(existing)
  const bytes = batch.artifacts.reduce((sum, { fileSize }) => sum + fileSize, 0)
  if (batch.uploadDestination === undefined && state.artifacts.bytes + bytes > maxBytes) {
    return errorResponse(422, "The emulator keeps at most 256 MiB of artifacts")
  }
  const tooLarge = batch.artifacts.find(({ fileSize }) => fileSize > maxFileMebibytes * 1024 * 1024)
  if (batch.uploadDestination === undefined && !batch.supportsParts && tooLarge !== undefined) {
    const reason = `larger than ${maxFileMebibytes} MiB, and the agent can't upload it in parts`
    return errorResponse(422, `The artifact ${tooLarge.path} is ${reason}`)
  }
  const created = batch.artifacts.map((artifact): Artifact => {
    const parts = batch.uploadDestination === undefined ? partsOf(artifact, batch) : 0
    return {
      ...artifact,
      id: state.agentRandom.uuid(),
      urlKey: state.agentRandom.text(32),
      job,
      uploadDestination: batch.uploadDestination,
      createdAt: now,
      parts: Array.from({ length: parts }),
      state: "new"
    }
  })
  for (const artifact of created) state.artifacts.byKey.set(artifact.urlKey, artifact)
  BuildData.of(state, job).artifacts.push(...created)
  batches.set(batch.id, created)
  if (batch.uploadDestination === undefined) state.artifacts.bytes += bytes
  return Result.succeed(created)
}

const partsOf = ({ fileSize }: NewArtifact, { supportsParts }: Batch): number =>
  supportsParts ? Math.max(1, Math.ceil(fileSize / maxPartBytes)) : 1

/** Stores a part, or the whole artifact if it has one part. */
export const store = (artifact: Artifact, part: number, bytes: Uint8Array): Result.Result<void, ErrorResponse> => {
  if (!(part in artifact.parts)) return errorResponse(404, `The artifact has no part ${part + 1}`)
  const others = artifact.parts.reduce((sum, other, index) => sum + (index === part ? 0 : (other?.length ?? 0)), 0)
  if (others + bytes.length > artifact.fileSize) {
    return errorResponse(422, `The artifact is larger than the ${artifact.fileSize} bytes that were announced`)
  }
  artifact.parts[part] = bytes
  return Result.void
}

/** Changes the state of a job's artifacts. Those whose bytes are missing can't be finished. */
export const update = (
  state: State,
  job: Job,
  changes: ReadonlyArray<{ readonly id: string; readonly state: "finished" | "error" }>
): Result.Result<void, ErrorResponse> => {
  const mine = new Map(
    BuildData.of(state, job).artifacts.flatMap((artifact) => (artifact.job === job ? [[artifact.id, artifact]] : []))
  )
  for (const change of changes) {
    const artifact = mine.get(change.id)
    if (artifact === undefined) return errorResponse(404, `No artifact found with ID ${change.id}`)
    const stored = artifact.parts.reduce((sum, part) => sum + (part?.length ?? 0), 0)
    if (change.state === "finished" && artifact.uploadDestination === undefined && stored !== artifact.fileSize) {
      return errorResponse(422, `The artifact ${artifact.path} has ${stored} of ${artifact.fileSize} bytes`)
    }
    artifact.state = change.state
  }
  return Result.void
}

export const find = (state: State, id: string): Artifact | undefined => {
  for (const artifact of state.artifacts.byKey.values()) if (artifact.id === id) return artifact
  return undefined
}

/** The content, or nothing before all parts are there. */
export const content = ({ parts }: Artifact): Uint8Array => {
  const received = parts.filter(Predicate.isNotUndefined)
  return Bytes.concat(received.length === parts.length ? received : [])
}

export interface Query {
  readonly query: string
  /** The key, id or label of a step, or the id of a job. */
  readonly scope: string
  readonly state: string
  /** Whether to return older artifacts of the same path too. */
  readonly includesDuplicates: boolean
  /** Whether to return artifacts of jobs that were retried too. */
  readonly includesRetried: boolean
}

/** Searches a build. In a query, `*` and `**` stand for any characters, and `?` for one. */
export const search = (
  build: BuildData.BuildData,
  { includesDuplicates, includesRetried, query, scope, state }: Query
): ReadonlyArray<Artifact> => {
  const pattern = patternOf(query)
  const found = build.artifacts.filter(
    (artifact) =>
      (state === "" || artifact.state === state) &&
      (includesRetried || artifact.job.retriedBy === undefined) &&
      pattern.test(artifact.path) &&
      isInScope(artifact.job, scope)
  )
  return includesDuplicates ? found : Array.from(new Map(found.map((artifact) => [artifact.path, artifact])).values())
}

const isInScope = ({ listed, step }: Job, scope: string): boolean =>
  scope === "" || scope === listed.id || scope === step.id || scope === step.key || scope === step.label

const patternOf = (query: string): RegExp => {
  const source = query
    .replaceAll(/[\\^$+.()|[\]{}]/g, String.raw`\$&`)
    .replaceAll(/\*+\/?|\?/g, (glob) =>
      glob === "?" ? "." : glob === "**/" ? "(?:.*/)?" : glob.endsWith("/") ? ".*/" : ".*"
    )
  return new RegExp(`^${source}$`, "s")
}
