/** The tables of the command: its commands, flags with their variables and defaults, and exit statuses, from their declarations. */
import { NodeServices } from "@effect/platform-node"
import { Effect, Layer, Option } from "effect"
import { CliOutput, Command, type HelpDoc } from "effect/cli"
import * as ExitStatus from "../../packages/node/src/internal/cli/exitStatus.ts"
import { parseHelp } from "../../packages/node/src/internal/cli/flag.ts"
import { Host } from "../../packages/node/src/internal/cli/host.ts"
import { stacksapi } from "../../packages/node/src/internal/cli/main.ts"
import { code, table } from "./markdown.ts"

/** The help of a command, as data. */
const helpOf = Effect.fnUntraced(function* (path: ReadonlyArray<string>) {
  let help: HelpDoc.HelpDoc | undefined
  const presenter: CliOutput.Presenter = {
    present: (event) =>
      Effect.sync(() => {
        if (event._tag === "Help") help = event.helpDoc
      })
  }
  yield* Command.runWith(stacksapi, { version: "" })([...path, "--help"]).pipe(
    Effect.provide(CliOutput.layerPresenter(presenter))
  )
  return help ?? (yield* Effect.die(new Error(`stacksapi ${path.join(" ")} has no help`)))
})

const flagRow = ({ aliases, description, name, type }: HelpDoc.FlagDoc): ReadonlyArray<string> => {
  const help = parseHelp(Option.getOrElse(description, () => "").replace(/ \(choices: [^)]*\)$/, ""))
  const names = [`--${name}${type === "boolean" ? "" : ` ${type}`}`, ...aliases].map(code).join(", ")
  const variables = help.variables?.replace(/[A-Z]\w+/g, code) ?? ""
  const otherwise =
    help.otherwise === undefined ? "" : /^[\w.-]+$/.test(help.otherwise) ? code(help.otherwise) : help.otherwise
  return [names, variables, otherwise, help.description]
}

const flagTable = (flags: ReadonlyArray<HelpDoc.FlagDoc>): string =>
  table(["flag", "variable", "default", "meaning"], flags.map(flagRow))

/** The flags that several commands share. */
const sharedNames = ["key", "queue", "tag", "json", "config", "endpoint", "proxy", "token-file"]

const isShared = ({ name }: HelpDoc.FlagDoc): boolean => sharedNames.includes(name)

interface Entry {
  readonly path: ReadonlyArray<string>
  readonly help: HelpDoc.HelpDoc
  readonly summary: string
}

/** All commands that do something by themselves, in the order of the help. */
const leaves = (
  path: ReadonlyArray<string>,
  summary: string
): Effect.Effect<ReadonlyArray<Entry>, never, Effect.Services<ReturnType<typeof helpOf>>> =>
  Effect.gen(function* () {
    const help = yield* Effect.orDie(helpOf(path))
    const subcommands = (help.subcommands ?? []).flatMap(({ commands }) => commands)
    if (subcommands.length === 0) return [{ path, help, summary }]
    const entries = yield* Effect.forEach(subcommands, ({ description, name, shortDescription }) =>
      leaves([...path, name], shortDescription ?? description)
    )
    return help.flags.some((flag) => !isShared(flag)) ? [{ path, help, summary }, ...entries.flat()] : entries.flat()
  })

/** Commands with a section of their own. */
const longCommands: ReadonlySet<string> = new Set(["run", "emulator"])

const commandRow = ({ help, path, summary }: Entry): ReadonlyArray<string> => {
  const args = (help.args ?? []).map(({ name, variadic }) => ` ${name.toUpperCase()}${variadic ? "…" : ""}`).join("")
  const own = help.flags.filter((flag) => !isShared(flag)).map(({ name }) => code(`--${name}`))
  const isLong = longCommands.has(path.join(" "))
  return [code(`${path.join(" ")}${args}`), summary, isLong ? "see below" : own.join(", ")]
}

/** The flags of a cluster, with those of one process whose meaning it changes. */
const isOfCluster = ({ description, name }: HelpDoc.FlagDoc): boolean =>
  ["cluster", "key", "queue", "max-in-flight", "shutdown-grace"].includes(name) ||
  Option.getOrElse(description, () => "").startsWith("With --cluster")

/** Every table by its name. */
export const tables: Effect.Effect<Readonly<Record<string, string>>> = Effect.gen(function* () {
  const entries = yield* leaves([], "")
  const find = (name: string) => entries.find(({ path }) => path.join(" ") === name)?.help.flags ?? []
  const run = find("run")
  const own = entries
    .filter(({ path }) => !longCommands.has(path.join(" ")))
    .flatMap(({ help, path }) =>
      help.flags.filter((flag) => !isShared(flag)).map((flag) => [code(path.join(" ")), ...flagRow(flag)])
    )
  return {
    commands: table(["command", "what it does", "flags"], entries.map(commandRow)),
    "shared flags": flagTable(find("jobs watch").filter(isShared)),
    "flags of single calls": table(["command", "flag", "variable", "default", "meaning"], own),
    "flags of run": flagTable(run.filter((flag) => !isShared(flag) || flag.name === "queue")),
    "flags of a cluster": flagTable(run.filter(isOfCluster)),
    "flags of emulator": flagTable(find("emulator").filter(({ name }) => name !== "json")),
    "exit statuses": table(
      ["status", "meaning"],
      ExitStatus.meanings.map(([statuses, meaning]) => [statuses.join(", "), meaning])
    )
  }
}).pipe(Effect.provide(Layer.merge(NodeServices.layer, Layer.succeed(Host, Host.of({ expectStop: Effect.void })))))
