/** Settings with a password or a token in them that can't be used: what is said of them, and what is not. */
import { assert, describe, it } from "@effect/vitest"
import { RateLimit, RetryPolicy, StacksClient } from "@stacksapi/core"
import { NodeStacksClient } from "@stacksapi/node"
import * as ClusterStack from "@stacksapi/node/ClusterStack"
import * as RedisRateLimit from "@stacksapi/node/RedisRateLimit"
import { ConfigProvider, Effect, Exit, Layer } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { record } from "../../support/recording.ts"
import { calls } from "../../support/samples.ts"
import * as Secrets from "../../support/secrets.ts"

/** Runs with these settings; gives how it ended, and all that was shown. */
const shownBy = <A, E>(program: Effect.Effect<A, E>, settings: Readonly<Record<string, string>>) =>
  Effect.map(
    record(Effect.provide(program, ConfigProvider.layer(ConfigProvider.fromUnknown(settings)))),
    ({ exit, recording }) => ({ exit, shown: [...Secrets.recorded(recording), ...Secrets.renderings(exit)] })
  )

const call = Effect.flatMap(StacksClient.StacksClient, calls.getJob)

describe("the endpoint", () => {
  it.live.each([
    "http://user:PLANTED_password@127.0.0.1:1/v3",
    "http://PLANTED_key@127.0.0.1:1/v3",
    "user:PLANTED_password@127.0.0.1",
    "http://user:PLANTED_password@[oops",
    "PLANTED_password"
  ])("is not shown: %s", (endpoint) =>
    Effect.gen(function* () {
      const { exit, shown } = yield* shownBy(call.pipe(Effect.provide(NodeStacksClient.layerConfig)), {
        BUILDKITE_CLUSTER_TOKEN: Secrets.clusterToken,
        BUILDKITE_AGENT_ENDPOINT: endpoint
      })
      assert.isTrue(Exit.isFailure(exit))
      Secrets.assertNone(endpoint, shown)
    })
  )
})

describe("the URL of Redis", () => {
  it.live.each([
    "redis://:PLANTED_redis@127.0.0.1:1",
    "redis://:PLANTED_redis@127.0.0.1:none",
    "http://:PLANTED_redis@127.0.0.1",
    "PLANTED_redis"
  ])("is not shown: %s", (url) =>
    Effect.gen(function* () {
      const program = call.pipe(
        Effect.provide(
          NodeStacksClient.layerConfig.pipe(
            Layer.provide([RedisRateLimit.layerConfig, RetryPolicy.layerNone]),
            Layer.provide(RateLimit.layerNone)
          )
        )
      )
      const { exit, shown } = yield* shownBy(program, {
        BUILDKITE_CLUSTER_TOKEN: Secrets.clusterToken,
        BUILDKITE_AGENT_ENDPOINT: "http://127.0.0.1:1/v3",
        REDIS_URL: url
      })
      assert.isTrue(Exit.isFailure(exit))
      Secrets.assertNone(url, shown)
    })
  )
})

describe("the URL of the database", () => {
  it.live.each([
    "postgres://user:PLANTED_database@127.0.0.1:1/name",
    "postgres://user:PLANTED_database@127.0.0.1:none/name",
    "mysql://user:PLANTED_database@127.0.0.1/name",
    "PLANTED_database"
  ])("is not shown: %s", (url) =>
    Effect.gen(function* () {
      const program = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT 1`).pipe(
        Effect.provide(ClusterStack.layerDatabase)
      )
      const { exit, shown } = yield* shownBy(program, { DATABASE_URL: url })
      assert.isTrue(Exit.isFailure(exit))
      Secrets.assertNone(url, shown)
    })
  )
})
