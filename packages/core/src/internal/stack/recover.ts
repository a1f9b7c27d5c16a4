/** Continues with the jobs that an earlier process has saved. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SavedJob } from "../../JobStore.ts"
import { StackEvent } from "../../StackEvent.ts"
import { isAgentOwned } from "../../StacksSchema.ts"
import { sendRecovered } from "./finish.ts"
import type { JobRecord } from "./jobTable.ts"
import { settle } from "./settle.ts"
import type { StackState } from "./stackState.ts"
import { launch } from "./start.ts"
import { endOf } from "./watch.ts"

/** Adds saved jobs to the table. Outcomes are sent, and the other jobs are reserved again. */
export const recover = (state: StackState, saved: ReadonlyArray<SavedJob>): Effect.Effect<void> =>
  Effect.forEach(
    // Use the last saved version of each job.
    new Map(saved.map((entry) => [entry.job.id, entry])).values(),
    ({ job, outcome }) => {
      if (outcome !== undefined) return sendRecovered(state, job, outcome)
      // These jobs are reserved before any other job. Some of them may also be listed.
      state.add(job, "ReservingAgain", true)
      return Effect.void
    },
    { discard: true }
  )

/** Handles a recovered job that can't be reserved. An agent of the earlier process may have it. */
export const onRecoveredJobRefused = Effect.fnUntraced(function* (state: StackState, record: JobRecord) {
  const { runner, states } = state.dependencies
  const { job } = record
  // If agents outlive the stack, one may be running the job.
  const jobState =
    runner.outlivesStack === true ? yield* states.ask(job.id) : Option.getOrUndefined(yield* states.askBriefly(job.id))
  if (state.table.get(job.id) !== record) return
  const hasAgent = jobState !== undefined && isAgentOwned(jobState)
  // The runner finds the agent, and waits for it.
  if (hasAgent && runner.outlivesStack === true && record.stage === "ReservingAgain") {
    record.isRenewed = false
    return yield* launch(state, record, true)
  }
  yield* settle(state, record, endOf(job, jobState) ?? StackEvent.NotReserved({ job }))
})
