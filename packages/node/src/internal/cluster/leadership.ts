/**
 * Leadership: which queues this process leads. All processes compute the same placement from the rows. A process takes leaderless queues
 * that the placement assigns to it, and resigns from queues that the placement assigns to another process.
 */
import type { JobRunner } from "@stacksapi/core/JobRunner"
import type { StacksClient } from "@stacksapi/core/StacksClient"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { LeaderOptions, Led, StackOptions } from "./leader.ts"
import type { Membership } from "./membership.ts"
import * as OpenStacks from "./openStacks.ts"
import { place } from "./placement.ts"
import type { Member, QueueRow, Snapshot, StoredJob } from "./storage.ts"

export interface Leadership {
  readonly led: () => ReadonlyArray<Led>
  /** Takes and resigns queues according to a snapshot with its sequence number. */
  readonly reconcile: (memberId: number, snapshot: Snapshot, snapshotNumber: number) => Effect.Effect<void>
  /** Resigns all queues in the background. */
  readonly resignAll: () => void
  /** The process leaves. Resigns the queues that another open member lists, and reserves nothing more for the others. */
  readonly handOver: (memberId: number | undefined, members: ReadonlyArray<Member>) => void
  /** Waits until no job of the queues that it still leads runs, or has an outcome that the service does not have. */
  readonly settled: Effect.Effect<void>
  /** Stops leading all queues without resigning, because the member was deleted. */
  readonly onMemberRemoved: () => void
  /** Resigns all queues for good, and waits until the stacks have ended. */
  readonly end: Effect.Effect<void>
}

export interface LeadershipOptions extends LeaderOptions {
  readonly membership: Pick<Membership, "id" | "lease">
  readonly stacks: ReadonlyArray<StackOptions>
  /** The sequence number of the last snapshot request that was sent. */
  readonly lastSnapshot: () => number
}

/** After a queue was leaderless in this many snapshots, any process may take it, regardless of the placement. */
const maxLeaderless = 5

/** How often a process that leaves looks whether the jobs of its queues are over. */
const settleInterval = "250 millis"

export const make = Effect.fnUntraced(function* (
  options: LeadershipOptions
): Effect.fn.Return<Leadership, never, StacksClient | JobRunner | Scope.Scope> {
  const { membership, requests, stacks, storage } = options
  const openStacks = yield* OpenStacks.make(options)
  const leaderless = new Map<string, number>()
  let hasEnded = false

  const take = Effect.fnUntraced(function* (memberId: number, stackKeys: ReadonlyArray<string>) {
    if (stackKeys.length === 0) return
    const taken = yield* requests.promptly(storage.take(memberId, stackKeys))
    // Without the lease the response came too late. The next snapshot shows what was taken.
    if (taken === undefined || hasEnded || membership.id() !== memberId || !membership.lease.isHeld()) return
    for (const each of taken) yield* openStacks.open(memberId, each)
  })

  /** Whether this process takes a queue, according to this snapshot. */
  const isWanted = (memberId: number, { leader, stackKey }: QueueRow, placed: ReturnType<typeof place>): boolean => {
    const snapshots = leader === null ? (leaderless.get(stackKey) ?? 0) + 1 : 0
    leaderless.set(stackKey, snapshots)
    const isListed = stacks.some(({ key }) => key === stackKey)
    const isOverdue = snapshots > maxLeaderless && !options.isLeaving()
    return leader === null && isListed && !hasEnded && (placed.get(stackKey) === memberId || isOverdue)
  }

  const reconcile = Effect.fnUntraced(function* (
    memberId: number,
    { members, queues }: Snapshot,
    snapshotNumber: number
  ) {
    if (!membership.lease.isHeld()) return
    closeLost(openStacks, memberId, queues, snapshotNumber)
    // The row may not say yet that this process leaves.
    const alive = members
      .filter(({ expiresInMillis }) => expiresInMillis > 0)
      .map((member) =>
        member.id === memberId && options.isLeaving() ? { ...member, phase: "leaving" as const } : member
      )
    const placed = place(alive, queues)
    resignMisplaced(openStacks, memberId, placed)
    const wanted: Array<string> = []
    for (const row of queues) {
      const { fence, leader, stackKey } = row
      if (openStacks.has(stackKey)) continue
      // Taken by a statement whose response was lost or too late, or not resigned when it should have been.
      if (leader === memberId) yield* openStacks.resign({ memberId, stackKey, fence })
      if (isWanted(memberId, row, placed)) wanted.push(stackKey)
    }
    yield* take(memberId, wanted)
  })

  const closeAll = (isResigned: boolean) => {
    for (const stack of openStacks.all()) openStacks.close(stack, isResigned)
  }

  return {
    led: openStacks.all,
    reconcile,
    resignAll: () => closeAll(true),
    onMemberRemoved: () => closeAll(false),
    handOver: (memberId, members) => {
      for (const stack of openStacks.all()) {
        const { stackKey } = stack.term
        if (members.some((member) => member.id !== memberId && canLead(member, stackKey))) openStacks.close(stack, true)
        else openStacks.stopReserving(stack)
      }
    },
    settled: awaitSettled(options, openStacks),
    end: Effect.suspend(() => {
      hasEnded = true
      closeAll(true)
      return openStacks.ended
    })
  }
})

/** Ends the stacks of queues that this snapshot shows to be led by others. */
const closeLost = (
  openStacks: OpenStacks.OpenStacks,
  memberId: number,
  queues: ReadonlyArray<QueueRow>,
  snapshotNumber: number
) => {
  const rows = new Map(queues.map((row) => [row.stackKey, row]))
  for (const stack of openStacks.all()) {
    const row = rows.get(stack.term.stackKey)
    const isLost = row?.leader !== memberId || row.fence !== stack.term.fence
    if (isLost && stack.takenAt < snapshotNumber) openStacks.close(stack, false)
  }
}

const resignMisplaced = (openStacks: OpenStacks.OpenStacks, memberId: number, placed: ReturnType<typeof place>) => {
  for (const stack of openStacks.all()) {
    const leader = placed.get(stack.term.stackKey)
    if (leader !== undefined && leader !== memberId) openStacks.close(stack, true)
  }
}

const awaitSettled = ({ membership, requests, storage }: LeadershipOptions, openStacks: OpenStacks.OpenStacks) =>
  Effect.gen(function* () {
    while (openStacks.all().length > 0 && membership.lease.isHeld()) {
      const loaded = yield* Effect.forEach(openStacks.all(), ({ term }) => requests.promptly(storage.load(term)))
      if (loaded.every((stored) => stored?.some(isUnsettled) === false)) return
      yield* Effect.sleep(settleInterval)
    }
  })

const canLead = ({ phase, stackKeys }: Member, stackKey: string): boolean =>
  phase === "open" && stackKeys.includes(stackKey)

/** Whether a process runs the job, or the service may not know how it ended. */
const isUnsettled = ({ phase }: StoredJob): boolean => phase === "running" || phase === "ended"
