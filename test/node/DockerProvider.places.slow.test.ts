/** Where containers run and images come from: registries, full disks, several Engines, and Engines that are away. */
import { rmSync, statfsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { AgentProvider } from "@stacksapi/core"
import { JobOutput, NodeStacksEmulator } from "@stacksapi/node"
import * as DockerProvider from "@stacksapi/node/DockerProvider"
import { ConfigProvider, Effect, Layer, Schedule, Stream } from "effect"
import { environmentOf, stacksapi } from "../support/cli.ts"
import * as Docker from "../support/docker.ts"
import * as Images from "../support/dockerImages.ts"
import { created, ended, optionsFor, refOf, request, shellAgent } from "../support/dockerProvider.ts"
import * as DockerRegistry from "../support/dockerRegistry.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

const ready = Effect.fnUntraced(function* (megabytes: number) {
  const engine = yield* Docker.engine({ megabytes })
  yield* Images.importShellAgent(engine, shellAgent)
  return engine
})

const until = <E, R>(isSo: Effect.Effect<boolean, E, R>) =>
  isSo.pipe(Effect.repeat({ until: (so) => so, schedule: Schedule.spaced("50 millis") }), Effect.asVoid)

describe("A registry", () => {
  it.live("gives an image to an Engine that lacks it, for the credentials of Docker's configuration alone", () =>
    Effect.gen(function* () {
      const engine = yield* Docker.engine()
      yield* Images.importShellAgent(engine, shellAgent)
      const registry = yield* DockerRegistry.registry
      const image = yield* DockerRegistry.push(engine, registry, shellAgent)
      const folder = yield* temporaryFolder
      const logIn = (text: string) => {
        const auths = { [registry.address]: { auth: Buffer.from(text).toString("base64") } }
        writeFileSync(join(folder, "config.json"), JSON.stringify({ auths }))
      }
      const Provider = DockerProvider.layer(optionsFor(engine, { image, pull: "missing", command: ["sleep"] })).pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ DOCKER_CONFIG: folder })))
      )
      const emulator = yield* NodeStacksEmulator.make()
      const run = stacksapi(
        ["run", "--key", "k", "--runner", "docker", "--image", image, "--docker-host", engine.host, "--until-idle"],
        { env: { ...environmentOf(emulator), DOCKER_CONFIG: folder } }
      )
      yield* Effect.gen(function* () {
        logIn(`${registry.username}:wrong`)
        const refused = yield* run
        assert.match(
          refused.stderr,
          /^stacksapi: Can't pull the image 127\.0\.0\.1:.*(unauthorized|basic auth).*Check --image/m
        )
        assert.strictEqual(refused.status, 1)
        const denied = yield* Effect.flip(created(request()))
        assert.strictEqual(denied.reason, "Refused")
        assert.match(denied.message, /^Can't pull the image 127\.0\.0\.1:.*: .*(unauthorized|basic auth)/)
        logIn(`${registry.username}:${registry.password}`)
        assert.strictEqual((yield* run).status, 0)
        const [first, second] = [request(), request()]
        // One of them pulls.
        yield* Effect.all([created(first), created(second)], { concurrency: 2 })
        const notes = [...first.notes, ...second.notes]
        assert.strictEqual(notes.length, 2)
        assert.strictEqual(notes[0], `Pulling the image ${image}`)
        assert.match(notes[1] ?? "", /^Pulled the image 127\.0\.0\.1:\d+\/stacksapi-shell-agent:1 in \d+ s/)
        yield* registry.stop
        // It is there now.
        yield* created(request())
      }).pipe(Effect.provide(Provider))
      const again = DockerProvider.layer(optionsFor(engine, { image, pull: "always" }))
      const unreachable = yield* Effect.flip(created(request())).pipe(Effect.provide(again))
      assert.strictEqual(unreachable.reason, "NoCapacity")
      assert.match(unreachable.message, /^Can't pull the image .*connection refused/)
      yield* engine.api("DELETE", `/images/${image}?force=1`)
    }).pipe(Effect.scoped)
  )
})

describe("A full disk", () => {
  it.live("leaves jobs waiting for room, and says so", () =>
    Effect.gen(function* () {
      const engine = yield* ready(64)
      const { bavail, bsize } = statfsSync(engine.data)
      const filler = join(engine.data, "filler")
      writeFileSync(filler, Buffer.alloc(bavail * bsize))
      yield* Effect.gen(function* () {
        const agents = yield* AgentProvider.AgentProvider
        const agent = request()
        const error = yield* Effect.flip(created(agent))
        assert.strictEqual(error.reason, "NoCapacity")
        assert.strictEqual(error.message, `The disk of the Docker Engine at ${engine.host} is full`)
        assert.isEmpty(yield* agents.list(agent.stackKey))
        rmSync(filler)
        yield* created(agent)
        assert.strictEqual((yield* agents.list(agent.stackKey)).length, 1)
      }).pipe(Effect.provide(DockerProvider.layer(optionsFor(engine, { command: ["sleep"] }))))
    }).pipe(Effect.scoped)
  )
})

describe("Several Engines", () => {
  it.live("fill evenly; while one is away its agents still count, and the others take the new ones", () =>
    Effect.gen(function* () {
      const engines = yield* Effect.all([ready(256), ready(256)], { concurrency: 2 })
      const [first, second] = engines
      const stackKey = `even-${process.pid}`
      const counts = Effect.all(
        engines.map((engine) => Effect.map(Docker.containers(engine, stackKey), ({ length }) => length))
      )
      yield* Effect.gen(function* () {
        const agents = yield* AgentProvider.AgentProvider
        const requests = Array.from({ length: 6 }, () => request({ stackKey }))
        yield* Effect.forEach(requests, created, { concurrency: "unbounded" })
        assert.deepStrictEqual(yield* counts, [3, 3])
        // Created again, it is found where it is.
        yield* Effect.forEach(requests, (one) => agents.create(one), { concurrency: "unbounded" })
        assert.deepStrictEqual(yield* counts, [3, 3])
        assert.strictEqual((yield* agents.list(stackKey)).length, 6)

        yield* first.kill
        assert.strictEqual((yield* agents.list(stackKey)).length, 6)
        const more = [request({ stackKey }), request({ stackKey })]
        yield* Effect.forEach(more, created)
        assert.strictEqual((yield* Docker.containers(second, stackKey)).length, 5)
        yield* Effect.forEach(more, (one) => agents.delete(refOf(one), "a test"))
        assert.strictEqual((yield* agents.list(stackKey)).length, 6)
        yield* first.start
        assert.deepStrictEqual(yield* counts, [3, 3])
      }).pipe(
        Effect.provide(
          DockerProvider.layer(optionsFor(first, { hosts: engines.map(({ host }) => host), command: ["sleep"] }))
        )
      )
    }).pipe(Effect.scoped)
  )
})

describe("An Engine that is killed", () => {
  it.live("tells the ends of agents again when it is back, and their output", () =>
    Effect.gen(function* () {
      const engine = yield* ready(256)
      const stackKey = `away-${process.pid}`
      yield* Effect.gen(function* () {
        const agents = yield* AgentProvider.AgentProvider
        const { tail } = yield* JobOutput.JobOutput
        const seen: Array<AgentProvider.Agent> = []
        yield* Effect.forkScoped(
          Stream.runForEach(agents.changes?.(stackKey) ?? Stream.never, (agent) =>
            Effect.sync(() => void seen.push(agent))
          )
        )
        const has = (name: string, phase: string) =>
          Effect.sync(() => seen.some((agent) => agent.name === name && agent.phase === phase))
        const before = request({ stackKey })
        yield* created(before)
        yield* until(has(before.name, "Running"))

        yield* engine.kill
        const error = yield* Effect.flip(agents.list(stackKey))
        assert.strictEqual(error.reason, "Unavailable")
        assert.match(error.message, /^The Docker Engine at unix:.* is not available: /)
        yield* engine.start
        // The same container, which has gone on.
        assert.deepStrictEqual(
          (yield* agents.list(stackKey)).map(({ name, phase }) => [name, phase]),
          [[before.name, "Running"]]
        )
        yield* engine.api("POST", `/containers/${before.name}/kill`)
        yield* until(has(before.name, "Failed"))
        assert.match((yield* ended(before))?.message ?? "", /exit status 137: it was killed/)
        assert.match((yield* tail(before.job.id)).join("\n"), /^agent agent-.* starts as 0$/)
      }).pipe(Effect.scoped, Effect.provide(DockerProvider.layer(optionsFor(engine, { command: ["sleep"] }))))
    }).pipe(Effect.scoped)
  )
})
