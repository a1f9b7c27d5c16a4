import * as StacksClient from "@stacksapi/core/StacksClient"
import type { JobDetails } from "@stacksapi/core/StacksSchema"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Secrets from "../process/secrets.ts"
import { connected, flags } from "./connected.ts"
import { eachJob } from "./eachJob.ts"
import * as Ids from "./ids.ts"
import { printOne } from "./output.ts"
import { printable } from "./plain.ts"
import { currentScreen, paint, type Screen } from "./screen.ts"
import * as Settings from "./settings.ts"

export const get = Command.make(
  "get",
  {
    key: Settings.key,
    show: Flag.Boolean("show").pipe(
      Flag.withDescription("Show the values of variables that are named like secrets too"),
      Flag.withDefault(false)
    ),
    ids: Ids.ids,
    ...flags
  },
  Effect.fnUntraced(function* ({ ids, json, key, show }) {
    const client = yield* StacksClient.StacksClient
    const screen = yield* currentScreen
    yield* eachJob(ids, "read", (jobUuid) =>
      Effect.flatMap(client.getJob({ stackKey: key, jobUuid }), (details) => {
        const job = show ? details : withoutSecrets(details)
        return printOne(json, { text: describe(screen, job), json: job })
      })
    )
  }, connected)
).pipe(
  Command.withDescription(
    "Show the command and environment of jobs. Values of variables that are named like secrets (TOKEN, PASSWORD …) are " +
      "left out, unless --show is given"
  ),
  Command.withShortDescription("Show the command and environment of jobs"),
  Command.withExamples([{ command: "stacksapi jobs get --key my-stack 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10" }])
)

const withoutSecrets = (job: JobDetails): JobDetails => ({
  ...job,
  command: Secrets.redactorOf(job.env).redact(job.command),
  env: Secrets.withoutSecrets(job.env)
})

const describe = (screen: Screen, { command, env, id }: JobDetails): string =>
  [
    paint(screen, "bold", printable(id)),
    ...command.split("\n").map((line) => `  ${paint(screen, "cyan", "$")} ${printable(line)}`),
    ...Object.entries(env)
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([name, value]) => `  ${paint(screen, "dim", `${printable(name)}=`)}${printable(value)}`)
  ].join("\n")
