import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Cause, Effect, Exit, Fiber } from "effect"
import * as HttpClient from "effect/http/HttpClient"
import type { HttpClientError } from "effect/http/HttpClientError"
import { TestClock } from "effect/testing"
import { addJobs, answer, emulated, job, list, register, request, reserve, send, status } from "../support/emulated.ts"

const { Fault } = StacksEmulator

const setFaults = (...faults: ReadonlyArray<StacksEmulator.Fault>) =>
  Effect.flatMap(StacksEmulator.StacksEmulator, (emulator) => emulator.setFaults(faults))

const getJob = HttpClient.execute(request("GET", "stacks/s/jobs/j"))

const codeOf = (error: HttpClientError) => (error.reason.cause as { readonly code?: string } | undefined)?.code

describe("Each kind of fault", () => {
  it.effect("Status: responds with the status, and the service does not see the request", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("j")
      yield* setFaults(
        Fault.Status({ status: 503, times: 1 }),
        Fault.Status({ status: 503, retryAfter: "1500 millis", headers: { "x-extra": "1" }, times: 1 }),
        Fault.Status({ status: 500, body: { error: "oops" }, times: 1 }),
        Fault.Status({ status: 500, body: "oops", times: 1 })
      )
      const finish = HttpClient.execute(request("POST", "stacks/s/jobs/j/finish", { body: { detail: "done" } }))
      const plain = yield* finish
      assert.strictEqual(plain.status, 503)
      assert.deepStrictEqual(yield* plain.json, { message: "An emulated fault: status 503" })
      assert.strictEqual(plain.headers["ratelimit-scope"], "finish-job")
      const withHeaders = yield* finish
      assert.strictEqual(withHeaders.headers["retry-after"], "2")
      assert.strictEqual(withHeaders.headers["x-extra"], "1")
      assert.deepStrictEqual(yield* (yield* finish).json, { error: "oops" })
      assert.strictEqual(yield* (yield* finish).text, "oops")
      assert.strictEqual((yield* job("j")).state, "scheduled")
      assert.strictEqual((yield* finish).status, 200)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("Status 429: responds with the documented body", () =>
    Effect.gen(function* () {
      yield* setFaults(Fault.Status({ status: 429 }))
      assert.deepStrictEqual((yield* send("GET", "stacks/s/scheduled-jobs?queue_key=q")).body, {
        message: "An emulated fault: status 429",
        scope: "list-scheduled-jobs",
        limit: 10,
        current: 11,
        reset: 1
      })
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("Html: responds with a proxy's page", () =>
    Effect.gen(function* () {
      yield* setFaults(Fault.Html({ times: 1 }), Fault.Html({ status: 504 }))
      const first = yield* getJob
      assert.strictEqual(first.status, 502)
      assert.strictEqual(first.headers["content-type"], "text/html")
      assert.notProperty(first.headers, "ratelimit-limit")
      assert.include(yield* first.text, "<h1>502</h1>")
      assert.strictEqual((yield* getJob).status, 504)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("Malformed: responds with a success that does not decode", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("j")
      yield* setFaults(Fault.Malformed({ times: 1 }), Fault.Malformed({ status: 201, body: "[]]" }))
      const first = yield* HttpClient.execute(
        request("PUT", "stacks/s/scheduled-jobs/batch-reserve", { body: { job_uuids: ["j"] } })
      )
      assert.strictEqual(first.status, 200)
      assert.strictEqual(first.headers["ratelimit-scope"], "batch-reserve")
      assert.strictEqual((yield* Effect.flip(first.json)).reason._tag, "DecodeError")
      assert.strictEqual((yield* job("j")).state, "reserved")
      const second = yield* getJob
      assert.strictEqual(second.status, 201)
      assert.strictEqual(yield* second.text, "[]]")
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("Malformed: keeps the status of a refusal, and replaces the status of a success", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("j")
      const statuses = Effect.fnUntraced(function* (fault: StacksEmulator.Fault) {
        yield* setFaults(fault)
        const answers: Array<number> = []
        for (const [method, path, options] of [
          ["GET", "stacks/s/jobs/j", {}],
          ["GET", "stacks/s/jobs/unknown", {}],
          ["GET", "stacks/s/scheduled-jobs?queue_key=q&limit=0", {}],
          ["POST", "stacks/s/jobs/get-states", { body: { job_uuids: 1 } }],
          ["GET", "stacks/s/jobs/j", { headers: { authorization: "" } }],
          ["GET", "nowhere", {}]
        ] as const) {
          const response = yield* HttpClient.execute(request(method, path, options))
          answers.push(response.status)
          assert.strictEqual((yield* Effect.flip(response.json)).reason._tag, "DecodeError")
        }
        return answers
      })
      assert.deepStrictEqual(yield* statuses(Fault.Malformed({})), [200, 404, 400, 422, 401, 404])
      assert.deepStrictEqual(yield* statuses(Fault.Malformed({ status: 201 })), [201, 404, 400, 422, 401, 404])
      assert.deepStrictEqual(yield* statuses(Fault.Malformed({ status: 502 })), [502, 502, 502, 502, 502, 502])
      // A 201 and a 204 are successes too, and the latter could not have a body.
      yield* setFaults(Fault.Malformed({}))
      const body = { key: "new", type: "custom", queue_key: "q", metadata: {} }
      assert.strictEqual((yield* HttpClient.execute(request("POST", "stacks/register", { body }))).status, 201)
      const left = yield* HttpClient.execute(request("POST", "stacks/s/deregister"))
      assert.deepStrictEqual([left.status, yield* left.text], [200, '{"unfinished": '])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("Reset: the connection breaks before the service sees the request", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("j")
      yield* setFaults(Fault.Reset({ times: 1 }))
      const error = yield* Effect.flip(HttpClient.execute(request("POST", "stacks/s/deregister")))
      assert.strictEqual(error.reason._tag, "TransportError")
      assert.strictEqual(codeOf(error), "ECONNRESET")
      assert.strictEqual(yield* status("POST", "stacks/s/deregister"), 204)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("LostResponse: the connection breaks after the service has acted", () =>
    Effect.gen(function* () {
      yield* register()
      yield* setFaults(Fault.LostResponse({ times: 1 }))
      const error = yield* Effect.flip(HttpClient.execute(request("POST", "stacks/s/deregister")))
      assert.strictEqual(error.reason._tag, "TransportError")
      assert.strictEqual(yield* status("POST", "stacks/s/deregister"), 404)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("Truncate: the connection breaks in the middle of the body", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("j")
      yield* setFaults(Fault.Truncate({}))
      const response = yield* getJob
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.headers["content-length"], String('{"id":"j","env":{},"command":""}'.length))
      const error = yield* Effect.flip(response.text)
      assert.strictEqual(error.reason._tag, "DecodeError")
      assert.strictEqual(codeOf(error), "ECONNRESET")
      // Nothing to cut off: then nothing arrives at all.
      const empty = yield* Effect.flip(HttpClient.execute(request("POST", "stacks/s/deregister")))
      assert.strictEqual(empty.reason._tag, "TransportError")
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("Stall: the response comes late or never", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("j")
      yield* setFaults(Fault.Stall({ duration: "30 seconds", times: 1 }), Fault.Stall({}))
      const late = yield* Effect.forkChild(reserve(["j"]))
      yield* TestClock.adjust("29 seconds")
      assert.isUndefined(late.pollUnsafe())
      assert.strictEqual((yield* job("j")).state, "scheduled")
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(late)).status, 200)

      const never = yield* Effect.forkChild(getJob)
      yield* TestClock.adjust("10 days")
      assert.isUndefined(never.pollUnsafe())
      yield* Fiber.interrupt(never)
      const exit = yield* Fiber.await(never)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("Stall: the service does not act on a request that was interrupted", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("j")
      yield* setFaults(Fault.Stall({ duration: "30 seconds" }))
      const waiting = yield* Effect.forkChild(Effect.timeoutOption(reserve(["j"]), "10 seconds"))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(waiting)
      assert.strictEqual((yield* job("j")).state, "scheduled")
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("SlowDown: adds Retry-After to the service's response", () =>
    Effect.gen(function* () {
      yield* register()
      yield* setFaults(Fault.SlowDown({ retryAfter: "7 seconds" }))
      const response = yield* send("GET", "stacks/s/scheduled-jobs?queue_key=q")
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.headers["retry-after"], "7")
    }).pipe(Effect.provide(emulated()))
  )
})

describe("A fault", () => {
  const list = answer("GET", "stacks/s/scheduled-jobs?queue_key=q")
  const states = answer("POST", "stacks/s/jobs/get-states", { body: { job_uuids: [] } })

  const statuses = <E, R>(request: Effect.Effect<{ readonly status: number }, E, R>, count: number) =>
    Effect.map(Effect.all(Array.from({ length: count }, () => request)), (all) => all.map(({ status }) => status))

  it.effect("applies to requests of its operations", () =>
    Effect.gen(function* () {
      yield* register()
      yield* setFaults(Fault.Status({ status: 500, operations: ["listScheduledJobs", "failJob"] }))
      assert.strictEqual((yield* list).status, 500)
      assert.strictEqual((yield* states).status, 200)
      assert.strictEqual(yield* status("POST", "stacks/s/jobs/j/finish", { body: { detail: "x" } }), 500)
      assert.strictEqual(yield* status("GET", "nowhere"), 404)
      yield* setFaults(Fault.Status({ status: 500 }))
      assert.strictEqual(yield* status("GET", "nowhere"), 500)
      yield* setFaults()
      assert.strictEqual((yield* list).status, 200)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("applies to `times` requests after skipping `skip` requests", () =>
    Effect.gen(function* () {
      yield* register()
      yield* setFaults(Fault.Status({ status: 500, operations: ["getJobStates"], skip: 1, times: 2 }))
      yield* list
      assert.deepStrictEqual(yield* statuses(states, 5), [200, 500, 500, 200, 200])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("is the first one in the list that matches; later ones don't count the request", () =>
    Effect.gen(function* () {
      yield* register()
      yield* setFaults(
        Fault.Status({ status: 500, times: 2 }),
        Fault.Status({ status: 501, skip: 1, times: 1 }),
        Fault.Status({ status: 502, times: 1 })
      )
      assert.deepStrictEqual(yield* statuses(list, 6), [500, 500, 502, 501, 200, 200])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("with a rate applies to the same requests in every run", () => {
    const run = (seed: number) =>
      Effect.gen(function* () {
        yield* register()
        yield* setFaults(Fault.Status({ status: 500, rate: 0.25 }))
        return yield* statuses(list, 1000)
      }).pipe(Effect.provide(emulated({ seed })))
    return Effect.gen(function* () {
      const first = yield* run(1)
      const share = first.filter((status) => status === 500).length / 1000
      assert.closeTo(share, 0.25, 0.05)
      assert.deepStrictEqual(yield* run(1), first)
      assert.notDeepEqual(yield* run(2), first)
    })
  })

  it.effect("applies to requests that would be refused", () =>
    Effect.gen(function* () {
      yield* setFaults(Fault.Html({}))
      assert.strictEqual((yield* HttpClient.execute(request("GET", "stacks/s/jobs/j"))).status, 502)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("is removed after it has applied `times` times", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const twice = Fault.Reset({ operations: ["getJob"], times: 2 })
      const endless = Fault.Html({ operations: ["finishJob"] })
      yield* setFaults(twice, endless)
      yield* Effect.flip(getJob)
      assert.deepStrictEqual(yield* emulator.faults, [twice, endless])
      yield* Effect.flip(getJob)
      assert.deepStrictEqual(yield* emulator.faults, [endless])
      yield* setFaults()
      assert.deepStrictEqual(yield* emulator.faults, [])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("is recorded in the log of requests", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* setFaults(Fault.Reset({ times: 1 }), Fault.Html({ times: 1 }), Fault.SlowDown({ retryAfter: 1, times: 1 }))
      yield* Effect.exit(getJob)
      yield* Effect.exit(getJob)
      yield* Effect.exit(list)
      yield* Effect.exit(list)
      assert.deepStrictEqual(
        (yield* emulator.requests).slice(1).map(({ fault, status }) => ({ fault, status })),
        [
          { fault: "Reset", status: undefined },
          { fault: "Html", status: 502 },
          { fault: "SlowDown", status: 200 },
          { fault: undefined, status: 200 }
        ]
      )
    }).pipe(Effect.provide(emulated()))
  )
})

describe("The ids of jobs", () => {
  it.effect("do not depend on the faults", () => {
    const run = (...faults: ReadonlyArray<StacksEmulator.Fault>) =>
      Effect.gen(function* () {
        yield* setFaults(...faults)
        yield* Effect.exit(register())
        yield* setFaults()
        yield* register()
        return [(yield* addJobs({}))[0]?.id, (yield* list()).clusterQueue.id]
      }).pipe(Effect.provide(emulated()))
    return Effect.gen(function* () {
      assert.deepStrictEqual(yield* run(), yield* run(Fault.SlowDown({ retryAfter: 1, rate: 0.5 })))
    })
  })
})
