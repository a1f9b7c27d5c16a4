import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, describe, it } from "@effect/vitest"
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Layer, Redacted } from "effect"
import { begin, call, connect, finish, upload } from "../support/agents.ts"

const { Fault } = StacksEmulator

/** The emulator over HTTP, a stack's client of it, and an HttpClient for agents. */
const Served = Layer.mergeAll(NodeStacksEmulator.layerClient, NodeHttpClient.layerUndici).pipe(
  Layer.provideMerge(NodeStacksEmulator.layer())
)

/** A stack that has reserved jobs, and their acquisition tokens. */
const reserved = Effect.fnUntraced(function* (...jobUuids: ReadonlyArray<string>) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const client = yield* StacksClient.StacksClient
  yield* emulator.addJobs(jobUuids.map((id) => ({ id, queueKey: "q", command: "make" })))
  yield* client.registerStack({ key: "s", type: "custom", queueKey: "q" })
  yield* client.batchReserveJobs({ stackKey: "s", jobUuids })
  const { tokens } = yield* client.issueJobAcquisitionTokens({ stackKey: "s", jobUuids })
  return tokens.map(({ token }) => Redacted.value(token))
})

const statesOf = (...jobUuids: ReadonlyArray<string>) =>
  Effect.flatMap(StacksClient.StacksClient, (client) =>
    Effect.map(client.getJobStates({ stackKey: "s", jobUuids }), ({ states }) => states)
  )

describe("Agents over HTTP", () => {
  it.live("run jobs concurrently, and their stack sees the states", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const tokens = yield* reserved("passes", "fails", "canceled")
      const [passes, fails, canceled] = yield* Effect.forEach(tokens, (token) => connect(token), { concurrency: 3 })
      assert(passes && fails && canceled)
      yield* Effect.all([begin(passes, "passes"), begin(fails, "fails"), begin(canceled, "canceled")], {
        concurrency: 3
      })
      assert.deepStrictEqual(yield* statesOf("passes", "fails", "canceled"), {
        passes: "running",
        fails: "running",
        canceled: "running"
      })

      const output = "ä".repeat(150_000)
      const bytes = new TextEncoder().encode(output)
      const size = 99_999
      yield* Effect.forEach(
        [2, 0, 3, 1],
        (part) => upload(passes, "passes", part + 1, part * size, bytes.subarray(part * size, (part + 1) * size)),
        { concurrency: 3 }
      )
      assert.strictEqual(yield* emulator.jobLog("passes"), output)

      yield* emulator.cancelJob("canceled")
      assert.containsSubset((yield* canceled.ask("GET", "jobs/canceled")).body, { state: "canceling" })
      yield* finish(passes, "passes", 0)
      yield* finish(fails, "fails", 7)
      yield* finish(canceled, "canceled", -1, { signal_reason: "cancel" })
      for (const agent of [passes, fails, canceled]) assert.strictEqual(yield* agent.status("POST", "disconnect"), 200)

      assert.deepStrictEqual(yield* statesOf("passes", "fails", "canceled"), {
        passes: "finished",
        fails: "finished",
        canceled: "canceled"
      })
      assert.deepStrictEqual(
        (yield* emulator.jobs).map(({ exitStatus }) => exitStatus),
        [0, 7, -1]
      )
      assert.deepStrictEqual(
        (yield* emulator.agents).map(({ state }) => state),
        ["disconnected", "disconnected", "disconnected"]
      )
    }).pipe(Effect.provide(Served))
  )

  it.live("are refused with a used token, or another job's token", () =>
    Effect.gen(function* () {
      const [token = ""] = yield* reserved("j")
      const agent = yield* connect(token)
      const again = yield* call(token, "POST", "register", { body: {} })
      assert.strictEqual(again.status, 422)
      assert.property(again.body, "message")
      yield* begin(agent, "j")
      const late = yield* connect("bkct_emulator")
      assert.strictEqual(yield* late.status("PUT", "jobs/j/acquire"), 422)
    }).pipe(Effect.provide(Served))
  )

  it.live("that request a stream of instructions get a 404, and ping instead", () =>
    Effect.gen(function* () {
      const agent = yield* connect("bkct_emulator")
      const stream = "../buildkite.agentedge.v1.AgentEdgeService/StreamPings"
      assert.strictEqual(yield* agent.status("POST", stream), 404)
      assert.strictEqual(yield* agent.status("GET", "ping"), 200)
    }).pipe(Effect.provide(Served))
  )

  it.live("survive network faults", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [token = ""] = yield* reserved("j")
      const agent = yield* connect(token)
      yield* begin(agent, "j")
      yield* emulator.setFaults([Fault.LostResponse({ times: 1 }), Fault.Reset({ times: 1 }), Fault.Html({ times: 1 })])
      yield* Effect.flip(upload(agent, "j", 1, 0, "once"))
      yield* Effect.flip(upload(agent, "j", 1, 0, "once"))
      assert.strictEqual(yield* upload(agent, "j", 1, 0, "once"), 502)
      assert.strictEqual(yield* upload(agent, "j", 1, 0, "once"), 200)
      assert.strictEqual(yield* emulator.jobLog("j"), "once")
    }).pipe(Effect.provide(Served))
  )
})
