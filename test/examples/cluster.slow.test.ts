/** The example of a cluster, and what deploys one: the same processes, with the same settings, but without containers. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Context, Effect, Layer, Redacted } from "effect"
import { parse } from "yaml"
import { bin, stacksapi, start } from "../support/cli.ts"
import * as Postgres from "../support/postgres.ts"
import * as Redis from "../support/redis.ts"
import { standInOnPath } from "../support/standInAgentSetup.ts"

const root = join(import.meta.dirname, "../..")
const read = (path: string) => readFileSync(join(root, path), "utf8")

interface Service {
  readonly environment?: Record<string, string>
  readonly secrets?: ReadonlyArray<string>
  readonly ports?: unknown
  readonly healthcheck: { readonly test: ReadonlyArray<string> }
  readonly depends_on?: Record<string, { readonly condition: string }>
  readonly deploy?: { readonly replicas: number }
  readonly stop_grace_period?: string
}
const compose: {
  readonly services: Record<string, Service>
  readonly secrets: Record<string, { readonly file: string }>
} = parse(read("examples/deploy/cluster/compose.yaml"))
const { stack } = compose.services
const settings = stack?.environment ?? {}

/** What the image sets. */
const [, image = ""] = /^ENV ((?:.*\\\n)*.*)$/m.exec(read("examples/deploy/cluster/Containerfile")) ?? []
const imageSettings = Object.fromEntries(Array.from(image.matchAll(/(\w+)=(\S+)/g), ([, name, value]) => [name, value]))

describe("What deploys a cluster", () => {
  it("gives each process more time to end than its grace and 25 seconds, and the limits one process more than there are", () => {
    const minutes = Number(/^(\d+)m$/.exec(stack?.stop_grace_period ?? "")?.[1])
    assert.isAbove(minutes * 60, Number(settings["STACKSAPI_SHUTDOWN_GRACE"]) + 25)
    assert.strictEqual(Number(settings["STACKSAPI_PROCESSES"]), (stack?.deploy?.replicas ?? 0) + 1)
  })

  it("has no secret in it, and opens nothing to the outside", () => {
    for (const [name, { environment = {}, ports, secrets = [] }] of Object.entries(compose.services)) {
      assert.isUndefined(ports, name)
      for (const secret of secrets) assert.property(compose.secrets, secret)
      for (const [variable, value] of Object.entries(environment)) {
        if (variable.endsWith("_FILE"))
          assert.include(
            secrets.map((secret) => `/run/secrets/${secret}`),
            value
          )
        else assert.notMatch(`${variable} ${value}`, /TOKEN|PASSWORD|:\/\/.*@/)
      }
    }
  })

  it("waits for what each service needs, and for all to be healthy", () => {
    for (const { depends_on = {}, healthcheck } of Object.values(compose.services)) {
      assert.strictEqual(healthcheck.test[0], "CMD")
      for (const [name, { condition }] of Object.entries(depends_on)) {
        assert.property(compose.services, name)
        assert.strictEqual(condition, "service_healthy")
      }
    }
  })

  it.live("sets only what the command reads", () =>
    Effect.gen(function* () {
      const { stdout } = yield* stacksapi(["run", "--help"])
      for (const variable of Object.keys({ ...imageSettings, ...settings })) {
        if (!variable.startsWith("STACKSAPI_")) continue
        assert.include(stdout, `--${variable.slice("STACKSAPI_".length).toLowerCase().replaceAll("_", "-")}`)
      }
    })
  )

  it.live("is what the page on clusters lists, among all flags of a cluster with their variables", () =>
    Effect.gen(function* () {
      const { stdout } = yield* stacksapi(["run", "--help"])
      const page = read("docs/cluster.md")
      const flags = Array.from(stdout.matchAll(/--([a-z-]+)\b.* With --cluster/g), ([, flag = ""]) => flag)
      assert.isAtLeast(flags.length, 5)
      for (const flag of flags) {
        const variable = `STACKSAPI_${flag.toUpperCase().replaceAll("-", "_")}`
        assert.match(page, new RegExp(`^\\| \`--${flag}(?: [^ ]+)?\` \\| \`${variable}\` \\|`, "m"))
      }
    })
  )
})

const password = "correct-horse"

class Servers extends Context.Service<Servers, { readonly databaseUrl: string; readonly redis: Redis.RedisServer }>()(
  "test/Servers"
) {}

const servers = Layer.effect(
  Servers,
  Effect.gen(function* () {
    const [{ url }, redis] = yield* Effect.all([Postgres.makeWith(password), Redis.started], { concurrency: 2 })
    return { databaseUrl: url, redis }
  })
)

layer(Layer.merge(servers, NodeStacksEmulator.layer()), { excludeTestServices: true })("A cluster", (it) => {
  /** Processes with what compose.yaml and the image set, where only the addresses and files are those of this machine. */
  const startProcess = Effect.fnUntraced(function* (folder: string, buildPath: string) {
    const { databaseUrl, redis } = yield* Servers
    const { baseUrl, token } = yield* StacksEmulator.StacksEmulator
    const secrets: Record<string, string> = { "database-url": databaseUrl, "cluster-token": Redacted.value(token) }
    for (const [name, secret] of Object.entries(secrets)) writeFileSync(join(folder, name), `${secret}\n`)
    const ofThisMachine = {
      ...imageSettings,
      ...settings,
      PATH: `${folder}:${process.env["PATH"]}`,
      BUILDKITE_AGENT_ENDPOINT: baseUrl,
      BUILDKITE_BUILD_PATH: buildPath,
      BUILDKITE_CLUSTER_TOKEN_FILE: join(folder, "cluster-token"),
      DATABASE_URL_FILE: join(folder, "database-url"),
      REDIS_URL: Redacted.value(redis.url),
      STACKSAPI_HEALTH_HOST: "127.0.0.1",
      // None of them hangs: one that is starved for a while must not be taken for one that does.
      STACKSAPI_LOCK_EXPIRATION: "30",
      STACKSAPI_HEALTH_PORT: "0"
    }
    const running = yield* start(process.execPath, [bin, "run"], ofThisMachine)
    return { ...running, health: Effect.flatMap(running.seen("Health and metrics: "), healthOf) }
  })

  const healthOf = Effect.fnUntraced(function* ({ stderr }: { readonly stderr: string }) {
    const url = /http:[^\s"]+/.exec(stderr)?.[0] ?? ""
    return yield* Effect.promise(async () => {
      const response = await fetch(`${url}/readyz`)
      const report = await response.json()
      return { isReady: response.ok, ...report.cluster, stacks: report.stacks }
    })
  })

  const until = <E, R>(condition: Effect.Effect<boolean, E, R>) =>
    Effect.repeat(Effect.delay(condition, "100 millis"), { until: (holds) => holds })

  it.effect("of three processes with these settings runs each job once, though one of them is stopped", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const { redis } = yield* Servers
      const { buildPath, folder } = yield* standInOnPath({ "*": { millis: 1000 }, last: { millis: 600_000 } })
      const members = yield* Effect.replicateEffect(startProcess(folder, buildPath), stack?.deploy?.replicas ?? 0)
      const [first, second, third] = members
      if (first === undefined || second === undefined || third === undefined) return assert.fail()
      const healths = Effect.forEach(members, ({ health }) => health)
      yield* until(Effect.map(healths, (all) => all.every((it) => it.isReady && it.processes.length === 3)))
      // They share their limits: so many polls have asked Redis just now.
      yield* until(Effect.map(redis.command("DBSIZE"), (size) => Number(size) > 0))

      const queues = settings["STACKSAPI_QUEUE"]?.split(",") ?? []
      yield* emulator.addJobs(Array.from({ length: 18 }, (_, i) => ({ queueKey: queues[i % queues.length] ?? "" })))
      yield* first.seen('"event":"RunStarted"')
      yield* first.kill("SIGTERM")
      const left = yield* first.ended
      assert.strictEqual(left.status, 0)
      const areOver = Effect.map(emulator.jobs, (jobs) => jobs.every(({ state }) => state === "finished"))
      yield* until(areOver)

      // Those that are left do all that the one did. The second time, a process ends at once.
      const stay = Effect.all([second.health, third.health])
      yield* until(Effect.map(stay, (all) => all.every(({ running }) => running === 0)))
      yield* emulator.addJobs([{ id: "last", queueKey: queues[0] ?? "" }])
      yield* until(Effect.map(stay, (all) => all.some(({ running }) => running === 1)))
      const hasLast = (yield* second.health).running === 1 ? second : third
      yield* hasLast.kill("SIGTERM")
      yield* until(Effect.map(hasLast.health, ({ phase }) => phase === "leaving"))
      yield* hasLast.kill("SIGTERM")
      assert.strictEqual((yield* hasLast.ended).status, 143)
      const survivor = hasLast === second ? third : second
      yield* survivor.kill("SIGTERM")

      const ends = [left, yield* hasLast.ended, yield* survivor.ended]
      assert.deepStrictEqual(
        (yield* emulator.jobs).filter(({ id }) => id !== "last").map(({ exitStatus }) => exitStatus),
        Array.from({ length: 18 }, () => 0)
      )
      const events = ends.flatMap(({ stdout }) =>
        stdout
          .trimEnd()
          .split("\n")
          .map((line): { readonly event: string; readonly job?: { readonly id: string } } => JSON.parse(line))
      )
      const begun = events.flatMap(({ event, job }) => (event === "RunStarted" ? [job?.id] : []))
      assert.lengthOf(begun, 19)
      assert.strictEqual(new Set(begun).size, 19)
      // Where this machine stands still for a moment, requests arrive together that were sent apart.
      assert.isAtMost((yield* emulator.requests).filter(({ status }) => status === 429).length, 2)
      for (const { stderr, stdout } of ends) assert.notMatch(stdout + stderr, new RegExp(`${password}|bkct_|bkjat_`))
    }).pipe(Effect.scoped)
  )

  it.effect("can't begin with a database that it can't use, and says why without the password", () =>
    Effect.gen(function* () {
      const { databaseUrl } = yield* Servers
      const wrong = "wrong-horse"
      for (const [url, reason] of [
        [databaseUrl.replace(password, wrong), /password authentication failed for user "postgres"/],
        [databaseUrl.replace(/postgres$/, "nothing"), /database "nothing" does not exist/],
        [`postgres://u:${wrong}@127.0.0.1:9/d`, /ECONNREFUSED 127\.0\.0\.1:9/]
      ] as const) {
        const { status, stderr, stdout } = yield* stacksapi(
          ["run", "--cluster", "--key", "k", "--runner", "command", "--log-level", "debug"],
          { env: { BUILDKITE_CLUSTER_TOKEN: "bkct_none", DATABASE_URL: url } }
        )
        assert.strictEqual(status, 1)
        assert.match(stderr, /^stacksapi: The database of DATABASE_URL can't be used: .*$/m)
        assert.match(stderr, reason)
        assert.notMatch(stdout + stderr, new RegExp(`${password}|${wrong}`))
      }
    })
  )

  it.effect("in the example lets one process leave in the middle, and leaves no table behind", () =>
    Effect.gen(function* () {
      const { databaseUrl } = yield* Servers
      const { ended } = yield* start(process.execPath, [join(root, "examples/cluster.ts")], {
        DATABASE_URL: databaseUrl
      })
      const { status, stderr, stdout } = yield* ended
      assert.deepStrictEqual([status, stderr], [0, ""])
      const lines = stdout.trimEnd().split("\n")
      assert.deepStrictEqual(lines.slice(0, 3), [
        "3 processes with 12 slots",
        "one of them has left",
        "36 jobs are finished, 36 began once"
      ])
      for (const line of lines.slice(3)) assert.match(line, /^process \d ran [1-9]\d*$/)
      const found = yield* Postgres.tablesOf(databaseUrl)
      assert.isEmpty(found.filter((name) => name.startsWith("stacksapi_example")))
    }).pipe(Effect.scoped)
  )
})
