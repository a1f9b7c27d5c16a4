/**
 * What happens in a stack, as it happens.
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
 * About the stack:
 * - `Registered`: the service knows the stack. `ReRegistered`: the service had forgotten it (404), and knows it again.
 * - `Polled`: the queue was read. `startable` of the `listed` jobs may start now.
 * - `Paused`, `Resumed`: the queue's dispatch. While it is paused nothing starts, and running jobs go on.
 * - `RequestFailed`: a request failed and will be retried. `jobUuid` is set where one job makes its requests fail; that is
 *   reported once for each job and operation.
 * - `StartsSuspended`: starts of different jobs kept failing. The stack reserves nothing for `delay`, then tries one job.
 *   `StartsResumed`: that job started.
 * - `Draining`: no more jobs are taken. `Stopped`: the stack has ended.
 *
 * About a listed job:
 * - `JobIgnored`: the stack can't use the job, and leaves it alone. Reported once for each job.
 * - `NotAdmitted`: the stack does not reserve the job, because of the option `admit`, or because its `requests` are larger than the
 *   capacity.
 * - `NotReserved`: somebody else was faster, the job can't be reserved any more, or the stack ended while the job was in doubt.
 * - `InDoubt`: a response left open whether the job is reserved. The stack asks again to learn it. The job holds no slot, unless it
 *   runs: then the response was one to a renewal.
 *
 * About a reserved job, in this order: `Reserved`, `Started`, then one of
 * - `Finished`: the service accepted the runner's own outcome.
 * - `AgentOwned`: an agent has the job, or has finished it.
 * - `Failed`: finished with -1 and `stack_error`.
 * - `Canceled`: the job is canceled, timed out or expired. Its runner has ended, if it had one.
 * - `ReservationLost`: the job belongs to somebody else. Its runner has ended, if it had one.
 * - `Released`: the job was given back to the queue.
 *
 * In between:
 * - `BackedOff`: the job could not be started, stays reserved, and is started again after `delay`.
 * - `FinishRejected`: the service refuses to finish the job, which still is this stack's. The stack tries again, with a delay of
 *   up to 5 minutes. Reported once for each job.
 *
 * `sinceScheduled` counts from the job's `runnableAt` where that is later.
 *
 * @since 0.1.0
 * @category models
 */
export type StackEvent = Data.TaggedEnum<{
  Registered: { readonly stackKey: string; readonly queueKey: string }
  ReRegistered: { readonly stackKey: string; readonly queueKey: string }
  Polled: { readonly listed: number; readonly startable: number }
  Paused: {}
  Resumed: {}
  RequestFailed: { readonly error: StacksError | CursorStalled; readonly jobUuid?: string | undefined }
  StartsSuspended: { readonly message: string; readonly delay: Duration.Duration }
  StartsResumed: {}
  Draining: { readonly inFlight: number }
  Stopped: {}
  JobIgnored: { readonly jobUuid: string; readonly reason: string }
  NotAdmitted: { readonly job: ScheduledJob; readonly reason: string }
  NotReserved: { readonly job: ScheduledJob }
  InDoubt: { readonly job: ScheduledJob; readonly reason: string }
  Reserved: { readonly job: ScheduledJob }
  Started: { readonly job: ScheduledJob; readonly sinceScheduled: Duration.Duration }
  BackedOff: { readonly job: ScheduledJob; readonly delay: Duration.Duration; readonly message: string }
  FinishRejected: { readonly job: ScheduledJob; readonly error: StacksError }
  Finished: { readonly job: ScheduledJob; readonly exitStatus: number; readonly detail: string }
  AgentOwned: { readonly job: ScheduledJob; readonly state: JobState | undefined }
  Failed: { readonly job: ScheduledJob; readonly detail: string }
  Canceled: { readonly job: ScheduledJob; readonly state: JobState }
  ReservationLost: { readonly job: ScheduledJob }
  Released: { readonly job: ScheduledJob; readonly reason: string }
}>

/**
 * Constructors and matchers of {@link StackEvent}.
 *
 * @since 0.1.0
 * @category models
 */
export const StackEvent = Data.taggedEnum<StackEvent>()
