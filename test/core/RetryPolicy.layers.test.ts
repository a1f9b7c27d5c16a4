/** Choosing policies: beneath the client, around a call, for one operation or for all. */
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, type StacksApi, StacksClient } from "@stacksapi/core"
import { Context, Effect, Layer, Redacted, Schedule } from "effect"
import { calls } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"
import { runToEnd } from "../support/testClock.ts"

/** A policy that can be told by its number of attempts. */
const attempts = (n: number) => RetryPolicy.make(Schedule.recurs(n - 1))

/** A failing service, and how many attempts a call of an operation makes. */
const setUp = Effect.fnUntraced(function* (beneath: Layer.Layer<never> = Layer.empty) {
  const service = Scripted.make((request, index) =>
    request.url.endsWith("/get-states")
      ? Scripted.json(200, { states: {} })(request, index)
      : Scripted.empty(503)(request, index)
  )
  const context = yield* StacksClient.layer({ token: Redacted.make("t"), baseUrl: Scripted.baseUrl }).pipe(
    Layer.provide(beneath),
    Layer.provide(service.layer),
    Layer.build
  )
  const client = Context.get(context, StacksClient.StacksClient)
  const sent = () => service.requests.filter(({ url }) => !url.endsWith("/get-states")).length
  const attemptsOf = (
    operation: StacksApi.Operation,
    around: <A, E>(call: Effect.Effect<A, E>) => Effect.Effect<A, E> = (call) => call
  ) =>
    Effect.gen(function* () {
      const before = sent()
      yield* runToEnd(Effect.exit(around(calls[operation](client))))
      return sent() - before
    })
  return attemptsOf
})

describe("A retry policy beneath the client's layer", () => {
  it.effect("applies to every call", () =>
    Effect.gen(function* () {
      const attemptsOf = yield* setUp(RetryPolicy.layer(attempts(3)))
      assert.strictEqual(yield* attemptsOf("getJob"), 3)
      assert.strictEqual(yield* attemptsOf("finishJob"), 3)
    })
  )

  it.effect("is one attempt with layerNone", () =>
    Effect.gen(function* () {
      const attemptsOf = yield* setUp(RetryPolicy.layerNone)
      assert.strictEqual(yield* attemptsOf("listScheduledJobs"), 1)
    })
  )

  it.effect("applies to named operations with layerFor, and the standard policy to the others", () =>
    Effect.gen(function* () {
      const attemptsOf = yield* setUp(
        RetryPolicy.layerFor({ listScheduledJobs: RetryPolicy.none, getJob: attempts(2), registerStack: undefined })
      )
      assert.strictEqual(yield* attemptsOf("listScheduledJobs"), 1)
      assert.strictEqual(yield* attemptsOf("getJob"), 2)
      assert.strictEqual(yield* attemptsOf("registerStack"), 5)
      assert.strictEqual(yield* attemptsOf("batchReserveJobs"), 5)
    })
  )

  it.effect("falls through to the layer below for operations that layerFor does not name", () =>
    Effect.gen(function* () {
      const attemptsOf = yield* setUp(
        RetryPolicy.layerFor({ listScheduledJobs: RetryPolicy.none }).pipe(
          Layer.provide(RetryPolicy.layerFor({ getJob: attempts(2), listScheduledJobs: attempts(4) })),
          Layer.provide(RetryPolicy.layer(attempts(3)))
        )
      )
      assert.strictEqual(yield* attemptsOf("listScheduledJobs"), 1)
      assert.strictEqual(yield* attemptsOf("getJob"), 2)
      assert.strictEqual(yield* attemptsOf("registerStack"), 3)
    })
  )
})

describe("A retry policy around a call", () => {
  it.effect("takes precedence over the client's policy", () =>
    Effect.gen(function* () {
      const attemptsOf = yield* setUp(RetryPolicy.layer(attempts(3)))
      assert.strictEqual(yield* attemptsOf("getJob", Effect.provide(RetryPolicy.layer(attempts(2)))), 2)
      assert.strictEqual(yield* attemptsOf("getJob", Effect.provide(RetryPolicy.layerNone)), 1)
      assert.strictEqual(yield* attemptsOf("getJob", RetryPolicy.withPolicy(attempts(4))), 4)
      assert.strictEqual(yield* attemptsOf("getJob", (call) => RetryPolicy.withPolicy(call, attempts(4))), 4)
      const provided = yield* attemptsOf("getJob", Effect.provideService(RetryPolicy.RetryPolicy, attempts(6)))
      assert.strictEqual(provided, 6)
      // And holds for that call only.
      assert.strictEqual(yield* attemptsOf("getJob"), 3)
    })
  )

  it.effect("falls through to the client's policy for other operations", () =>
    Effect.gen(function* () {
      const attemptsOf = yield* setUp(RetryPolicy.layer(attempts(3)))
      const around = Effect.provide(RetryPolicy.layerFor({ getJob: RetryPolicy.none }))
      assert.strictEqual(yield* attemptsOf("getJob", around), 1)
      assert.strictEqual(yield* attemptsOf("registerStack", around), 3)
    })
  )

  it.effect("takes precedence over outer policies, except for operations that it does not name", () =>
    Effect.gen(function* () {
      const attemptsOf = yield* setUp(RetryPolicy.layer(attempts(3)))
      const inner = Effect.provide(RetryPolicy.layerFor({ getJob: RetryPolicy.none }))
      const outer = Effect.provide(RetryPolicy.layerFor({ registerStack: attempts(2), getJob: attempts(9) }))
      const nested = <A, E>(call: Effect.Effect<A, E>) => RetryPolicy.withPolicy(outer(inner(call)), attempts(4))
      assert.strictEqual(yield* attemptsOf("getJob", nested), 1)
      assert.strictEqual(yield* attemptsOf("registerStack", nested), 2)
      assert.strictEqual(yield* attemptsOf("batchReserveJobs", nested), 4)
      const inside = <A, E>(call: Effect.Effect<A, E>) =>
        call.pipe(RetryPolicy.withPolicy(attempts(2)), Effect.provide(RetryPolicy.layerNone))
      assert.strictEqual(yield* attemptsOf("getJob", inside), 2)
    })
  )

  it.effect("falls through to a different policy in each place where it is used", () =>
    Effect.gen(function* () {
      const attemptsOf = yield* setUp()
      const shared = RetryPolicy.layerFor({ getJob: RetryPolicy.none })
      const within = (outer: RetryPolicy.Policy) =>
        attemptsOf("registerStack", (call) => call.pipe(Effect.provide(shared), RetryPolicy.withPolicy(outer)))
      assert.strictEqual(yield* within(attempts(2)), 2)
      assert.strictEqual(yield* within(attempts(3)), 3)
      const both = attemptsOf("registerStack", (call) =>
        call.pipe(Effect.provide(shared), RetryPolicy.withPolicy(attempts(4)), Effect.provide(shared))
      )
      assert.strictEqual(yield* both, 4)
      // Beneath two clients of one application, too.
      const beneath = (outer: RetryPolicy.Policy) => Layer.provide(shared, RetryPolicy.layer(outer))
      const memoMap = yield* Layer.makeMemoMap
      const policyOf = (layer: Layer.Layer<never>) =>
        Effect.scope.pipe(
          Effect.flatMap((scope) => Layer.buildWithMemoMap(layer, memoMap, scope)),
          Effect.map((context) => Context.get(context, RetryPolicy.RetryPolicy))
        )
      const [one, other] = [attempts(2), attempts(3)]
      assert.strictEqual((yield* policyOf(beneath(one))).select("registerStack"), one.select("registerStack"))
      assert.strictEqual((yield* policyOf(beneath(other))).select("registerStack"), other.select("registerStack"))
    })
  )

  it.effect("applies to all calls of a program", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.empty(503))
      const client = yield* Scripted.client(service)
      const program = Effect.all([calls.getJob(client), calls.registerStack(client)].map(Effect.exit), {
        concurrency: 2
      })
      yield* Effect.provide(program, RetryPolicy.layerNone)
      assert.strictEqual(service.requests.length, 2)
    })
  )
})

describe("failJob and createStackNotification", () => {
  it.effect("use the policy of the method whose endpoint they call", () =>
    Effect.gen(function* () {
      const attemptsOf = yield* setUp(
        RetryPolicy.layerFor({ finishJob: attempts(2), createStackNotifications: attempts(3) })
      )
      assert.strictEqual(yield* attemptsOf("failJob"), 2)
      assert.strictEqual(yield* attemptsOf("createStackNotification"), 3)
    })
  )

  it.effect("use their own policy if there is one", () =>
    Effect.gen(function* () {
      const attemptsOf = yield* setUp(
        RetryPolicy.layerFor({
          finishJob: attempts(2),
          failJob: attempts(4),
          createStackNotifications: attempts(3),
          createStackNotification: RetryPolicy.none
        })
      )
      assert.strictEqual(yield* attemptsOf("finishJob"), 2)
      assert.strictEqual(yield* attemptsOf("failJob"), 4)
      assert.strictEqual(yield* attemptsOf("createStackNotifications"), 3)
      assert.strictEqual(yield* attemptsOf("createStackNotification"), 1)
    })
  )
})
