/**
 * Runs Buildkite's own software against the emulator: agents, the reference client of the Stacks API, and the controller of
 * agent-stack-k8s. They come from the Go module proxy, and are built in a cache outside the repository.
 *
 *     pnpm interop [--only NAME] [--agent PATH] [--controller PATH] [--record]
 *
 * `--only` runs what has this in its name. `--agent` and `--controller` use programs that are there instead of building them.
 * `--record` writes what the reference client got to `reference.json`, which a test compares with our client.
 * Exits with 1 if something deviates, and with 2 if there is no Go, or no program could be had.
 */
import { execFileSync } from "node:child_process"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { StacksClient } from "@stacksapi/core"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Cause, Effect, Layer, Redacted } from "effect"
import { type Built, findGo, Go, type Module } from "../../scripts/programs/go.ts"
import { queueKey, stackKey } from "./agent.ts"
import * as Controller from "./controller.ts"
import * as Pipelines from "./pipelines.ts"
import * as Reference from "./reference.ts"
import { scenarios } from "./scenarios.ts"
import { format, type Row } from "./table.ts"

const { values: options } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    agent: { type: "string", multiple: true, default: [] },
    controller: { type: "string" },
    record: { type: "boolean", default: false }
  }
})

const isWanted = (name: string) => name.includes(options.only)

const modules = {
  agent3: { path: "github.com/buildkite/agent/v3", program: "buildkite-agent" },
  agent4: { path: "github.com/buildkite/agent/v4", program: "buildkite-agent" },
  reference: {
    path: "github.com/buildkite/stacksapi",
    program: "reference",
    source: join(import.meta.dirname, "reference"),
    known: "v1.0.2"
  },
  controller: { path: "github.com/buildkite/agent-stack-k8s/v2", program: "agent-stack-k8s" }
} satisfies Readonly<Record<string, Module>>

const findOrExit = (): Go => {
  const program = findGo()
  if (program !== undefined) return new Go(program)
  console.error(
    "There is no Go: install it (https://go.dev/dl), or add its folder to PATH. Interop builds Buildkite's software with it."
  )
  process.exit(2)
}

const generatedFiles = 100

/** Compares what this library makes of pipeline files with what the agent makes of them. */
const withPipelines = (path: string, version: string): Effect.Effect<Row> =>
  Effect.map(
    Effect.promise(() => Pipelines.differences(path, generatedFiles)),
    (found): Row => ({
      program: "buildkite-agent",
      version,
      subject: pipelineFiles,
      verdict: found.length === 0 ? "ok" : "deviates",
      detail: found.map(({ name }) => name).join(", ")
    })
  )

const pipelineFiles = `pipeline files: the samples, and ${generatedFiles} generated ones`

/** Runs all scenarios with one agent, several at once. */
const withAgent = (path: string, version: string): Effect.Effect<ReadonlyArray<Row>> => {
  const all = Object.entries(scenarios).filter(([name]) => isWanted(name))
  const emulator = NodeStacksEmulator.layer({
    defaultQueueKey: queueKey,
    secrets: { interop_secret: Redacted.make("s3cret-for-interop") }
  })
  return Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    yield* client.registerStack({ key: stackKey, type: "custom", queueKey })
    const pipelines = isWanted(pipelineFiles) ? [yield* withPipelines(path, version)] : []
    const rows = yield* Effect.forEach(
      all,
      ([subject, scenario]) =>
        Effect.scoped(scenario(path)).pipe(
          Effect.timeout("10 minutes"),
          Effect.catchCause((cause) => Effect.succeed([Cause.pretty(cause).slice(0, 500)])),
          Effect.map((problems): Row => {
            const row: Row = {
              program: "buildkite-agent",
              version,
              subject,
              verdict: problems.length === 0 ? "ok" : "deviates",
              detail: problems.join("; ").replaceAll(/\s+/g, " ")
            }
            console.error(format([row]).split("\n")[1])
            return row
          })
        ),
      // The first scenario waits for three minutes.
      { concurrency: 3 }
    )
    return [...rows, ...pipelines]
  }).pipe(Effect.provide(Layer.provideMerge(NodeStacksEmulator.layerClient, emulator)), Effect.orDie)
}

const versionOf = (path: string): string => {
  const [version = "?"] = /\d+\.\d+\.\d+[\w.-]*/.exec(execFileSync(path, ["--version"], { encoding: "utf8" })) ?? []
  return version
}

const unavailable = (program: string, reason: string): Row => ({
  program,
  version: "",
  subject: "getting it",
  verdict: "unavailable",
  detail: reason
})

const build = async (name: string, module: Module): Promise<Built> => {
  console.error(`Getting ${name} (${module.path})`)
  return findOrExit().build(module)
}

/** Builds a program and uses it; notes what could not be had. */
const withProgram = async (
  name: string,
  module: Module,
  use: (path: string, version: string) => Effect.Effect<ReadonlyArray<Row>>
): Promise<ReadonlyArray<Row>> => {
  const built = await build(name, module)
  if (built.path === undefined) return [unavailable(name, built.reason)]
  const notes = built.note === "" ? [] : [unavailable(name, built.note)]
  return [...notes, ...(await Effect.runPromise(use(built.path, built.version)))]
}

const rows: Array<Row> = []

for (const path of options.agent) rows.push(...(await Effect.runPromise(withAgent(path, versionOf(path)))))
if (options.agent.length === 0 && [...Object.keys(scenarios), pipelineFiles].some(isWanted)) {
  rows.push(...(await withProgram("buildkite-agent 3", modules.agent3, withAgent)))
  rows.push(...(await withProgram("buildkite-agent 4", modules.agent4, withAgent)))
}
if (isWanted("reference"))
  rows.push(
    ...(await withProgram("stacksapi (Go)", modules.reference, (path, version) =>
      Reference.compare(path, version, options.record)
    ))
  )
if (isWanted("agent-stack-k8s controller")) {
  rows.push(
    ...(options.controller === undefined
      ? await withProgram("agent-stack-k8s", modules.controller, Controller.examine)
      : await Effect.runPromise(Controller.examine(options.controller, "given")))
  )
}

if (rows.length === 0) {
  console.error(`Nothing that runs has ${options.only} in its name`)
  process.exit(2)
}

console.log(format(rows))
const deviations = rows.filter(({ verdict }) => verdict === "deviates").length
const missing = rows.filter(({ verdict }) => verdict === "unavailable").length
console.log(deviations === 0 ? "No deviations" : `${deviations} deviations`)
if (missing > 0) console.log(`${missing} programs could not be had: nothing is known about them`)
// Nothing deviates where nothing runs.
process.exitCode = deviations > 0 ? 1 : missing === rows.length ? 2 : 0
