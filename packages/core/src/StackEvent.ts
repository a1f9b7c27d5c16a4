/**
 * What happens in a stack, as it happens.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type { StacksError } from "./StacksError.ts"
import type { JobState, ScheduledJob } from "./StacksSchema.ts"

/**
 * Something that happened in a stack.
 *
 * **Details**
 *
 * Of the stack:
 * - `Registered`: the service knows the stack. `ReRegistered`: it had forgotten it (404), and knows it again.
 * - `Polled`: a look at the queue; `startable` of the `listed` jobs may start now.
 * - `Paused`, `Resumed`: the queue's dispatch. While it is paused nothing new starts, and what runs goes on.
 * - `RequestFailed`: a request failed and will be tried again.
 * - `Draining`: no more jobs are taken. `Stopped`: all is done.
 *
 * Of a job, in this order:
 * - `Reserved`, `Started`, then one of `Finished` (the stack finished it with its own outcome), `AgentOwned` (an agent has
 *   it, or has finished it), `Failed` (finished with -1 and `stack_error`), `Canceled` (its runner was interrupted, or had
 *   ended by then), `ReservationLost` (the reservation is somebody else's; its runner was interrupted) or `FinishRejected` (the service does not
 *   take its end). `sinceScheduled` counts from the job's `runnableAt` where that is later.
 * - `NotReserved`: somebody else was faster, or it is no longer reservable.
 * - `BackedOff`: it could not be started, and is tried again after `delay`.
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
  RequestFailed: { readonly error: StacksError }
  Draining: { readonly inFlight: number }
  Stopped: {}
  Reserved: { readonly job: ScheduledJob }
  NotReserved: { readonly job: ScheduledJob }
  Started: { readonly job: ScheduledJob; readonly sinceScheduled: Duration.Duration }
  Finished: { readonly job: ScheduledJob; readonly exitStatus: number; readonly detail: string }
  AgentOwned: { readonly job: ScheduledJob; readonly state: JobState | undefined }
  Failed: { readonly job: ScheduledJob; readonly detail: string }
  Canceled: { readonly job: ScheduledJob; readonly state: JobState }
  ReservationLost: { readonly job: ScheduledJob }
  FinishRejected: { readonly job: ScheduledJob; readonly error: StacksError }
  BackedOff: { readonly job: ScheduledJob; readonly delay: Duration.Duration; readonly message: string }
}>

/**
 * Constructors and matchers of {@link StackEvent}.
 *
 * @since 0.1.0
 * @category models
 */
export const StackEvent = Data.taggedEnum<StackEvent>()
