/** The flags that commands share: stack, queue, service and token. */
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import type * as Command from "effect/cli/Command"
import * as Flag from "./flag.ts"
import * as Output from "./output.ts"

export const key = Flag.required(
  Flag.check(
    Flag.text("key", {
      description: "The stack's key: 1 to 80 letters, digits, _ and -",
      alias: "k",
      metavar: "KEY",
      variable: true
    }),
    (text) => /^[A-Za-z0-9_-]{1,80}$/.test(text),
    "Expected 1 to 80 letters, digits, _ and -"
  )
)

/** Shared by the commands for one queue, and `run`, which takes several. */
export const queueOptions = {
  description: "The key of the cluster's queue",
  alias: "q",
  metavar: "QUEUE",
  variable: true
} as const

export const queue = Flag.withDefault(Flag.text("queue", queueOptions), StacksSchema.DefaultQueue)

export const tags = Flag.optional(
  Flag.pairs("tag", {
    description:
      "A tag of the stack's agents; may be repeated. With tags, only jobs whose agent query rules the tags meet are taken; without, " +
      "all jobs of the queue, whatever their rules",
    alias: "t",
    variable: true,
    otherwise: "all jobs"
  })
)

/** Not `localhost:4567`, whose scheme would be `localhost`. */
export const isHttpUrl = (text: string): boolean => /^https?:\/\//i.test(text) && URL.canParse(text)

/** The flags of commands that call the service. */
export const connection = {
  endpoint: Flag.optional(
    Flag.text("endpoint", {
      description: "The URL of the API; without a path, /v3/ is added",
      metavar: "URL",
      otherVariables: "BUILDKITE_AGENT_ENDPOINT",
      fileVariable: "BUILDKITE_AGENT_ENDPOINT",
      fileProblem: (value) =>
        isHttpUrl(String(value)) ? undefined : "Expected a URL such as https://agent.buildkite.com/v3/",
      otherwise: "Buildkite's"
    })
  ),
  proxy: Flag.negatable("proxy", {
    description:
      "Use the proxy of HTTPS_PROXY or HTTP_PROXY, except for the hosts in NO_PROXY (default); --no-proxy uses none",
    variable: true
  }),
  config: Flag.optional(
    Flag.path("config", "either", {
      description: "A YAML file with settings, by the names of the flags of `stacksapi run`",
      metavar: "FILE",
      otherVariables: "STACKSAPI_CONFIG"
    })
  ),
  tokenFile: Flag.optional(
    Flag.path("token-file", "either", {
      description: "A file with the cluster token, or - for standard input",
      metavar: "FILE",
      otherVariables: "BUILDKITE_CLUSTER_TOKEN or BUILDKITE_AGENT_TOKEN",
      fileVariable: "BUILDKITE_CLUSTER_TOKEN_FILE"
    })
  )
}

/** The values of {@link connection}. `config` is read before the arguments are parsed. */
export type Connection = Omit<Command.Command.Config.Infer<typeof connection>, "config">

/** {@link connection}, and `--json`. */
export const flags = { json: Output.json, ...connection }
