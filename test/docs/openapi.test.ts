import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { text } from "../../scripts/openapi.ts"

const committed = readFileSync(join(import.meta.dirname, "../../docs/openapi.json"), "utf8")

const document = JSON.parse(committed)

const operations: ReadonlyArray<[string, Record<string, unknown>]> = Object.entries(document.paths).flatMap(
  ([path, item]) =>
    Object.entries(item as Record<string, { operationId: string }>).map(
      ([method, operation]) => [`${operation.operationId}: ${method.toUpperCase()} ${path}`, operation] as const
    )
)

const schemas = document.components.schemas

describe("docs/openapi.json", () => {
  it("is what `pnpm openapi` writes", () => {
    assert.strictEqual(committed, text)
  })

  it("has every endpoint, relative to the service's base URL", () => {
    assert.deepStrictEqual(document.servers, [{ url: "https://agent.buildkite.com/v3" }])
    assert.deepStrictEqual(
      operations.map(([name]) => name),
      [
        "getTokenIdentity: GET /token",
        "registerStack: POST /stacks/register",
        "deregisterStack: POST /stacks/{stackKey}/deregister",
        "listScheduledJobs: GET /stacks/{stackKey}/scheduled-jobs",
        "batchReserveJobs: PUT /stacks/{stackKey}/scheduled-jobs/batch-reserve",
        "getJob: GET /stacks/{stackKey}/jobs/{jobUuid}",
        "getJobStates: POST /stacks/{stackKey}/jobs/get-states",
        "finishJob: POST /stacks/{stackKey}/jobs/{jobUuid}/finish",
        "createStackNotifications: POST /stacks/{stackKey}/notifications",
        "issueJobAcquisitionTokens: POST /stacks/{stackKey}/job-acquisition-tokens"
      ]
    )
  })

  it("says how to authenticate", () => {
    assert.deepStrictEqual(document.security, [{ clusterToken: [] }])
    const { in: where, name } = document.components.securitySchemes.clusterToken
    assert.deepStrictEqual([where, name], ["header", "Authorization"])
  })

  it("describes every operation and every schema", () => {
    for (const [name, { description }] of operations) assert.isNotEmpty(description, name)
    for (const name of Object.keys(schemas)) assert.match(schemas[name].description, /^[A-Z].*\.$/, name)
  })

  it("uses the names of the wire", () => {
    const names = Object.values(schemas).flatMap((schema) => Object.keys((schema as { properties: object }).properties))
    assert.deepStrictEqual(
      names.filter((name) => /[A-Z]/.test(name)),
      []
    )
    for (const name of [
      "queue_key",
      "page_info",
      "dispatch_paused",
      "job_uuids",
      "exit_status",
      "job_acquisition_token"
    ]) {
      assert.include(names, name)
    }
  })

  it("has the limits", () => {
    const query = document.paths["/stacks/{stackKey}/scheduled-jobs"].get.parameters
    assert.deepInclude(query, {
      name: "limit",
      in: "query",
      schema: { type: "integer", minimum: 1, maximum: 1000 },
      required: false
    })
    assert.deepStrictEqual(schemas.RegisterStackPayload.properties.key, {
      type: "string",
      pattern: "^[A-Za-z0-9_-]{1,80}$"
    })
    assert.deepStrictEqual(schemas.RegisterStackPayload.properties.metadata, {
      type: "object",
      propertyNames: { type: "string", maxLength: 64 },
      additionalProperties: { type: "string", maxLength: 256 },
      maxProperties: 100
    })
    assert.deepInclude(schemas.BatchReserveJobsPayload.properties.job_uuids, { minItems: 1, maxItems: 1000 })
    assert.deepInclude(schemas.BatchReserveJobsPayload.properties.reservation_expiry_seconds, {
      minimum: 1,
      maximum: 3600
    })
    assert.deepInclude(schemas.GetJobStatesPayload.properties.job_uuids, { maxItems: 1000 })
    assert.deepInclude(schemas.FinishJobPayload.properties.detail, { minLength: 1, maxLength: 4096 })
    assert.deepInclude(schemas.StackNotification.properties.detail, { minLength: 1, maxLength: 256 })
    assert.deepInclude(schemas.IssueJobAcquisitionTokensPayload.properties.token_lifetime_seconds, {
      minimum: 1,
      maximum: 3600
    })
  })

  it("says what may be null, and leaves objects open for fields to come", () => {
    assert.deepStrictEqual(schemas.PageInfo.properties.end_cursor, { type: ["string", "null"] })
    assert.deepStrictEqual(schemas.ScheduledJob.properties.runnable_at, {
      type: ["string", "null"],
      format: "date-time"
    })
    assert.notInclude(committed, `"additionalProperties": false`)
  })

  it("refers only to what it has", () => {
    for (const [, section, name] of committed.matchAll(/"\$ref": "#\/components\/(\w+)\/([\w-]+)"/g)) {
      assert.property(document.components[section ?? ""], name ?? "")
    }
  })
})
