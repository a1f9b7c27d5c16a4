/** The watched stacks, and a snapshot of their state. */
import type * as Stack from "@stacksapi/core/Stack"
import type * as Stacks from "@stacksapi/core/Stacks"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type * as ClusterStack from "../../ClusterStack.ts"
import type { ClusterReport, Service, StackReport, Watched } from "../../HealthServer.ts"

export interface Watch {
  readonly watch: Service["watch"]
  readonly explain: Service["explain"]
  readonly snapshot: Effect.Effect<WholeSnapshot>
}

/** The state of everything that is watched. */
export interface Snapshot {
  readonly stacks: ReadonlyArray<StackReport>
  readonly cluster: ClusterReport | null
  /** Why the process is not live; null if it is. */
  readonly livenessFailure: string | null
}

/** The state of all, and why there is none yet. */
export interface WholeSnapshot extends Snapshot {
  readonly startReason: string | null
}

interface WatchedStack {
  readonly watched: Watched
  failure: string | null
}

export const make: Effect.Effect<Watch, never, Scope.Scope> = Effect.map(Effect.scope, (scope) => {
  const watchedStacks = new Map<unknown, WatchedStack>()

  const snapshotOf = ({ failure, watched }: WatchedStack): Effect.Effect<Snapshot> =>
    Effect.map(watched.status, (status: Stack.Status | Stacks.Status | ClusterStack.Status) => {
      if ("inFlight" in status) {
        return {
          stacks: [report(status, failure)],
          cluster: null,
          livenessFailure: failure && `stack ${status.key} has failed: ${failure}`
        }
      }
      if ("queues" in status) {
        return {
          stacks: status.queues.map(({ failure, key, queueKey, stack }) =>
            report(stack ?? { ...absent, key, queueKey }, failure?.message ?? null)
          ),
          cluster: null,
          livenessFailure: failure && `all queues have failed: ${failure}`
        }
      }
      return {
        stacks: status.leading.map(({ status }) => report(status, null)),
        cluster: {
          phase: status.phase,
          slots: status.slots,
          running: status.running.length,
          processes: status.processes
        },
        livenessFailure: failure && `the process of the cluster has failed: ${failure}`
      }
    })

  let startReason: string | null = null
  return {
    explain: (reason) =>
      Effect.sync(() => {
        startReason = reason
      }),
    watch: (watched) =>
      Effect.gen(function* () {
        const status: Stack.Status | Stacks.Status | ClusterStack.Status = yield* watched.status
        const watchedStack: WatchedStack = { watched, failure: null }
        // A stack that is started again replaces the previous one.
        watchedStacks.set("inFlight" in status ? status.key : watched, watchedStack)
        const awaitFailure: Effect.Effect<never, Stack.StartError> = watched.awaitFailure
        yield* awaitFailure.pipe(
          Effect.catchCause((cause) => Effect.sync(() => (watchedStack.failure = messageOf(cause)))),
          Effect.forkIn(scope, { startImmediately: true })
        )
      }),
    snapshot: Effect.gen(function* () {
      const snapshots = yield* Effect.forEach(watchedStacks.values(), snapshotOf)
      return {
        startReason,
        stacks: snapshots.flatMap(({ stacks }) => stacks),
        cluster: snapshots.find(({ cluster }) => cluster !== null)?.cluster ?? null,
        livenessFailure: snapshots.find(({ livenessFailure }) => livenessFailure !== null)?.livenessFailure ?? null
      }
    })
  }
})

/** Only the message of a failure; the rest is in the log. */
const messageOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return Predicate.isError(error) ? error.message : String(error)
}

/** The status of a queue whose stack could not be registered, or has ended. */
const absent = {
  phase: "stopped",
  isPaused: false,
  lastPolledAt: undefined,
  sincePolled: undefined,
  maxInFlight: 0,
  inFlight: [],
  pending: 0,
  backingOff: 0,
  inDoubt: 0,
  finishing: 0,
  amounts: {},
  startsSuspended: false,
  runnerUnavailable: undefined
} as const

const report = (status: Stack.Status, failure: string | null): StackReport => ({
  key: status.key,
  queueKey: status.queueKey,
  phase: status.phase,
  isPaused: status.isPaused,
  maxInFlight: status.maxInFlight,
  inFlight: status.inFlight.length,
  pending: status.pending,
  backingOff: status.backingOff,
  finishing: status.finishing,
  startsSuspended: status.startsSuspended,
  runnerUnavailable: status.runnerUnavailable ?? null,
  secondsSincePoll: status.sincePolled === undefined ? null : Duration.toSeconds(status.sincePolled),
  failure
})
