/** What `stacksapi jobs tokens` does. */
import * as StacksClient from "@stacksapi/core/StacksClient"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { fromNow } from "../terminal/times.ts"
import { Failed } from "./failure.ts"
import * as Ids from "./ids.ts"
import { lifetimeOf } from "./jobsReserveHandler.ts"
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
