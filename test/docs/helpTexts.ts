/** Writes the help texts of the command `stacksapi`, which the compiled command prints without loading its modules. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Console from "effect/Console"
import type * as Command from "effect/cli/Command"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import type { HelpTexts } from "../../packages/node/src/internal/cli/helpTexts.ts"
import { Host } from "../../packages/node/src/internal/cli/host.ts"
import { main, stacksapi } from "../../packages/node/src/internal/cli/main.ts"
import { root } from "../../scripts/run.ts"

/** What the command prints in a terminal with colors. */
const outputOf = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  const lines: Array<string> = []
  const log = (...texts: ReadonlyArray<unknown>) => void lines.push(texts.join(" "))
  yield* main(args).pipe(
    Effect.provideService(Console.Console, Object.assign(Object.create(console), { log })),
    Effect.provideService(TerminalCapabilities.TerminalCapabilities, {
      canColor: true,
      canAnimate: true,
      canPrompt: false
    }),
    Effect.provideService(Host, { expectStop: Effect.void }),
    Effect.provide(NodeServices.layer)
  )
  if (lines.length === 0) throw new Error(`stacksapi ${args.join(" ")} prints nothing`)
  return lines.join("\n")
})

/** All commands, as words after `stacksapi`. */
const commandsIn = ({ subcommands }: Command.Command.Any, path: ReadonlyArray<string> = []): ReadonlyArray<string> => [
  path.join(" "),
  ...subcommands.flatMap(({ commands }) => commands.flatMap((command) => commandsIn(command, [...path, command.name])))
]

const texts = Effect.gen(function* () {
  const help: Record<string, string> = {}
  for (const command of commandsIn(stacksapi)) {
    help[command] = yield* outputOf([...command.split(" ").filter((word) => word !== ""), "--help"])
  }
  return { help, version: yield* outputOf(["--version"]) } satisfies HelpTexts
})

writeFileSync(
  join(root, "packages/node/dist/internal/cli/helpTexts.json"),
  JSON.stringify(await Effect.runPromise(texts))
)
