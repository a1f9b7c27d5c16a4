/** What deploys `stacksapi run`: its settings are valid, its times fit together, and its unit gives the stack few rights. */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect } from "effect"
import { parse, parseAllDocuments, stringify } from "yaml"
import { findProgram } from "../../scripts/programs/debian.ts"
import { schema } from "../docs/cliSchema.ts"
import { environmentOf, stacksapi } from "../support/cli.ts"

const deploy = join(import.meta.dirname, "../../examples/deploy")
const read = (file: string) => readFileSync(join(deploy, file), "utf8")

/** The path of a program that `pnpm services` provides. */
const program = (name: string): string => {
  const path = findProgram(name)
  if (path === undefined) throw new Error(`There is no ${name}: run npx -y pnpm@12 services`)
  return path
}

const unitFile = "stacksapi/stacksapi.service"
const unit = read(unitFile)
const settings: Record<string, unknown> = parse(read("stacksapi/stacksapi.yaml"))
const manifest = parseAllDocuments(read("stacksapi/kubernetes.yaml")).map((document) => document.toJS())
const podSettings: Record<string, unknown> = parse(manifest[0].data["stacksapi.yaml"])

describe("what deploys stacksapi run", () => {
  it("has only settings that there are", () => {
    const names = Object.keys(schema.properties)
    for (const name of [...Object.keys(settings), ...Object.keys(podSettings)]) assert.include(names, name)
  })

  it.live("has settings that the command accepts", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const { status, stderr, stdout } = yield* stacksapi(
        [
          "run",
          "--config",
          join(deploy, "stacksapi/stacksapi.yaml"),
          "--runner",
          "command",
          "--health-port",
          "0",
          "--until-idle"
        ],
        { env: environmentOf(emulator) }
      )
      assert.strictEqual(status, 0, stderr)
      assert.deepInclude(JSON.parse(stdout.split("\n")[0] ?? ""), { event: "Registered", queueKey: "linux" })
    }).pipe(Effect.provide(NodeStacksEmulator.layer({ rateLimits: false })))
  )

  it("gives the stack more time to end than its grace and 25 seconds", () => {
    const needed = Number(settings["shutdown-grace"]) + 25
    assert.isAbove(60 * Number(/^TimeoutStopSec=(\d+)min$/m.exec(unit)?.[1]), needed)
    assert.isAbove(
      manifest[1].spec.template.spec.terminationGracePeriodSeconds,
      Number(podSettings["shutdown-grace"]) + 25
    )
  })

  it("has the token in no environment and no argument", () => {
    assert.match(unit, /^LoadCredential=token:/m)
    assert.notMatch(unit, /^Environment.*TOKEN/m)
    assert.match(unit, /--token-file \$\{CREDENTIALS_DIRECTORY\}\/token$/m)
    assert.match(unit, /^User=stacksapi$/m)
    const [container] = manifest[1].spec.template.spec.containers
    assert.notInclude(JSON.stringify(container.env), "TOKEN")
    assert.match(String(podSettings["token-file"]), /^\/run\/secrets\/stacksapi\//)
  })

  it("has a timer whose health check asks the port of the settings, and restarts the stack's unit", () => {
    const check = read("stacksapi/stacksapi-health.service")
    assert.include(
      check,
      `http://127.0.0.1:${settings["health-port"]}/healthz || systemctl try-restart stacksapi.service`
    )
    const folder = join(deploy, "stacksapi")
    execFileSync(program("systemd-analyze"), ["verify", join(folder, "stacksapi-health.timer")], { stdio: "pipe" })
  })

  it("is a unit that systemd finds well confined: an exposure below 4", () => {
    // `--threshold` is in tenths; systemd-analyze fails beyond it.
    const { status, output } = analyzed("--threshold=40")
    assert.strictEqual(status, 0, output)
    // With less confinement it would fail.
    assert.notStrictEqual(analyzed("--threshold=1").status, 0)
  })
})

describe("what watches stacks", () => {
  const promtool = (...args: ReadonlyArray<string>) =>
    execFileSync(program("promtool"), args, { cwd: deploy, encoding: "utf8", stdio: "pipe" })

  it("has alerts that promtool accepts, and that are raised when they should be", () => {
    const { groups } = parse(read("prometheus-rules.yaml"))
    assert.include(promtool("check", "rules", "prometheus-rules.yaml"), `${groups[0].rules.length} rules found`)
    assert.include(promtool("test", "rules", "prometheus-rules.test.yaml"), "SUCCESS")
  })

  it("has a dashboard whose queries promtool accepts", () => {
    const dashboard = JSON.parse(read("grafana-dashboard.json"))
    const queries: ReadonlyArray<string> = dashboard.panels.flatMap(
      ({ targets }: { readonly targets: ReadonlyArray<{ readonly expr: string }> }) => targets.map(({ expr }) => expr)
    )
    // As Grafana sends them.
    const sent = queries.map((query) => query.replaceAll("$__rate_interval", "1m").replaceAll("$instance", ".*"))
    const folder = mkdtempSync(join(tmpdir(), "stacksapi-dashboard-"))
    const check = (queries: ReadonlyArray<string>) => {
      const rules = queries.map((expr, index) => ({ record: `query_${index}`, expr }))
      writeFileSync(join(folder, "rules.yaml"), stringify({ groups: [{ name: "dashboard", rules }] }))
      return promtool("check", "rules", join(folder, "rules.yaml"))
    }
    try {
      assert.include(check(sent), `${queries.length} rules found`)
      assert.isAbove(queries.length, 12)
      assert.throws(() => check(["sum by (rate(x[5m])"]))
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

/** Has systemd assess the unit. */
const analyzed = (...args: ReadonlyArray<string>) => {
  try {
    const output = execFileSync(
      program("systemd-analyze"),
      ["security", "--offline=true", ...args, join(deploy, unitFile)],
      { encoding: "utf8", stdio: "pipe" }
    )
    return { status: 0, output }
  } catch (error) {
    return { status: 1, output: String(error) }
  }
}
