/** Claims ready jobs for the free slots of this process. Sends one claim at a time, so that a caller can wait for its response. */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { FailOnDefect } from "./failOnDefect.ts"
import type { Membership } from "./membership.ts"
import type { Requests } from "./requests.ts"
import type { ClaimedJob, Storage } from "./storage.ts"

export interface Claims {
  /** Asks for a claim of this many jobs, which a leader has made ready for this member. */
  readonly invite: (count: number) => void
  /** Asks for a claim of this member's share of the jobs that are ready. */
  readonly poll: () => void
  /** Claims after a delay, so that other processes claim first. */
  readonly pollLater: () => void
  readonly close: () => void
  /** Waits until no claim is under way. */
  readonly idle: Effect.Effect<void>
  /** How many claims have begun, and how many have ended. */
  readonly counts: () => { readonly begun: number; readonly ended: number }
}

export interface ClaimsOptions {
  readonly storage: Storage
  readonly requests: Requests
  readonly failOnDefect: FailOnDefect
  readonly membership: Pick<Membership, "id" | "lease">
  readonly stackKeys: ReadonlyArray<string>
  readonly free: () => number
  /** The part of the ready jobs that this member should take when it polls. */
  readonly shareOf: (memberId: number, free: number) => number
  readonly start: (memberId: number, job: ClaimedJob) => Effect.Effect<void>
}

const laterAfter = "200 millis"

export const make = Effect.fnUntraced(function* (options: ClaimsOptions): Effect.fn.Return<Claims, never, Scope.Scope> {
  const { failOnDefect, free, membership, requests, shareOf, stackKeys, storage } = options
  const wantedLatch = yield* Latch.make(false)
  const laterLatch = yield* Latch.make(false)
  const idleLatch = yield* Latch.make(true)
  const wanted = { invited: 0, isPolled: false, isClosed: false }
  const counts = { begun: 0, ended: 0 }
  const poll = () => {
    wanted.isPolled = true
    wantedLatch.openUnsafe()
  }

  /** Sends a claim, if one is wanted and possible. Returns whether to try again. */
  const claimOnce = Effect.fnUntraced(function* () {
    const memberId = membership.id()
    const slots = free()
    const { invited, isPolled } = wanted
    if (
      wanted.isClosed ||
      memberId === undefined ||
      slots <= 0 ||
      !membership.lease.isHeld() ||
      (invited === 0 && !isPolled)
    ) {
      wanted.invited = 0
      wanted.isPolled = false
      return false
    }
    wanted.invited = 0
    if (invited === 0) wanted.isPolled = false
    counts.begun++
    const [limit, share] = invited > 0 ? [Math.min(slots, invited), 1] : [slots, shareOf(memberId, slots)]
    idleLatch.closeUnsafe()
    const claimed = (yield* requests.promptly(storage.claim(memberId, stackKeys, limit, share))) ?? []
    const hasStarted = yield* startOrGiveBack(options, memberId, claimed, () => !wanted.isClosed)
    // This claim took only this member's share. Claim the rest later, if no other process does.
    if (invited === 0 && hasStarted) laterLatch.openUnsafe()
    counts.ended++
    idleLatch.openUnsafe()
    return true
  })

  yield* wantedLatch.await.pipe(
    Effect.andThen(wantedLatch.close),
    Effect.andThen(Effect.repeat(Effect.suspend(claimOnce), { while: (isMore) => isMore })),
    Effect.forever,
    failOnDefect,
    Effect.forkScoped
  )
  yield* laterLatch.await.pipe(
    Effect.andThen(Effect.sleep(laterAfter)),
    Effect.andThen(laterLatch.close),
    Effect.andThen(Effect.sync(poll)),
    Effect.forever,
    failOnDefect,
    Effect.forkScoped
  )
  return {
    invite: (count) => {
      wanted.invited += count
      wantedLatch.openUnsafe()
    },
    poll,
    pollLater: () => void laterLatch.openUnsafe(),
    close: () => {
      wanted.isClosed = true
    },
    idle: idleLatch.await,
    counts: () => counts
  }
})

/**
 * Starts claimed jobs. Returns whether it started one. A response may arrive after the lease has ended, or while the process leaves: then
 * the jobs are given back, for other processes.
 */
const startOrGiveBack = Effect.fnUntraced(function* (
  { membership, requests, start, storage }: ClaimsOptions,
  memberId: number,
  claimed: ReadonlyArray<ClaimedJob>,
  isOpen: () => boolean
) {
  const unused: Array<number> = []
  for (const job of claimed) {
    if (isOpen() && membership.id() === memberId && membership.lease.isHeld()) yield* start(memberId, job)
    else unused.push(job.dispatch)
  }
  if (unused.length > 0 && membership.id() === memberId) yield* requests.promptly(storage.giveBack(memberId, unused))
  return claimed.length > unused.length
})
