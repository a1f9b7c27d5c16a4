/** `stacksapi run --runner docker` and `stacksapi agents`, with an Engine's API that answers what a test needs. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect } from "effect"
import * as Yaml from "yaml"
import { environmentOf, stacksapi } from "../../support/cli.ts"
import * as DockerApi from "../../support/dockerApi.ts"

const service = { BUILDKITE_CLUSTER_TOKEN: "bkct_none", BUILDKITE_AGENT_ENDPOINT: "http://127.0.0.1:9/" }

const run = (...args: ReadonlyArray<string>) =>
  stacksapi(["run", "--key", "k", "--runner", "docker", ...args], { env: service })

describe("stacksapi run --runner docker", () => {
  it.live("says which flag is wrong, before it takes a job", () =>
    Effect.gen(function* () {
      for (const [args, message] of [
        [[], /set --image IMAGE/],
        [["--image", "agent", "--cpus", "none"], /--cpus/],
        [["--image", "agent", "--cpus", "0"], /Expected a number above 0/],
        [["--image", "agent", "--container-user", " "], /--container-user must be/],
        [["--image", "agent", "--memory", "much"], /Expected a number with k, m or g, for example 512m/],
        [
          ["--image", "agent", "--container-env", "BUILDKITE_AGENT_TOKEN=x"],
          /containers do not get .*BUILDKITE_AGENT_TOKEN/
        ],
        [["--image", "agent", "--memory", "1k"], /--memory must be a whole number of 6291456 or more/],
        [["--image", "agent", "--pull", "sometimes"], /pull/]
      ] as const) {
        const { status, stderr } = yield* run(...args)
        assert.strictEqual(status, 2, stderr)
        assert.match(stderr, message)
      }
      const { status, stderr } = yield* run("--image", "agent", "--docker-host", "ssh://builder")
      assert.strictEqual(status, 1)
      assert.match(stderr, /The Docker host "ssh:\/\/builder" can't be used/)
    })
  )
})

describe("the image of stacksapi run --runner docker", () => {
  const withoutImage = DockerApi.serve(({ path }) =>
    path.includes("/images/") ? { status: 404, body: { message: "No such image: rael:1" } } : undefined
  )

  it.live("is looked for before any job is taken", () =>
    Effect.gen(function* () {
      const { host } = yield* withoutImage
      const { status, stderr } = yield* run("--image", "rael:1", "--pull", "never", "--docker-host", host)
      assert.match(stderr, new RegExp(`^stacksapi: The image rael:1 is not on ${host}, .* Check --image`, "m"))
      assert.strictEqual(status, 1)
    }).pipe(Effect.scoped)
  )

  it.live("is looked for in its registry, and not pulled before a job needs it", () =>
    Effect.gen(function* () {
      const api = yield* DockerApi.serve(({ path }) =>
        path.includes("/distribution/")
          ? { status: 403, body: { message: "denied: requested access to the resource is denied" } }
          : path.includes("/images/")
            ? { status: 404, body: { message: "No such image: team/agent" } }
            : undefined
      )
      const { status, stderr } = yield* run("--image", "team/agent", "--docker-host", api.host)
      assert.match(stderr, /^stacksapi: Can't pull the image team\/agent: denied: .* Check --image/m)
      assert.strictEqual(status, 1)
      assert.isFalse(api.asked.some(({ path }) => path.endsWith("/images/create")))
    }).pipe(Effect.scoped)
  )

  it.live("may be on one of several Engines, and on one that does not answer yet", () =>
    Effect.gen(function* () {
      const { host } = yield* withoutImage
      const hosts = ["--docker-host", host, "--docker-host", "tcp://127.0.0.1:9"]
      const emulator = yield* NodeStacksEmulator.make()
      const { status, stderr } = yield* stacksapi(
        ["run", "--key", "k", "--runner", "docker", "--image", "agent", "--pull", "never", "--until-idle", ...hosts],
        { env: { ...environmentOf(emulator), STACKSAPI_NETWORK: "host" } }
      )
      assert.strictEqual(status, 0, stderr)
      assert.notInclude(stderr, "can't reach")
    }).pipe(Effect.scoped)
  )
})

describe("agents in containers", () => {
  it.live("can't reach an emulator on the loopback address, which the command says", () =>
    Effect.gen(function* () {
      const emulator = yield* NodeStacksEmulator.make()
      const { status, stderr } = yield* stacksapi(
        [
          "run",
          "--key",
          "k",
          "--runner",
          "docker",
          "--image",
          "agent",
          "--until-idle",
          "--docker-host",
          "tcp://127.0.0.1:9"
        ],
        { env: environmentOf(emulator) }
      )
      assert.strictEqual(status, 0, stderr)
      assert.match(stderr, /WARN Agents in containers can't reach http:\/\/127\.0\.0\.1:\d+, .* Add --network host/)
    }).pipe(Effect.scoped)
  )
})

describe("the address of an Engine", () => {
  it.live("is refused with a password, which is not shown", () =>
    Effect.gen(function* () {
      for (const address of ["tcp://user:s3cret@127.0.0.1:1", "ssh://me:s3cret@builder"]) {
        const { status, stderr } = yield* stacksapi(["run", "--key", "k", "--runner", "docker", "--image", "agent"], {
          env: { ...service, DOCKER_HOST: address }
        })
        assert.strictEqual(status, 1)
        assert.match(stderr, /^stacksapi: The Docker host "(tcp|ssh):\/\/[^@]*" can't be used: /)
        assert.notInclude(stderr, "s3cret")
      }
    })
  )

  it.live("needs the certificates of its folder", () =>
    Effect.gen(function* () {
      const { status, stderr } = yield* stacksapi(["run", "--key", "k", "--runner", "docker", "--image", "agent"], {
        env: { ...service, DOCKER_HOST: "tcp://127.0.0.1:1", DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: "/nothing" }
      })
      assert.strictEqual(status, 1)
      assert.match(stderr, /^stacksapi: \/nothing has no ca\.pem, cert\.pem and key\.pem: /)
    })
  )
})

describe("examples/deploy/docker/compose.yaml", () => {
  const folder = join(import.meta.dirname, "../../../examples/deploy/docker")
  const { services } = Yaml.parse(readFileSync(join(folder, "compose.yaml"), "utf8"))
  const settings: Record<string, string> = services.stack.environment

  it("names only settings that the command has", () => {
    const reference = readFileSync(join(import.meta.dirname, "../../../docs/cli.md"), "utf8")
    const image = readFileSync(join(folder, "Containerfile"), "utf8")
    const inImage = Array.from(image.matchAll(/\bSTACKSAPI_\w+(?==)/g), ([name]) => name)
    assert.isAbove(inImage.length, 3)
    for (const name of [...Object.keys(settings), ...inImage]) assert.include(reference, `\`${name}`)
  })

  it.live("has values that the command takes", () =>
    Effect.gen(function* () {
      const { BUILDKITE_CLUSTER_TOKEN_FILE: _, ...env } = settings
      const { status, stderr } = yield* stacksapi(["run", "--runner", "docker"], {
        env: { ...service, ...env, STACKSAPI_DOCKER_HOST: "ssh://builder" }
      })
      // All else was right.
      assert.match(stderr, /^stacksapi: The Docker host "ssh:\/\/builder" can't be used: [^\n]*\n$/)
      assert.strictEqual(status, 1)
    })
  )
})

const agent = (job: string, more: object = {}) => ({
  Id: `id-${job}`,
  Names: [`/agent-${job}`],
  State: "running",
  Labels: {
    "stacksapi-stack": "my-stack",
    "stacksapi-job": job,
    "stacksapi-annotations/stacksapi/build": "web#7"
  },
  Created: Math.floor(Date.now() / 1000) - 120,
  ...more
})

/** An Engine with these agents, which deletes what it is told to. */
const engine = Effect.fnUntraced(function* (...jobs: ReadonlyArray<string>) {
  const agents = new Map(jobs.map((job) => [`agent-${job}`, agent(job)]))
  return yield* DockerApi.serve(({ method, path }) => {
    if (path.endsWith("/containers/json")) return { body: Array.from(agents.values()) }
    if (method !== "DELETE") return undefined
    return agents.delete(path.split("/").at(-1) ?? "") ? { body: "" } : undefined
  })
})

describe("stacksapi agents", () => {
  it.live("list shows the agents of a stack: a table for people, and an object a line for programs", () =>
    Effect.gen(function* () {
      const { asked, host } = yield* engine("one", "two")
      const table = yield* stacksapi(["agents", "list", "--key", "my-stack", "--docker-host", host])
      assert.strictEqual(table.status, 0, table.stderr)
      assert.match(table.stdout, /^one +Running +2m ago +web#7 +agent-one *$/m)
      assert.include(
        asked.map(({ query }) => query.get("filters")),
        '{"label":["stacksapi-stack=my-stack"]}'
      )
      // By Docker's own setting.
      const json = yield* stacksapi(["agents", "list", "--key", "my-stack", "--json"], { env: { DOCKER_HOST: host } })
      const rows = json.stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
      assert.deepStrictEqual(
        rows.map(({ jobUuid, name, phase }) => [jobUuid, name, phase]),
        [
          ["one", "agent-one", "Running"],
          ["two", "agent-two", "Running"]
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.live("delete deletes all agents of a stack, and says how many there were", () =>
    Effect.gen(function* () {
      const { host } = yield* engine("one", "two")
      const env = { STACKSAPI_KEY: "my-stack", STACKSAPI_DOCKER_HOST: host }
      const first = yield* stacksapi(["agents", "delete"], { env })
      assert.strictEqual(first.status, 0)
      assert.strictEqual(first.stderr, "Deleted the agents of the stack my-stack: 2\n")
      assert.strictEqual((yield* stacksapi(["agents", "delete"], { env })).stderr, "The stack my-stack has no agents\n")
      assert.strictEqual((yield* stacksapi(["agents", "list"], { env })).stderr, "The stack my-stack has no agents\n")
    }).pipe(Effect.scoped)
  )

  it.live("refuse a key that no stack can have", () =>
    Effect.gen(function* () {
      for (const verb of ["list", "delete"]) {
        const { status, stderr } = yield* stacksapi(["agents", verb, "--key", "my stack"])
        assert.strictEqual(status, 2)
        assert.include(stderr, "Expected 1 to 80 letters, digits, _ and -")
      }
    })
  )

  it.live("fail if the Engine does not answer, and say where it was looked for", () =>
    Effect.gen(function* () {
      const env = { STACKSAPI_KEY: "my-stack", STACKSAPI_DOCKER_HOST: "unix:///nowhere/docker.sock" }
      const { status, stderr } = yield* stacksapi(["agents", "list"], { env })
      assert.strictEqual(status, 1)
      assert.match(
        stderr,
        /^stacksapi: The Docker Engine at unix:\/\/\/nowhere\/docker\.sock is not available: there is no such socket$/m
      )
    })
  )
})
