/** The stacks that are watched, and what each looks like now. */
import type * as Stack from "@stacksapi/core/Stack"
import type * as Stacks from "@stacksapi/core/Stacks"
import type { CursorStalled } from "@stacksapi/core/StacksError"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type * as ClusterStack from "../../ClusterStack.ts"
import type { ClusterReport, Service, StackReport, Watched } from "../../HealthServer.ts"

export interface Watch {
  readonly watch: Service["watch"]
  readonly snapshot: Effect.Effect<Snapshot>
}

/** All that is watched, together. */
export interface Snapshot {
  readonly stacks: ReadonlyArray<StackReport>
  readonly cluster: ClusterReport | null
  /** Why the process should not go on; null while it should. */
  readonly livenessFailure: string | null
}

interface WatchedStack {
  readonly watched: Watched
  failure: string | null
}

export const make: Effect.Effect<Watch, never, Scope.Scope> = Effect.map(Effect.scope, (scope) => {
  const watchedStacks = new Map<unknown, WatchedStack>()

  const snapshotOf = ({ failure, watched }: WatchedStack, now: number): Effect.Effect<Snapshot> =>
    Effect.map(watched.status, (status: Stack.Status | Stacks.Status | ClusterStack.Status) => {
      if ("inFlight" in status) {
        return {
          stacks: [report(status, failure, now)],
          cluster: null,
          livenessFailure: failure && `stack ${status.key} can't go on: ${failure}`
        }
      }
      if ("queues" in status) {
        return {
          stacks: status.queues.map(({ failure, key, queueKey, stack }) =>
            report(stack ?? { ...absent, key, queueKey }, failure?.message ?? null, now)
          ),
          cluster: null,
          livenessFailure: failure && `no queue can go on: ${failure}`
        }
      }
      return {
        stacks: status.leading.map(({ status }) => report(status, null, now)),
        cluster: {
          phase: status.phase,
          slots: status.slots,
          running: status.running.length,
          processes: status.processes
        },
        livenessFailure: failure && `the process of the cluster can't go on: ${failure}`
      }
    })

  return {
    watch: (watched) =>
      Effect.gen(function* () {
        const status: Stack.Status | Stacks.Status | ClusterStack.Status = yield* watched.status
        const watchedStack: WatchedStack = { watched, failure: null }
        // A stack that is started again comes in the place of its former life.
        watchedStacks.set("inFlight" in status ? status.key : watched, watchedStack)
        const awaitFailure: Effect.Effect<never, Stack.StartError | CursorStalled> = watched.awaitFailure
        yield* awaitFailure.pipe(
          Effect.catchCause((cause) => Effect.sync(() => (watchedStack.failure = messageOf(cause)))),
          Effect.forkIn(scope, { startImmediately: true })
        )
      }),
    snapshot: Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const snapshots = yield* Effect.forEach(watchedStacks.values(), (watchedStack) => snapshotOf(watchedStack, now))
      return {
        stacks: snapshots.flatMap(({ stacks }) => stacks),
        cluster: snapshots.find(({ cluster }) => cluster !== null)?.cluster ?? null,
        livenessFailure: snapshots.find(({ livenessFailure }) => livenessFailure !== null)?.livenessFailure ?? null
      }
    })
  }
})

/** A failure's message alone: what else belongs to it is for the log. */
const messageOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return Predicate.isError(error) ? error.message : String(error)
}

/** A queue's stack that could not be registered, or had to end. */
const absent = {
  phase: "stopped",
  isPaused: false,
  lastPolledAt: undefined,
  maxInFlight: 0,
  inFlight: [],
  pending: 0,
  backingOff: 0,
  finishing: 0,
  startsSuspended: false
} as const

const report = (status: Stack.Status, failure: string | null, now: number): StackReport => ({
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
  secondsSincePoll:
    status.lastPolledAt === undefined ? null : Math.max(0, (now - DateTime.toEpochMillis(status.lastPolledAt)) / 1000),
  failure
})
