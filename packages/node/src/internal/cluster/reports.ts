/** Writes how executions ended, those of one moment in one statement, until the database has answered. */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { Execution } from "./executions.ts"
import type { FailOnDefect } from "./failOnDefect.ts"
import type { Membership } from "./membership.ts"
import type { Outcome } from "./outcome.ts"
import type { Requests } from "./requests.ts"
import type { Storage } from "./storage.ts"

export interface Reports {
  /** Without an outcome the job is orphaned: it may have done anything. */
  readonly add: (execution: Execution, outcome: Outcome | undefined) => void
  /** Waits until all ends are written. */
  readonly flush: Effect.Effect<void>
}

export interface ReportsOptions {
  readonly storage: Storage
  readonly requests: Requests
  readonly failOnDefect: FailOnDefect
  readonly membership: Pick<Membership, "id">
  /** The sequence number of the last snapshot request that was sent. */
  readonly lastSnapshot: () => number
  /** The end of an execution is nobody's concern: its member is gone. */
  readonly forget: (execution: Execution) => void
  /** Jobs are ready. */
  readonly onReady: () => void
}

/** Jobs that end now join the statement. */
const batchDelay = "5 millis"
const retryInterval = "500 millis"
const maxBatch = 500

export const make = Effect.fnUntraced(function* ({
  failOnDefect,
  forget,
  lastSnapshot,
  membership,
  onReady,
  requests,
  storage
}: ReportsOptions): Effect.fn.Return<Reports, never, Scope.Scope> {
  const pending = new Map<Execution, Outcome | undefined>()
  const wantedLatch = yield* Latch.make(false)
  const isFlushed = yield* Latch.make(true)

  const writeSome = Effect.gen(function* () {
    const memberId = membership.id()
    for (const execution of pending.keys()) {
      if (execution.memberId === memberId) continue
      pending.delete(execution)
      forget(execution)
    }
    const batch = Array.from(pending).slice(0, maxBatch)
    if (memberId === undefined || batch.length === 0) return
    const isReady = yield* requests.promptly(
      storage.end(
        memberId,
        batch.map(([{ dispatch }, outcome]) => ({ dispatch, outcome }))
      )
    )
    if (isReady === undefined) return yield* Effect.sleep(retryInterval)
    for (const [execution] of batch) {
      pending.delete(execution)
      execution.writtenAtSnapshot = lastSnapshot()
    }
    if (isReady) onReady()
  })

  yield* Effect.gen(function* () {
    yield* wantedLatch.await
    yield* Effect.sleep(batchDelay)
    yield* writeSome
    if (pending.size > 0) return
    wantedLatch.closeUnsafe()
    isFlushed.openUnsafe()
  }).pipe(Effect.forever, failOnDefect, Effect.forkScoped)
  return {
    add: (execution, outcome) => {
      pending.set(execution, outcome)
      isFlushed.closeUnsafe()
      wantedLatch.openUnsafe()
    },
    flush: isFlushed.await
  }
})
