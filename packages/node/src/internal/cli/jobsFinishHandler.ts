/** What `stacksapi jobs finish` does. */
import * as StacksClient from "@stacksapi/core/StacksClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { sanitizeLine } from "../terminal/sanitize.ts"
import { eachJob } from "./eachJob.ts"
import type { FinishInput } from "./jobsFinish.ts"
import { printOne } from "./output.ts"
import { withClient } from "./withClient.ts"

export const handle = Effect.fnUntraced(function* ({ detail, exitStatus, ids, json, key, signalReason }: FinishInput) {
  const client = yield* StacksClient.StacksClient
  yield* eachJob(ids, "finished", (jobUuid) =>
    Effect.andThen(
      client.finishJob({
        stackKey: key,
        jobUuid,
        exitStatus,
        detail,
        signalReason: Option.getOrUndefined(signalReason)
      }),
      printOne(json, {
        text: `${sanitizeLine(jobUuid)} is finished with ${exitStatus}`,
        json: { id: jobUuid, exitStatus }
      })
    )
  )
}, withClient)
