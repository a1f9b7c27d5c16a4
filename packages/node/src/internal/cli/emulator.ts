import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Command from "effect/cli/Command"
import { hostname } from "../http/hostname.ts"
import { defaultToken } from "./emulatorToken.ts"
import * as Flag from "./flag.ts"
import { handledBy } from "./handledBy.ts"
import * as Output from "./output.ts"
import * as Settings from "./settings.ts"
import { unblock } from "./unblock.ts"

const flags = {
  port: Flag.withDefault(
    Flag.integer("port", {
      description: "The port to listen on; 0 takes a free one",
      alias: "p",
      min: 0,
      max: 65_535
    }),
    0
  ),
  host: Flag.withDefault(
    Flag.text("host", { description: "The address to listen on", metavar: "ADDRESS" }),
    "127.0.0.1"
  ),
  allowedHosts: Flag.withDefault(
    Flag.check(
      Flag.texts("allowed-host", {
        description: "Another name at which clients reach the emulator, such as host.docker.internal; may be repeated",
        metavar: "NAME"
      }),
      (names) => names.every((name) => hostname(name) !== undefined),
      "Expected the name of a host, such as host.docker.internal"
    ),
    []
  ),
  jobs: Flag.optional(
    Flag.path("jobs", "either", { description: "A file with jobs: one JSON object per line", metavar: "FILE" })
  ),
  pipelines: Flag.withDefault(
    Flag.paths("pipeline", "either", {
      description: "A pipeline.yml whose steps become jobs of one build; may be repeated",
      metavar: "FILE"
    }),
    []
  ),
  branch: Flag.withDefault(
    Flag.text("branch", { description: "The branch of the pipeline's build", metavar: "BRANCH" }),
    "main"
  ),
  tag: Flag.optional(Flag.text("tag", { description: "The git tag of the pipeline's build", metavar: "TAG" })),
  env: Flag.optional(
    Flag.pairs("env", {
      description:
        "A variable of the pipeline's build, such as BUILDKITE_PULL_REQUEST=12; may be repeated. Conditions and variables in the file use it",
      metavar: "NAME=VALUE"
    })
  ),
  unblockAll: Flag.toggle("unblock-all", {
    description: "Unblock every step of the pipeline that is blocked or held"
  }),
  queue: Flag.withDefault(
    Flag.text("queue", {
      ...Settings.queueOptions,
      description: "The queue for jobs that do not name one",
      variable: undefined
    }),
    StacksSchema.DefaultQueue
  ),
  rateLimits: Flag.negatable("rate-limits", {
    description: "Enforce the documented rate limits (default); --no-rate-limits does not"
  }),
  tokenFile: Flag.optional(
    Flag.path("token-file", "either", {
      description: "A file with the token that the emulator accepts, or - for standard input",
      metavar: "FILE",
      otherwise: defaultToken
    })
  ),
  json: Output.json
}

export type EmulatorInput = Command.Command.Config.Infer<typeof flags>

export const emulator = Command.make(
  "emulator",
  flags,
  handledBy(() => import("./emulatorHandler.ts"))
).pipe(
  Command.withDescription(
    "Serve an emulator of the Stacks API, to test a stack without an account. Everything is in memory, and gone when it stops"
  ),
  Command.withShortDescription("Serve an emulator of the Stacks API"),
  Command.withSubcommands([unblock]),
  Command.withExamples([
    { command: "stacksapi emulator --pipeline .buildkite/pipeline.yml" },
    { command: "stacksapi emulator --port 8080 --jobs jobs.jsonl --no-rate-limits" }
  ])
)
