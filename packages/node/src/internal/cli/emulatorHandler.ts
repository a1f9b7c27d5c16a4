/** What `stacksapi emulator` does. */
import type * as StacksEmulator from "@stacksapi/core/StacksEmulator"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as NodeStacksEmulator from "../../NodeStacksEmulator.ts"
import { catchMisuse } from "../page/misuse.ts"
import * as Encoding from "../pipeline/encoding.ts"
import * as Rehearsal from "../pipeline/rehearsal.ts"
import * as Sanitize from "../terminal/sanitize.ts"
import * as Access from "./access.ts"
import type { EmulatorInput } from "./emulator.ts"
import { defaultToken } from "./emulatorToken.ts"
import { Failed } from "./failure.ts"
import { Host } from "./host.ts"
import * as InputFile from "./inputFile.ts"
import * as JobFile from "./jobFile.ts"
import * as Output from "./output.ts"
import { labelIn } from "./stepLabels.ts"
import { logFailure } from "./withClient.ts"

export const handle = Effect.fnUntraced(
  function* (input: EmulatorInput) {
    const added = Option.isSome(input.jobs) ? yield* readJobs(input.jobs.value, input.queue) : []
    const pipelines = yield* Effect.forEach(input.pipelines, (name) => readPipeline(name))
    const token = Option.isSome(input.tokenFile) ? yield* Access.readToken(input.tokenFile.value) : defaultToken
    if (token === "") return yield* new Failed({ message: "The file of --token-file has no token" })
    const emulator = yield* NodeStacksEmulator.make({
      host: input.host,
      port: input.port,
      allowedHosts: input.allowedHosts,
      rateLimits: input.rateLimits,
      defaultQueueKey: input.queue,
      token: Redacted.make(token)
    })
    yield* addJobs(emulator, added)
    const { held, jobs } = yield* rehearse(emulator, pipelines, input)
    yield* (yield* Host).expectStop
    yield* announce(emulator, {
      isJson: input.json,
      jobs: [...added, ...jobs],
      held,
      hasDefaultToken: Option.isNone(input.tokenFile)
    })
    return yield* watchUploads(emulator)
  },
  Effect.scoped,
  logFailure
)

const readFile = (file: string) =>
  Effect.mapError(
    InputFile.readBytes(file, InputFile.documentBounds),
    ({ message }) => new Failed({ message: `Can't read ${file}: ${message}` })
  )

const readJobs = (file: string, queueKey: string) =>
  Effect.flatMap(readFile(file), (bytes) =>
    Effect.fromResult(JobFile.parse(bytes.toString("utf8"), { file, queueKey }))
  )

const readPipeline = (name: string) =>
  Effect.flatMap(readFile(name), (bytes) =>
    Effect.fromResult(Result.map(Encoding.decode(name, bytes), (text): Rehearsal.PipelineFile => ({ name, text })))
  )

/** Adds the pipelines as one build, and tells what they leave out or wait for. */
const rehearse = Effect.fnUntraced(function* (
  emulator: StacksEmulator.Service,
  files: ReadonlyArray<Rehearsal.PipelineFile>,
  { branch, env, queue, tag, unblockAll }: RehearsalFlags
) {
  const [first] = files
  if (first === undefined) return { jobs: [], held: [] }
  const pipelineSlug = yield* slugOf(first.name)
  const variables = { ...(Option.isSome(tag) && { BUILDKITE_TAG: tag.value }), ...Option.getOrUndefined(env) }
  const { held, jobs, notes } = yield* Rehearsal.rehearse(emulator, files, {
    build: { pipelineSlug, branch, env: variables },
    queueKey: queue
  })
  for (const note of notes) yield* Output.say(note)
  if (!unblockAll) return { held, jobs }
  return { held: yield* Effect.filter(held, (step) => Effect.map(unblockFully(emulator, step), (is) => !is)), jobs }
})

interface RehearsalFlags {
  readonly branch: string
  readonly env: Option.Option<Record<string, string>>
  readonly queue: string
  readonly tag: Option.Option<string>
  readonly unblockAll: boolean
}

/**
 * Unblocks a step that may wait for several reasons. Required fields without a default get their first option, or `-`. False if a
 * field takes no such value: then the step is left to the user.
 */
const unblockFully = (emulator: StacksEmulator.Service, { fields, id, key, label }: StacksEmulator.Step) => {
  const values = Object.fromEntries(
    fields
      .filter(({ defaultValue, isRequired }) => isRequired && defaultValue === undefined)
      .map(({ key, options }) => [key, options?.[0] ?? "-"])
  )
  const isHeld = Effect.map(emulator.steps, (steps) => steps.find((step) => step.id === id)?.hold !== undefined)
  // It may have been let through with its group.
  return Effect.gen(function* () {
    while (yield* isHeld) yield* emulator.unblock(id, values)
    return true
  }).pipe(
    catchMisuse((problem) =>
      Effect.as(Output.say(`--unblock-all leaves the step ${key ?? label ?? id} blocked: ${problem}`), false)
    )
  )
}

/** How soon notes about a job's upload are shown. */
const uploadInterval = "200 millis"

/** Shows the notes about the pipelines that jobs upload. */
const watchUploads = Effect.fnUntraced(function* (emulator: StacksEmulator.Service) {
  let count = 0
  while (true) {
    const uploads = (yield* emulator.jobUploads).slice(count)
    count += uploads.length
    for (const { jobUuid, notes } of uploads) {
      if (notes.length === 0) continue
      const job = (yield* emulator.jobs).find(({ id }) => id === jobUuid)
      const label = (job && labelIn(job.env)) ?? jobUuid
      for (const { path, text } of notes) yield* Output.say(`The upload of the job ${label}: ${path}: ${text}`)
    }
    yield* Effect.sleep(uploadInterval)
  }
})

/** The slug of the pipeline: the name of the folder that the file, or its folder `.buildkite`, is in. */
const slugOf = Effect.fnUntraced(function* (file: string) {
  const path = yield* Path.Path
  const directory = path.dirname(path.resolve(file))
  const home = path.basename(path.basename(directory) === ".buildkite" ? path.dirname(directory) : directory)
  const slug = home
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")
  return slug === "" ? "pipeline" : slug
})

const addJobs = (emulator: StacksEmulator.Service, jobs: ReadonlyArray<StacksEmulator.NewJob>) =>
  Effect.catchDefect(emulator.addJobs(jobs), (defect) => Effect.fail(new Failed({ message: String(defect) })))

const announce = (
  { baseUrl, token }: StacksEmulator.Service,
  {
    hasDefaultToken,
    held,
    isJson,
    jobs
  }: {
    readonly isJson: boolean
    readonly held: ReadonlyArray<StacksEmulator.Step>
    readonly jobs: ReadonlyArray<{ readonly queueKey: string }>
    readonly hasDefaultToken: boolean
  }
): Effect.Effect<void> => {
  const page = new URL("/", baseUrl).href
  const queues = Array.from(new Set(jobs.map(({ queueKey }) => queueKey)))
  const shownToken = hasDefaultToken ? Redacted.value(token) : undefined
  return isJson
    ? Console.log(Sanitize.json({ endpoint: baseUrl, page, token: shownToken, jobs: jobs.length, queues }))
    : Effect.andThen(
        Console.log(
          [
            `export BUILDKITE_AGENT_ENDPOINT=${baseUrl}`,
            shownToken === undefined
              ? "# and BUILDKITE_CLUSTER_TOKEN: the token in your --token-file"
              : `export BUILDKITE_CLUSTER_TOKEN=${shownToken}`
          ].join("\n")
        ),
        Output.say(
          [
            `The emulator is running, with ${jobs.length} ${jobs.length === 1 ? "job" : "jobs"}${queues.length === 0 ? "" : ` in ${queues.join(", ")}`}. Its page: ${page}`,
            ...(held.length === 0
              ? []
              : [
                  `${held.length === 1 ? "1 step waits" : `${held.length} steps wait`} for you: unblock on the page, or with \`stacksapi emulator unblock\`.`
                ]),
            "Paste the lines above into another terminal. Stop it with Ctrl-C."
          ].join("\n")
        )
      )
}
