/** The client on Node: its own connections, set up from options or the environment. */
import { assert, describe, it } from "@effect/vitest"
import { StacksClient } from "@stacksapi/core"
import { NodeStacksClient } from "@stacksapi/node"
import { ConfigProvider, Context, Deferred, Effect, Exit, Layer, Redacted, Scope } from "effect"
import * as RawServer from "../support/rawServer.ts"
import { answers, calls } from "../support/samples.ts"

const jobServer = RawServer.make(RawServer.always({ body: JSON.stringify(answers.getJob.body) }))

const environment = (env: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnv({ env }))

const callOnce = (layer: Layer.Layer<StacksClient.StacksClient, unknown>) =>
  Effect.flatMap(StacksClient.StacksClient, calls.getJob).pipe(Effect.provide(layer))

describe("layer", () => {
  it.effect("reuses its connections, and closes them with the layer", () =>
    Effect.gen(function* () {
      const server = yield* jobServer
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        NodeStacksClient.layer({ token: Redacted.make("bkct_test"), baseUrl: server.baseUrl }),
        scope
      )
      const client = Context.get(context, StacksClient.StacksClient)
      for (let call = 0; call < 20; call++) yield* calls.getJob(client)
      const connections = new Set(server.requests.map(({ closed }) => closed))
      // A connection may still be finishing with one call when the next one looks for a free one.
      assert.isAtMost(connections.size, 5)
      for (const closed of connections) assert.isFalse(Deferred.isDoneUnsafe(closed))
      yield* Scope.close(scope, Exit.void)
      for (const closed of connections) yield* Deferred.await(closed)
    })
  )

  it.effect("uses a connection for each concurrent call", () =>
    Effect.gen(function* () {
      const waiting: Array<() => void> = []
      const server = yield* RawServer.make((socket) => {
        waiting.push(() => socket.write(RawServer.response({ body: JSON.stringify(answers.getJob.body) })))
        // All of them have to be here before the first one is answered.
        if (waiting.length === 20) for (const answer of waiting) answer()
      })
      const layer = NodeStacksClient.layer({ token: Redacted.make("bkct_test"), baseUrl: server.baseUrl })
      yield* StacksClient.StacksClient.pipe(
        Effect.flatMap((client) =>
          Effect.all(
            Array.from({ length: 20 }, () => calls.getJob(client)),
            { concurrency: "unbounded" }
          )
        ),
        Effect.provide(layer)
      )
      assert.strictEqual(new Set(server.requests.map(({ closed }) => closed)).size, 20)
    })
  )
})

describe("layerConfig", () => {
  it.effect("reads its settings from the environment", () =>
    Effect.gen(function* () {
      const server = yield* jobServer
      const env = environment({ BUILDKITE_CLUSTER_TOKEN: "bkct_env", BUILDKITE_AGENT_ENDPOINT: server.baseUrl })
      yield* callOnce(Layer.provide(NodeStacksClient.layerConfig, env))
      assert.strictEqual(RawServer.header(yield* server.firstRequest, "authorization"), "Token bkct_env")
    })
  )

  it.effect("names the variable that is missing", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(callOnce(Layer.provide(NodeStacksClient.layerConfig, environment({}))))
      assert.include(String(error), "BUILDKITE_CLUSTER_TOKEN")
    })
  )

  it.effect("layerConfigWith accepts the other options", () =>
    Effect.gen(function* () {
      const server = yield* jobServer
      const env = environment({ BUILDKITE_AGENT_TOKEN: "bkct_env", BUILDKITE_AGENT_ENDPOINT: server.baseUrl })
      yield* callOnce(Layer.provide(NodeStacksClient.layerConfigWith({ userAgentPrefix: "mine/1" }), env))
      assert.match(RawServer.header(yield* server.firstRequest, "user-agent"), /^mine\/1 stacksapi-effect\//)
    })
  )
})
