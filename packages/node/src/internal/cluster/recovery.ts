/** Recovery: what happens to a job whose process died while it ran the job. */
import type { StacksError } from "@stacksapi/core/StacksError"
import { isAgentOwned, isFinal, type JobState } from "@stacksapi/core/StacksSchema"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"

/** `fail`: finish it with an error, unless an agent has it. `retry`: run it again, unless an agent has it. */
export type OnProcessDeath = "fail" | "retry"

export const diedMessage = "The process that ran the job died before the job had ended"

/** Whether a job needs no process: its agent continues without the process that started it, or the job is over. */
export const needsNoProcess = (state: JobState | undefined): boolean =>
  state !== undefined && (isAgentOwned(state) || isFinal(state))

/** The same of a job whose state is read now. */
export const hasAgentOrIsOver = (
  jobUuid: string,
  state: Effect.Effect<JobState | undefined, StacksError>
): Effect.Effect<boolean> =>
  state.pipe(
    Effect.retry({ schedule: Schedule.spaced("2 seconds"), while: ({ isRetryable }) => isRetryable }),
    Effect.map(needsNoProcess),
    // Without a state, the job is left alone, because an agent may be running it. If none is, its reservation lapses.
    Effect.catch((error) =>
      Effect.as(
        Effect.logWarning(`Job ${jobUuid} was started by another process, and is left alone: ${error.message}`),
        true
      )
    )
  )
