/** A job is finished at most once, whatever happens to the connection. */
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, StacksClient, type StacksError } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Layer } from "effect"
import { answers, jobUuid } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"
import { runToEnd } from "../support/testClock.ts"

const { Fault } = StacksEmulator

const stackKey = "my-stack"
const finish = { stackKey, jobUuid: "job-1", exitStatus: 3, detail: "done by hand" }

/** A registered stack with one reserved job. */
const ready = Effect.gen(function* () {
  const client = yield* StacksClient.StacksClient
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs([{ queueKey: "default", id: "job-1" }])
  yield* client.registerStack({ key: stackKey, type: "custom", queueKey: "default" })
  yield* client.batchReserveJobs({ stackKey, jobUuids: ["job-1"] })
  return { client, emulator }
})

const emulated = StacksEmulator.layerClient.pipe(Layer.provideMerge(StacksEmulator.layer()))

/** How often the two endpoints were called, and what became of the job. */
const seen = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const requests = yield* emulator.requests
  return {
    sent: requests.filter(({ operation }) => operation === "finishJob").length,
    lookups: requests.filter(({ operation }) => operation === "getJobStates").length,
    job: (yield* emulator.jobs)[0]
  }
})

/** A service whose finish answers in turn, then with success, and which says these states in turn, then "reserved". */
const scriptedStates = (finishes: ReadonlyArray<Scripted.Answer>, states: ReadonlyArray<string>) => {
  let finished = 0
  let looked = 0
  return Scripted.make((request, index) =>
    request.url.endsWith("/finish")
      ? (finishes[finished++] ?? Scripted.empty(200))(request, index)
      : Scripted.json(200, { states: { [jobUuid]: states[looked++] ?? "reserved" } })(request, index)
  )
}

const endpointsOf = (service: Scripted.Scripted) => service.requests.map(({ url }) => url.split("/").at(-1))

const only = { operations: ["finishJob"], times: 1 } as const

describe("If the service acted and its response was lost", () => {
  it.effect("finishJob succeeds after a reset, and the job was finished once", () =>
    Effect.gen(function* () {
      const { client, emulator } = yield* ready
      yield* emulator.setFaults([Fault.LostResponse(only)])
      assert.isUndefined(yield* runToEnd(client.finishJob(finish)))
      const { job, lookups, sent } = yield* seen
      assert.strictEqual(sent, 1)
      assert.strictEqual(lookups, 1)
      assert.strictEqual(job?.state, "finished")
      assert.strictEqual(job?.exitStatus, 3)
    }).pipe(Effect.provide(emulated))
  )

  it.effect("failJob succeeds after a reset", () =>
    Effect.gen(function* () {
      const { client, emulator } = yield* ready
      yield* emulator.setFaults([Fault.LostResponse(only)])
      yield* runToEnd(client.failJob({ stackKey, jobUuid: "job-1", detail: "no image" }))
      const { job, sent } = yield* seen
      assert.strictEqual(sent, 1)
      assert.strictEqual(job?.exitStatus, -1)
    }).pipe(Effect.provide(emulated))
  )

  it.effect("finishJob succeeds after a timeout", () =>
    Effect.gen(function* () {
      const service = scriptedStates([Scripted.silence], ["finished"])
      const client = yield* Scripted.client(service)
      yield* runToEnd(client.finishJob({ stackKey, jobUuid, detail: "d" }))
      assert.deepStrictEqual(endpointsOf(service), ["finish", "get-states"])
    })
  )

  it.effect("finishJob succeeds after a proxy's 502", () =>
    Effect.gen(function* () {
      const { client, emulator } = yield* ready
      yield* emulator.setFaults([Fault.Malformed({ ...only, status: 502, body: "<html>Bad gateway</html>" })])
      yield* runToEnd(client.finishJob(finish))
      const { job, lookups, sent } = yield* seen
      assert.strictEqual(sent, 1)
      assert.strictEqual(lookups, 1)
      assert.strictEqual(job?.state, "finished")
    }).pipe(Effect.provide(emulated))
  )

  it.effect("and the state can't be read for a while, the request is not repeated until it can", () =>
    Effect.gen(function* () {
      const { client, emulator } = yield* ready
      yield* emulator.setFaults([
        Fault.LostResponse(only),
        Fault.Reset({ operations: ["getJobStates"], times: 1 }),
        Fault.Status({ status: 500, operations: ["getJobStates"], times: 1 })
      ])
      yield* runToEnd(client.finishJob(finish))
      const { job, lookups, sent } = yield* seen
      assert.strictEqual(sent, 1)
      assert.strictEqual(lookups, 3)
      assert.strictEqual(job?.state, "finished")
    }).pipe(Effect.provide(emulated))
  )

  it.effect(
    "and the state can't be read at all, the call fails with the first failure, and the request is not repeated",
    () =>
      Effect.gen(function* () {
        const { client, emulator } = yield* ready
        yield* emulator.setFaults([
          Fault.LostResponse(only),
          Fault.Status({ status: 503, operations: ["getJobStates"] })
        ])
        const error = yield* Effect.flip(runToEnd(client.finishJob(finish)))
        assert(error._tag === "TransportError")
        assert.strictEqual(error.operation, "finishJob")
        const { lookups, sent } = yield* seen
        assert.strictEqual(sent, 1)
        assert.strictEqual(lookups, 4)
      }).pipe(Effect.provide(emulated))
  )
})

describe("If the service did not act", () => {
  it.effect.each([
    ["a reset", Fault.Reset(only)],
    ["a 500", Fault.Status({ ...only, status: 500 })],
    ["an HTML 502", Fault.Html(only)],
    ["a stall without end", Fault.Stall(only)]
  ] as const)("after %s it is sent again, once the state says so", ([, fault]) =>
    Effect.gen(function* () {
      const { client, emulator } = yield* ready
      yield* emulator.setFaults([fault])
      yield* runToEnd(client.finishJob(finish))
      const { job, lookups, sent } = yield* seen
      assert.strictEqual(sent, 2)
      assert.strictEqual(lookups, 1)
      assert.strictEqual(job?.state, "finished")
      assert.strictEqual(job?.exitStatus, 3)
    }).pipe(Effect.provide(emulated))
  )

  it.effect("after a 429 the request is repeated without reading the state", () =>
    Effect.gen(function* () {
      const { client, emulator } = yield* ready
      yield* emulator.setFaults([Fault.Status({ ...only, status: 429 })])
      yield* runToEnd(client.finishJob(finish))
      const { lookups, sent } = yield* seen
      assert.strictEqual(sent, 2)
      assert.strictEqual(lookups, 0)
    }).pipe(Effect.provide(emulated))
  )

  it.effect("after a refused connection the request is repeated without reading the state", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.inTurn(Scripted.broken("ECONNREFUSED"), Scripted.empty(200)))
      const client = yield* Scripted.client(service)
      yield* runToEnd(client.finishJob({ stackKey, jobUuid, detail: "d" }))
      assert.strictEqual(service.requests.length, 2)
      assert.isTrue(service.requests.every(({ url }) => url.endsWith("/finish")))
    })
  )

  it.effect("a refusal is not retried", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.json(422, { message: "already finished" }))
      const client = yield* Scripted.client(service)
      const error = yield* Effect.flip(client.finishJob({ stackKey, jobUuid, detail: "d" }))
      assert.strictEqual(error._tag, "ErrorResponse")
      assert.strictEqual(service.requests.length, 1)
    })
  )
})

describe("A refusal after a lost response", () => {
  const refusal = Scripted.json(422, { message: "The job is already finished" })

  it.effect("succeeds if the job is finished", () =>
    Effect.gen(function* () {
      // The first request was still on its way when the state was asked for.
      const service = scriptedStates([Scripted.broken(), refusal], ["reserved", "finished"])
      const client = yield* Scripted.client(service)
      yield* runToEnd(client.finishJob({ stackKey, jobUuid, detail: "d" }))
      assert.deepStrictEqual(endpointsOf(service), ["finish", "get-states", "finish", "get-states"])
    })
  )

  it.effect("fails with the refusal if the job ended in another way", () =>
    Effect.gen(function* () {
      const service = scriptedStates([Scripted.broken(), refusal], ["canceled", "canceled"])
      const client = yield* Scripted.client(service)
      const error = yield* Effect.flip(runToEnd(client.finishJob({ stackKey, jobUuid, detail: "d" })))
      assert(error._tag === "ErrorResponse")
      assert.strictEqual(error.status, 422)
    })
  )
})

describe("A refusal after a lost response, while states can't be read", () => {
  it.effect("reads the state again later", () =>
    Effect.gen(function* () {
      const refusal = Scripted.json(422, { message: "The job is already finished" })
      const finishes = [Scripted.broken(), refusal]
      const states = [
        Scripted.json(200, { states: { [jobUuid]: "reserved" } }),
        Scripted.text(503, ""),
        Scripted.json(200, { states: { [jobUuid]: "finished" } })
      ]
      const service = Scripted.make((request, index) => {
        const answer = (request.url.endsWith("/finish") ? finishes : states).shift() ?? Scripted.empty(500)
        return answer(request, index)
      })
      const client = yield* Scripted.client(service)
      yield* runToEnd(client.finishJob({ stackKey, jobUuid, detail: "d" }))
      assert.deepStrictEqual(endpointsOf(service), ["finish", "get-states", "finish", "get-states", "get-states"])
    })
  )
})

describe("A caller with RetryPolicy.none", () => {
  it.effect("gets the failure at once", () =>
    Effect.gen(function* () {
      const { client, emulator } = yield* ready
      yield* emulator.setFaults([Fault.LostResponse(only)])
      const error: StacksError.StacksError = yield* Effect.flip(
        client.finishJob(finish).pipe(RetryPolicy.withPolicy(RetryPolicy.none))
      )
      assert(error._tag === "TransportError")
      assert.isTrue(error.mayHaveBeenProcessed)
      const { lookups, sent } = yield* seen
      assert.strictEqual(sent, 1)
      assert.strictEqual(lookups, 0)
    }).pipe(Effect.provide(emulated))
  )
})

describe("Other requests", () => {
  it.effect("are repeated without reading a state", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.inTurn(Scripted.broken(), Scripted.json(201, answers.registerStack.body)))
      const client = yield* Scripted.client(service)
      yield* runToEnd(client.registerStack({ key: stackKey, type: "custom", queueKey: "default" }))
      assert.strictEqual(service.requests.length, 2)
    })
  )

  it.effect("deregisterStack succeeds if a lost response is followed by a 404", () =>
    Effect.gen(function* () {
      const { client, emulator } = yield* ready
      yield* emulator.setFaults([Fault.LostResponse({ operations: ["deregisterStack"], times: 1 })])
      yield* runToEnd(client.deregisterStack({ stackKey }))
      assert.isEmpty(yield* emulator.stacks)
      const again = yield* Effect.flip(client.deregisterStack({ stackKey }))
      assert(again._tag === "ErrorResponse")
      assert.strictEqual(again.reason._tag, "NotFound")
    }).pipe(Effect.provide(emulated))
  )
})
