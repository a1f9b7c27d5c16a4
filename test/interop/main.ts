/**
 * Runs Buildkite's own software against the emulator: agents, the reference client of the Stacks API, and the controller of
 * agent-stack-k8s. They come from the Go module proxy, and are built in a cache outside the repository.
 *
 *     pnpm interop [--only NAME] [--agent PATH] [--controller PATH] [--record]
 *
 * `--only` runs the parts whose name contains NAME. `--agent` and `--controller` use existing programs instead of building them.
 * `--record` writes the results of the reference client to `reference.json`, which a test compares with our client.
 * Exits with 1 if something deviates, and with 2 if Go is missing, or if no program was available.
 */
import { execFileSync } from "node:child_process"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { StacksClient } from "@stacksapi/core"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Cause, Effect, Layer, Redacted } from "effect"
import { findGo, Go, type Module } from "../../scripts/programs/go.ts"
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

const generatedFiles = 100

/** Compares what this library makes of pipeline files with what the agent makes of them. */
const withPipelines = (path: string, version: string): Effect.Effect<Row> =>
  Effect.map(Pipelines.differences(path, generatedFiles), (found) =>
    rowOf(
      { program: "buildkite-agent", version, subject: pipelineFiles },
      found.map(({ name }) => name)
    )
  ).pipe(Effect.orDie)

/** The row of a subject, which deviates if there are problems. */
const rowOf = (about: Pick<Row, "program" | "version" | "subject">, problems: ReadonlyArray<string>): Row => ({
  ...about,
  verdict: problems.length === 0 ? "ok" : "deviates",
  detail: problems.join("; ").replaceAll(/\s+/g, " ")
})

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
          Effect.map((problems) => {
            const row = rowOf({ program: "buildkite-agent", version, subject }, problems)
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

/** The version that a program prints. */
const versionOf = ({ path, versionArgs }: Existing) =>
  Effect.sync(() => {
    const output = execFileSync(path, versionArgs, { encoding: "utf8" }).trim()
    return /\d+\.\d+\.\d+[\w.-]*/.exec(output)?.[0] ?? output
  })

const unavailable = (program: string, reason: string): Row => ({
  program,
  version: "",
  subject: "getting it",
  verdict: "unavailable",
  detail: reason
})

type Use = (path: string, version: string) => Effect.Effect<ReadonlyArray<Row>>

interface Existing {
  readonly path: string
  /** The arguments with which it prints its version. */
  readonly versionArgs: ReadonlyArray<string>
}

/** A program to run: an existing one, or one that is built. */
interface Part {
  readonly name: string
  readonly source: Module | Existing
  readonly use: Use
}

const isExisting = (source: Part["source"]): source is Existing => "versionArgs" in source

const agents = (): ReadonlyArray<Part> => {
  if (![...Object.keys(scenarios), pipelineFiles].some(isWanted)) return []
  return options.agent.length > 0
    ? options.agent.map((path) => ({ name: path, source: { path, versionArgs: ["--version"] }, use: withAgent }))
    : [
        { name: "buildkite-agent 3", source: modules.agent3, use: withAgent },
        { name: "buildkite-agent 4", source: modules.agent4, use: withAgent }
      ]
}

const parts: ReadonlyArray<Part> = [
  ...agents(),
  ...(isWanted("reference")
    ? [
        {
          name: "stacksapi (Go)",
          source: modules.reference,
          use: (path: string, version: string) => Reference.compare(path, version, options.record)
        }
      ]
    : []),
  ...(isWanted("agent-stack-k8s controller")
    ? [
        {
          name: "agent-stack-k8s",
          source:
            options.controller === undefined
              ? modules.controller
              : { path: options.controller, versionArgs: ["version"] },
          use: Controller.examine
        }
      ]
    : [])
]

/** Builds a program and uses it. Lists it as unavailable if it can't be built. */
const withBuilt = Effect.fnUntraced(function* (go: Go, name: string, module: Module, use: Use) {
  console.error(`Getting ${name} (${module.path})`)
  const built = yield* Effect.promise((signal) => go.build(module, signal))
  if (built.path === undefined) return [unavailable(name, built.reason)]
  const notes = built.note === "" ? [] : [unavailable(name, built.note)]
  return [...notes, ...(yield* use(built.path, built.version))]
})

const run = (go: Go | undefined, { name, source, use }: Part): Effect.Effect<ReadonlyArray<Row>> =>
  (isExisting(source)
    ? Effect.flatMap(versionOf(source), (version) => use(source.path, version))
    : go === undefined
      ? Effect.succeed([unavailable(name, "there is no Go")])
      : withBuilt(go, name, source, use)
  ).pipe(
    // The other programs run nevertheless.
    Effect.catchCause((cause) =>
      Effect.succeed([
        rowOf({ program: name, version: "", subject: "running it" }, [Cause.pretty(cause).slice(0, 500)])
      ])
    )
  )

/** Runs all parts, prints the table, and returns the exit status. */
const main = Effect.gen(function* () {
  if (parts.length === 0) {
    console.error(`No part has ${options.only} in its name`)
    return 2
  }
  const program = findGo()
  if (program === undefined && parts.some(({ source }) => !isExisting(source))) {
    console.error(
      "There is no Go: install it (https://go.dev/dl), or add its folder to PATH. Interop builds Buildkite's software with it."
    )
    return 2
  }
  const go = program === undefined ? undefined : new Go(program)
  const rows = (yield* Effect.forEach(parts, (part) => run(go, part))).flat()
  console.log(format(rows))
  const deviations = rows.filter(({ verdict }) => verdict === "deviates").length
  const missing = rows.filter(({ verdict }) => verdict === "unavailable").length
  console.log(deviations === 0 ? "No deviations" : `${deviations} deviations`)
  if (missing > 0) console.log(`${missing} programs or versions were not available: nothing is known about them`)
  // Nothing deviates where nothing runs.
  return deviations > 0 ? 1 : missing === rows.length ? 2 : 0
})

// After Ctrl-C, too, agents end and their folders are deleted.
NodeRuntime.runMain(
  Effect.map(main, (status) => {
    process.exitCode = status
  })
)
