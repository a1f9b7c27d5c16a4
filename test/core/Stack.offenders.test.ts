/** One bad job, for which the service refuses requests: it never harms the others. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, type Stack, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Duration, Effect, Exit, Scope } from "effect"
import { HttpServerResponse } from "effect/http"
import { bodyOf, refusing } from "../support/oddResponses.ts"
import { addJobs, clientVia, done, emulated, jobOf, type Run, slowly, start, takes, within } from "../support/stacks.ts"

const bad = "bad"

/** The bad job in the middle of others. */
const addWithBad = Effect.fnUntraced(function* (others: number) {
  const before = yield* addJobs(Math.floor(others / 2))
  yield* addJobs(1, { id: bad })
  const after = yield* addJobs(Math.ceil(others / 2))
  return [...before, ...after]
})

/** How long the others may be held up: no time by a 4xx, and by others until the third failure. */
const failures = [
  { status: 422, seconds: 2 },
  { status: 500, seconds: 60 }
] as const

/** A stack that has its time to end: some of its requests have no answer. */
const begin = Effect.fnUntraced(function* (
  run: Run,
  options: Partial<Stack.Options>,
  client: ReturnType<typeof refusing>
) {
  const scope = yield* Scope.make()
  const stack = yield* start(run, options).pipe(Scope.provide(scope), Effect.provide(client))
  yield* Effect.addFinalizer(() => within("5 minutes", Scope.close(scope, Exit.void)))
  return stack
})

type Reported = ReadonlyArray<{ readonly _tag: string; readonly jobUuid?: unknown }>

const reportsOf = (seen: Reported) => seen.filter(({ _tag, jobUuid }) => _tag === "RequestFailed" && jobUuid === bad)

describe("A job for which the service refuses", () => {
  for (const { seconds, status } of failures) {
    it.effect(`reservations with ${status} does not keep the others from being reserved`, () =>
      Effect.gen(function* () {
        const others = yield* addWithBad(30)
        const stack = yield* begin(
          takes("1 second"),
          { maxInFlight: 31 },
          refusing({ endpoint: "/batch-reserve", jobUuid: bad, status })
        )
        yield* slowly(`${seconds + 5} seconds`, "500 millis")
        for (const id of others) assert.strictEqual((yield* jobOf(id)).state, "finished")
        const [later = ""] = yield* addJobs(1)
        yield* slowly("10 seconds", "100 millis")
        assert.strictEqual((yield* jobOf(later)).state, "finished")
        yield* slowly("2 minutes", "2 seconds")
        assert.lengthOf(reportsOf(stack.seen), 1)
        assert.isEmpty((yield* stack.status).inFlight)
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )

    it.effect(`tokens with ${status} does not keep the others from being started`, () =>
      Effect.gen(function* () {
        const others = yield* addWithBad(30)
        const stack = yield* begin(
          ({ acquisitionToken }) => Effect.as(acquisitionToken, done),
          {
            maxInFlight: 31
          },
          refusing({ endpoint: "/job-acquisition-tokens", jobUuid: bad, status })
        )
        yield* slowly(`${seconds * 2 + 5} seconds`, "500 millis")
        for (const id of others) assert.strictEqual((yield* jobOf(id)).state, "finished")
        assert.strictEqual((yield* jobOf(bad)).state, "reserved")
        yield* slowly("2 minutes", "2 seconds")
        assert.lengthOf(reportsOf(stack.seen), 1)
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )

    it.effect(`reads of states with ${status} does not hide that another one is canceled`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const [canceled = ""] = yield* addWithBad(30)
        const interrupted: Array<string> = []
        const stack = yield* begin(
          ({ job }) => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted.push(job.id))),
          { maxInFlight: 31 },
          refusing({ endpoint: "/get-states", jobUuid: bad, status })
        )
        yield* slowly("3 seconds", "100 millis")
        yield* emulator.cancelJob(canceled)
        yield* slowly(`${seconds + 10} seconds`, "500 millis")
        assert.deepStrictEqual(interrupted, [canceled])
        yield* slowly("2 minutes", "2 seconds")
        assert.lengthOf(reportsOf(stack.seen), 1)
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )

    it.effect(`notifications with ${status} does not keep those of the others back`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* addWithBad(30)
        yield* begin(
          ({ job, notify }) => Effect.andThen(notify(`hello ${job.id}`), Effect.never),
          {
            maxInFlight: 31
          },
          refusing({ endpoint: "/notifications", jobUuid: bad, status })
        )
        yield* slowly(`${seconds * 2 + 5} seconds`, "500 millis")
        const told = new Set((yield* emulator.notifications).map(({ jobUuid }) => jobUuid))
        assert.strictEqual(told.size, 30)
        assert.isFalse(told.has(bad))
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }

  for (const status of [422, 500, "timeout"] as const) {
    it.effect(`renewals (${status}) does not cost the others their reservations`, () =>
      Effect.gen(function* () {
        const others = yield* addWithBad(30)
        let isOn = false
        const stack = yield* begin(
          () => Effect.never,
          { maxInFlight: 31, reservationExpiry: "2 minutes" },
          refusing({ endpoint: "/batch-reserve", jobUuid: bad, status, isOn: () => isOn })
        )
        yield* slowly("3 seconds", "100 millis")
        isOn = true
        for (let minute = 0; minute < 6; minute++) {
          yield* slowly("1 minute", "1 second")
          for (const id of others) assert.strictEqual((yield* jobOf(id)).state, "reserved")
        }
        assert.lengthOf(reportsOf(stack.seen), 1)
        isOn = false
        yield* slowly("1 minute", "1 second")
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }

  for (const status of [404, 403, 408, 425, 302]) {
    it.effect(`everything with ${status} keeps no other job from being run and canceled`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const others = yield* addWithBad(8)
        yield* begin(
          ({ acquisitionToken, notify }) =>
            acquisitionToken.pipe(
              Effect.andThen(notify("hello")),
              Effect.andThen(Effect.sleep("5 minutes")),
              Effect.as(done)
            ),
          { reservationExpiry: "2 minutes" },
          refusing({ endpoint: "/stacks/s/", jobUuid: bad, status })
        )
        yield* slowly("2 minutes", "500 millis")
        const [canceled = "", ...rest] = others
        yield* emulator.cancelJob(canceled)
        yield* slowly("9 minutes", "1 second")
        for (const id of rest) assert.strictEqual((yield* jobOf(id)).exitStatus, 0)
        assert.strictEqual((yield* jobOf(canceled)).state, "canceled")
        const told = new Set((yield* emulator.notifications).map(({ jobUuid }) => jobUuid))
        assert.strictEqual(told.size, others.length)
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }

  it.effect("reservations with no response does not block the reservations of the others", () =>
    Effect.gen(function* () {
      const others = yield* addWithBad(6)
      const stack = yield* begin(
        takes("1 second"),
        {},
        refusing({ endpoint: "/batch-reserve", jobUuid: bad, status: "timeout" })
      )
      yield* slowly("2 minutes", "500 millis")
      for (const id of others) assert.strictEqual((yield* jobOf(id)).state, "finished")
      yield* slowly("2 minutes", "1 second")
      assert.lengthOf(reportsOf(stack.seen), 1)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("reservations with no response does not delay a later job", () =>
    Effect.gen(function* () {
      yield* addWithBad(6)
      yield* begin(takes("1 second"), {}, refusing({ endpoint: "/batch-reserve", jobUuid: bad, status: "timeout" }))
      yield* slowly("2 minutes", "500 millis")
      for (let job = 0; job < 30; job++) {
        const [later = ""] = yield* addJobs(1)
        yield* slowly("4 seconds", "100 millis")
        assert.strictEqual((yield* jobOf(later)).state, "finished", `job ${job}`)
      }
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  for (const status of [422, 500, "timeout"] as const) {
    it.effect(`reads of its state (${status}) does not take the only slot for ever, whatever its runner says`, () =>
      Effect.gen(function* () {
        yield* addJobs(1, { id: bad })
        const [other = ""] = yield* addJobs(1)
        yield* begin(
          ({ job }) => Effect.succeed(job.id === bad ? JobRunner.AgentOwned : done),
          { maxInFlight: 1 },
          refusing({ endpoint: "/get-states", jobUuid: bad, status })
        )
        yield* slowly("2 minutes", "500 millis")
        assert.strictEqual((yield* jobOf(other)).state, "finished")
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )

    it.effect(
      `reads of its state (${status}) does not take the only slot for ever, where it waits for another try`,
      () =>
        Effect.gen(function* () {
          yield* addJobs(1, { id: bad })
          const [other = ""] = yield* addJobs(1)
          let isOn = true
          yield* begin(
            ({ job }) =>
              job.id === bad && isOn
                ? Effect.fail(new JobRunner.JobRunnerError({ message: "no file descriptors", isRetryable: true }))
                : Effect.succeed(done),
            { maxInFlight: 1, startTimeout: "1 hour" },
            refusing({ endpoint: "/get-states", jobUuid: bad, status, isOn: () => isOn })
          )
          yield* slowly("3 minutes", "500 millis")
          assert.strictEqual((yield* jobOf(other)).state, "finished")
          assert.strictEqual((yield* jobOf(bad)).state, "reserved")
          isOn = false
          yield* slowly("2 minutes", "500 millis")
          assert.strictEqual((yield* jobOf(bad)).state, "finished")
        }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }

  it.effect("reservations is found with at most 25 more requests among 1000", () =>
    Effect.gen(function* () {
      yield* addWithBad(999)
      let requests = 0
      const stack = yield* begin(
        () => Effect.never,
        { maxInFlight: 1000 },
        refusing({ endpoint: "/batch-reserve", jobUuid: bad, status: 422, onRequest: () => void requests++ })
      )
      yield* slowly("4 seconds", "100 millis")
      assert.lengthOf((yield* stack.status).inFlight, 999)
      assert.isAtMost(requests, 26)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("its details does not hold the only slot forever", () =>
    Effect.gen(function* () {
      yield* addJobs(1, { id: bad })
      const [other = ""] = yield* addJobs(1)
      yield* begin(
        ({ details }) => Effect.as(details, done),
        { maxInFlight: 1 },
        refusing({ endpoint: "/jobs/bad", jobUuid: bad, status: 500 })
      )
      yield* slowly("3 minutes", "500 millis")
      assert.strictEqual((yield* jobOf(other)).state, "finished")
      assert.strictEqual((yield* jobOf(bad)).state, "reserved")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("its details with 404, for ever, backs off up to 5 minutes, stays reserved, and is reported", () =>
    Effect.gen(function* () {
      yield* addJobs(1, { id: bad })
      const [other = ""] = yield* addJobs(1)
      const stack = yield* begin(
        ({ details }) => Effect.as(details, done),
        { maxInFlight: 1, reservationExpiry: "2 minutes" },
        refusing({ endpoint: "/jobs/bad", jobUuid: bad, status: 404 })
      )
      yield* slowly("1 hour", "5 seconds")
      assert.strictEqual((yield* jobOf(other)).state, "finished")
      assert.deepInclude(yield* jobOf(bad), { state: "reserved", exitStatus: undefined })
      const delays = stack.seen.flatMap((event) =>
        event._tag === "BackedOff" ? [Duration.toSeconds(event.delay)] : []
      )
      assert.deepStrictEqual(delays.slice(0, 8), [5, 10, 20, 40, 80, 160, 300, 300])
      assert.isAtMost(delays.length, 20)
      assert.lengthOf(reportsOf(stack.seen), 1)
      assert.strictEqual((yield* stack.status).backingOff, 1)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("everything, because it is deleted, is dropped and not finished", () => {
    let isDeleted = false
    const deleting = clientVia((request, response) => {
      const isAboutIt = request.url.endsWith(`/jobs/${bad}`) || bodyOf(request).includes(`"${bad}"`)
      if (!isDeleted || !isAboutIt) return response
      const answer = request.url.endsWith("/batch-reserve")
        ? HttpServerResponse.jsonUnsafe({ reserved: [], not_reserved: [bad] })
        : request.url.endsWith("/get-states")
          ? HttpServerResponse.jsonUnsafe({ states: {} })
          : HttpServerResponse.jsonUnsafe({ message: "no such job" }, { status: 404 })
      return Effect.succeed(HttpServerResponse.toClientResponse(answer, { request }))
    })
    return Effect.gen(function* () {
      yield* addJobs(1, { id: bad })
      const details: Run = ({ details }) =>
        Effect.suspend(() => {
          isDeleted = true
          return Effect.as(details, done)
        })
      const stack = yield* begin(details, { reservationExpiry: "1 hour" }, deleting)
      yield* slowly("2 minutes", "500 millis")
      const names = stack.names().filter((name) => name !== "RequestFailed" && name !== "ReRegistered")
      assert.deepStrictEqual(names.slice(0, 4), ["Registered", "Reserved", "Started", "BackedOff"])
      assert.strictEqual(names.at(-1), "ReservationLost")
      assert.strictEqual((yield* stack.status).backingOff, 0)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  })

  it.effect("reservations, and a second one, do not stop a queue of 200", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addWithBad(100)
      yield* addJobs(100, {})
      yield* begin(
        takes("1 second"),
        { maxInFlight: 25 },
        refusing({ endpoint: "/batch-reserve", jobUuid: bad, status: 422 })
      )
      yield* slowly("1 minute", "100 millis")
      const left = (yield* emulator.jobs).filter(({ state }) => state !== "finished").map(({ id }) => id)
      assert.deepStrictEqual(left, [bad])
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("reservations is reserved as soon as the service accepts it", () =>
    Effect.gen(function* () {
      yield* addWithBad(4)
      let isOn = true
      yield* begin(
        takes("1 second"),
        {},
        refusing({ endpoint: "/batch-reserve", jobUuid: bad, status: 422, isOn: () => isOn })
      )
      yield* slowly("1 minute", "100 millis")
      isOn = false
      yield* slowly("5 minutes", "500 millis")
      assert.strictEqual((yield* jobOf(bad)).state, "finished")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("single lookups of its state does not block the lookups of others", () =>
    Effect.gen(function* () {
      const client = yield* StacksClient.StacksClient
      yield* client.registerStack({ key: "s", type: "custom", queueKey: "q" })
      const ids = yield* addWithBad(10)
      const seen: Array<string | undefined> = []
      yield* begin(
        ({ job, state }) =>
          Effect.andThen(
            Effect.tap(state, (jobState) => Effect.sync(() => void seen.push(`${job.id === bad} ${jobState}`))),
            Effect.never
          ),
        { maxInFlight: 11 },
        refusing({ endpoint: "/get-states", jobUuid: bad, status: 422 })
      )
      yield* slowly("3 seconds", "100 millis")
      assert.deepStrictEqual(
        seen,
        ids.map(() => "false reserved")
      )
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})
