import * as Command from "effect/cli/Command"
import * as Flag from "./flag.ts"
import { handledBy } from "./handledBy.ts"
import * as Ids from "./ids.ts"
import * as Settings from "./settings.ts"

const flags = {
  key: Settings.key,
  expiry: Flag.optional(
    Flag.integer("expiry", {
      description: "How long the reservations last, 1 to 3600 seconds",
      metavar: "SECONDS",
      otherwise: "900",
      min: 1,
      max: 3600
    })
  ),
  ids: Ids.ids,
  ...Settings.flags
}

export type ReserveInput = Command.Command.Config.Infer<typeof flags>

export const reserve = Command.make(
  "reserve",
  flags,
  handledBy(() => import("./jobsReserveHandler.ts"))
).pipe(
  Command.withDescription(
    "Reserve jobs, or extend reservations. A reservation can't be undone: it lapses by itself. Exits with 1 if a job was not reserved"
  ),
  Command.withShortDescription("Reserve jobs, or extend reservations"),
  Command.withExamples([
    { command: "stacksapi jobs reserve --key my-stack --expiry 300 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10" }
  ])
)
