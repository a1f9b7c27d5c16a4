/** What a service may send that is valid JSON and no good: a stack goes on with the rest. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, JobStates, Stack, StackEvent, type StacksClient, type StacksError } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Layer, Stream } from "effect"
import { HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { record } from "../../support/recording.ts"
import * as Stacks from "../../support/stacks.ts"

type Json = Readonly<Record<string, unknown>>

/** The emulator, of whose answers some are changed: those to requests of which the path ends like that. */
const withAnswers = (
  changes: Readonly<Record<string, (body: Json) => Json>>
): Layer.Layer<StacksClient.StacksClient | StacksEmulator.StacksEmulator, StacksError.InvalidOptions> =>
  Stacks.clientVia((request, response) => {
    const change = Object.entries(changes).find(([end]) => request.url.split("?")[0]?.endsWith(end))?.[1]
    return change === undefined
      ? response
      : Effect.flatMap(response, (answer) =>
          Effect.map(answer.json, (body) =>
            HttpServerResponse.toClientResponse(
              HttpServerResponse.jsonUnsafe(change(Object(body)), { status: answer.status }),
              { request }
            )
          )
        )
  }).pipe(Layer.provideMerge(StacksEmulator.layer()))

const listed = (id: string) => ({
  id,
  priority: 100,
  agent_query_rules: [],
  scheduled_at: "2026-01-01T00:00:00Z",
  pipeline: { slug: null, uuid: null },
  build: { uuid: null, number: null, branch: null },
  step: { key: null }
})

/** Puts jobs in front of those that are listed. */
const alsoListing = (ids: ReadonlyArray<string>) => ({
  "/scheduled-jobs": (page: Json) => ({ ...page, jobs: [...ids.map(listed), ...Object.values(Object(page["jobs"]))] })
})

const strangeIds = [
  "",
  ".",
  "..",
  "\ud800",
  "a\u0000b",
  "a\nINFO forged",
  "\u001b[2J\u001b]0;title\u0007",
  "\u009b31m",
  "\u202egnp.exe",
  "a\u2028b",
  "x".repeat(101)
]

const oddIds = ["../../etc/passwd", "a b", "constructor", "__proto__", "ä😀", "%2e%2e", "-rf", "x".repeat(100)]

describe("Jobs with ids that no request can contain", () => {
  it.effect("are ignored and reported once, and do not affect other jobs", () =>
    Effect.gen(function* () {
      yield* Stacks.addJobs(3)
      const { exit, recording } = yield* record(
        Stacks.within(
          "1 minute",
          Stack.runUntilIdle({ key: "s", queueKey: "q" }).pipe(
            Effect.provide(JobRunner.layer(Stacks.takes("1 second")))
          )
        )
      )
      assert(exit._tag === "Success" && exit.value.exit._tag === "Success")
      assert.deepStrictEqual(yield* Stacks.census, { "finished 0": 3 })
      const warnings = recording.logs.filter(({ level }) => level === "Warn")
      assert.lengthOf(new Set(warnings.map(({ message }) => message)), strangeIds.length)
      assert.lengthOf(warnings, strangeIds.length)
      for (const { message } of warnings) {
        assert.match(message, /^Job "[\x21-\x7e]*" is ignored: its id can't be used in requests$/)
      }
    }).pipe(Effect.provide(withAnswers(alsoListing(strangeIds))))
  )

  it.effect.each(strangeIds.map((id, index) => [index, id] as const))("are shown in plain characters: %d", ([, id]) =>
    Effect.gen(function* () {
      const { recording } = yield* record(Stacks.start(Stacks.takes(0)).pipe(Effect.andThen(TestClock.adjust(0))))
      const [warning] = recording.logs.filter(({ level }) => level === "Warn")
      assert.match(warning?.message ?? "", /^[\x20-\x7e]{1,200}$/)
    }).pipe(Effect.scoped, Effect.provide(withAnswers(alsoListing([id]))))
  )
})

describe("Jobs with unusual ids", () => {
  it.effect("are run", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs(oddIds.map((id) => ({ id, queueKey: "q" })))
      const seen: Array<StackEvent.StackEvent> = []
      const onEvent = (event: StackEvent.StackEvent) => Effect.sync(() => void seen.push(event))
      yield* Stacks.within(
        "1 minute",
        Stack.runUntilIdle({ key: "s", queueKey: "q", onEvent }).pipe(
          Effect.provide(JobRunner.layer(({ details, state }) => Effect.as(Effect.all([details, state]), Stacks.done)))
        )
      )
      assert.deepStrictEqual(yield* Stacks.census, { "finished 0": oddIds.length })
      assert.lengthOf(
        seen.filter(({ _tag }) => _tag === "Finished"),
        oddIds.length
      )
    }).pipe(Effect.provide(Stacks.emulated()))
  )

  it.effect.each(["constructor", "toString", "__proto__"])(
    "are not known where the service does not know them: %s",
    (id) =>
      Effect.gen(function* () {
        yield* Stacks.addJobs(1)
        yield* Stacks.start(Stacks.takes(0))
        assert.isUndefined(yield* JobStates.get("s", id))
        const [first] = yield* JobStates.watch("s", id).pipe(Stream.take(1), Stream.runCollect)
        assert.isUndefined(first)
      }).pipe(Effect.scoped, Effect.provide(Stacks.emulated()))
  )
})

describe("A service that sends too much", () => {
  it.effect("in a page of 20,000 jobs has as many jobs taken as there are slots", () =>
    Effect.gen(function* () {
      const stack = yield* Stacks.start(() => Effect.never, { maxInFlight: 10 })
      yield* TestClock.adjust("1 second")
      assert.deepInclude(stack.seen, StackEvent.StackEvent.Polled({ listed: 20_000, startable: 20_000 }))
      const { inFlight, pending } = yield* stack.status
      assert.isAtMost(inFlight.length, 10)
      assert.isAtMost(pending, 20_000)
    }).pipe(
      Effect.scoped,
      Effect.provide(withAnswers(alsoListing(Array.from({ length: 20_000 }, (_, index) => `job-${index}`))))
    )
  )

  it.effect("and reserves jobs without a request has these jobs ignored", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* Stacks.addJobs(1)
      const stack = yield* Stacks.start(Stacks.takes("1 second"))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(stack.names(), ["Registered", "Reserved", "Started", "Finished"])
      assert.strictEqual((yield* Stacks.jobOf(id)).state, "finished")
    }).pipe(
      Effect.scoped,
      Effect.provide(
        withAnswers({
          "/batch-reserve": ({ reserved }) => ({
            reserved: ["somebody else's", ...Object.values(Object(reserved)), ...Object.values(Object(reserved))],
            not_reserved: ["nobody's", ...Object.values(Object(reserved))]
          })
        })
      )
    )
  )

  it.effect("and lists a job many times in a page has it run once", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* Stacks.addJobs(1)
      const stack = yield* Stacks.start(Stacks.takes("1 second"))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(stack.names(), ["Registered", "Reserved", "Started", "Finished"])
      assert.strictEqual((yield* Stacks.jobOf(id)).exitStatus, 0)
    }).pipe(
      Effect.scoped,
      Effect.provide(
        withAnswers({
          "/scheduled-jobs": (page) => {
            const jobs = Object.values(Object(page["jobs"]))
            return { ...page, jobs: [...jobs, ...jobs, ...jobs] }
          }
        })
      )
    )
  )
})
