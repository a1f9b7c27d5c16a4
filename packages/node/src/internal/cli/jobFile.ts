/** Reads jobs from a file with one JSON object per line: the format in which the service lists jobs, with `command` and `env`. */
import type * as StacksEmulator from "@stacksapi/core/StacksEmulator"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Failed } from "./failure.ts"

const Texts = Schema.Record(Schema.String, Schema.String)
const Text = Schema.optionalKey(Schema.NullOr(Schema.String))

const JobLine = Schema.Struct({
  id: Schema.optional(Schema.NonEmptyString),
  command: Schema.optional(Schema.NullOr(Schema.String)),
  env: Schema.optional(Schema.NullOr(Texts)),
  priority: Schema.optional(Schema.NullOr(Schema.Int)),
  agent_query_rules: Schema.optional(Schema.NullOr(Schema.Array(Schema.String))),
  scheduled_at: Schema.optional(Schema.NullOr(Schema.DateTimeUtcFromString)),
  runnable_at: Schema.optional(Schema.NullOr(Schema.DateTimeUtcFromString)),
  pipeline: Schema.optional(Schema.Struct({ slug: Text, uuid: Text })),
  build: Schema.optional(
    Schema.Struct({ uuid: Text, number: Schema.optionalKey(Schema.NullOr(Schema.Int)), branch: Text })
  ),
  step: Schema.optional(Schema.Struct({ key: Text }))
})

const decode = Schema.decodeUnknownResult(Schema.fromJsonString(JobLine), { errors: "first" })

/** Parses the lines of a file. The queue of a job is the one that its rules name, else `queueKey`. */
export const parse = (
  text: string,
  { file, queueKey }: { readonly file: string; readonly queueKey: string }
): Result.Result<ReadonlyArray<StacksEmulator.NewJob>, Failed> =>
  Result.gen(function* () {
    const jobs: Array<StacksEmulator.NewJob> = []
    const lineOf = new Map<string, number>()
    for (const [index, line] of text
      .replace(/^\uFEFF/, "")
      .split("\n")
      .entries()) {
      if (line.trim() === "") continue
      const place = `${file}:${index + 1}`
      const job = yield* Result.mapError(
        decode(line),
        ({ message }) => new Failed({ message: `${place}: Not a job: ${message}. ${lineFormat}` })
      )
      const earlier = job.id === undefined ? undefined : lineOf.get(job.id)
      if (earlier !== undefined) {
        return yield* Result.fail(new Failed({ message: `${place}: Line ${earlier} has the same id, ${job.id}.` }))
      }
      if (job.id !== undefined) lineOf.set(job.id, index + 1)
      jobs.push(toNewJob(job, queueKey))
    }
    if (jobs.length === 0) return yield* Result.fail(new Failed({ message: `${file} contains no jobs. ${lineFormat}` }))
    return jobs
  })

const lineFormat =
  'Write one JSON object per line, such as {"command": "make test", "agent_query_rules": ["queue=linux"]}.'

const toNewJob = (line: typeof JobLine.Type, queueKey: string): StacksEmulator.NewJob => ({
  id: line.id,
  queueKey: line.agent_query_rules?.find((rule) => rule.startsWith("queue="))?.slice("queue=".length) ?? queueKey,
  command: line.command ?? undefined,
  env: line.env ?? undefined,
  priority: line.priority ?? undefined,
  agentQueryRules: line.agent_query_rules ?? undefined,
  scheduledAt: line.scheduled_at ?? undefined,
  runnableAt: line.runnable_at,
  pipeline: line.pipeline,
  build: line.build,
  step: line.step
})
