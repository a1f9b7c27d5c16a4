import * as Command from "effect/cli/Command"
import * as Flag from "./flag.ts"
import { handledBy } from "./handledBy.ts"
import * as Ids from "./ids.ts"
import * as Settings from "./settings.ts"

const detail = Flag.required(
  Flag.check(
    Flag.text("detail", {
      description: "The text on the job's page, cropped to 4096 bytes; required",
      metavar: "TEXT"
    }),
    (text) => text !== "",
    "Expected a text that is not empty"
  )
)

const signalReason = Flag.text("signal-reason", {
  description: "The signal reason, which retry rules of pipelines can match",
  metavar: "REASON"
})

const finishFlags = {
  key: Settings.key,
  exitStatus: Flag.required(
    Flag.int("exit-status", { description: "The exit status, 0 for success; required", metavar: "STATUS" })
  ),
  detail,
  signalReason: Flag.optional(signalReason),
  ids: Ids.ids,
  ...Settings.flags
}

export type FinishInput = Command.Command.Config.Infer<typeof finishFlags>

export const finish = Command.make(
  "finish",
  finishFlags,
  handledBy(() => import("./jobsFinishHandler.ts"))
).pipe(
  Command.withDescription("Finish jobs that the stack ran without an agent, at most once per job"),
  Command.withExamples([
    {
      command:
        'stacksapi jobs finish --key my-stack --exit-status 0 --detail "All is well" 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10'
    }
  ])
)

const failFlags = {
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
  ...Settings.flags
}

export type FailInput = Command.Command.Config.Infer<typeof failFlags>

export const fail = Command.make(
  "fail",
  failFlags,
  handledBy(() => import("./jobsFailHandler.ts"))
).pipe(
  Command.withDescription("Fail jobs that the stack can't run"),
  Command.withExamples([
    {
      command: 'stacksapi jobs fail --key my-stack --detail "No machine has a GPU" 0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10'
    }
  ])
)
