/** The runner of a queue's stack: dispatches each job to a member of the cluster, and waits for the answer. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import { Sharding } from "effect/cluster/Sharding"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { type Answer, entityIdOf, fromAnswer, JobEntity } from "./jobEntity.ts"
import type { MemberTable } from "./memberTable.ts"
import type { Assignment, Ownership } from "./ownership.ts"

/** After how many seconds without a start the dispatcher checks why. */
const startCheckSeconds = 2
/** After how many seconds a job that a member with free slots has not started is dispatched to another member. */
const maxStartSeconds = 15

export const make = Effect.fnUntraced(function* (
  ownership: Ownership,
  members: MemberTable
): Effect.fn.Return<JobRunner.Service, never, Sharding> {
  const sharding = yield* Sharding
  const clientOf = yield* sharding.makeClient(JobEntity)

  const choose: Effect.Effect<number> = Effect.suspend(() => {
    const memberId = members.choose()
    return memberId === undefined ? Effect.delay(choose, "500 millis") : Effect.succeed(memberId)
  })

  return JobRunner.make(
    ({ job, stackKey }) => {
      const key = { stackKey, jobUuid: job.id }

      // A repeated request has the same primary key, so the job runs once.
      const request = ({ dispatchId, memberId }: Assignment): Effect.Effect<Answer> =>
        clientOf(entityIdOf(key, memberId))
          .Run({ stackKey, job, dispatchId })
          .pipe(
            Effect.tapError((error) => Effect.logDebug(`Job ${job.id} has no answer yet: ${error.message}`)),
            Effect.retry({ schedule: Schedule.spaced("1 second") }),
            Effect.orDie
          )

      /** Ends when the job has to be dispatched again, because the member is dead or does not start it. */
      const untilUnassigned = Effect.fnUntraced(function* (assignment: Assignment): Effect.fn.Return<undefined> {
        const { dispatchId, memberId } = assignment
        let isStarted = false
        for (let seconds = 1; ; seconds++) {
          yield* Effect.sleep("1 second")
          const member = members.find(memberId)
          if (member === undefined) {
            if (yield* ownership.reassign(key, assignment)) return
          } else if (!isStarted && seconds >= startCheckSeconds) {
            isStarted = (yield* ownership.stateOf(key, dispatchId)) === "owned"
            if (isStarted) continue
            const isStuck =
              member.phase !== "open" ||
              members.isOverbooked(memberId) ||
              (seconds >= maxStartSeconds && member.running < member.slots)
            if (isStuck && (yield* ownership.requeue(key, assignment))) return
          }
        }
      })

      /** Undefined if the job has to be dispatched again. */
      const answerOf = (assignment: Assignment) =>
        Effect.suspend(() => {
          const release = members.occupy(assignment.memberId)
          return Effect.raceFirst(request(assignment), untilUnassigned(assignment)).pipe(
            Effect.ensuring(Effect.sync(release))
          )
        })

      const send = Effect.gen(function* () {
        while (true) {
          const { answer: saved, ...assignment } = yield* ownership.assign(job, stackKey, yield* choose)
          const answer = saved ?? (yield* answerOf(assignment))
          if (answer === undefined) continue
          if (answer._tag === "NotOwned") {
            yield* ownership.requeue(key, assignment)
            yield* Effect.sleep("1 second")
            continue
          }
          if (answer._tag === "Failed" && answer.isRetryable) yield* ownership.retry(key, assignment)
          return yield* fromAnswer(answer)
        }
      })
      return send
    },
    // Members continue with their jobs while the next leader is chosen.
    { outlivesStack: true }
  )
})
