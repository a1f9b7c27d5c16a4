import * as StacksClient from "@stacksapi/core/StacksClient"
import type { JobDetails } from "@stacksapi/core/StacksSchema"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Secrets from "../process/secrets.ts"
import { sanitizeLine } from "../terminal/sanitize.ts"
import { currentDisplay, type Display, paint } from "../terminal/style.ts"
import { eachJob } from "./eachJob.ts"
import * as Flag from "./flag.ts"
import * as Ids from "./ids.ts"
import { printOne } from "./output.ts"
import * as Settings from "./settings.ts"
import { flags, withClient } from "./withClient.ts"

export const get = Command.make(
  "get",
  {
    key: Settings.key,
    show: Flag.toggle("show", { description: "Also show the values of variables that are named like secrets" }),
    ids: Ids.ids,
    ...flags
  },
  Effect.fnUntraced(function* ({ ids, json, key, show }) {
    const client = yield* StacksClient.StacksClient
    const display = yield* currentDisplay
    yield* eachJob(ids, "read", (jobUuid) =>
      Effect.flatMap(client.getJob({ stackKey: key, jobUuid }), (details) => {
        const job = show ? details : withoutSecrets(details)
        return printOne(json, { text: describe(display, job), json: job })
      })
    )
  }, withClient)
).pipe(
  Command.withDescription(
    "Show the command and environment of jobs. Hides the values of variables that are named like secrets (TOKEN, PASSWORD …), " +
      "unless --show is given"
  ),
  Command.withShortDescription("Show the command and environment of jobs"),
  Command.withExamples([{ command: "stacksapi jobs get --key my-stack 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10" }])
)

const withoutSecrets = (job: JobDetails): JobDetails => ({
  ...job,
  command: Secrets.redactorOf(job.env).redact(job.command),
  env: Secrets.withoutSecrets(job.env)
})

const describe = (display: Display, { command, env, id }: JobDetails): string =>
  [
    paint(display.hasColor, "bold", sanitizeLine(id)),
    ...command.split("\n").map((line) => `  ${paint(display.hasColor, "cyan", "$")} ${sanitizeLine(line)}`),
    ...Object.entries(env)
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([name, value]) => `  ${paint(display.hasColor, "dim", `${sanitizeLine(name)}=`)}${sanitizeLine(value)}`)
  ].join("\n")
