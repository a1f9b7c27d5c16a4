/** What a runner gets for a job that this process owns: effects that ask the service about it, while the process is its owner. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as JobStates from "@stacksapi/core/JobStates"
import * as Notifications from "@stacksapi/core/Notifications"
import * as RateLimit from "@stacksapi/core/RateLimit"
import * as StacksClient from "@stacksapi/core/StacksClient"
import type { StacksError } from "@stacksapi/core/StacksError"
import type { JobState } from "@stacksapi/core/StacksSchema"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import type { Execution } from "./executions.ts"
import * as Lease from "./lease.ts"
import type { FailedRequest } from "./outcome.ts"

export interface JobContexts {
  /** Undefined where it can't be had, or the service does not know the job. */
  readonly stateOf: (execution: Pick<Execution, "stackKey" | "job">) => Effect.Effect<JobState | undefined, StacksError>
  readonly make: (execution: Execution) => Effect.Effect<{
    readonly context: JobRunner.JobContext
    /** The request whose failure made the runner fail with this error. */
    readonly failedRequestOf: (error: unknown) => FailedRequest
  }>
  /** Nothing is notified for this job any more. */
  readonly release: (execution: Execution) => Effect.Effect<void>
}

export interface JobContextsOptions {
  readonly lease: Lease.Lease
  readonly limiter: RateLimit.Limiter
  readonly tokenLifetime: Duration.Input | undefined
  readonly queueKeyOf: (stackKey: string) => string
}

const maxDepth = 10

export const make = Effect.fnUntraced(function* ({
  lease,
  limiter,
  queueKeyOf,
  tokenLifetime
}: JobContextsOptions): Effect.fn.Return<JobContexts, never, StacksClient.StacksClient | Scope.Scope> {
  const client = yield* StacksClient.StacksClient
  const scope = yield* Effect.scope
  const limited = RateLimit.withFallback(limiter)
  const lifetime = Duration.fromInputUnsafe(tokenLifetime ?? "15 minutes")

  // Reading needs no lease.
  const stateOf: JobContexts["stateOf"] = ({ job, stackKey }) =>
    JobStates.get(stackKey, job.id).pipe(Effect.provideService(StacksClient.StacksClient, client), limited)

  const notifiers = makeNotifiers(client, limited, lease, scope)

  return {
    stateOf,
    make: Effect.fnUntraced(function* (execution) {
      const { job, stackKey } = execution
      const { notify } = yield* notifiers.get(stackKey)
      const failures = new Map<unknown, "details" | "token">()
      const recorded = <A, E>(what: "details" | "token", request: Effect.Effect<A, E>) =>
        Effect.tapError(request, (error) => Effect.sync(() => failures.set(error, what)))
      const owned = Lease.restrict(lease, () => execution.isOwned)
      const issueToken = Effect.suspend(() => {
        execution.hasAgent = true
        return client.issueJobAcquisitionTokens({ stackKey, jobUuids: [job.id], tokenLifetime })
      }).pipe(
        Effect.flatMap(({ tokens: [issued] }) =>
          issued === undefined
            ? Effect.fail(
                new JobRunner.JobRunnerError({
                  message: "The service issued no acquisition token: this stack does not have the job"
                })
              )
            : Effect.succeed({ token: issued.token, lifetime })
        ),
        (request) => recorded("token", request),
        limited,
        RateLimit.mapLimiter(Lease.gate(owned))
      )
      const context: JobRunner.JobContext = {
        job,
        stackKey,
        queueKey: queueKeyOf(stackKey),
        details: yield* Effect.cached(limited(recorded("details", client.getJob({ stackKey, jobUuid: job.id })))),
        // A new token is requested well before this one expires.
        acquisitionToken: yield* Effect.cachedWithTTL(
          Effect.map(issueToken, ({ token }) => token),
          Duration.times(lifetime, 0.75)
        ),
        issueToken,
        requests: {},
        stopRequested: Effect.map(Deferred.await(execution.stopRequested), (first) => execution.stopReason ?? first),
        state: Effect.catch(stateOf(execution), () => Effect.succeed(undefined)),
        notify: (text) => notify(job.id, text)
      }
      const failedRequestOf = (error: unknown, depth = 0): "details" | "token" | undefined =>
        failures.get(error) ??
        (depth < maxDepth && Predicate.hasProperty(error, "cause")
          ? failedRequestOf(error.cause, depth + 1)
          : undefined)
      return { context, failedRequestOf }
    }),
    release: ({ job, stackKey }) => notifiers.release(stackKey, job.id)
  }
})

/** One sender of notifications for each queue. */
const makeNotifiers = (
  client: StacksClient.Service,
  limited: <A, E, R>(request: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
  lease: Lease.Lease,
  scope: Scope.Scope
) => {
  const notifications = new Map<string, Notifications.Service>()
  return {
    get: Effect.fnUntraced(function* (stackKey: string) {
      const known = notifications.get(stackKey)
      if (known !== undefined) return known
      const made = yield* Notifications.make({ stackKey }).pipe(
        Effect.provideService(StacksClient.StacksClient, client),
        limited,
        RateLimit.mapLimiter(Lease.gate(lease)),
        Scope.provide(scope),
        Effect.orDie
      )
      notifications.set(stackKey, made)
      return made
    }),
    release: (stackKey: string, jobUuid: string) => notifications.get(stackKey)?.release(jobUuid) ?? Effect.void
  }
}
