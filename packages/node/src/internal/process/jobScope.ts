/** The scope of one run of a job, and what a runner fails with where its host is in trouble. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import type { StacksError } from "@stacksapi/core/StacksError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"

/**
 * Runs an effect in a scope of its own. A finalizer that fails is logged and does not replace what the effect ended with: a job that
 * has succeeded stays succeeded, although something of it could not be cleaned up.
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

/** A trouble of this host: nothing has been started, and the job can start later or elsewhere. */
export const hostTrouble = (message: string, cause: unknown): JobRunner.JobRunnerError =>
  new JobRunner.JobRunnerError({ message, isRetryable: true, cause })

/** Something that the service did not give, as a runner's failure: retryable if the request is. */
export const notGiven = (error: StacksError | JobRunner.JobRunnerError): JobRunner.JobRunnerError =>
  error instanceof JobRunner.JobRunnerError
    ? error
    : new JobRunner.JobRunnerError({ message: error.message, isRetryable: error.isRetryable, cause: error })
