/** Reads the states of any number of jobs. One bad job does not affect the others. */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as StacksClient from "../../StacksClient.ts"
import type { StacksError } from "../../StacksError.ts"
import { type JobState, MaxBatchSize } from "../../StacksSchema.ts"
import { type FailedPart, isolate, mayBeOneJob, type Offender } from "../isolate.ts"
import { stateIn } from "./stateIn.ts"

export interface ReadResult {
  /** The states of the jobs; undefined for unknown jobs. */
  readonly states: ReadonlyMap<string, JobState | undefined>
  /** Jobs whose states could not be read in a request of their own. */
  readonly offenders: ReadonlyArray<Offender<string>>
  /** Jobs whose states could not be read. */
  readonly failed: ReadonlyArray<FailedPart<string>>
}

/** Sends requests of up to 1000 jobs. A failed request is divided if one job may be the cause. */
export const readStates = Effect.fnUntraced(function* (
  client: StacksClient.Service,
  stackKey: string,
  jobUuids: ReadonlyArray<string>,
  isDivisible: (error: StacksError) => boolean = mayBeOneJob
): Effect.fn.Return<ReadResult> {
  const states = new Map<string, JobState | undefined>()
  const offenders: Array<Offender<string>> = []
  const failed: Array<FailedPart<string>> = []
  const request = (jobUuids: ReadonlyArray<string>) => client.getJobStates({ stackKey, jobUuids })
  const onAnswer = (jobUuids: ReadonlyArray<string>, answer: { readonly states: Readonly<Record<string, JobState>> }) =>
    Effect.sync(() => {
      for (const jobUuid of jobUuids) states.set(jobUuid, stateIn(answer.states, jobUuid))
    })
  const ask = (jobUuids: ReadonlyArray<string>) =>
    Effect.matchEffect(request(jobUuids), {
      onSuccess: (answer) => onAnswer(jobUuids, answer),
      onFailure: (error) => {
        if (!isDivisible(error)) {
          failed.push({ items: jobUuids, error })
          return Effect.void
        }
        return Effect.map(isolate({ items: jobUuids, error, request, onAnswer, isDivisible }), (isolated) => {
          offenders.push(...isolated.offenders)
          failed.push(...isolated.failed)
        })
      }
    })
  yield* Effect.forEach(Arr.chunksOf(jobUuids, MaxBatchSize), ask, { concurrency: 5, discard: true })
  return { states, offenders, failed }
})
