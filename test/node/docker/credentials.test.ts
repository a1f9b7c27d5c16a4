/** With which credentials an Engine pulls an image. */
import { chmodSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { AgentProvider } from "@stacksapi/core"
import * as DockerProvider from "@stacksapi/node/DockerProvider"
import { ConfigProvider, Effect, Layer } from "effect"
import * as DockerApi from "../../support/dockerApi.ts"
import { request } from "../../support/dockerProvider.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const base64 = (text: string) => Buffer.from(text).toString("base64")

/** What the Engine is sent to pull an image, with this configuration of Docker; and why the creation fails. */
const pullWith = Effect.fnUntraced(function* (config: object, image = "registry.test/team/agent:1") {
  const api = yield* DockerApi.serve(({ path }) =>
    path.endsWith("/images/create") ? { body: '{"status":"Pulling"}\n{"error":"manifest unknown"}\n' } : undefined
  )
  const folder = yield* temporaryFolder
  writeFileSync(join(folder, "config.json"), JSON.stringify(config))
  const agent = request()
  const error = yield* Effect.flatMap(AgentProvider.AgentProvider, (agents) => Effect.flip(agents.create(agent))).pipe(
    Effect.provide(
      DockerProvider.layer({ image, hosts: [api.host] }).pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ DOCKER_CONFIG: folder })))
      )
    )
  )
  const asked = api.asked.find(({ path }) => path.endsWith("/images/create"))
  const header = asked?.headers["x-registry-auth"]
  return {
    error,
    query: Object.fromEntries(asked?.query ?? []),
    credentials: typeof header === "string" ? JSON.parse(Buffer.from(header, "base64url").toString()) : undefined,
    notes: agent.notes
  }
}, Effect.scoped)

/** A helper on the PATH that knows one registry. */
const helper = Effect.fnUntraced(function* (script: string) {
  const folder = yield* temporaryFolder
  const program = join(folder, "docker-credential-test")
  writeFileSync(program, `#!/bin/sh\n[ "$1" = get ] || exit 9\nread -r registry\n${script}\n`)
  chmodSync(program, 0o755)
  yield* variables({ PATH: `${folder}:${process.env["PATH"]}` })
})

/** Sets variables of this process, until the scope closes. */
const variables = (values: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = { ...process.env }
      Object.assign(process.env, values)
      return before
    }),
    (before) =>
      Effect.sync(() => {
        for (const name of Object.keys(values)) {
          if (before[name] === undefined) delete process.env[name]
          else process.env[name] = before[name]
        }
      })
  )

const answers = `[ "$registry" = registry.test ] || { echo "credentials not found in native keychain"; exit 1; }
echo '{"ServerURL":"registry.test","Username":"helped","Secret":"secret-of-helper"}'`

describe("An Engine pulls an image", () => {
  it.live("with the user and the password in Docker's configuration", () =>
    Effect.gen(function* () {
      const auths = { "https://registry.test/v1/": { auth: base64("user:pass:word") } }
      const { credentials, error, notes, query } = yield* pullWith({ auths })
      assert.deepStrictEqual(credentials, { username: "user", password: "pass:word", serveraddress: "registry.test" })
      assert.deepStrictEqual(query, { fromImage: "registry.test/team/agent", tag: "1" })
      assert.strictEqual(error.reason, "Refused")
      assert.strictEqual(error.message, "Can't pull the image registry.test/team/agent:1: manifest unknown")
      assert.deepStrictEqual(notes, ["Pulling the image registry.test/team/agent:1"])
    })
  )

  it.live("with an identity token, and without anything if there is nothing", () =>
    Effect.gen(function* () {
      const auths = { "registry.test": { auth: base64("user:"), identitytoken: "identity" } }
      const { credentials } = yield* pullWith({ auths })
      assert.deepStrictEqual(credentials, { identitytoken: "identity", serveraddress: "registry.test" })
      assert.isUndefined((yield* pullWith({ auths }, "other.test/agent")).credentials)
      assert.isUndefined((yield* pullWith({}, "agent")).credentials)
    })
  )

  it.live("with what a helper says: that of the registry before that of all", () =>
    Effect.gen(function* () {
      yield* helper(answers)
      const helped = { username: "helped", password: "secret-of-helper", serveraddress: "registry.test" }
      const auths = { "registry.test": { auth: base64("not:used") } }
      const own = yield* pullWith({ auths, credHelpers: { "registry.test": "test" }, credsStore: "missing" })
      assert.deepStrictEqual(own.credentials, helped)
      assert.deepStrictEqual((yield* pullWith({ auths, credsStore: "test" })).credentials, helped)
      // It has nothing for others.
      assert.isUndefined((yield* pullWith({ credsStore: "test" }, "other.test/agent")).credentials)
    }).pipe(Effect.scoped)
  )

  it.live("with the token that a helper gives in place of a user", () =>
    Effect.gen(function* () {
      yield* helper(`echo '{"Username":"<token>","Secret":"identity"}'`)
      const { credentials } = yield* pullWith({ credsStore: "test" })
      assert.deepStrictEqual(credentials, { identitytoken: "identity", serveraddress: "registry.test" })
    }).pipe(Effect.scoped)
  )

  it.live("with what a helper finds by its own variables; it does not get the stack's token", () =>
    Effect.gen(function* () {
      yield* helper(`echo '{"Username":"'"$AWS_PROFILE"'","Secret":"'"token:$BUILDKITE_CLUSTER_TOKEN"'"}'`)
      yield* variables({ AWS_PROFILE: "builds", BUILDKITE_CLUSTER_TOKEN: "bkct_secret" })
      const { credentials } = yield* pullWith({ credsStore: "test" })
      assert.deepStrictEqual(credentials, { username: "builds", password: "token:", serveraddress: "registry.test" })
    }).pipe(Effect.scoped)
  )

  it.live("not at all if a helper fails: the job waits, and the message shows nothing that the helper printed", () =>
    Effect.gen(function* () {
      yield* helper(`echo "the secret is hunter2"; exit 3`)
      const failing = (yield* pullWith({ credsStore: "test" })).error
      assert.strictEqual(failing.reason, "NoCapacity")
      assert.strictEqual(
        failing.message,
        "Can't get the credentials of registry.test: docker-credential-test ended with exit status 3"
      )
      const missing = (yield* pullWith({ credsStore: "nobody-has-this" })).error
      assert.match(missing.message, /docker-credential-nobody-has-this can't be run \(NotFound\)$/)
      const odd = (yield* pullWith({ credsStore: "../../bin/sh" })).error
      assert.match(odd.message, /is not a valid name of a helper$/)
    }).pipe(Effect.scoped)
  )
})
