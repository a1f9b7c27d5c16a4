/**
 * The events of a stack.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type { CursorStalled, StacksError } from "./StacksError.ts"
import type { JobState, ScheduledJob } from "./StacksSchema.ts"

/**
 * Something that happened in a stack.
 *
 * **Details**
 *
 * A reserved job gets `Reserved`, and `Started` each time its runner is called. It ends with exactly one of `Finished`, `AgentOwned`,
 * `Failed`, `Canceled`, `ReservationLost` and `Released`, unless the stack detaches before that. Before its end it may get `BackedOff`
 * several times, and `FinishRejected` and `Interrupted` at most once. A job that ends before its start has no `Started`.
 *
 * @since 0.1.0
 * @category models
 */
export type StackEvent = Data.TaggedEnum<{
  /** The service has registered the stack. */
  Registered: { readonly stackKey: string; readonly queueKey: string }
  /** The service had forgotten the stack (404), and has registered it again. */
  ReRegistered: { readonly stackKey: string; readonly queueKey: string }
  /** The queue was read. `startable` of the `listed` jobs may start now. */
  Polled: { readonly listed: number; readonly startable: number }
  /** The queue's dispatch is paused. Nothing starts, and running jobs continue. */
  Paused: {}
  /** The queue's dispatch is no longer paused. */
  Resumed: {}
  /** A request failed and will be retried. `jobUuid` is set if one job is the cause; this is reported once for each job and operation. */
  RequestFailed: { readonly error: StacksError | CursorStalled; readonly jobUuid?: string | undefined }
  /** Starts of different jobs kept failing. The stack reserves nothing for `delay`, then tries one job. */
  StartsSuspended: { readonly message: string; readonly delay: Duration.Duration }
  /** A job has started again after `StartsSuspended`. */
  StartsResumed: {}
  /** The stack takes no more jobs. */
  Draining: { readonly inFlight: number }
  /** The stack drains, and the job has not ended within `shutdownGrace`. Its runner is interrupted, and its outcome follows. */
  Interrupted: { readonly job: ScheduledJob; readonly after: Duration.Duration }
  /** The stack has ended. */
  Stopped: {}
  /** The stack can't decode or use a listed job, and ignores it. Reported once for each job. */
  JobIgnored: { readonly jobUuid: string; readonly reason: string }
  /** The stack does not reserve the job, because `admit` refused it or failed, or its `requests` exceed the capacity. */
  NotAdmitted: { readonly job: ScheduledJob; readonly reason: string }
  /** The job is not reserved: another stack has it, it can't be reserved any more, or the stack ended while it was in doubt. */
  NotReserved: { readonly job: ScheduledJob }
  /** A response left open whether the job is reserved. The stack asks again. The job keeps its slot only if it is already running. */
  InDoubt: { readonly job: ScheduledJob; readonly reason: string }
  /** The service has reserved the job. */
  Reserved: { readonly job: ScheduledJob }
  /** The runner was called. `sinceScheduled` counts from the job's `runnableAt` if that is later than `scheduledAt`. */
  Started: { readonly job: ScheduledJob; readonly sinceScheduled: Duration.Duration }
  /** The job could not be started. It stays reserved, and starts again after `delay`. */
  BackedOff: { readonly job: ScheduledJob; readonly delay: Duration.Duration; readonly message: string }
  /** The service refuses to finish a job that this stack still has. The stack keeps trying, with delays of up to 5 minutes. */
  FinishRejected: { readonly job: ScheduledJob; readonly error: StacksError }
  /** The service accepted the runner's outcome. */
  Finished: { readonly job: ScheduledJob; readonly exitStatus: number; readonly detail: string }
  /** An agent has acquired the job, or has finished it. */
  AgentOwned: { readonly job: ScheduledJob; readonly state: JobState | undefined }
  /** The job was finished with -1 and `stack_error`. */
  Failed: { readonly job: ScheduledJob; readonly detail: string }
  /** The job was canceled, timed out or expired. Its runner has ended, if it had one. */
  Canceled: { readonly job: ScheduledJob; readonly state: JobState }
  /** Another stack may have the job. Its runner has ended, if it had one. */
  ReservationLost: { readonly job: ScheduledJob }
  /** The job was given back to the queue. */
  Released: { readonly job: ScheduledJob; readonly reason: string }
}>

/**
 * Constructors and matchers of {@link StackEvent}.
 *
 * @since 0.1.0
 * @category models
 */
export const StackEvent = Data.taggedEnum<StackEvent>()
