/** What `stacksapi jobs tokens` does. */
import * as StacksClient from "@stacksapi/core/StacksClient"
import type * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { fromNow } from "../terminal/times.ts"
import { durationOf, eachBatch } from "./eachJob.ts"
import type { TokensInput } from "./jobsTokens.ts"
import * as Output from "./output.ts"
import { withClient } from "./withClient.ts"

export const handle = Effect.fnUntraced(function* ({ ids, json, key, lifetime, show }: TokensInput) {
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
  yield* eachBatch(
    ids,
    "got no token",
    Effect.fnUntraced(function* (jobUuids) {
      const { notIssued, tokens } = yield* client.issueJobAcquisitionTokens({
        stackKey: key,
        jobUuids,
        tokenLifetime: durationOf(lifetime)
      })
      for (const id of notIssued) yield* Output.sayOfJob(id, "no token, is it reserved by this stack?")
      yield* printer.print(tokens)
      return notIssued.length
    })
  )
}, withClient)
