/**
 * Leadership: which queues this process leads. All processes compute the same placement from the rows. A process takes queues without
 * a leader that are placed here, and resigns from those that are placed elsewhere.
 */
import type { JobRunner } from "@stacksapi/core/JobRunner"
import type { StacksClient } from "@stacksapi/core/StacksClient"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { type LeaderOptions, type Led, lead, type StackOptions } from "./leader.ts"
import type { Membership } from "./membership.ts"
import { place } from "./placement.ts"
import type { QueueRow, Snapshot, Taken, Term } from "./storage.ts"

export interface Leadership {
  readonly led: () => ReadonlyArray<Led>
  /** Takes and resigns queues, as look number `look` shows them. */
  readonly reconcile: (memberId: number, snapshot: Snapshot, look: number) => Effect.Effect<void>
  /** Leads nothing any more, and resigns in the background. */
  readonly resignAll: () => void
  /** Leads nothing any more: the member is gone. */
  readonly lose: () => void
  /** Waits until the stacks have ended. */
  readonly ended: Effect.Effect<void>
}

export interface LeadershipOptions extends LeaderOptions {
  readonly membership: Pick<Membership, "id" | "lease">
  readonly stacks: ReadonlyArray<StackOptions>
  /** The number of the look that was sent last. */
  readonly look: () => number
}

/** For how many looks a queue may have no leader before any process takes it, wherever it is placed. */
const maxLeaderless = 5

interface Held extends Led {
  readonly fiber: Fiber.Fiber<unknown>
  readonly takenAt: number
}

export const make = Effect.fnUntraced(function* (
  options: LeadershipOptions
): Effect.fn.Return<Leadership, never, StacksClient | JobRunner | Scope.Scope> {
  const { look, membership, requests, stacks, storage } = options
  const scope = yield* Scope.fork(yield* Effect.scope)
  const services = yield* Effect.context<StacksClient | JobRunner>()
  const held = new Map<string, Held>()
  /** The stacks that are about to end. */
  const closing = new Map<string, Fiber.Fiber<unknown>>()
  const leaderless = new Map<string, number>()
  let hasLeft = false

  const resign = (term: Term) => requests.promptly(storage.resign(term))

  const close = (led: Held, isResigned: boolean) => {
    const { stackKey } = led.term
    led.isOpen = false
    held.delete(stackKey)
    const ending = Fiber.interrupt(led.fiber).pipe(
      Effect.andThen(isResigned ? resign(led.term) : Effect.void),
      Effect.ensuring(Effect.sync(() => closing.delete(stackKey)))
    )
    closing.set(stackKey, Effect.runForkWith(services)(ending))
  }

  const open = Effect.fnUntraced(function* (memberId: number, taken: Taken) {
    const { fence, stackKey } = taken
    const stack = stacks.find(({ key }) => key === stackKey)
    if (stack === undefined) return
    const led: Led = {
      term: { memberId, stackKey, fence },
      options: stack,
      isOpen: true,
      stack: undefined,
      queue: undefined,
      wanted: 0,
      watched: new Set()
    }
    const fiber = yield* Effect.forkIn(Effect.provideContext(lead(options, led, taken), services), scope)
    held.set(stackKey, Object.assign(led, { fiber, takenAt: look() }))
  })

  const take = Effect.fnUntraced(function* (memberId: number, stackKeys: ReadonlyArray<string>) {
    if (stackKeys.length === 0) return
    const taken = yield* requests.promptly(storage.take(memberId, stackKeys))
    // Without the lease the answer came too late. The next look shows what was taken.
    if (taken === undefined || hasLeft || membership.id() !== memberId || !membership.lease.isHeld()) return
    for (const each of taken) yield* open(memberId, each)
  })

  /** Ends the stacks of queues that another look has shown to be led by others. */
  const closeLost = (memberId: number, queues: ReadonlyArray<QueueRow>, lookNumber: number) => {
    const rows = new Map(queues.map((row) => [row.stackKey, row]))
    for (const led of held.values()) {
      const row = rows.get(led.term.stackKey)
      const isLost = row?.leader !== memberId || row.fence !== led.term.fence
      if (isLost && led.takenAt < lookNumber) close(led, false)
    }
  }

  const resignMisplaced = (memberId: number, placed: ReturnType<typeof place>) => {
    for (const led of held.values()) {
      const leader = placed.get(led.term.stackKey)
      if (leader !== undefined && leader !== memberId) close(led, true)
    }
  }

  /** Whether this process takes a queue, as far as this look shows. */
  const isWanted = (memberId: number, { leader, stackKey }: QueueRow, placed: ReturnType<typeof place>): boolean => {
    const looks = leader === null ? (leaderless.get(stackKey) ?? 0) + 1 : 0
    leaderless.set(stackKey, looks)
    const isListed = stacks.some(({ key }) => key === stackKey)
    return leader === null && isListed && (placed.get(stackKey) === memberId || looks > maxLeaderless)
  }

  const reconcile = Effect.fnUntraced(function* (memberId: number, { members, queues }: Snapshot, lookNumber: number) {
    if (hasLeft || !membership.lease.isHeld()) return
    closeLost(memberId, queues, lookNumber)
    const alive = members.filter(({ lapsesIn }) => lapsesIn > 0)
    const placed = place(alive, queues)
    resignMisplaced(memberId, placed)
    const wanted: Array<string> = []
    for (const row of queues) {
      const { fence, leader, stackKey } = row
      if (held.has(stackKey) || closing.has(stackKey)) continue
      // Taken by a statement whose answer was lost, or before the lease lapsed.
      if (leader === memberId) yield* resign({ memberId, stackKey, fence })
      if (isWanted(memberId, row, placed)) wanted.push(stackKey)
    }
    yield* take(memberId, wanted)
  })

  return {
    led: () => Array.from(held.values()),
    reconcile,
    resignAll: () => {
      for (const led of held.values()) close(led, true)
    },
    lose: () => {
      for (const led of held.values()) close(led, false)
    },
    ended: Effect.suspend(() => {
      hasLeft = true
      return Fiber.awaitAll(closing.values())
    }).pipe(Effect.asVoid)
  }
})
