/** What happens while a container is created: interruptions, broken connections, other Engines, listings. */
import { assert, describe, it } from "@effect/vitest"
import { AgentProvider } from "@stacksapi/core"
import { JobOutput } from "@stacksapi/node"
import * as DockerProvider from "@stacksapi/node/DockerProvider"
import { Deferred, Effect, Fiber, Redacted } from "effect"
import * as DockerApi from "../../support/dockerApi.ts"
import { refOf, request } from "../../support/dockerProvider.ts"

const image = "team/agent:1"

/** An Engine with the image, which creates the container `new`. */
const creating =
  (more: DockerApi.Handler, user = ""): DockerApi.Handler =>
  (asked) => {
    const answer = more(asked)
    if (answer !== undefined) return answer
    if (asked.path.endsWith(`/images/${image}/json`)) return { body: { Config: { User: user } } }
    if (asked.path.endsWith("/containers/json")) return { body: [] }
    if (asked.path.endsWith("/containers/create")) return { status: 201, body: { Id: "new" } }
    return asked.method === "GET" ? undefined : { body: "" }
  }

const create = (of: AgentProvider.AgentRequest) =>
  Effect.flatMap(AgentProvider.AgentProvider, (agents) => agents.create(of))

const provider = (...apis: ReadonlyArray<DockerApi.Api>) =>
  Effect.provide(DockerProvider.layer({ image, hosts: apis.map(({ host }) => host) }))

describe("An agent", () => {
  it.live("starts even if its creation is interrupted, so that no container without an agent is left", () =>
    Effect.gen(function* () {
      const isCreating = yield* Deferred.make<void>()
      const api = yield* DockerApi.serve(
        creating(({ path }) => {
          if (path.endsWith("/containers/create")) Deferred.doneUnsafe(isCreating, Effect.void)
          return undefined
        })
      )
      const fiber = yield* Effect.forkChild(create(request()).pipe(provider(api)))
      yield* Deferred.await(isCreating)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(api.asked.some(({ path }) => path.endsWith("/containers/new/start")))
    }).pipe(Effect.scoped)
  )

  it.live("is created again if somebody removed its container before it started", () =>
    Effect.gen(function* () {
      const gone = { status: 404, body: { message: "No such container: new" } }
      const api = yield* DockerApi.serve(creating(({ path }) => (path.endsWith("/new/start") ? gone : undefined)))
      const removed = yield* Effect.flip(create(request())).pipe(provider(api))
      assert.strictEqual(removed.reason, "Unavailable")
      assert.strictEqual(removed.message, `The Docker Engine at ${api.host} failed: No such container: new`)
      // A container that the options name, and that does not exist, is a wrong option.
      const other = { status: 404, body: { message: "No such container: vpn" } }
      const wrong = yield* DockerApi.serve(creating(({ path }) => (path.endsWith("/new/start") ? other : undefined)))
      assert.strictEqual((yield* Effect.flip(create(request())).pipe(provider(wrong))).reason, "Refused")
    }).pipe(Effect.scoped)
  )

  it.live("does not get a token that it can't read: if the connection breaks off, its user is unknown", () =>
    Effect.gen(function* () {
      const broken: DockerApi.Handler = ({ method, path }) =>
        method === "GET" && path.endsWith("/archive") ? { body: "the beginning", end: "broken" } : undefined
      const api = yield* DockerApi.serve(creating(broken, "builder"))
      const error = yield* Effect.flip(create(request())).pipe(provider(api))
      assert.strictEqual(error.reason, "Unavailable")
      assert.isFalse(api.asked.some(({ method }) => method === "PUT"))
    }).pipe(Effect.scoped)
  )

  it.live("does not wait for the agents that are created before it, if an Engine does not answer", () =>
    Effect.gen(function* () {
      let listings = 0
      const areAllListing = yield* Deferred.make<void>()
      const silent = yield* DockerApi.serve(({ path }) => {
        if (!path.endsWith("/containers/json")) return undefined
        if (++listings === 3) Deferred.doneUnsafe(areAllListing, Effect.void)
        return { body: "[", end: "never" }
      })
      const other = yield* DockerApi.serve(creating(() => undefined))
      const creates = Effect.forEach([1, 2, 3], () => create(request()), { concurrency: 3 })
      const fiber = yield* Effect.forkChild(creates.pipe(provider(silent, other)))
      yield* Deferred.await(areAllListing)
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.scoped)
  )

  it.live("prints its token: nobody sees it, even if a listing finds the agent while it is created", () =>
    Effect.gen(function* () {
      const token = "a-token-of-no-known-form"
      const agent = request({ token: Redacted.make(token) })
      const started = Promise.withResolvers<void>()
      const isStarting = yield* Deferred.make<void>()
      const isRead = yield* Deferred.make<void>()
      const state = { Status: "exited", ExitCode: 1, OOMKilled: false, Error: "" }
      const details = {
        ...{ Id: "new", Name: `/${agent.name}`, Created: "2026-01-01T00:00:00Z", State: state },
        ...{ Config: { Labels: agent.labels }, HostConfig: { Memory: 0 } }
      }
      const summary = { Id: "new", Names: [`/${agent.name}`], State: "exited", Labels: agent.labels, Created: 0 }
      const text = Buffer.from(`the token is ${token}\n`)
      const api = yield* DockerApi.serve(
        creating(({ path }) => {
          if (path.endsWith("/containers/json")) return { body: [summary] }
          if (path.endsWith("/new/json")) return { body: details }
          if (path.endsWith("/new/logs")) {
            Deferred.doneUnsafe(isRead, Effect.void)
            return { body: Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 0, 0, text.length]), text]) }
          }
          if (!path.endsWith("/new/start")) return undefined
          Deferred.doneUnsafe(isStarting, Effect.void)
          return { body: "", after: started.promise }
        })
      )
      yield* Effect.gen(function* () {
        const agents = yield* AgentProvider.AgentProvider
        const fiber = yield* Effect.forkChild(agents.create(agent))
        yield* Deferred.await(isStarting)
        const during = yield* agents.list(agent.stackKey)
        assert.deepStrictEqual(
          during.map(({ name, phase }) => ({ name, phase })),
          [{ name: agent.name, phase: "Running" }]
        )
        started.resolve()
        yield* Fiber.join(fiber)
        yield* Deferred.await(isRead)
        const [ended] = yield* agents.list(agent.stackKey)
        assert.strictEqual(ended?.phase, "Failed")
        assert.match(ended?.message ?? "", /its last line: the token is \[REDACTED\]$/)
        const { tail } = yield* JobOutput.JobOutput
        assert.notInclude(JSON.stringify(yield* tail(refOf(agent).jobUuid)), token)
      }).pipe(provider(api))
    }).pipe(Effect.scoped)
  )
})
