/** The scope of one run of a job, and the errors of runners. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import type { StacksError } from "@stacksapi/core/StacksError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"

/**
 * Runs an effect in its own scope. A failing finalizer is logged, and does not replace the result of the effect: a job that has succeeded
 * stays successful even if the clean-up fails.
 */
export const scoped = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const exit = yield* Effect.exit(restore(Scope.provide(effect, scope)))
      yield* Effect.catchCause(Scope.close(scope, exit), (cause) =>
        Effect.logWarning("Could not clean up after a job", cause)
      )
      return yield* Exit.isSuccess(exit) ? Effect.succeed(exit.value) : Effect.failCause(exit.cause)
    })
  )

/** A failure of this host: nothing has started, and the job can start later or elsewhere. */
export const hostFailure = (message: string, cause: unknown): JobRunner.JobRunnerError =>
  new JobRunner.JobRunnerError({ message, isRetryable: true, cause })

/** The runner's error for a failed request to the service: retryable if the request is. */
export const requestFailure = (error: StacksError | JobRunner.JobRunnerError): JobRunner.JobRunnerError =>
  error instanceof JobRunner.JobRunnerError
    ? error
    : new JobRunner.JobRunnerError({ message: error.message, isRetryable: error.isRetryable, cause: error })
