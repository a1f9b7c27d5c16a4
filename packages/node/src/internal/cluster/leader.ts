/** What the one process does that leads a queue: it polls, reserves, hands out and finishes, for all of them. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as RateLimit from "@stacksapi/core/RateLimit"
import * as Stack from "@stacksapi/core/Stack"
import type { CursorStalled, StacksError } from "@stacksapi/core/StacksError"
import * as EntityAddress from "effect/cluster/EntityAddress"
import * as EntityId from "effect/cluster/EntityId"
import { MessageStorage } from "effect/cluster/MessageStorage"
import { Sharding } from "effect/cluster/Sharding"
import * as Singleton from "effect/cluster/Singleton"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { Book } from "./book.ts"
import * as Dispatcher from "./dispatcher.ts"
import { JobEntity } from "./jobEntity.ts"
import type { Tell } from "./journal.ts"
import { gate, type Lease } from "./lease.ts"
import type { Outspoken } from "./logs.ts"
import { type Processes, shardGroup } from "./processes.ts"
import { share } from "./shares.ts"

export interface LeaderOptions {
  readonly book: Book
  readonly lease: Lease
  /** That of the process. */
  readonly limiter: RateLimit.Limiter
  readonly processes: Processes
  readonly tell: Tell
  readonly outspoken: Outspoken
  readonly stack: Omit<Stack.Options, "maxInFlight" | "ledger" | "onClose" | "onEvent">
  /** The stacks that this process leads. */
  readonly leading: Map<string, Stack.Service>
  readonly failure: Deferred.Deferred<never, StacksError | CursorStalled>
}

/** How often the slots are shared anew. */
const interval = "1 second"

export const layer = ({
  book,
  failure,
  leading,
  lease,
  limiter,
  outspoken,
  processes,
  stack: options,
  tell
}: LeaderOptions) => {
  const name = `StacksapiQueue/${options.key}`
  return Singleton.make(
    name,
    Effect.gen(function* () {
      const sharding = yield* Sharding
      const storage = yield* MessageStorage
      let isLeaving = false

      /** What the cluster keeps of a job's request is of no use once the job is over. */
      const forget = (entityId: string) => {
        const id = EntityId.make(entityId)
        const shardId = sharding.getShardId(id, shardGroup)
        return Effect.ignore(
          storage.clearAddress(EntityAddress.make({ shardId, entityType: JobEntity.type, entityId: id }))
        )
      }

      // What the former leader asked for in its last second still counts.
      yield* Effect.sleep("1 second")
      const stack = yield* Stack.make({
        ...options,
        maxInFlight: 0,
        ledger: book.ledger(options.key, forget),
        onEvent: (event) => Effect.sync(() => tell(event, options.queueKey)),
        onClose: "leave"
      }).pipe(
        // A process leads several queues, and each for a while.
        Effect.provideService(Metric.CurrentMetricAttributes, { queue: options.queueKey }),
        Effect.provideService(JobRunner.JobRunner, yield* Dispatcher.make(book, processes, () => isLeaving)),
        Effect.provideService(
          RateLimit.RateLimit,
          gate(limiter, lease.awaitHeld(sharding.getShardId(EntityId.make(name), shardGroup)))
        )
      )
      yield* Effect.acquireRelease(
        Effect.sync(() => leading.set(options.key, stack)),
        () =>
          Effect.sync(() => {
            isLeaving = true
            leading.delete(options.key)
          })
      )

      const adjust = Effect.gen(function* () {
        yield* processes.refresh
        const { inFlight, waiting } = yield* stack.status
        const demands = yield* book.demand({ stackKey: options.key, wanted: inFlight.length + waiting })
        yield* stack.setMaxInFlight(share(processes.slots(), demands).get(options.key) ?? 0)
      }).pipe(Effect.catch((error) => Effect.logDebug(`The slots were not shared anew: ${error.message}`)))
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(adjust, Effect.sleep(interval))))

      return yield* stack.awaitFailure
    }).pipe(
      Effect.scoped,
      Effect.catch((error) => Deferred.fail(failure, error)),
      Effect.asVoid,
      outspoken
    )
  )
}
