/** What `stacksapi jobs get` does. */
import * as StacksClient from "@stacksapi/core/StacksClient"
import type { JobDetails } from "@stacksapi/core/StacksSchema"
import * as Effect from "effect/Effect"
import * as Secrets from "../process/secrets.ts"
import { sanitizeLine } from "../terminal/sanitize.ts"
import { currentDisplay, type Display, paint } from "../terminal/style.ts"
import { eachJob } from "./eachJob.ts"
import type { GetInput } from "./jobsGet.ts"
import { printOne } from "./output.ts"
import { withClient } from "./withClient.ts"

export const handle = Effect.fnUntraced(function* ({ ids, json, key, show }: GetInput) {
  const client = yield* StacksClient.StacksClient
  const display = yield* currentDisplay
  yield* eachJob(ids, "read", (jobUuid) =>
    Effect.flatMap(client.getJob({ stackKey: key, jobUuid }), (details) => {
      const job = show ? details : withoutSecrets(details)
      return printOne(json, { text: describe(display, job), json: job })
    })
  )
}, withClient)

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
