/**
 * What a cluster asks of its database. Each operation is one statement that names what it assumes, so a statement that takes effect
 * late, or a second time, does nothing. `postgres.ts` implements it; tests have an implementation in memory.
 */

import type { StopReason } from "@stacksapi/core/JobRunner"
import type { SavedOutcome } from "@stacksapi/core/JobStore"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Hint } from "./hints.ts"
import type { Outcome } from "./outcome.ts"

/** The database failed, or its response was lost. */
export class StorageError extends Data.TaggedError("StorageError")<{
  readonly message: string
  /** Whether the same statement may succeed later. */
  readonly isRetryable: boolean
  readonly cause?: unknown
}> {}

type Request<A> = Effect.Effect<A, StorageError>

// -----------------------------------------------------------------------------
// Rows
// -----------------------------------------------------------------------------

/** A process that wants to be a member. */
export interface NewMember {
  readonly clusterKey: string
  readonly name: string
  readonly slots: number
  /** The stacks whose queues it can lead, and whose jobs it can run. */
  readonly stackKeys: ReadonlyArray<string>
}

/** What a member reports with each heartbeat. */
export interface Report {
  readonly free: number
  readonly phase: "open" | "leaving"
  /** How many slots each queue that it leads could use, by stack key. */
  readonly demands: Readonly<Record<string, number>>
}

/** A member. Its id is never used again after it is gone. */
export interface Member extends Report, Omit<NewMember, "clusterKey"> {
  readonly id: number
  /** Milliseconds since its last heartbeat. */
  readonly silentMillis: number
  /** Milliseconds until it counts as dead; negative if it does. */
  readonly expiresInMillis: number
}

/** The leader of a queue. The fence counts the leaders that the queue has had. */
export interface QueueRow {
  readonly stackKey: string
  readonly leader: number | null
  readonly fence: number
}

/** A period for which a member leads a queue. The member may change the queue's jobs as long as the queue's row names this term. */
export interface Term {
  readonly memberId: number
  readonly stackKey: string
  readonly fence: number
}

/** A queue that the member leads from now on. */
export interface Taken extends Omit<Term, "memberId"> {
  /** Milliseconds since the last leader resigned; undefined if it died; infinite if there was none. */
  readonly leaderlessMillis: number | undefined
}

/** A job that a member runs. */
export interface OwnedJob {
  readonly dispatch: number
  /** Why its runner should stop. */
  readonly stop: StopReason | null
}

/** The state of the cluster, as one statement saw it. */
export interface Snapshot {
  readonly members: ReadonlyArray<Member>
  readonly queues: ReadonlyArray<QueueRow>
  /** The jobs that the member who asks owns and runs. */
  readonly owned: ReadonlyArray<OwnedJob>
  /** The turn of the allocation, by the database's clock, so that all leaders agree. */
  readonly turn: number
}

/**
 * - `saved`: may be reserved.
 * - `ready`: may be claimed by any member.
 * - `running`: its owner runs it. Without an owner it is orphaned: its owner died, or gave it up while it ran.
 * - `ended`: has an outcome.
 */
export type Phase = "saved" | "ready" | "running" | "ended"

/** A job, as the next leader finds it. */
export interface StoredJob {
  /** Of the row: a job that is saved again has another one. */
  readonly id: number
  readonly job: ScheduledJob
  readonly phase: Phase
  readonly outcome: Outcome | undefined
  /** What a leader was about to tell the service. */
  readonly finish: SavedOutcome | undefined
}

/** A job that ended, or whose owner is gone. */
export interface EndedJob {
  readonly stackKey: string
  readonly jobUuid: string
  readonly dispatch: number
  readonly owner: number | null
  /** Undefined if it is orphaned. */
  readonly outcome: Outcome | undefined
}

/** A job that a member has claimed. Each time that a job is made ready it gets another dispatch number, and a higher one. */
export interface ClaimedJob {
  readonly stackKey: string
  readonly dispatch: number
  readonly job: ScheduledJob
}

// -----------------------------------------------------------------------------
// Operations
// -----------------------------------------------------------------------------

export interface Storage {
  // Membership

  /**
   * Adds a member. Adds none if the tables belong to a cluster with another key, and returns that key. Of two processes with different
   * keys that join empty tables at the same moment, at most one is added.
   */
  readonly join: (member: NewMember) => Request<{ readonly memberId: number } | { readonly foreignKey: string }>
  /** Renews the lease. False if the member is gone. */
  readonly heartbeat: (memberId: number, report: Report) => Request<boolean>
  /** Removes the member. What it leads has no leader then, and what it runs is orphaned. */
  readonly leave: (memberId: number) => Request<void>
  /** Removes all members whose lease has expired. */
  readonly deleteExpired: Request<void>
  readonly snapshot: (memberId: number) => Request<Snapshot>

  // Leadership

  /** Takes those of the queues that nobody leads. */
  readonly take: (memberId: number, stackKeys: ReadonlyArray<string>) => Request<ReadonlyArray<Taken>>
  readonly resign: (term: Term) => Request<void>

  // The leader's jobs. These do nothing for a term that is over.

  readonly load: (term: Term) => Request<ReadonlyArray<StoredJob>>
  /** Saves jobs, and returns the ids of their rows. Undefined if the term is over. */
  readonly save: (
    term: Term,
    jobs: ReadonlyArray<{ readonly job: ScheduledJob; readonly finish?: SavedOutcome | undefined }>
  ) => Request<ReadonlyMap<string, number> | undefined>
  /** Removes jobs. Without the id of its row a job is removed only if it is `saved`. */
  readonly remove: (
    term: Term,
    jobs: ReadonlyArray<{ readonly jobUuid: string; readonly id: number | undefined }>
  ) => Request<void>
  /**
   * Makes jobs ready that are saved, or that ended or were orphaned in the dispatch `after`. Jobs that were made ready before stay
   * as they are. Returns the jobs that have a row, and whether each was made ready now.
   */
  readonly offer: (
    term: Term,
    jobs: ReadonlyArray<{ readonly jobUuid: string; readonly after: number }>,
    hint: Hint
  ) => Request<ReadonlyMap<string, { readonly isNew: boolean }>>
  /**
   * Tells the owner of a job why its runner should stop, if the job runs under this dispatch number. Returns the number under which it
   * runs, and whether the owner was told; undefined if no process runs it.
   */
  readonly requestStop: (
    term: Term,
    run: { readonly jobUuid: string; readonly id: number; readonly dispatch: number },
    reason: StopReason
  ) => Request<{ readonly dispatch: number; readonly isTold: boolean } | undefined>
  /** The jobs that ended or were orphaned, of all queues that the member leads. */
  readonly ended: (memberId: number) => Request<ReadonlyArray<EndedJob>>

  // The owner's jobs. These do nothing for jobs that the member does not own.

  /** Claims at most `limit` ready jobs, and at most this share of them, rounded up. */
  readonly claim: (
    memberId: number,
    stackKeys: ReadonlyArray<string>,
    limit: number,
    share: number
  ) => Request<ReadonlyArray<ClaimedJob>>
  /** Writes outcomes, or that a job is orphaned. Returns whether jobs are ready. */
  readonly end: (
    memberId: number,
    ended: ReadonlyArray<{ readonly dispatch: number; readonly outcome: Outcome | undefined }>
  ) => Request<boolean>
  /** Makes jobs ready again that were claimed and not begun. */
  readonly giveBack: (memberId: number, dispatches: ReadonlyArray<number>) => Request<void>

  // Hints and garbage

  /** Receives hints until it fails. Waits for ever if the database can't notify. */
  readonly listen: (onHint: (hint: Hint) => void) => Effect.Effect<never, StorageError, Scope.Scope>
  readonly notify: (hint: Hint) => Request<void>
  /** Removes what nothing else removes: queues that nobody has listed for a day, and their jobs. */
  readonly collectGarbage: Request<void>
}
