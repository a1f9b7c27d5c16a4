/** Jobs for runners that do not need the service: what a stack would hand them. */
import { JobRunner } from "@stacksapi/core"
import { CommandRunner, JobOutput } from "@stacksapi/node"
import { Context, DateTime, Effect, Layer } from "effect"

let count = 0

/** A job with a command and an environment. */
export const jobWith = (command: string, env: Record<string, string> = {}): JobRunner.JobContext => {
  const id = `00000000-0000-4000-8000-${String(++count).padStart(12, "0")}`
  return {
    job: {
      id,
      priority: 0,
      agentQueryRules: [],
      scheduledAt: DateTime.makeUnsafe(0),
      runnableAt: null,
      pipeline: { slug: "the-pipeline", uuid: "pipeline-uuid" },
      build: { uuid: "build-uuid", number: 42, branch: "main" },
      step: { key: "the-step" }
    },
    stackKey: "s",
    queueKey: "q",
    stopRequested: Effect.never,
    details: Effect.succeed({ id, command, env }),
    acquisitionToken: Effect.fail(new JobRunner.JobRunnerError({ message: "a command needs no token" })),
    issueToken: Effect.fail(new JobRunner.JobRunnerError({ message: "a command needs no token" })),
    requests: {},
    state: Effect.succeed("reserved"),
    notify: () => Effect.void
  }
}

/** A command runner, as long as the scope is open. */
export const commandRunner = Effect.fnUntraced(function* (options?: CommandRunner.Options) {
  const built = yield* Layer.build(CommandRunner.layer(options))
  return { ...Context.get(built, JobRunner.JobRunner), ...Context.get(built, JobOutput.JobOutput) }
})

/** Runs a command to its end; gives what the stack would finish the job with, and the lines that it printed. */
export const runCommand = Effect.fnUntraced(function* (
  command: string,
  { env, ...options }: CommandRunner.Options & { readonly env?: Record<string, string> } = {}
) {
  const { run, tail } = yield* commandRunner(options)
  const context = jobWith(command, env)
  const outcome = yield* run(context)
  if (outcome._tag !== "Finished") return yield* Effect.die("not finished")
  return { ...outcome, lines: yield* tail(context.job.id), jobUuid: context.job.id }
}, Effect.scoped)
