import { assert, describe, it } from "@effect/vitest"
import { ScheduledJobs } from "@stacksapi/core"
import { Effect, Fiber, Logger, Stream } from "effect"
import { TestClock } from "effect/testing"
import { scheduledJob } from "../support/samples.ts"
import { page, request, scripted } from "../support/scheduledJobs.ts"

describe("ScheduledJobs, undecodable jobs", () => {
  const odd = { ...scheduledJob, id: "odd", scheduled_at: null }

  it.effect("are logged once while they are listed, and do not affect other jobs", () =>
    Effect.gen(function* () {
      const warnings: Array<string> = []
      const logger = Logger.make(({ message }) => void warnings.push(String(message)))
      const { layer } = scripted((_, index) =>
        index === 3
          ? { ...page([]), jobs: "none" }
          : { ...page(["a"]), jobs: [odd, { ...scheduledJob, runnable_at: null }] }
      )
      const polls: Array<ScheduledJobs.Poll> = []
      const fiber = yield* ScheduledJobs.polls(request).pipe(
        Stream.runForEach((poll) => Effect.sync(() => polls.push(poll))),
        Effect.exit,
        Effect.provide([layer, Logger.layer([logger])]),
        Effect.forkChild
      )
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
      assert.lengthOf(polls, 3)
      for (const { jobs, undecodable } of polls) {
        assert.deepStrictEqual(
          [jobs.map(({ id }) => id), undecodable.map(({ id }) => id)],
          [[scheduledJob.id], ["odd"]]
        )
      }
      assert.lengthOf(warnings, 1)
      assert.match(warnings[0] ?? "", /^Skipped a listed job that could not be decoded: odd: Expected/)
    })
  )
})
