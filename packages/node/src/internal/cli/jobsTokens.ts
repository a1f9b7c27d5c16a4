import * as Command from "effect/cli/Command"
import * as Flag from "./flag.ts"
import { handledBy } from "./handledBy.ts"
import * as Ids from "./ids.ts"
import * as Settings from "./settings.ts"

const flags = {
  key: Settings.key,
  lifetime: Flag.optional(
    Flag.integer("lifetime", {
      description: "How long the tokens are valid, 1 to 3600 seconds",
      metavar: "SECONDS",
      otherwise: "900",
      min: 1,
      max: 3600
    })
  ),
  show: Flag.toggle("show", { description: "Print the tokens themselves" }),
  ids: Ids.ids,
  ...Settings.flags
}

export type TokensInput = Command.Command.Config.Infer<typeof flags>

export const tokens = Command.make(
  "tokens",
  flags,
  handledBy(() => import("./jobsTokensHandler.ts"))
).pipe(
  Command.withDescription(
    "Issue acquisition tokens for reserved jobs. With a token, an agent can acquire one job. Tokens are secrets, and printed only with --show"
  ),
  Command.withShortDescription("Issue acquisition tokens for reserved jobs"),
  Command.withExamples([
    {
      command: "stacksapi jobs tokens --key my-stack --show --json 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10 | jq -r .token"
    }
  ])
)
