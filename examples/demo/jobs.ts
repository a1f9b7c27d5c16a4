/**
 * The jobs that the emulator starts with: those of an invented pipeline, or those of a file. And what becomes of each,
 * because nothing is really run here.
 */
import { createHash } from "node:crypto"
import { JobRunner, type StacksSchema } from "@stacksapi/core"
import type { StacksEmulator } from "@stacksapi/core/testing"
import { Data, DateTime, Duration, Effect, FileSystem, Result, Runtime, Schema } from "effect"
import pipeline from "./pipeline.json" with { type: "json" }

type NewJob = StacksEmulator.NewJob

// -----------------------------------------------------------------------------
// The pipeline of pipeline.json
// -----------------------------------------------------------------------------

/** What a step of pipeline.json may say. */
interface Step {
  readonly key: string
  readonly label: string
  readonly command: string
  readonly priority?: number
  readonly rules?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string | undefined>>
  /** One job for each package in these languages. */
  readonly each?: ReadonlyArray<string>
  /** As many jobs as the package has shards. */
  readonly sharded?: boolean
  readonly parallelism?: number
  /** Not to be started before then: the service lists it with `runnable_at`. */
  readonly runnableAfterSeconds?: number
}

/** Every job of the pipeline, always the same; their times follow from `now`. */
export const pipelineJobs = (queueKey: string, now: DateTime.Utc): ReadonlyArray<NewJob> =>
  pipeline.steps.flatMap((step: Step) => {
    const packages =
      step.each === undefined ? [undefined] : pipeline.packages.filter((p) => step.each?.includes(p.language))
    return packages.flatMap((pkg) => {
      const fill = (text: string) =>
        text.replaceAll("{package}", pkg?.name ?? "").replaceAll("{language}", pkg?.language ?? "")
      const key = fill(step.key)
      const command = fill(step.command)
      const count = step.sharded ? (pkg?.shards ?? 1) : (step.parallelism ?? 1)
      return Array.from({ length: count }, (_, shard): NewJob => {
        const id = uuidOf(`${pipeline.slug}/${pipeline.build}/${key}/${shard}`)
        return {
          id,
          queueKey,
          command,
          priority: step.priority,
          agentQueryRules: [`queue=${queueKey}`, ...(step.rules ?? [])],
          scheduledAt: DateTime.subtract(now, { seconds: 30 }),
          runnableAt:
            step.runnableAfterSeconds === undefined
              ? undefined
              : DateTime.addDuration(now, Duration.seconds(step.runnableAfterSeconds)),
          pipeline: { slug: pipeline.slug, uuid: uuidOf(pipeline.slug) },
          build: {
            uuid: uuidOf(`${pipeline.slug}/${pipeline.build}`),
            number: pipeline.build,
            branch: pipeline.branch
          },
          step: { key },
          env: {
            CI: "true",
            BUILDKITE: "true",
            BUILDKITE_JOB_ID: id,
            BUILDKITE_LABEL: fill(step.label),
            BUILDKITE_COMMAND: command,
            BUILDKITE_BRANCH: pipeline.branch,
            BUILDKITE_COMMIT: sha256(`${pipeline.slug}/${pipeline.build}`).slice(0, 40),
            BUILDKITE_BUILD_NUMBER: String(pipeline.build),
            BUILDKITE_PIPELINE_SLUG: pipeline.slug,
            BUILDKITE_STEP_KEY: key,
            ...(count > 1 && {
              BUILDKITE_PARALLEL_JOB: String(shard),
              BUILDKITE_PARALLEL_JOB_COUNT: String(count)
            }),
            ...pipeline.env,
            ...step.env
          }
        }
      })
    })
  })

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex")

/** A UUID that is always the same for the same text. */
const uuidOf = (text: string): string =>
  sha256(text).replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, "$1-$2-8$3-8$4-$5")

// -----------------------------------------------------------------------------
// A file of jobs
// -----------------------------------------------------------------------------

const maybe = <S extends Schema.Top>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

/** One line of a file of jobs: what the service tells of a job, in its own spelling. Only the id is required. */
const JobLine = Schema.Struct({
  id: Schema.NonEmptyString,
  priority: maybe(Schema.Int),
  agent_query_rules: maybe(Schema.Array(Schema.String)),
  scheduled_at: maybe(Schema.DateTimeUtcFromString),
  runnable_at: maybe(Schema.DateTimeUtcFromString),
  pipeline: maybe(Schema.Struct({ slug: maybe(Schema.String), uuid: maybe(Schema.String) })),
  build: maybe(Schema.Struct({ uuid: maybe(Schema.String), number: maybe(Schema.Int), branch: maybe(Schema.String) })),
  step: maybe(Schema.Struct({ key: maybe(Schema.String) })),
  command: maybe(Schema.String),
  env: maybe(Schema.Record(Schema.String, Schema.String))
})

const decodeJobLine = Schema.decodeUnknownResult(JobLine)

/** The file can't be used. The message says where and what to do; the exit code is that of a wrong command line. */
export class JobFileError extends Data.TaggedError("JobFileError")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 2
}

/** Reads a file with one JSON object a line. Empty lines are skipped. */
export const readJobs = Effect.fn("demo.readJobs")(function* (path: string, queueKey: string) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* fs
    .readFileString(path)
    .pipe(Effect.mapError((error) => new JobFileError({ message: `Can't read ${path}: ${error.reason.message}` })))

  const jobs: Array<NewJob> = []
  const lineOf = new Map<string, number>()
  for (const [index, line] of text
    .replace(/^\uFEFF/, "")
    .split("\n")
    .entries()) {
    if (line.trim() === "") continue
    const number = index + 1
    const fail = (problem: string) => new JobFileError({ message: `${path}:${number}: ${problem}` })

    const job = parseLine(line)
    if (Result.isFailure(job)) return yield* fail(job.failure)
    const { id } = job.success
    const earlier = lineOf.get(id)
    if (earlier !== undefined) {
      return yield* fail(`The id ${JSON.stringify(id)} is that of line ${earlier}. Give every job an id of its own.`)
    }
    lineOf.set(id, number)
    jobs.push(toNewJob(job.success, queueKey))
  }
  if (jobs.length === 0) {
    return yield* new JobFileError({ message: `${path} holds no jobs. ${lineFormat}` })
  }
  return jobs
})

const lineFormat = `Write one JSON object a line, for example {"id": "job-1", "command": "make test", "env": {"CI": "true"}}.`

const parseLine = (line: string): Result.Result<typeof JobLine.Type, string> => {
  const json = Result.try({
    try: (): unknown => JSON.parse(line),
    catch: (error) => `Not JSON (${error instanceof Error ? error.message : String(error)}). ${lineFormat}`
  })
  return Result.flatMap(json, (value) =>
    Result.mapError(decodeJobLine(value), (error) => `Not a job: ${error.message.replace(/\s+/g, " ")}. ${lineFormat}`)
  )
}

const toNewJob = (line: typeof JobLine.Type, queueKey: string): NewJob => ({
  id: line.id,
  queueKey,
  command: line.command ?? undefined,
  env: line.env ?? undefined,
  priority: line.priority ?? undefined,
  agentQueryRules: line.agent_query_rules ?? undefined,
  scheduledAt: line.scheduled_at ?? undefined,
  runnableAt: line.runnable_at,
  pipeline: line.pipeline ?? undefined,
  build: line.build ?? undefined,
  step: line.step ?? undefined
})

// -----------------------------------------------------------------------------
// What becomes of them
// -----------------------------------------------------------------------------

export interface Simulation {
  /** How long the job takes, in its own time. */
  readonly seconds: number
  readonly outcome: Effect.Effect<JobRunner.JobOutcome, JobRunner.JobRunnerError>
}

/**
 * A made-up outcome, always the same for the same job and seed. Most jobs pass; tests fail more often than the rest, what
 * builds images is sometimes killed for its memory, and for a few there is no machine.
 */
export const simulate = (job: StacksSchema.JobDetails, seed: number): Simulation => {
  const hash = createHash("sha256").update(`${seed}/${job.id}`).digest()
  const chance = hash.readUInt32BE(0) / 2 ** 32
  const seconds = 5 + (hash.readUInt32BE(4) % 240)
  const isTest = /\b(test|spec|check|lint)/i.test(job.command)
  const isHeavy = /\b(image|docker)\b/i.test(job.command)
  const end = (exitStatus: number, detail: string): Simulation => ({
    seconds,
    outcome: Effect.succeed(JobRunner.Finished({ exitStatus, detail: `${detail} after ${seconds} s (simulated)` }))
  })

  if (chance < 0.01) {
    const message = "No machine could be started for this job (simulated)"
    return { seconds: 0, outcome: Effect.fail(new JobRunner.JobRunnerError({ message })) }
  }
  if (isHeavy && chance > 0.95) return end(137, "Out of memory")
  if (chance > (isTest ? 0.92 : 0.97)) return end(1, "Exited with 1")
  return end(0, "Passed")
}
