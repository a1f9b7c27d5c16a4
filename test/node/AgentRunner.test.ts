/** What becomes of a job: by how its agent ends, and by the job's state then. */
import { assert, describe, layer } from "@effect/vitest"
import { JobRunner } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Result } from "effect"
import { standIn } from "../support/standInAgentSetup.ts"
import { reserved, runner, runOne, service } from "../support/standInAgentStack.ts"

const agentOwned = Result.succeed(JobRunner.AgentOwned)

const errorOf = (result: Result.Result<unknown, JobRunner.JobRunnerError>) =>
  Result.isFailure(result) ? result.failure : assert.fail("the runner did not fail")

layer(service, { excludeTestServices: true })("An agent", (it) => {
  describe("that ran its job", () => {
    it.effect("needs no finish by the stack", () =>
      Effect.gen(function* () {
        const { job, notes, result } = yield* runOne({ prints: ["hello"] })
        assert.deepStrictEqual(result, agentOwned)
        assert.strictEqual(job?.exitStatus, 0)
        assert.isEmpty(notes)
      })
    )

    it.effect("and exits with 0 although the job failed, needs no finish by the stack", () =>
      Effect.gen(function* () {
        const { job, result } = yield* runOne({ jobExits: 3 })
        assert.deepStrictEqual(result, agentOwned)
        assert.strictEqual(job?.exitStatus, 3)
      })
    )

    for (const status of [1, 2, 27, 28, 255]) {
      it.effect(`and reflects the job's status ${status}, is not mistaken for one that did not run it`, () =>
        Effect.gen(function* () {
          const { job, notes, result } = yield* runOne({ jobExits: status }, { reflectExitStatus: true })
          assert.deepStrictEqual(result, agentOwned)
          assert.strictEqual(job?.exitStatus, status)
          assert.isEmpty(notes)
        })
      )
    }
  })

  describe("that ends without its job", () => {
    // Only the service's refusal is about this job. Everything else is trouble of the host or of the service.
    const reasons: ReadonlyArray<readonly [status: number, reason: string, isRetryable: boolean]> = [
      [0, "exit status 0: it could not acquire the job", true],
      [1, "exit status 1: it could not register, or its settings are wrong", true],
      [27, "exit status 27: the service would not let it acquire the job", false],
      [28, "exit status 28: the job is locked", true],
      [127, "exit status 127", true],
      [255, "exit status 255", true]
    ]
    for (const [status, reason, isRetryable] of reasons) {
      const what = isRetryable ? "can be tried again" : "fails the job"
      it.effect(`with ${status}, while it is still reserved, ${what}, and says why, and what it printed last`, () =>
        Effect.gen(function* () {
          const { result } = yield* runOne({ quits: status, prints: ["no luck today"] })
          const error = errorOf(result)
          assert.isTrue(error.message.startsWith(`The agent did not run the job (${reason})`), error.message)
          assert.include(error.message, "no luck today")
          assert.strictEqual(error.isRetryable, isRetryable)
        })
      )
    }

    for (const state of ["waiting", "limited", "platform_limiting", "platform_limited"]) {
      for (const status of [0, 28]) {
        it.effect(`with ${status}, as the job is ${state}, can be tried again`, () =>
          Effect.gen(function* () {
            const { result } = yield* runOne({ quits: status }, {}, {}, state)
            assert.isTrue(errorOf(result).isRetryable)
          })
        )
      }
    }

    it.effect("by a signal, is retryable, and reports the signal", () =>
      Effect.gen(function* () {
        const { result } = yield* runOne({ fallsBefore: "SIGKILL" })
        const { message, isRetryable } = errorOf(result)
        assert.isTrue(message.startsWith("The agent did not run the job (killed by SIGKILL)"), message)
        assert.isTrue(isRetryable)
      })
    )

    /** Runs one whose job is taken away before it asks for it. */
    const runAfter = Effect.fnUntraced(function* (
      status: number,
      before: (jobUuid: string) => Effect.Effect<unknown, never, StacksEmulator.StacksEmulator>
    ) {
      const agents = yield* standIn
      yield* agents.setPlans({ "*": { quits: status } })
      const { context, jobUuid, notes } = yield* reserved()
      const token = yield* context.acquisitionToken
      yield* before(jobUuid)
      const result = yield* Effect.flatMap(JobRunner.JobRunner, ({ run }) =>
        Effect.result(run({ ...context, acquisitionToken: Effect.succeed(token) }))
      ).pipe(Effect.provide(runner(agents)))
      return { result, notes }
    }, Effect.scoped)

    for (const status of [0, 1, 27, 28]) {
      it.effect(`with ${status}, as the job has been canceled, leaves it alone`, () =>
        Effect.gen(function* () {
          const { cancelJob } = yield* StacksEmulator.StacksEmulator
          const { notes, result } = yield* runAfter(status, cancelJob)
          assert.deepStrictEqual(result, agentOwned)
          assert.isEmpty(notes)
        })
      )
    }

    for (const status of [27, 28]) {
      it.effect(`with ${status}, as another agent has the job, leaves it alone`, () =>
        Effect.gen(function* () {
          const { acquireJob } = yield* StacksEmulator.StacksEmulator
          const { notes, result } = yield* runAfter(status, (jobUuid) => Effect.orDie(acquireJob(jobUuid)))
          assert.deepStrictEqual(result, agentOwned)
          assert.isEmpty(notes)
        })
      )
    }
  })

  describe("that ends while its job runs", () => {
    it.effect("with 255, leaves the job to the service, and notifies the job's page", () =>
      Effect.gen(function* () {
        const { job, notes, result } = yield* runOne({ breaks: 255 })
        assert.deepStrictEqual(result, agentOwned)
        assert.strictEqual(job?.state, "running")
        assert.deepStrictEqual(notes, [
          "The agent started for this job ended (exit status 255) while the job was running"
        ])
      })
    )

    it.effect("by a signal, leaves the job to the service, and notifies the job's page", () =>
      Effect.gen(function* () {
        const { job, notes, result } = yield* runOne({ breaks: "SIGSEGV" })
        assert.deepStrictEqual(result, agentOwned)
        assert.strictEqual(job?.state, "running")
        assert.deepStrictEqual(notes, [
          "The agent started for this job ended (killed by SIGSEGV) while the job was running"
        ])
      })
    )
  })
})
