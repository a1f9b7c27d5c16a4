import * as StacksClient from "@stacksapi/core/StacksClient"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { sanitizeLine } from "../terminal/sanitize.ts"
import { eachJob } from "./eachJob.ts"
import * as Ids from "./ids.ts"
import { printOne } from "./output.ts"
import * as Settings from "./settings.ts"
import { flags, withClient } from "./withClient.ts"

const detail = Flag.String("detail").pipe(
  Flag.withMetavar("TEXT"),
  Flag.withDescription("Shown on the job's page; cropped to 4096 bytes"),
  Flag.filter(
    (text) => text !== "",
    () => "Expected a text that is not empty"
  )
)

const signalReason = Flag.String("signal-reason").pipe(
  Flag.withMetavar("REASON"),
  Flag.withDescription("What retry rules of pipelines may look at, such as stack_error"),
  Flag.optional
)

export const finish = Command.make(
  "finish",
  {
    key: Settings.key,
    exitStatus: Flag.Int("exit-status").pipe(Flag.withDescription("0 is success")),
    detail,
    signalReason,
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
  Command.withDescription("Finish jobs that the stack ran without an agent. At most once for each job"),
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
    exitStatus: Flag.Int("exit-status").pipe(
      Flag.withDescription("Any but 0 (default -1)"),
      Flag.filter(
        (status) => status !== 0,
        () => "0 is success: use `jobs finish`"
      ),
      Flag.withDefault(-1)
    ),
    detail,
    signalReason,
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
          signalReason: Option.getOrElse(signalReason, () => "stack_error")
        }),
        printOne(json, {
          text: `${sanitizeLine(jobUuid)} is failed with ${exitStatus}`,
          json: { id: jobUuid, exitStatus }
        })
      )
    )
  }, withClient)
).pipe(
  Command.withDescription("Fail jobs that the stack can't or won't run. The signal reason is stack_error unless given"),
  Command.withShortDescription("Fail jobs that the stack can't or won't run"),
  Command.withExamples([
    {
      command: 'stacksapi jobs fail --key my-stack --detail "No machine has a GPU" 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10'
    }
  ])
)
