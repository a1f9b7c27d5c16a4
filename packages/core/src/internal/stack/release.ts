/**
 * Gives jobs back to the queue. The API can't cancel a reservation, so the stack stops renewing the job and reserves it again for one
 * second.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as RetryPolicy from "../../RetryPolicy.ts"
import { StackEvent } from "../../StackEvent.ts"
import { MaxBatchSize } from "../../StacksSchema.ts"
import { isolate, mayBeOneJob, mayBeOneJobAfterAll } from "../isolate.ts"
import * as Backoff from "./jobBackoff.ts"
import type { JobRecord } from "./jobTable.ts"
import { settle } from "./settle.ts"
import type { StackState } from "./stackState.ts"

const releasedExpiry = Duration.seconds(1)
const firstRetryMillis = 1000
const maxRetryMillis = 30_000

/** Shortens the reservations of jobs that the stack no longer has in its table. */
export const releaseUntracked = (state: StackState, jobUuids: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { client, settings } = state.dependencies
    const untracked = jobUuids.filter((jobUuid) => !state.table.has(jobUuid))
    return untracked.length === 0
      ? Effect.void
      : Effect.ignore(
          client.batchReserveJobs({ stackKey: settings.key, jobUuids: untracked, reservationExpiry: releasedExpiry })
        )
  })

/**
 * Gives jobs back, and reports the reason for each. Retries until the service has responded, or the last reservation has lapsed. This
 * stack does not take the jobs again for 30 seconds; the delay doubles each time.
 */
export const release = Effect.fnUntraced(function* (
  state: StackState,
  records: ReadonlyArray<JobRecord>,
  reason: string
): Effect.fn.Return<void> {
  const { client, settings } = state.dependencies
  for (const record of records) {
    state.table.move(record, "Releasing")
    state.released.add(record.job.id, state.now(), Backoff.afterRelease)
  }
  if (records.length === 0) return
  state.wake()
  // Wait for a renewal in flight, which would extend the reservation again.
  yield* state.signals.renewIdle.await
  const remaining = new Map(records.map((record) => [record.job.id, record]))

  const released = (jobUuids: ReadonlyArray<string>) =>
    Effect.forEach(
      jobUuids,
      (jobUuid) => {
        const record = remaining.get(jobUuid)
        if (record === undefined) return Effect.void
        remaining.delete(jobUuid)
        return settle(state, record, releasedEvent(record, reason))
      },
      { discard: true }
    )
  const request = (jobUuids: ReadonlyArray<string>) =>
    client
      .batchReserveJobs({ stackKey: settings.key, jobUuids, reservationExpiry: releasedExpiry })
      .pipe(RetryPolicy.withPolicy(RetryPolicy.none))
  const expiry = Duration.toMillis(settings.reservationExpiry)

  for (let tries = 0; remaining.size > 0; tries++) {
    if (tries > 0) yield* Effect.sleep(Math.min(maxRetryMillis, firstRetryMillis * 2 ** Math.min(10, tries - 1)))
    const lapsed = Array.from(remaining.values()).filter(
      ({ requestedAt, confirmedAt }) => Math.max(requestedAt, confirmedAt) + expiry <= state.now()
    )
    yield* released(lapsed.map(({ job }) => job.id))
    const jobUuids = Array.from(remaining.keys()).slice(0, MaxBatchSize)
    if (jobUuids.length === 0) continue
    yield* Effect.matchEffect(request(jobUuids), {
      onSuccess: () => released(jobUuids),
      onFailure: (error) =>
        mayBeOneJob(error) || (tries >= 2 && mayBeOneJobAfterAll(error))
          ? Effect.asVoid(
              isolate({ items: jobUuids, error, request, onAnswer: released, isDivisible: mayBeOneJobAfterAll })
            )
          : Effect.void
    })
  }
})

/** A job in doubt may never have been reserved. */
const releasedEvent = ({ isRecovered, job, wasReserved }: JobRecord, reason: string): StackEvent =>
  wasReserved || isRecovered ? StackEvent.Released({ job, reason }) : StackEvent.NotReserved({ job })
