/** The runner of a queue's stack: it sends each job to a process, and waits for the answer. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import { Sharding } from "effect/cluster/Sharding"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type { Book } from "./book.ts"
import { fromAnswer, JobEntity } from "./jobEntity.ts"
import type { Processes } from "./processes.ts"

export const make = Effect.fnUntraced(function* (
  book: Book,
  processes: Processes,
  isLeaving: () => boolean
): Effect.fn.Return<JobRunner.Service, never, Sharding> {
  const sharding = yield* Sharding
  const clientOf = yield* sharding.makeClient(JobEntity)

  return JobRunner.make(({ job, stackKey }) => {
    const key = { stackKey, jobUuid: job.id }
    return Effect.gen(function* () {
      const { attempt, entityId } = yield* book.place(key, processes.entityIdFor(job.id))
      // Asked again, it is still the same request: what was sent once is run once.
      const request = clientOf(entityId)
        .Run({ stackKey, job, attempt })
        .pipe(
          Effect.tapError((error) => Effect.logDebug(`Job ${job.id} has no answer yet: ${error.message}`)),
          Effect.retry({ schedule: Schedule.spaced("1 second"), while: () => !isLeaving() }),
          Effect.orDie
        )
      // In a fiber of its own: its interruption cancels the job. Where only the lead moves, the request goes on without us.
      const asking = yield* Effect.forkDetach(request)
      const leave = processes.occupy(entityId)
      const answer = yield* Fiber.join(asking).pipe(
        Effect.onInterrupt(() => (isLeaving() ? Effect.void : Fiber.interrupt(asking))),
        Effect.ensuring(Effect.sync(leave))
      )
      if (answer._tag === "Failed" && answer.tryAgain) yield* book.displace(key)
      return yield* fromAnswer(answer)
    })
  })
})
