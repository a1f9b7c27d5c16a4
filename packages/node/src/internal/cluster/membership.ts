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
import type { NewMember, Report, Storage, StorageError } from "./storage.ts"

export interface Membership {
  /** Undefined while the process has none. */
  readonly id: () => number | undefined
  readonly lease: Lease.Lease
  /** Sends a heartbeat now. */
  readonly heartbeat: Effect.Effect<void>
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

const heartbeatInterval = "1 second"
/** A heartbeat that takes this part of `lockExpiration` leaves too little for those that get lost. */
const slowPart = 1 / 6

/** Joins the cluster. The heartbeats go on until the scope closes. */
export const make = Effect.fnUntraced(function* (
  options: MembershipOptions
): Effect.fn.Return<Membership, InvalidOptions | StorageError, Scope.Scope> {
  const { expiration, failOnDefect, member, onLapse, onLost, report, requests, storage } = options
  const lease = yield* Lease.make(expiration)
  const warnIfSlow = slownessWarning(expiration)
  let memberId: number | undefined
  let hasLeft = false

  /** Returns the key of the cluster that has the tables, if it is another one. */
  const join = <E>(joining: Effect.Effect<Joined | undefined, E>) =>
    Effect.gen(function* () {
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

  const renew = Effect.fnUntraced(function* (id: number) {
    const isGranted = yield* lease.renew(warnIfSlow(requests.urgently(storage.heartbeat(id, report()))))
    if (isGranted !== false || memberId !== id) return
    memberId = undefined
    onLost(id)
  })
  const heartbeat = Effect.suspend(() => {
    if (memberId !== undefined) return renew(memberId)
    return hasLeft ? Effect.void : Effect.asVoid(join(requests.urgently(storage.join(member))))
  })

  const foreignKey = yield* join(requests.atStart(storage.join(member)))
  if (foreignKey !== undefined) {
    return yield* new InvalidOptions({
      option: "tablePrefix",
      issue: `must be different for each cluster: these tables belong to a cluster with the key ${foreignKey}`
    })
  }
  yield* Effect.forkScoped(failOnDefect(Effect.forever(Effect.delay(heartbeat, heartbeatInterval))))
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
    heartbeat,
    leave: Effect.suspend(() => {
      hasLeft = true
      if (memberId === undefined) return Effect.void
      const id = memberId
      memberId = undefined
      return Effect.asVoid(requests.urgently(storage.leave(id)))
    })
  }
})

type Joined = Effect.Success<ReturnType<Storage["join"]>>

/** Logs a warning when heartbeats become slow. One without an answer is not slow: the database may be down. */
const slownessWarning = (expiration: Duration.Duration) => {
  let isSlow = false
  return <A>(heartbeat: Effect.Effect<A | undefined>): Effect.Effect<A | undefined> =>
    Effect.flatMap(Effect.timed(heartbeat), ([took, answer]) => {
      if (answer === undefined) return Effect.undefined
      const wasSlow = isSlow
      isSlow = Duration.toMillis(took) > Duration.toMillis(expiration) * slowPart
      return Effect.as(
        isSlow && !wasSlow
          ? Effect.logWarning(
              `A heartbeat took ${Duration.format(took)}, and the lease is ${Duration.format(expiration)}. If the database is that slow, ` +
                `raise lockExpiration to ${Math.ceil(Duration.toSeconds(took) / slowPart)} seconds or more`
            )
          : Effect.void,
        answer
      )
    })
}
