/**
 * Membership: whether this process is a part of the cluster. It is while it has a row, and it acts on that while it holds its lease,
 * which each heartbeat renews. A process whose row is gone joins again with another id: nothing of what it owned before is its own.
 */
import { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { FailOnDefect } from "./failOnDefect.ts"
import * as Lease from "./lease.ts"
import type { Requests } from "./requests.ts"
import type { NewMember, Report, Storage } from "./storage.ts"

export interface Membership {
  /** Undefined while the process has none. */
  readonly id: () => number | undefined
  readonly lease: Lease.Lease
  /** Sends a heartbeat now. */
  readonly beat: Effect.Effect<void>
  readonly leave: Effect.Effect<void>
}

export interface MembershipOptions {
  readonly storage: Storage
  readonly requests: Requests
  readonly failOnDefect: FailOnDefect
  readonly expiration: Duration.Duration
  readonly member: NewMember
  readonly report: () => Report
  /** The member is gone: what it owned belongs to others. */
  readonly onLost: (memberId: number) => void
  /** The lease has expired, and others may take over at any time. */
  readonly onLapse: () => void
}

const interval = "1 second"
/** A heartbeat that takes this part of `lockExpiration` leaves too little for those that get lost. */
const slowPart = 1 / 6

/** Joins the cluster. The heartbeats go on until the scope closes. */
export const make = Effect.fnUntraced(function* ({
  expiration,
  failOnDefect,
  member,
  onLapse,
  onLost,
  report,
  requests,
  storage
}: MembershipOptions): Effect.fn.Return<Membership, InvalidOptions, Scope.Scope> {
  const lease = yield* Lease.make(expiration)
  let memberId: number | undefined
  let hasLeft = false
  let isSlow = false

  const join = (request: Requests["urgently"]) =>
    Effect.gen(function* () {
      const joining = request(storage.join(member))
      let foreignKey: string | undefined
      yield* lease.renew(
        Effect.map(joining, (joined) => {
          if (joined === undefined) return undefined
          if ("foreignKey" in joined) {
            foreignKey = joined.foreignKey
            return false
          }
          memberId = joined.memberId
          return true
        })
      )
      return foreignKey
    })

  const timed = <A>(request: Effect.Effect<A>) =>
    Effect.flatMap(Effect.timed(request), ([took, result]) => {
      const wasSlow = isSlow
      isSlow = Duration.toMillis(took) > Duration.toMillis(expiration) * slowPart
      return Effect.as(
        isSlow && !wasSlow
          ? Effect.logWarning(
              `A heartbeat took ${Duration.format(took)}, and the lease is ${Duration.format(expiration)}. If the database is that slow, ` +
                `raise lockExpiration to ${Math.ceil(Duration.toSeconds(took) / slowPart)} seconds or more`
            )
          : Effect.void,
        result
      )
    })

  const beat = Effect.suspend(() => {
    if (memberId === undefined) return hasLeft ? Effect.void : Effect.asVoid(join(requests.urgently))
    const id = memberId
    return lease.renew(timed(requests.urgently(storage.heartbeat(id, report())))).pipe(
      Effect.andThen((isGranted) =>
        Effect.sync(() => {
          if (isGranted !== false || memberId !== id) return
          memberId = undefined
          onLost(id)
        })
      )
    )
  })

  const foreignKey = yield* join(requests.persistently)
  if (foreignKey !== undefined) {
    return yield* new InvalidOptions({
      option: "tablePrefix",
      issue: `must be different for each cluster: these tables belong to a cluster with the key ${foreignKey}`
    })
  }
  yield* Effect.forkScoped(failOnDefect(Effect.forever(Effect.delay(beat, interval))))
  yield* lease.awaitHeld.pipe(
    Effect.andThen(lease.awaitLapse),
    Effect.andThen(Effect.sync(onLapse)),
    Effect.forever,
    failOnDefect,
    Effect.forkScoped
  )
  return {
    id: () => memberId,
    lease,
    beat,
    leave: Effect.suspend(() => {
      hasLeft = true
      if (memberId === undefined) return Effect.void
      const id = memberId
      memberId = undefined
      return Effect.asVoid(requests.urgently(storage.leave(id)))
    })
  }
})
