/** The runner of a queue's stack: it sends each job to a process, and waits for the answer. */
import * as JobRunner from "@stacksapi/core/JobRunner"
import { Sharding } from "effect/cluster/Sharding"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Book, Placement } from "./book.ts"
import { type Answer, entityIdOf, fromAnswer, JobEntity } from "./jobEntity.ts"
import type { Processes } from "./processes.ts"

/** How many seconds a process may take to start a job before it is looked what holds it up. */
const patience = 2
/** After so many it is sent elsewhere, whatever that is. */
const maxPatience = 15

export const make = Effect.fnUntraced(function* (
  book: Book,
  processes: Processes
): Effect.fn.Return<JobRunner.Service, never, Sharding> {
  const sharding = yield* Sharding
  const clientOf = yield* sharding.makeClient(JobEntity)

  const choose: Effect.Effect<number> = Effect.suspend(() => {
    const seat = processes.choose()
    return seat === undefined ? Effect.delay(choose, "500 millis") : Effect.succeed(seat)
  })

  return JobRunner.make(
    ({ job, stackKey }) => {
      const key = { stackKey, jobUuid: job.id }

      // Asked again, it is still the same request: what was sent once is run once.
      const ask = ({ ticket, seat }: Placement): Effect.Effect<Answer> =>
        clientOf(entityIdOf(key, seat))
          .Run({ stackKey, job, ticket })
          .pipe(
            Effect.tapError((error) => Effect.logDebug(`Job ${job.id} has no answer yet: ${error.message}`)),
            Effect.retry({ schedule: Schedule.spaced("1 second") }),
            Effect.orDie
          )

      /** Ends when the job is to be sent elsewhere, because the process is dead, or does not start it. */
      const untilDisplaced = Effect.fnUntraced(function* (placement: Placement): Effect.fn.Return<undefined> {
        const { ticket, seat } = placement
        let isStarted = false
        for (let seconds = 1; ; seconds++) {
          yield* Effect.sleep("1 second")
          const process = processes.find(seat)
          if (process === undefined) {
            if (yield* book.inherit(key, placement)) return
          } else if (!isStarted && seconds >= patience) {
            isStarted = (yield* book.look(key, ticket)) === "owned"
            if (isStarted) continue
            const isStuck =
              process.phase !== "open" ||
              processes.isOverfull(seat) ||
              (seconds >= maxPatience && process.running < process.slots)
            if (isStuck && (yield* book.withdraw(key, placement))) return
          }
        }
      })

      /** Undefined where it is to be sent elsewhere. */
      const answerOf = (placement: Placement) =>
        Effect.suspend(() => {
          const leave = processes.occupy(placement.seat)
          return Effect.raceFirst(ask(placement), untilDisplaced(placement)).pipe(Effect.ensuring(Effect.sync(leave)))
        })

      const send = Effect.gen(function* () {
        while (true) {
          const { answer: kept, ...placement } = yield* book.place(job, stackKey, yield* choose)
          const answer = kept ?? (yield* answerOf(placement))
          if (answer === undefined) continue
          if (answer._tag === "Elsewhere") {
            yield* book.withdraw(key, placement)
            yield* Effect.sleep("1 second")
            continue
          }
          if (answer._tag === "Failed" && answer.isRetryable) yield* book.requeue(key, placement)
          return yield* fromAnswer(answer)
        }
      })
      return send
    },
    // Processes go on with their jobs while the next leader is chosen.
    { outlivesStack: true }
  )
})
