/** How a client is set up. */

import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, StacksClient, StacksSchema } from "@stacksapi/core"
import { Cause, Config, ConfigProvider, Context, Effect, Layer, Redacted } from "effect"
import { answers, calls, jobUuid, operations } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"

const getsJob = () => Scripted.make(Scripted.json(200, answers.getJob.body))

const environment = (env: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnv({ env }))

describe("layerConfig", () => {
  /** The request of a client that is set up from these variables. */
  const requestWith = Effect.fnUntraced(function* (env: Record<string, string>) {
    const service = getsJob()
    const context = yield* StacksClient.layerConfig.pipe(Layer.provide([service.layer, environment(env)]), Layer.build)
    yield* calls.getJob(Context.get(context, StacksClient.StacksClient))
    const [request] = service.requests
    assert(request !== undefined)
    return request
  })

  it.effect("takes the token from BUILDKITE_CLUSTER_TOKEN", () =>
    Effect.gen(function* () {
      const request = yield* requestWith({ BUILDKITE_CLUSTER_TOKEN: "bkct_a", BUILDKITE_AGENT_TOKEN: "b" })
      assert.strictEqual(request.headers["authorization"], "Token bkct_a")
      assert.strictEqual(request.url, `https://agent.buildkite.com/v3/stacks/my-stack/jobs/${jobUuid}`)
    })
  )

  it.effect("takes the token from BUILDKITE_AGENT_TOKEN if BUILDKITE_CLUSTER_TOKEN is not set", () =>
    Effect.gen(function* () {
      const request = yield* requestWith({ BUILDKITE_AGENT_TOKEN: "bkct_b" })
      assert.strictEqual(request.headers["authorization"], "Token bkct_b")
    })
  )

  it.effect("takes the base URL with its path from BUILDKITE_AGENT_ENDPOINT", () =>
    Effect.gen(function* () {
      const request = yield* requestWith({
        BUILDKITE_CLUSTER_TOKEN: "bkct_a",
        BUILDKITE_AGENT_ENDPOINT: "https://edge.example.com/buildkite/v3"
      })
      assert.strictEqual(request.url, `https://edge.example.com/buildkite/v3/stacks/my-stack/jobs/${jobUuid}`)
    })
  )

  it.effect("fails without a token, in one sentence that names the variable to set", () =>
    Effect.gen(function* () {
      const sentence = "BUILDKITE_CLUSTER_TOKEN is not set: use a cluster token (bkct_…)"
      const error = yield* Effect.flip(requestWith({}))
      assert.strictEqual(error._tag, "ConfigError")
      assert.instanceOf(error, Config.ConfigError)
      assert.strictEqual(error.message, sentence)
      const printed = [inspect(error), Cause.pretty(Cause.fail(error)), String(error)]
      for (const text of printed) {
        assert.include(text, sentence)
        assert.notMatch(text, /schema|_tag|issue/i)
      }
    })
  )

  it.effect("fails if the endpoint is not a URL", () =>
    Effect.gen(function* () {
      const env = { BUILDKITE_CLUSTER_TOKEN: "bkct_a", BUILDKITE_AGENT_ENDPOINT: "nonsense" }
      const error = yield* Effect.flip(requestWith(env))
      assert.strictEqual(error._tag, "ConfigError")
      assert.notInclude(String(error), "bkct_a")
    })
  )

  it.effect("layerConfigWith takes variables with other names", () =>
    Effect.gen(function* () {
      const service = getsJob()
      const options: Config.Wrap<StacksClient.Options> = {
        token: Config.Redacted("MY_TOKEN"),
        baseUrl: Config.String("MY_URL"),
        userAgentPrefix: Config.succeed("mine/1")
      }
      const layer = Layer.provide(StacksClient.layerConfigWith(options as StacksClient.ConfigOptions), service.layer)
      const build = (env: Record<string, string>) => Layer.build(Layer.provide(layer, environment(env)))

      const others = { BUILDKITE_CLUSTER_TOKEN: "bkct_other", BUILDKITE_AGENT_ENDPOINT: "https://other.test/v3" }
      const context = yield* build({ ...others, MY_TOKEN: "bkct_mine", MY_URL: "https://mine.test/v3" })
      yield* calls.getJob(Context.get(context, StacksClient.StacksClient))
      const [request] = service.requests
      assert.strictEqual(request?.headers["authorization"], "Token bkct_mine")
      assert.match(request?.headers["user-agent"] ?? "", /^mine\/1 /)
      assert.match(request?.url ?? "", /^https:\/\/mine\.test\/v3\/stacks/)

      const error = yield* Effect.flip(build({ ...others, MY_URL: "https://mine.test/v3" }))
      assert.include(error.message, "MY_TOKEN")
      assert.notInclude(error.message, "\n")
      assert.notInclude(inspect(error), "issue:")
    })
  )

  it.effect("layerConfigWith adds the other options", () =>
    Effect.gen(function* () {
      const service = getsJob()
      const context = yield* StacksClient.layerConfigWith({ userAgentPrefix: "mine/1" }).pipe(
        Layer.provide([service.layer, environment({ BUILDKITE_CLUSTER_TOKEN: "bkct_a" })]),
        Layer.build
      )
      yield* calls.getJob(Context.get(context, StacksClient.StacksClient))
      assert.match(service.requests[0]?.headers["user-agent"] ?? "", /^mine\/1 stacksapi-effect\//)
    })
  )
})

describe("layer", () => {
  it.effect("calls Buildkite by default", () =>
    Effect.gen(function* () {
      assert.strictEqual(StacksClient.DefaultBaseUrl, "https://agent.buildkite.com/v3/")
      assert.strictEqual(StacksSchema.DefaultQueue, "_default")
      const service = getsJob()
      const client = yield* Scripted.client(service, { baseUrl: undefined })
      yield* calls.getJob(client)
      assert.strictEqual(service.requests[0]?.url, `https://agent.buildkite.com/v3/stacks/my-stack/jobs/${jobUuid}`)
    })
  )

  it.effect.each([
    "",
    "nonsense",
    "/v3",
    "//stacks.test/v3",
    "http://",
    "http://[::bad/v3",
    "http://stacks.test:99999/v3",
    "localhost:8080/v3",
    "ftp://stacks.test/v3",
    "file:///etc/passwd"
  ])("refuses calls when the base URL is %j, and sends nothing", (baseUrl) =>
    Effect.gen(function* () {
      const service = getsJob()
      const client = yield* Scripted.client(service, { baseUrl })
      for (const operation of operations) {
        const error = yield* Effect.flip(calls[operation](client))
        assert(error._tag === "InvalidRequest")
        assert.strictEqual(error.operation, operation)
        assert.match(error.issue, /base URL/)
      }
      assert.strictEqual(service.requests.length, 0)
    })
  )

  it.effect.each(["", " \n", "bkct_ä", "bkct_a\u0000b", "bkct_a\nx-evil: 1", "bkct_€"])(
    "refuses calls when the token is %j: no header can carry it",
    (token) =>
      Effect.gen(function* () {
        const service = getsJob()
        const client = yield* Scripted.client(service, { token: Redacted.make(token) })
        const error = yield* Effect.flip(calls.getJob(client))
        assert(error._tag === "InvalidRequest")
        assert.match(error.issue, /token/)
        if (token.trim() !== "") assert.notInclude(String(error), token)
        assert.strictEqual(service.requests.length, 0)
      })
  )

  it.effect("removes the line break of a token that was read from a file", () =>
    Effect.gen(function* () {
      const service = getsJob()
      const client = yield* Scripted.client(service, { token: Redacted.make("bkct_file\n") })
      yield* calls.getJob(client)
      assert.strictEqual(service.requests[0]?.headers["authorization"], "Token bkct_file")
    })
  )

  it.effect("fails calls if the user agent's prefix is invalid", () =>
    Effect.gen(function* () {
      const service = getsJob()
      const client = yield* Scripted.client(service, { userAgentPrefix: "mine\r\nx-evil: 1" })
      const error = yield* Effect.flip(calls.getJob(client))
      assert.strictEqual(error._tag, "InvalidRequest")
      assert.strictEqual(service.requests.length, 0)
    })
  )

  it.effect("shows no credentials of the base URL in errors", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.json(404, { message: "no such stack" }))
      for (const baseUrl of ["https://me:s3cret@stacks.test/v3", "https://me:p@s3cret@stacks.test/v3"]) {
        const client = yield* Scripted.client(service, { baseUrl })
        const notFound = yield* Effect.flip(calls.getJob(client))
        const invalid = yield* Effect.flip(client.getJob({ stackKey: "", jobUuid }))
        for (const error of [notFound, invalid]) {
          assert.notInclude(`${error} ${JSON.stringify(error)}`, "s3cret")
          assert.include(JSON.stringify(error), "https://stacks.test/v3/")
        }
      }
    })
  )

  it.effect("makes a client for many concurrent calls", () =>
    Effect.gen(function* () {
      const service = getsJob()
      const client = yield* Scripted.client(service)
      const call = calls.getJob(client)
      yield* Effect.all(
        Array.from({ length: 50 }, () => call),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(service.requests.length, 50)
    })
  )

  it.effect("makes calls that can be repeated", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.inTurn(Scripted.empty(500), Scripted.json(200, answers.getJob.body)))
      const client = yield* Scripted.client(service)
      const call = calls.getJob(client).pipe(RetryPolicy.withPolicy(RetryPolicy.none))
      assert.strictEqual((yield* Effect.result(call))._tag, "Failure")
      assert.strictEqual((yield* Effect.result(call))._tag, "Success")
    })
  )
})
