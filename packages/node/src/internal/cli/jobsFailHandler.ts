/** What `stacksapi jobs fail` does. */
import * as StacksClient from "@stacksapi/core/StacksClient"
import * as Effect from "effect/Effect"
import { sanitizeLine } from "../terminal/sanitize.ts"
import { eachJob } from "./eachJob.ts"
import type { FailInput } from "./jobsFinish.ts"
import { printOne } from "./output.ts"
import { withClient } from "./withClient.ts"

export const handle = Effect.fnUntraced(function* ({ detail, exitStatus, ids, json, key, signalReason }: FailInput) {
  const client = yield* StacksClient.StacksClient
  yield* eachJob(ids, "failed", (jobUuid) =>
    Effect.andThen(
      client.failJob({
        stackKey: key,
        jobUuid,
        exitStatus,
        detail,
        signalReason
      }),
      printOne(json, {
        text: `${sanitizeLine(jobUuid)} is failed with ${exitStatus}`,
        json: { id: jobUuid, exitStatus }
      })
    )
  )
}, withClient)
