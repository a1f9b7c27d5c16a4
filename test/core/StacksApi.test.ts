/** The declaration that everything else is made from. */
import { createRequire } from "node:module"
import { assert, describe, it } from "@effect/vitest"
import { StacksApi } from "@stacksapi/core"
import { Context, Effect } from "effect"
import { HttpApi } from "effect/http-api"
import { version } from "../../packages/core/src/internal/client/version.ts"
import { answers, calls, operations } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"

const declared = (() => {
  const endpoints: Array<readonly [name: string, route: string, limit: string]> = []
  HttpApi.reflect(StacksApi.StacksApi, {
    onGroup() {},
    onEndpoint({ endpoint }) {
      const { limit, scope } = Context.getUnsafe(endpoint.annotations, StacksApi.Limit)
      endpoints.push([endpoint.identifier, `${endpoint.method} ${endpoint.path}`, `${scope} ${limit}`])
    }
  })
  return endpoints
})()

describe("StacksApi", () => {
  it("declares every endpoint of the service, with its rate limit", () => {
    assert.deepStrictEqual(declared, [
      ["getTokenIdentity", "GET /token", "default 10"],
      ["registerStack", "POST /stacks/register", "default 10"],
      ["deregisterStack", "POST /stacks/:stackKey/deregister", "default 10"],
      ["listScheduledJobs", "GET /stacks/:stackKey/scheduled-jobs", "list-scheduled-jobs 10"],
      ["batchReserveJobs", "PUT /stacks/:stackKey/scheduled-jobs/batch-reserve", "batch-reserve 10"],
      ["getJob", "GET /stacks/:stackKey/jobs/:jobUuid", "show-job 1000"],
      ["getJobStates", "POST /stacks/:stackKey/jobs/get-states", "batch-load-job-states 20"],
      ["finishJob", "POST /stacks/:stackKey/jobs/:jobUuid/finish", "finish-job 100"],
      ["createStackNotifications", "POST /stacks/:stackKey/notifications", "stack-notification 200"],
      ["issueJobAcquisitionTokens", "POST /stacks/:stackKey/job-acquisition-tokens", "show-job 1000"]
    ])
    assert.deepStrictEqual(declared.map(([name]) => name).sort(), Object.keys(answers).sort())
  })

  it("maps each method to its endpoint", () => {
    assert.strictEqual(StacksApi.endpointOf("failJob"), "finishJob")
    assert.strictEqual(StacksApi.endpointOf("createStackNotification"), "createStackNotifications")
    for (const [name] of declared) {
      assert.strictEqual(StacksApi.endpointOf(name as StacksApi.Endpoint), name)
    }
  })

  it.effect("has an endpoint for each method of the client", () =>
    Effect.gen(function* () {
      const client = yield* Scripted.client(Scripted.make(Scripted.empty(200)))
      assert.deepStrictEqual(Object.keys(client).sort(), Array.from(operations).sort())
      assert.strictEqual(operations.length, 12)
      assert.strictEqual(Object.keys(calls).length, 12)
    })
  )
})

describe("the version in the user agent", () => {
  it("is the package's", () => {
    const { version: published } = createRequire(import.meta.url)("../../packages/core/package.json")
    assert.strictEqual(version, published)
  })
})
