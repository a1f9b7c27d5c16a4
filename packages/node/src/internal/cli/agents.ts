import * as AgentProvider from "@stacksapi/core/AgentProvider"
import * as Command from "effect/cli/Command"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Column } from "../terminal/table.ts"
import { fromNow } from "../terminal/times.ts"
import { type EngineInput, engineFlags } from "./dockerFlags.ts"
import * as Flag from "./flag.ts"
import * as Output from "./output.ts"
import * as Settings from "./settings.ts"
import { logFailure } from "./withClient.ts"

const flags = {
  key: Settings.key,
  runner: Flag.withDefault(
    Flag.choice("runner", ["docker"], { description: "Where the agents run", variable: true }),
    "docker"
  ),
  ...engineFlags
}

const withProvider = <A, E, R>(effect: Effect.Effect<A, E, R | AgentProvider.AgentProvider>, input: EngineInput) =>
  logFailure(
    Effect.provide(
      effect,
      Layer.unwrap(
        Effect.map(
          Effect.promise(() => import("./docker.ts")),
          (docker) => docker.layerAgents(input)
        )
      )
    )
  )

const columns = (now: DateTime.Utc): ReadonlyArray<Column<AgentProvider.Agent>> => [
  { name: "job", value: ({ jobUuid }) => jobUuid },
  { name: "phase", value: ({ phase }) => phase },
  {
    name: "created",
    value: ({ createdAt }) => (createdAt === undefined ? "" : fromNow(now, createdAt)),
    style: () => "dim"
  },
  { name: "build", value: ({ annotations }) => annotations?.["stacksapi/build"] ?? "", isFlexible: true },
  { name: "agent", value: ({ name }) => name, style: () => "dim", isFlexible: true },
  { name: "message", value: ({ message }) => message ?? "", isFlexible: true }
]

const list = Command.make(
  "list",
  { ...flags, json: Output.json },
  Effect.fnUntraced(function* ({ json, key }) {
    const provider = yield* AgentProvider.AgentProvider
    const agents = yield* provider.list(key)
    const toJson = ({ problem: _, ...agent }: AgentProvider.Agent) => agent
    const printer = yield* Output.printer({ json, columns: columns(yield* DateTime.now), toJson })
    yield* printer.print(agents)
    if (agents.length === 0) yield* Output.say(`The stack ${key} has no agents`)
  }, withProvider)
).pipe(
  Command.withDescription("List the agents of a stack, those included that have ended and are not deleted"),
  Command.withExamples([{ command: "stacksapi agents list --key my-stack" }])
)

const remove = Command.make(
  "delete",
  flags,
  Effect.fnUntraced(function* ({ key }) {
    const provider = yield* AgentProvider.AgentProvider
    const { length } = yield* provider.list(key)
    yield* AgentProvider.deleteAll(key, "stacksapi agents delete")
    yield* Output.say(
      length === 0 ? `The stack ${key} has no agents` : `Deleted the agents of the stack ${key}: ${length}`
    )
  }, withProvider)
).pipe(
  Command.withDescription(
    "Delete all agents of a stack, those included that run jobs, and wait until they are gone. Stop the stack first: it would " +
      "create agents again"
  ),
  Command.withShortDescription("Delete all agents of a stack"),
  Command.withExamples([{ command: "stacksapi agents delete --key my-stack" }])
)

export const agents = Command.make("agents").pipe(
  Command.withDescription("Look at the agents of a stack that run elsewhere, and delete them"),
  Command.withSubcommands([list, remove])
)
