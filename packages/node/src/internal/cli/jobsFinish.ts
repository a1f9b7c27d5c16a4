import * as StacksClient from "@stacksapi/core/StacksClient"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { sanitizeLine } from "../terminal/sanitize.ts"
import { eachJob } from "./eachJob.ts"
import * as Flag from "./flag.ts"
import * as Ids from "./ids.ts"
import { printOne } from "./output.ts"
import * as Settings from "./settings.ts"
import { flags, withClient } from "./withClient.ts"

const detail = Flag.required(
  Flag.check(
    Flag.text("detail", { description: "The text on the job's page; cropped to 4096 bytes", metavar: "TEXT" }),
    (text) => text !== "",
    "Expected a text that is not empty"
  )
)

const signalReason = Flag.text("signal-reason", {
  description: "The signal reason, which retry rules of pipelines can match",
  metavar: "REASON"
})

export const finish = Command.make(
  "finish",
  {
    key: Settings.key,
    exitStatus: Flag.required(
      Flag.int("exit-status", { description: "The exit status; 0 is success", metavar: "STATUS" })
    ),
    detail,
    signalReason: Flag.optional(signalReason),
    ids: Ids.ids,
    ...flags
  },
  Effect.fnUntraced(function* ({ detail, exitStatus, ids, json, key, signalReason }) {
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
).pipe(
  Command.withDescription("Finish jobs that the stack ran without an agent, at most once per job"),
  Command.withExamples([
    {
      command:
        'stacksapi jobs finish --key my-stack --exit-status 0 --detail "All is well" 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10'
    }
  ])
)

export const fail = Command.make(
  "fail",
  {
    key: Settings.key,
    exitStatus: Flag.withDefault(
      Flag.check(
        Flag.int("exit-status", { description: "The exit status; not 0", metavar: "STATUS" }),
        (status) => status !== 0,
        "0 is success: use `jobs finish`"
      ),
      -1
    ),
    detail,
    signalReason: Flag.withDefault(signalReason, "stack_error"),
    ids: Ids.ids,
    ...flags
  },
  Effect.fnUntraced(function* ({ detail, exitStatus, ids, json, key, signalReason }) {
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
).pipe(
  Command.withDescription("Fail jobs that the stack can't run"),
  Command.withExamples([
    {
      command: 'stacksapi jobs fail --key my-stack --detail "No machine has a GPU" 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10'
    }
  ])
)
