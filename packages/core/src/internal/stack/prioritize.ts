/** Decides how many pending jobs may be reserved, and takes the most urgent ones that are admitted and have room. */
import { MaxBatchSize, type ScheduledJob } from "../../StacksSchema.ts"
import type { JobRecord } from "./jobTable.ts"
import type { StackState } from "./stackState.ts"

/** How many jobs the stack could reserve now, by its own slots, the pool and the circuit breaker. */
export const spareSlots = (state: StackState): number =>
  Math.min(room(state), state.dependencies.settings.pool?.free() ?? Number.POSITIVE_INFINITY)

/** How many slots the stack could use if the pool had them: for jobs to reserve, and for reserved jobs without a slot. */
export const wantedSlots = (state: StackState): number => {
  if (!state.mayStart()) return 0
  return Math.max(0, Math.min(waiting(state) + startable(state), room(state), MaxBatchSize))
}

const startable = (state: StackState): number => (state.reserveBackoffUntil > state.now() ? 0 : state.pending.size)

const waiting = (state: StackState): number => {
  if (state.table.count("Reserved", "BackingOff") === 0) return 0
  const now = state.now()
  const isDue = ({ keepsSlot, stage, startAt }: JobRecord) => !keepsSlot && (stage === "Reserved" || startAt <= now)
  return state.table.in("Reserved", "BackingOff").filter(isDue).length
}

/** Takes the most urgent pending jobs, as many as there are slots. Their amounts are in `reservingAmounts` until they are in the table. */
export const takePending = (state: StackState): ReadonlyArray<ScheduledJob> => {
  const { admission } = state.dependencies
  admission.resumeIfFreed()
  const wanted = Math.min(startable(state), wantedSlots(state))
  const slots = wanted > 0 ? state.poolMembership.take(wanted) : 0
  const select = admission.selector(slots)
  const jobs = state.pending.take(slots, (job, taken) => (state.mayReserve(job) ? select(job, taken) : "drop"))
  state.poolMembership.update()
  state.signals.demand.openUnsafe()
  return jobs
}

const room = (state: StackState): number => {
  const { breaker } = state.dependencies
  // Jobs with a delayed finish hold no slot, so their number must be limited here.
  if (state.unfinished() >= state.limit()) return 0
  if (!breaker.isSuspended()) return state.room()
  const isOneWaiting = state.table.count("Reserving", "ReservingAgain", "Reserved", "Starting") > 0
  return Math.min(state.room(), breaker.allowance(isOneWaiting))
}
