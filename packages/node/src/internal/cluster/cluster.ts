/**
 * A process of a cluster, on PostgreSQL alone.
 *
 *     membership ──> leadership ──> dispatch ──> execution
 *      (a row,        (a queue's     (jobs of      (jobs that
 *       a lease)       row, fence)    the queue)    this process owns)
 *          └──────────────┴──────────────┴──> recovery
 *
 * The parts:
 *
 * - `membership.ts`: a process is alive if and only if it has a row in `members`. Each second it sets the row's expiry to the
 *   database's time plus `lockExpiration`. Any process that finds an expired row deletes it. Foreign keys then clear the leadership and
 *   ownership that refer to it. Ids are never used again, so nothing that a removed member writes has an effect. A process uses its lease
 *   for nine tenths of `lockExpiration`, measured from before it sent the heartbeat (`lease.ts`).
 * - `leadership.ts`, `placement.ts`: a queue's row names its leader and a fence, which each new leader raises. From
 *   the rows each process computes which process should lead which queue. Each process takes and resigns only its own leadership. Every write of a leader names its fence.
 * - `leader.ts`: the leader runs an ordinary `Stack`, whose `JobStore` is the table `saved_jobs` (`ledQueue.ts`), and whose runner
 *   makes a job ready and waits for its end (`dispatch.ts`). If agents outlive the stack, the leader calls the `JobRunner`
 *   itself, and no process claims the job.
 * - `worker.ts`: each process claims ready jobs for its free slots (`claims.ts`), runs them, and writes how they ended (`reports.ts`).
 * - `recovery.ts`: a job that runs and has no owner is orphaned. Its leader fails it or makes it ready again, unless an agent has it.
 * - `hints.ts`: all state is polled every second. A notification only triggers a read or a claim
 *   at once; what the database then returns decides.
 *
 * A job's row:
 *
 *     saved ──> ready ──> running ──> ended ──> (removed)
 *                 ^          │ owner gone: orphaned
 *                 └──────────┴── retry, with another dispatch number
 *
 * A statement whose response is lost may have taken effect, or may take effect later. Therefore each statement is conditional and
 * idempotent:
 *
 * - If the response to a claim is lost, the database names an owner that does not know about it. When the owner sees the job in a
 *   snapshot, it returns the job (`executions.ts`).
 * - An outcome is written for the owner and the dispatch number that it belongs to. A process remembers an ended job until a later snapshot
 *   shows that the database has its outcome.
 * - A removal names the id of the row: a job that is saved again has another one.
 *
 * This file starts a process and ends it.
 */
import type { JobRunner } from "@stacksapi/core/JobRunner"
import * as RateLimit from "@stacksapi/core/RateLimit"
import type * as Stack from "@stacksapi/core/Stack"
import type { StacksClient } from "@stacksapi/core/StacksClient"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { Service, Status } from "../../ClusterStack.ts"
import type { Publish } from "./events.ts"
import * as FailOnDefect from "./failOnDefect.ts"
import { type Hint, listenForever } from "./hints.ts"
import type { StackOptions } from "./leader.ts"
import * as Leadership from "./leadership.ts"
import * as Membership from "./membership.ts"
import * as Metrics from "./metrics.ts"
import type { OnProcessDeath } from "./recovery.ts"
import * as Requests from "./requests.ts"
import type { Storage, StorageError } from "./storage.ts"
import { View } from "./view.ts"
import * as Worker from "./worker.ts"

export interface ProcessOptions {
  readonly key: string
  readonly name: string
  readonly stacks: ReadonlyArray<StackOptions>
  readonly slots: number
  readonly expiration: Duration.Duration
  readonly onProcessDeath: OnProcessDeath
  readonly shutdownGrace: Duration.Duration
  readonly publish: Publish
}

/** How often the state is read, in milliseconds, for changes without a notification. */
const refreshInterval = 1000
/** Hints within this time trigger one read. */
const pace = "10 millis"
const collectInterval = "10 minutes"
// After `shutdownGrace`: 10 seconds to interrupt the runners, `settleTimeout`, `endTimeout`, and 4 seconds for the last statement. Together
// at most 25.
/** How long the last outcomes may take to the database, and from there to the service. */
const settleTimeout = "7 seconds"
/** How long the stacks of the queues may take to end. */
const endTimeout = "4 seconds"

/** What the parts of a process share. */
interface Process {
  readonly storage: Storage
  readonly requests: Requests.Requests
  readonly membership: Membership.Membership
  readonly leadership: Leadership.Leadership
  readonly worker: Worker.Worker
  readonly view: View
  readonly signals: Signals
}

interface Signals {
  readonly refreshLatch: Latch.Latch
  readonly readLatch: Latch.Latch
  /** How many requests for snapshots, and for ended jobs, were sent. */
  readonly sent: { snapshots: number; reads: number }
}

/** Starts a process. When the scope closes, it leaves. */
export const make = Effect.fnUntraced(function* (
  storage: Storage,
  options: ProcessOptions
): Effect.fn.Return<Service, InvalidOptions | StorageError, StacksClient | JobRunner | Scope.Scope> {
  const { expiration, key, name, slots, stacks } = options
  // For requests without another limiter.
  const limiter = Context.get(yield* Layer.build(RateLimit.layerMemory), RateLimit.RateLimit)
  const failure = yield* Deferred.make<never, Stack.StartError>()
  const failOnDefect = FailOnDefect.make(failure)
  const requests = yield* Requests.make(expiration)
  const signals: Signals = {
    refreshLatch: yield* Latch.make(false),
    readLatch: yield* Latch.make(false),
    sent: { snapshots: 0, reads: 0 }
  }
  const view = new View()
  const lastSnapshot = () => signals.sent.snapshots
  let isLeaving = false

  // The heartbeats end last.
  const heartbeats = yield* Scope.fork(yield* Effect.scope)
  const parts: { worker?: Worker.Worker; leadership?: Leadership.Leadership } = {}
  const membership = yield* Membership.make({
    storage,
    requests,
    failOnDefect,
    expiration,
    member: { clusterKey: key, name, slots, stackKeys: stacks.map(({ key }) => key) },
    report: () => ({
      free: parts.worker?.free() ?? slots,
      phase: isLeaving ? "leaving" : "open",
      demands: Object.fromEntries((parts.leadership?.led() ?? []).map(({ term, wanted }) => [term.stackKey, wanted]))
    }),
    onLost: (memberId) => {
      parts.leadership?.onMemberRemoved()
      parts.worker?.onMemberRemoved(memberId)
    },
    onLapse: () => {
      parts.leadership?.resignAll()
      parts.worker?.onLeaseExpired()
    }
  }).pipe(Scope.provide(heartbeats))
  const shared = {
    ...options,
    storage,
    requests,
    failOnDefect,
    membership,
    view,
    limiter,
    lastSnapshot,
    isLeaving: () => isLeaving
  }
  const worker = yield* Worker.make({ ...shared, tokenLifetime: stacks[0]?.reservationExpiry, stacks })
  const leadership = yield* Leadership.make({
    ...shared,
    lease: membership.lease,
    isOnly: stacks.length === 1,
    failure,
    readCount: () => signals.sent.reads,
    readSoon: () => void signals.readLatch.openUnsafe()
  })
  Object.assign(parts, { worker, leadership })
  const process: Process = { storage, requests, membership, leadership, worker, view, signals }

  for (const loop of loopsOf(process)) yield* Effect.forkIn(failOnDefect(loop), heartbeats)
  const status = makeStatus(process, slots, () => isLeaving)
  yield* Effect.forkScoped(failOnDefect(watchPhase(status)))
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isLeaving = true
      // In a separate fiber: SIGTERM may interrupt the fiber that closes the scope. Every step of leaving has a timeout.
      return Effect.flatMap(Effect.forkDetach(leave(process, options.shutdownGrace)), Fiber.join)
    })
  )
  return { status, awaitFailure: Deferred.await(failure) }
})

const loopsOf = (process: Process): ReadonlyArray<Effect.Effect<never>> => [
  refreshLoop(process),
  readLoop(process),
  listenForever(process.storage, (hint) => onHint(process, hint)),
  Effect.forever(Effect.delay(collectGarbage(process), collectInterval))
]

// -----------------------------------------------------------------------------
// Refreshing
// -----------------------------------------------------------------------------

/** Reads a snapshot of the cluster, and reacts to it. */
const refreshOnce = Effect.fnUntraced(function* ({
  leadership,
  membership,
  requests,
  signals,
  storage,
  view,
  worker
}: Process) {
  const memberId = membership.id()
  if (memberId === undefined) return refreshInterval
  const number = ++signals.sent.snapshots
  const snapshot = yield* requests.promptly(storage.snapshot(memberId))
  if (snapshot === undefined || membership.id() !== memberId) return refreshInterval
  view.update(snapshot)
  if (snapshot.members.some(({ expiresInMillis }) => expiresInMillis <= 0)) {
    // If the deletion fails, this process continues with the members that are alive.
    if ((yield* requests.promptly(Effect.as(storage.deleteExpired, true))) === true) return 0
  }
  yield* worker.reconcile(memberId, snapshot, number)
  yield* leadership.reconcile(memberId, snapshot, number)
  worker.claims.poll()
  // The time until the next heartbeat expires, at most `refreshInterval`. The next refresh deletes the expired member.
  return Math.min(refreshInterval, ...view.members.map(({ expiresInMillis }) => expiresInMillis + 10))
})

const refreshLoop = (process: Process): Effect.Effect<never> => {
  const { refreshLatch } = process.signals
  return Effect.suspend(() => {
    refreshLatch.closeUnsafe()
    return refreshOnce(process)
  }).pipe(
    Effect.flatMap((delay) => Effect.timeoutOption(refreshLatch.await, Math.max(0, delay))),
    Effect.andThen(Effect.sleep(pace)),
    Effect.forever
  )
}

/** Reads the jobs that ended, for the leaders of this process. */
const readLoop = ({ leadership, membership, requests, signals, storage }: Process): Effect.Effect<never> => {
  const readOnce = Effect.suspend(() => {
    signals.readLatch.closeUnsafe()
    const memberId = membership.id()
    const queues = leadership.led().flatMap(({ queue }) => queue ?? [])
    if (memberId === undefined || queues.length === 0) return Effect.void
    const number = ++signals.sent.reads
    return Effect.map(requests.promptly(storage.ended(memberId)), (ended) => {
      if (ended !== undefined) for (const queue of queues) queue.deliver(ended, number)
    })
  })
  return readOnce.pipe(
    Effect.andThen(Effect.timeoutOption(signals.readLatch.await, refreshInterval)),
    Effect.andThen(Effect.sleep(pace)),
    Effect.forever
  )
}

const onHint = ({ membership, signals, view, worker }: Process, hint: Hint): void => {
  const memberId = membership.id()
  if (memberId === undefined) return
  switch (hint._tag) {
    case "Claim": {
      const count = hint.counts.get(memberId)
      if (count !== undefined) worker.claims.invite(count)
      else if (Array.from(hint.counts.keys()).some((id) => view.deputyOf(id) === memberId)) worker.claims.pollLater()
      return
    }
    case "Ended":
      if (hint.memberId === memberId) signals.readLatch.openUnsafe()
      return
    case "Look":
      if (hint.memberId === undefined || hint.memberId === memberId) {
        signals.refreshLatch.openUnsafe()
        signals.readLatch.openUnsafe()
      }
  }
}

const collectGarbage = ({ membership, requests, storage, view }: Process) =>
  Effect.suspend(() =>
    // Only the member with the lowest id collects garbage.
    view.members[0]?.id === membership.id() ? Effect.asVoid(requests.promptly(storage.collectGarbage)) : Effect.void
  )

// -----------------------------------------------------------------------------
// Stopping
// -----------------------------------------------------------------------------

/**
 * Hands the queues over at once, lets the jobs end, and leaves the remaining ones to the other processes. A queue that no other process
 * lists keeps its leader until the outcomes of its last jobs are sent.
 */
const leave = ({ leadership, membership, view, worker }: Process, grace: Duration.Duration): Effect.Effect<void> =>
  Effect.gen(function* () {
    worker.claims.close()
    leadership.handOver(membership.id(), view.members)
    // This heartbeat reports the phase `leaving`, so the other processes stop sending hints to this one.
    yield* Effect.all([membership.heartbeat, worker.drain(grace)], { concurrency: "unbounded", discard: true })
    yield* Effect.timeoutOption(Effect.andThen(worker.flush, leadership.settled), settleTimeout)
    yield* Effect.timeoutOption(leadership.end, endTimeout)
    yield* membership.leave
  })

// -----------------------------------------------------------------------------
// Status
// -----------------------------------------------------------------------------

const makeStatus = (
  { leadership, membership, view, worker }: Process,
  slots: number,
  isLeaving: () => boolean
): Effect.Effect<Status> => {
  let hasJoined = false
  return Effect.gen(function* () {
    const isMember = membership.lease.isHeld() && membership.id() !== undefined
    hasJoined ||= isMember && view.members.length > 0
    const led = leadership.led()
    const leading = yield* Effect.forEach(led, ({ stack, term: { stackKey } }) =>
      stack === undefined ? Effect.succeed([]) : Effect.map(stack.status, (status) => [{ stackKey, status }])
    )
    return {
      phase: isLeaving() ? "leaving" : !hasJoined ? "joining" : isMember ? "running" : "partitioned",
      slots,
      processes: view.members.map(({ name, slots }) => ({ name, slots })),
      running: [...worker.running(), ...led.flatMap(({ watched }) => Array.from(watched))],
      leading: leading.flat()
    }
  })
}

/** Sets the gauges, and logs when the process is partitioned. */
const watchPhase = (status: Effect.Effect<Status>): Effect.Effect<never> =>
  Effect.suspend(() => {
    let last: Status["phase"] = "joining"
    return Effect.gen(function* () {
      const { leading, phase, running, slots } = yield* status
      yield* Metrics.update({
        isMember: phase === "running",
        slots,
        running: running.length,
        leading: leading.length
      })
      if (phase === "partitioned" && last === "running") {
        yield* Effect.logWarning(
          "This process is partitioned: the database does not confirm its membership of the cluster, so it starts nothing new"
        )
      }
      if (phase === "running" && last === "partitioned")
        yield* Effect.logInfo("This process is a member of the cluster again")
      last = phase
    }).pipe(Effect.andThen(Effect.sleep(refreshInterval)), Effect.forever)
  })
