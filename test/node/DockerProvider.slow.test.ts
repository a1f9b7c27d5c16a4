/** Agents in containers of a real Docker Engine. */
import { assert, layer } from "@effect/vitest"
import { AgentProvider } from "@stacksapi/core"
import { AgentProviderContract } from "@stacksapi/core/testing"
import { JobOutput } from "@stacksapi/node"
import * as DockerProvider from "@stacksapi/node/DockerProvider"
import { Effect, Redacted } from "effect"
import { created, ended, optionsFor, printed, provider, refOf, request, TestEngine } from "../support/dockerProvider.ts"

const contract = (other = optionsFor({ host: "unix:///none" } as never)) =>
  AgentProviderContract.cases({
    pollInterval: "100 millis",
    endedWithin: "1 minute",
    otherProcess: DockerProvider.layer(other)
  })

layer(TestEngine.layer, { excludeTestServices: true })("A provider of containers keeps the contract:", (it) => {
  for (const rule of Object.keys(contract())) {
    it.effect(rule, () =>
      Effect.gen(function* () {
        const check = contract(optionsFor(yield* TestEngine))[rule]
        yield* Effect.provide(check ?? Effect.die("no such rule"), provider())
      })
    )
  }
})

/** What the Engine tells everybody about an agent's container. */
const inspected = Effect.fnUntraced(function* (name: string) {
  const { text } = yield* (yield* TestEngine).api("GET", `/containers/${name}/json`)
  return { text, json: JSON.parse(text) }
})

layer(TestEngine.layer, { excludeTestServices: true })("A provider of containers", (it) => {
  it.effect(
    "hands over the token in a file that only the agent's user can read, and that inspecting does not show",
    () =>
      Effect.gen(function* () {
        const agent = request({ annotations: { "stacksapi/build": "p#1" } })
        yield* created(agent)
        assert.strictEqual((yield* ended(agent))?.phase, "Succeeded")
        const output = yield* printed(agent)
        assert.match(output, /as 1234$/m)
        assert.match(output, /^-r-------- +1 1234 .*agent\.cfg$/m)
        // The settings of the image's own file.
        assert.match(output, /^hooks-path="\/buildkite\/hooks"$/m)
        const { text } = yield* inspected(agent.name)
        assert.include(text, agent.job.id)
        assert.notInclude(text, Redacted.value(agent.token))
      }).pipe(Effect.scoped, Effect.provide(provider({ command: ["config"], user: "builder" })))
  )

  it.effect("limits a container, and gives it no rights", () =>
    Effect.gen(function* () {
      const agent = request({ requests: { cpus: 0.5, memory: 32 * 1024 ** 2 } })
      yield* created(agent)
      const { HostConfig } = (yield* inspected(agent.name)).json
      assert.strictEqual(HostConfig.NanoCpus, 500_000_000)
      assert.strictEqual(HostConfig.Memory, 32 * 1024 ** 2)
      assert.strictEqual(HostConfig.PidsLimit, 100)
      assert.deepStrictEqual(HostConfig.CapDrop, ["ALL"])
      assert.deepStrictEqual(HostConfig.CapAdd, ["CHOWN"])
      assert.deepStrictEqual(HostConfig.SecurityOpt, ["no-new-privileges:true"])
      assert.isTrue(HostConfig.Init)
      assert.isFalse(HostConfig.Privileged)
      assert.deepStrictEqual(HostConfig.Binds, ["/tmp:/host-tmp:ro"])
      assert.deepStrictEqual(HostConfig.ExtraHosts, ["service.test:127.0.0.1"])
      assert.deepStrictEqual(HostConfig.LogConfig, { Type: "local", Config: { "max-size": "10m", "max-file": "2" } })
      assert.strictEqual(HostConfig.ShmSize, 1024 ** 2)
    }).pipe(
      Effect.scoped,
      Effect.provide(
        provider({
          command: ["sleep"],
          cpus: 2,
          pids: 100,
          capabilities: ["CHOWN"],
          volumes: ["/tmp:/host-tmp:ro"],
          extraHosts: ["service.test:127.0.0.1"],
          hostConfig: { ShmSize: 1024 ** 2 }
        })
      )
    )
  )

  it.effect("takes an image and a command by the job", () =>
    Effect.gen(function* () {
      const [one, other] = [request(), request()]
      yield* created(one)
      yield* created(other)
      assert.include(yield* printed(one), `line 1 with ${Redacted.value(one.token)}`)
      assert.strictEqual((yield* ended(one))?.exitStatus, 0)
      assert.strictEqual((yield* inspected(other.name)).json.State.Status, "running")
    }).pipe(
      Effect.scoped,
      Effect.provide(
        provider({ containerOf: ({ job }) => ({ command: [Number(job.id.at(-1)) % 2 === 1 ? "print" : "sleep"] }) })
      )
    )
  )

  it.effect("keeps the last lines of a container, without its token", () =>
    Effect.gen(function* () {
      const agent = request()
      yield* created(agent)
      const { message } = (yield* ended(agent)) ?? {}
      const { tail } = yield* JobOutput.JobOutput
      const lines = yield* tail(agent.job.id)
      assert.includeMembers(Array.from(lines), ["line 1 with [REDACTED]", "line 3 with [REDACTED]", "to stderr"])
      assert.notInclude(lines.join("\n") + message, "bkjat_")
    }).pipe(Effect.scoped, Effect.provide(provider({ command: ["print"] })))
  )

  it.effect("says that a container ran out of memory, and how much it may use", () =>
    Effect.gen(function* () {
      const agent = request({ requests: { memory: 16 * 1024 ** 2 } })
      yield* created(agent)
      const { message, phase, problem } = (yield* ended(agent)) ?? {}
      assert.strictEqual(phase, "Failed")
      assert.strictEqual(message, "The container ran out of memory: its limit is 16 MiB")
      assert.strictEqual(problem?.reason, "Refused")
    }).pipe(Effect.scoped, Effect.provide(provider({ command: ["memory"] })))
  )

  it.effect("says how a container ended, and its last line", () =>
    Effect.gen(function* () {
      const agent = request()
      yield* created(agent)
      const { exitStatus, message } = (yield* ended(agent)) ?? {}
      assert.strictEqual(exitStatus, 1)
      assert.match(
        message ?? "",
        /^The container ended with exit status 1: it could not register, .*; its last line: wget: .*refused$/
      )
    }).pipe(Effect.scoped, Effect.provide(provider()))
  )

  it.effect("says that an image lacks the program", () =>
    Effect.gen(function* () {
      const agent = request()
      yield* created(agent)
      assert.match(
        (yield* ended(agent))?.message ?? "",
        /^The container ended with exit status 127: its image lacks the program; its last line: .*\/bin\/nothing/
      )
    }).pipe(Effect.scoped, Effect.provide(provider({ entrypoint: ["/bin/nothing"] })))
  )

  const refusals: ReadonlyArray<[what: string, options: Partial<DockerProvider.Options>, message: RegExp]> = [
    [
      "lacks its image",
      { image: "nobody/has-this:1" },
      /^The image nobody\/has-this:1 is not on unix:.*, and is never pulled$/
    ],
    ["asks for an unknown network", { networks: ["nowhere"] }, /^The container can't run: network nowhere not found$/],
    ["asks for more CPUs than there are", { cpus: 5000 }, /^The container can't run: .*CPUs/i]
  ]
  for (const [what, options, message] of refusals) {
    it.effect(`refuses a container that ${what}`, () =>
      Effect.gen(function* () {
        const agents = yield* AgentProvider.AgentProvider
        const agent = request()
        const error = yield* Effect.flip(created(agent))
        assert.strictEqual(error.reason, "Refused")
        assert.match(error.message, message)
        yield* agents.delete(refOf(agent), "the test is over")
        assert.isEmpty(yield* agents.list(agent.stackKey))
      }).pipe(Effect.scoped, Effect.provide(provider(options)))
    )
  }

  it.effect("starts a container that a process created before it was killed", () =>
    Effect.gen(function* () {
      const engine = yield* TestEngine
      const agents = yield* AgentProvider.AgentProvider
      const agent = request()
      const Labels = agent.labels
      const body = { Image: optionsFor(engine).image, Cmd: ["sleep"], Labels, HostConfig: { NetworkMode: "host" } }
      yield* engine.api("POST", `/containers/create?name=${agent.name}`, body)
      // It is no agent yet.
      assert.isEmpty(yield* agents.list(agent.stackKey))
      yield* created(agent)
      assert.deepStrictEqual(
        (yield* agents.list(agent.stackKey)).map(({ name, phase }) => [name, phase]),
        [[agent.name, "Running"]]
      )
    }).pipe(Effect.scoped, Effect.provide(provider({ command: ["sleep"] })))
  )
})
