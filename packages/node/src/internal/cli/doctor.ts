import * as Command from "effect/cli/Command"
import * as Flag from "./flag.ts"
import { handledBy } from "./handledBy.ts"
import * as Settings from "./settings.ts"

const flags = {
  queue: Settings.queue,
  canary: Flag.optional(
    Flag.text("canary", {
      description:
        "A queue that is set aside for this test, used instead of --queue. The command reserves its first job, extends and shortens the reservation, asks for its token, and finishes it",
      metavar: "QUEUE"
    })
  ),
  ...Settings.flags
}

export type DoctorInput = Command.Command.Config.Infer<typeof flags>

export const doctor = Command.make(
  "doctor",
  flags,
  handledBy(() => import("./doctorHandler.ts"))
).pipe(
  Command.withDescription(
    "Compare the service with what this library assumes: token, registration, listing, states, statuses, rate limits, clock, TLS, proxy and latency. It registers a stack for a moment and, with --canary, finishes a job; it changes nothing else. Exits with 1 if something differs or fails"
  ),
  Command.withShortDescription("Compare the service with what this library assumes"),
  Command.withExamples([
    { command: "stacksapi doctor" },
    { command: "stacksapi doctor --json > report.json" },
    { command: "stacksapi doctor --canary stacksapi-canary" }
  ])
)
