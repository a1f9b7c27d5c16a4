/** A redirect to somewhere else does not take the token along, whichever HttpClient the client is made of. */
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, StacksClient, StacksError } from "@stacksapi/core"
import { Context, Effect, Layer, Redacted } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import * as UndiciHttpClient from "../../packages/node/src/internal/client/undici.ts"
import * as Certificate from "../support/certificate.ts"
import * as RawServer from "../support/rawServer.ts"
import { answers, calls, jobUuid } from "../support/samples.ts"

const token = "bkct_do-not-forward"

const followRedirects = Layer.effect(
  HttpClient.HttpClient,
  Effect.map(HttpClient.HttpClient, HttpClient.followRedirects(5))
)
const manualFetch = FetchHttpClient.layer.pipe(
  Layer.provide(Layer.succeed(FetchHttpClient.RequestInit, { redirect: "manual" }))
)

const httpClients = {
  "this package's undici": { layer: UndiciHttpClient.layer, follows: false },
  undici: { layer: NodeHttpClient.layerUndici, follows: false },
  "undici with followRedirects": {
    layer: Layer.provide(followRedirects, NodeHttpClient.layerUndici),
    follows: true
  },
  // It would follow by itself.
  fetch: { layer: FetchHttpClient.layer, follows: false },
  "fetch without redirects": { layer: manualFetch, follows: false },
  "fetch with followRedirects": { layer: Layer.provide(followRedirects, manualFetch), follows: true }
} as const

const kinds = Object.keys(httpClients) as ReadonlyArray<keyof typeof httpClients>
const statuses = [301, 302, 303, 307, 308] as const

const clientOf = (kind: keyof typeof httpClients, baseUrl: string) =>
  StacksClient.layer({ token: Redacted.make(token), baseUrl }).pipe(
    Layer.provide([httpClients[kind].layer, RetryPolicy.layerNone]),
    Layer.build,
    Effect.map((context) => Context.get(context, StacksClient.StacksClient))
  )

/** The service, which redirects everything to another origin, and that other origin, which answers. */
const setUp = Effect.fnUntraced(function* (kind: keyof typeof httpClients, status: number) {
  const elsewhere = yield* RawServer.make(RawServer.always({ body: JSON.stringify(answers.getJob.body) }))
  const service = yield* RawServer.make((socket, request) => {
    socket.write(RawServer.response({ status, headers: { location: elsewhere.origin + request.target } }))
  })
  return { elsewhere, service, client: yield* clientOf(kind, service.baseUrl) }
})

describe.each(kinds)("%s", (kind) => {
  it.effect.each([
    ["to itself, again and again", (target: string) => target],
    ["to a file", () => "file:///etc/passwd"],
    ["to a scheme that is none", () => "javascript:alert(1)"],
    ["to nowhere", () => "http://"]
  ] as const)("a redirect %s ends in a typed failure", ([, location]) =>
    Effect.gen(function* () {
      const service = yield* RawServer.make((socket, request) => {
        socket.write(RawServer.response({ status: 307, headers: { location: location(request.target) } }))
      })
      const client = yield* clientOf(kind, service.baseUrl)
      for (const operation of ["getJob", "finishJob"] as const) {
        const error = yield* Effect.flip(calls[operation](client))
        assert(StacksError.isStacksError(error))
        if (!httpClients[kind].follows) {
          assert(error._tag === "ErrorResponse")
          assert.strictEqual(error.reason._tag, "UnexpectedStatus")
        }
      }
      // finishJob asks for the job's state where it is not clear what happened.
      assert.isAtMost(service.requests.length, httpClients[kind].follows ? 18 : 2)
    })
  )

  it.effect.each(statuses)("a %s to another origin", (status) =>
    Effect.gen(function* () {
      const { client, elsewhere, service } = yield* setUp(kind, status)
      const outcome = yield* Effect.result(client.getJob({ stackKey: "my-stack", jobUuid }))
      yield* Effect.ignore(calls.finishJob(client))

      assert.strictEqual(service.requests.length, 2)
      for (const request of service.requests) {
        assert.strictEqual(RawServer.header(request, "authorization"), `Token ${token}`)
      }
      assert.notInclude(JSON.stringify(elsewhere.requests), token)

      if (httpClients[kind].follows) {
        assert.isAtLeast(elsewhere.requests.length, 1)
        assert.strictEqual(outcome._tag, "Success")
      } else {
        assert.strictEqual(elsewhere.requests.length, 0)
        assert(outcome._tag === "Failure")
        const error: StacksError.StacksError = outcome.failure
        assert(error._tag === "ErrorResponse")
        assert.strictEqual(error.reason._tag, "UnexpectedStatus")
        assert.strictEqual(error.status, status)
        assert.isFalse(error.isRetryable)
        assert.strictEqual(error.headers["location"], `${elsewhere.baseUrl}stacks/my-stack/jobs/${jobUuid}`)
      }
    })
  )
})

describe("A redirect from https to http", () => {
  it.effect("gets neither the request nor the token", () =>
    Effect.gen(function* () {
      const authority = Certificate.make()
      const elsewhere = yield* RawServer.make(RawServer.always({ body: JSON.stringify(answers.getJob.body) }))
      const service = yield* RawServer.make(
        (socket, request) => {
          socket.write(RawServer.response({ status: 307, headers: { location: elsewhere.origin + request.target } }))
        },
        { certificate: Certificate.make({ signer: authority }) }
      )
      yield* Certificate.trusted(authority)
      const client = yield* clientOf("this package's undici", service.baseUrl)
      const error = yield* Effect.flip(calls.getJob(client))
      assert(error._tag === "ErrorResponse")
      assert.strictEqual(error.reason._tag, "UnexpectedStatus")
      assert.lengthOf(service.requests, 1)
      assert.lengthOf(elsewhere.requests, 0)
    })
  )
})
