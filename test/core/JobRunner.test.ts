/** Runners: functions as layers, and their failures. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, StacksSchema } from "@stacksapi/core"
import { Context, Data, Effect, Exit, Layer, Schema } from "effect"
import { jobUuid } from "../support/samples.ts"

class Machines extends Context.Service<Machines, { readonly name: string }>()("test/Machines") {}

class OutOfMachines extends Data.TaggedError("OutOfMachines")<{ readonly message: string }> {}

const context: Effect.Effect<JobRunner.JobContext> = Effect.map(
  Effect.orDie(
    Schema.decodeUnknownEffect(StacksSchema.ScheduledJob)({
      id: jobUuid,
      priority: 0,
      agent_query_rules: [],
      scheduled_at: "2026-10-01T12:00:00Z",
      pipeline: { slug: "p", uuid: null },
      build: { uuid: null, number: 1, branch: null },
      step: { key: null }
    })
  ),
  (job) => ({
    job,
    stackKey: "s",
    queueKey: "q",
    stopRequested: Effect.never,
    details: Effect.succeed({ id: job.id, env: {}, command: "true" }),
    acquisitionToken: Effect.die("not asked for"),
    issueToken: Effect.die("not asked for"),
    requests: {},
    state: Effect.succeed("reserved"),
    notify: () => Effect.void
  })
)

const run = (layer: Layer.Layer<JobRunner.JobRunner>) =>
  Effect.gen(function* () {
    const runner = yield* JobRunner.JobRunner
    return yield* runner.run(yield* context)
  }).pipe(Effect.provide(layer))

describe("JobRunner", () => {
  it.effect("is made from a function, which gets the job", () =>
    Effect.gen(function* () {
      const outcome = yield* run(
        JobRunner.layer(({ details, job }) =>
          Effect.map(details, ({ command }) =>
            JobRunner.Finished({ exitStatus: 0, detail: `${job.id} ran ${command}` })
          )
        )
      )
      assert.deepStrictEqual(outcome, JobRunner.Finished({ exitStatus: 0, detail: `${jobUuid} ran true` }))
    })
  )

  it.effect("provides its function with services of the layers below", () =>
    Effect.gen(function* () {
      const layer = JobRunner.layer(() =>
        Effect.map(Machines, ({ name }) => JobRunner.Finished({ exitStatus: 0, detail: `on ${name}` }))
      ).pipe(Layer.provide(Layer.succeed(Machines, { name: "m1" })))
      assert.deepStrictEqual(yield* run(layer), JobRunner.Finished({ exitStatus: 0, detail: "on m1" }))
    })
  )

  it.effect("turns any failure into a JobRunnerError, with the failure as its cause", () =>
    Effect.gen(function* () {
      const failure = new OutOfMachines({ message: "no machine is free" })
      const exit = yield* Effect.exit(run(JobRunner.layer(() => Effect.fail(failure))))
      assert.deepStrictEqual(
        exit,
        Exit.fail(new JobRunner.JobRunnerError({ message: "no machine is free", cause: failure }))
      )
      const text = yield* Effect.flip(run(JobRunner.layer(() => Effect.fail("a text"))))
      assert.strictEqual(text.message, "a text")
    })
  )

  it.effect("has the message that a promise was rejected with", () =>
    Effect.gen(function* () {
      const reject = () => Promise.reject(new Error("no machine"))
      const error = yield* Effect.flip(run(JobRunner.layer(() => Effect.tryPromise(reject))))
      assert.strictEqual(error.message, "no machine")
    })
  )

  it.effect("leaves a JobRunnerError as it is", () =>
    Effect.gen(function* () {
      const later = new JobRunner.JobRunnerError({ message: "later", isRetryable: true })
      assert.strictEqual(yield* Effect.flip(run(JobRunner.layer(() => Effect.fail(later)))), later)
    })
  )

  it("has outcomes with different tags", () => {
    assert.strictEqual(JobRunner.AgentOwned._tag, "AgentOwned")
    assert.strictEqual(JobRunner.Finished({ exitStatus: 1, detail: "no" })._tag, "Finished")
  })
})
