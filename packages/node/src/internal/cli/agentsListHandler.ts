/** What `stacksapi agents list` does. */
import * as AgentProvider from "@stacksapi/core/AgentProvider"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type { Column } from "../terminal/table.ts"
import { fromNow } from "../terminal/times.ts"
import type { ListInput } from "./agents.ts"
import * as Output from "./output.ts"
import { withProvider } from "./withProvider.ts"

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

export const handle = Effect.fnUntraced(function* ({ json, key }: ListInput) {
  const provider = yield* AgentProvider.AgentProvider
  const agents = yield* provider.list(key)
  const toJson = ({ problem: _, ...agent }: AgentProvider.Agent) => agent
  const printer = yield* Output.printer({ json, columns: columns(yield* DateTime.now), toJson })
  yield* printer.print(agents)
  if (agents.length === 0) yield* Output.say(`The stack ${key} has no agents`)
}, withProvider)
