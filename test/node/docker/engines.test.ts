/** Where the Engines are, and how a provider speaks with them. */

import { createHash } from "node:crypto"
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { AgentProvider } from "@stacksapi/core"
import * as DockerProvider from "@stacksapi/node/DockerProvider"
import { ConfigProvider, Effect, Layer } from "effect"
import * as Certificate from "../../support/certificate.ts"
import * as DockerApi from "../../support/dockerApi.ts"
import { request } from "../../support/dockerProvider.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const write = (path: string, content: unknown) => {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content))
}

const empty: DockerApi.Handler = ({ path }) => (path.endsWith("/containers/json") ? { body: [] } : undefined)

/** Lists the agents of a stack with these settings. */
const list = (env: Readonly<Record<string, string>>, options: Partial<DockerProvider.Options> = {}) =>
  Effect.flatMap(AgentProvider.AgentProvider, (agents) => agents.list("my-stack")).pipe(
    Effect.provide(
      DockerProvider.layer({ image: "agent", ...options }).pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(env)))
      )
    )
  )

/** A folder of Docker's configuration with a current context. */
const contextFolder = Effect.fnUntraced(function* (host: string) {
  const folder = yield* temporaryFolder
  const id = createHash("sha256").update("builder").digest("hex")
  write(join(folder, "config.json"), { currentContext: "builder", auths: {} })
  write(join(folder, "contexts/meta", id, "meta.json"), { Name: "builder", Endpoints: { docker: { Host: host } } })
  return folder
})

describe("The Engine of a provider", () => {
  it.live("is that of DOCKER_HOST", () =>
    Effect.gen(function* () {
      const api = yield* DockerApi.serve(empty)
      const other = yield* DockerApi.serve(empty)
      // DOCKER_HOST takes precedence over contexts.
      assert.isEmpty(yield* list({ DOCKER_HOST: api.host, DOCKER_CONFIG: yield* contextFolder(other.host) }))
      const request = api.asked.find(({ path }) => path.endsWith("/containers/json"))
      assert.strictEqual(request?.query.get("filters"), '{"label":["stacksapi-stack=my-stack"]}')
      assert.isEmpty(other.asked)
    }).pipe(Effect.scoped)
  )

  it.live("is that of the current context", () =>
    Effect.gen(function* () {
      const api = yield* DockerApi.serve(empty, { on: "tcp" })
      assert.isEmpty(yield* list({ DOCKER_CONFIG: yield* contextFolder(api.host) }))
      assert.isNotEmpty(api.asked)
    }).pipe(Effect.scoped)
  )

  it.live("is that of DOCKER_CONTEXT, which may not exist", () =>
    Effect.gen(function* () {
      const folder = yield* contextFolder("unix:///nowhere")
      const error = yield* Effect.flip(list({ DOCKER_CONFIG: folder, DOCKER_CONTEXT: "elsewhere" }))
      assert.strictEqual(error._tag, "DockerUnusable")
      assert.strictEqual(error.message, "Docker's context elsewhere does not exist")
    }).pipe(Effect.scoped)
  )

  it.live("is reached with TLS, and a certificate for the client", () =>
    Effect.gen(function* () {
      const authority = Certificate.make()
      const [server, client] = [Certificate.make({ signer: authority }), Certificate.make({ signer: authority })]
      const tls = { ca: authority.cert, cert: server.cert, key: server.key }
      const { asked, host } = yield* DockerApi.serve(empty, { on: "tcp", tls })
      const certPath = yield* temporaryFolder
      write(join(certPath, "ca.pem"), authority.cert)
      write(join(certPath, "cert.pem"), client.cert)
      write(join(certPath, "key.pem"), client.key)
      assert.isEmpty(yield* list({ DOCKER_HOST: host, DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: certPath }))
      assert.isEmpty(yield* list({}, { hosts: [{ host, certPath }] }))
      const count = asked.length
      assert.isAbove(count, 0)
      // Another authority's server.
      write(join(certPath, "ca.pem"), Certificate.make().cert)
      const error = yield* Effect.flip(list({}, { hosts: [{ host, certPath }] }))
      assert.match(error.message, /is not available: .*certificate/)
      assert.strictEqual(asked.length, count)
      assert.isEmpty(yield* list({}, { hosts: [{ host, certPath, skipVerify: true }] }))
    }).pipe(Effect.scoped)
  )

  it.live("is asked in the newest version that both know", () =>
    Effect.gen(function* () {
      for (const [offered, used] of [
        ["1.40", "/v1.40"],
        ["1.44", "/v1.44"],
        ["1.99", "/v1.51"],
        ["2.0", "/v1.51"]
      ] as const) {
        const api = yield* DockerApi.serve(empty, { apiVersion: offered })
        yield* list({ DOCKER_HOST: api.host })
        assert.isTrue(api.asked.some(({ path }) => path.startsWith(`${used}/containers`)))
      }
      const old = yield* DockerApi.serve(empty, { apiVersion: "1.24" })
      const error = yield* Effect.flip(list({ DOCKER_HOST: old.host }))
      assert.match(error.message, /its API version is 1\.24, and 1\.40 is needed/)
    }).pipe(Effect.scoped)
  )

  it.live("may not be there: the message says where it was looked for, and why it can't be used", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(list({ DOCKER_HOST: "unix:///nowhere/docker.sock" }))
      assert.strictEqual(error._tag === "ProviderError" ? error.reason : error._tag, "Unavailable")
      assert.strictEqual(
        error.message,
        "The Docker Engine at unix:///nowhere/docker.sock is not available: there is no such socket"
      )
      for (const host of ["ssh://builder", "npipe:////./pipe/docker", "docker.sock"]) {
        const unusable = yield* Effect.flip(list({ DOCKER_HOST: host }))
        assert.strictEqual(unusable._tag, "DockerUnusable")
        assert.match(unusable.message, /can't be used: use unix:\/\/\/path, tcp:\/\/host:port/)
      }
    })
  )

  it.live("has a configuration that can't be read: the message shows nothing of it", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      write(join(folder, "config.json"), `{ "auths": { "r.test": { "auth": 12345 } }, "currentContext": "secret`)
      const error = yield* Effect.flip(list({ DOCKER_CONFIG: folder }))
      assert.match(error.message, /^Docker's file .*config\.json is not as Docker writes it$/)
    }).pipe(Effect.scoped)
  )

  it.live("says what is wrong with the options", () =>
    Effect.gen(function* () {
      const wrong: ReadonlyArray<[Partial<DockerProvider.Options>, string]> = [
        [{ image: undefined }, "image"],
        [{ image: " " }, "image"],
        [{ cpus: 0 }, "cpus"],
        [{ memory: 1024 }, "memory"],
        [{ pids: 0.5 }, "pids"],
        [{ pull: "sometimes" as never }, "pull"]
      ]
      for (const [options, option] of wrong) {
        const error = yield* Effect.flip(list({}, options))
        assert.strictEqual(error._tag === "InvalidOptions" ? error.option : error._tag, option)
      }
    })
  )
})

describe("A container", () => {
  it.live("gets its token and joins all of its networks before it starts", () =>
    Effect.gen(function* () {
      const api = yield* DockerApi.serve(({ method, path }) => {
        if (path.endsWith("/images/team/agent:1/json")) return { body: { Config: { User: "1234:100" } } }
        if (path.endsWith("/containers/create")) return { status: 201, body: { Id: "new" } }
        return method === "GET" ? undefined : { body: "" }
      })
      const agent = request()
      yield* Effect.flatMap(AgentProvider.AgentProvider, (agents) => agents.create(agent)).pipe(
        Effect.provide(DockerProvider.layer({ image: "team/agent:1", hosts: [api.host], networks: ["jobs", "cache"] }))
      )
      const changes = api.asked.filter(({ method }) => method !== "GET")
      assert.deepStrictEqual(
        changes.map(({ method, path }) => `${method} ${path.replace(/^\/v[\d.]+/, "")}`),
        [
          "POST /containers/create",
          "POST /networks/cache/connect",
          "PUT /containers/new/archive",
          "POST /containers/new/start"
        ]
      )
      assert.strictEqual(changes[0]?.query.get("name"), agent.name)
    }).pipe(Effect.scoped)
  )
})

describe("A listing", () => {
  const container = (name: string, more: object) => ({
    Id: `id-${name}`,
    Names: [`/${name}`],
    State: "running",
    Labels: { "stacksapi-stack": "my-stack", "stacksapi-job": `job of ${name}` },
    Created: Date.now() / 1000,
    ...more
  })

  it.live("lacks containers that never started, and removes those that a process left behind", () =>
    Effect.gen(function* () {
      const api = yield* DockerApi.serve(({ path }) =>
        path.endsWith("/containers/json")
          ? {
              body: [
                container("at-work", {}),
                container("being-created", { State: "created" }),
                container("left", { State: "created", Created: Date.now() / 1000 - 60 })
              ]
            }
          : undefined
      )
      const agents = yield* list({ DOCKER_HOST: api.host })
      assert.deepStrictEqual(
        agents.map(({ jobUuid, name, phase }) => ({ jobUuid, name, phase })),
        [{ jobUuid: "job of at-work", name: "at-work", phase: "Running" }]
      )
      const removed = api.asked.filter(({ method }) => method === "DELETE")
      assert.deepStrictEqual(
        removed.map(({ path }) => path.replace(/^\/v[\d.]+/, "")),
        ["/containers/id-left"]
      )
    }).pipe(Effect.scoped)
  )
})
