import * as StacksClient from "@stacksapi/core/StacksClient"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Command from "effect/cli/Command"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { fromNow } from "../terminal/times.ts"
import { Failed } from "./failure.ts"
import * as Flag from "./flag.ts"
import * as Ids from "./ids.ts"
import { lifetimeOf } from "./jobsReserve.ts"
import * as Output from "./output.ts"
import * as Settings from "./settings.ts"
import { flags, withClient } from "./withClient.ts"

export const tokens = Command.make(
  "tokens",
  {
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
    ...flags
  },
  Effect.fnUntraced(function* ({ ids, json, key, lifetime, show }) {
    const client = yield* StacksClient.StacksClient
    const now = yield* DateTime.now
    const shown = (token: Redacted.Redacted) => (show ? Redacted.value(token) : "[redacted]")
    const printer = yield* Output.printer<StacksSchema.JobAcquisitionToken>({
      json,
      columns: [
        { name: "id", value: ({ jobUuid }) => jobUuid },
        { name: "expires", value: ({ expiresAt }) => fromNow(now, expiresAt), style: () => "dim" },
        { name: "token", value: ({ token }) => shown(token) }
      ],
      toJson: ({ expiresAt, jobUuid, token }) => ({ id: jobUuid, expiresAt, token: shown(token) })
    })
    let count = 0
    let refused = 0
    yield* Ids.stream(ids).pipe(
      Stream.grouped(StacksSchema.MaxBatchSize),
      Stream.runForEach(
        Effect.fnUntraced(function* (jobUuids) {
          const result = yield* client.issueJobAcquisitionTokens({
            stackKey: key,
            jobUuids,
            tokenLifetime: lifetimeOf(lifetime)
          })
          count += jobUuids.length
          refused += result.notIssued.length
          for (const id of result.notIssued) yield* Output.sayOfJob(id, "no token, is it reserved by this stack?")
          yield* printer.print(result.tokens)
        })
      )
    )
    if (refused > 0) return yield* new Failed({ message: `${refused} of ${count} jobs got no token` })
  }, withClient)
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
