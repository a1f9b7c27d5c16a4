/** Goes on with the jobs that an earlier process has saved. */
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

/** Puts saved jobs into the table: outcomes are sent, and the other jobs are reserved again. */
export const recover = (state: StackState, saved: ReadonlyArray<SavedJob>): Effect.Effect<void> =>
  Effect.forEach(
    // Each job once, as it was saved last.
    new Map(saved.map((entry) => [entry.job.id, entry])).values(),
    ({ job, outcome }) => {
      if (outcome !== undefined) return sendRecovered(state, job, outcome)
      // Asked for at once, before any other job. A listed job may be among them.
      state.add(job, "InDoubt", true)
      return Effect.void
    },
    { discard: true }
  )

/** A recovered job that can't be reserved: an agent of the earlier process may have it. */
export const onRecoveredJobRefused = Effect.fnUntraced(function* (state: StackState, record: JobRecord) {
  const { runner, states } = state.dependencies
  const { job } = record
  // Where agents outlive the stack, one may run the job in its slot.
  const jobState =
    runner.outlivesStack === true ? yield* states.ask(job.id) : Option.getOrUndefined(yield* states.askBriefly(job.id))
  if (state.table.get(job.id) !== record) return
  const hasAgent = jobState !== undefined && isAgentOwned(jobState)
  // The runner finds the agent again, and waits for it.
  if (hasAgent && runner.outlivesStack === true && record.stage === "InDoubt") {
    record.isRenewed = false
    return yield* launch(state, record, true)
  }
  yield* settle(state, record, endOf(job, jobState) ?? StackEvent.NotReserved({ job }))
})
