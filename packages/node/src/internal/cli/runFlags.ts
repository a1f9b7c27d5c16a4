/** The flags of `stacksapi run`. Whoever deploys it sets them by the environment too. */
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Config from "effect/Config"
import * as Flag from "effect/cli/Flag"
import * as Schema from "effect/Schema"
import * as Settings from "./settings.ts"
import { flags } from "./withClient.ts"

/** The variable that stands for a flag: `STACKSAPI_HEALTH_PORT` for `--health-port`. */
const variable = (flag: string): string => `STACKSAPI_${flag.toUpperCase().replaceAll("-", "_")}`

const words = (name: string) => Flag.withFallbackConfig(Flag.String(name), Config.String(variable(name)))

const number = (name: string, minimum: number, maximum: number) =>
  Settings.within(Flag.withFallbackConfig(Flag.Int(name), Config.Int(variable(name))), minimum, maximum)

const choice = <const Choices extends ReadonlyArray<string>>(name: string, choices: Choices) =>
  Flag.withFallbackConfig(Flag.Literals(name, choices), Config.Literals(choices, variable(name)))

const yes = (name: string, description: string) =>
  Flag.withFallbackConfig(Flag.Boolean(name), Config.Boolean(variable(name))).pipe(
    Flag.withDescription(description),
    Flag.withDefault(false)
  )

const optionalWords = (name: string, metavar: string, description: string) =>
  words(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.optional)

const defaultQueues: ReadonlyArray<string> = [StacksSchema.DefaultQueue]

const folder = (name: string, variable: string, description: string) =>
  Settings.path(name, "directory").pipe(
    Flag.withMetavar("FOLDER"),
    Flag.withDescription(description),
    Flag.withFallbackConfig(Config.String(variable)),
    Flag.optional
  )

const isNamed = (text: string): boolean => text !== ""

const stackFlags = {
  key: Settings.key,
  queues: Flag.String("queue").pipe(
    Flag.withAlias("q"),
    Flag.withDescription(
      "The cluster's queue; may be repeated " +
        `(else STACKSAPI_QUEUE, with commas between several, else ${StacksSchema.DefaultQueue})`
    ),
    Flag.atLeast(1),
    Flag.withFallbackConfig(Config.Array(Schema.String, "STACKSAPI_QUEUE")),
    Flag.map((queues) => queues.map((queue) => queue.trim()).filter(isNamed)),
    Flag.withDefault(defaultQueues)
  ),
  tags: Flag.KeyValuePair("tag").pipe(
    Flag.withAlias("t"),
    Flag.withMetavar("KEY=VALUE"),
    Flag.withDescription("A tag of the stack's agents; may be repeated. Only jobs whose rules the tags meet are taken"),
    Flag.withFallbackConfig(Config.Record(Schema.String, Schema.String, variable("tag"))),
    Flag.optional
  ),
  maxInFlight: number("max-in-flight", 1, 10_000).pipe(
    Flag.withDescription("How many jobs run at once, of all queues together (default 25)"),
    Flag.withDefault(25)
  ),
  untilIdle: yes("until-idle", "End when the queue is empty and all is done; with 1 where a job failed here"),
  shutdownGrace: number("shutdown-grace", 0, 24 * 3600).pipe(
    Flag.withMetavar("SECONDS"),
    Flag.withDescription("How long jobs may go on after SIGTERM or Ctrl-C (default 30)"),
    Flag.withDefault(30)
  ),
  store: Settings.path("store", "either").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription(
      "Keep the stack's jobs in this file: the next process goes on with them (default: not at all)"
    ),
    Flag.withFallbackConfig(Config.String(variable("store"))),
    Flag.optional
  ),
  onExit: choice("on-exit", ["drain", "detach"]).pipe(
    Flag.withDescription(
      "What SIGTERM or Ctrl-C does: drain lets jobs end within --shutdown-grace, detach ends at once and leaves the jobs to the " +
        "next process with the same --store (default drain)"
    ),
    Flag.optional
  )
}

const viewFlags = {
  format: choice("format", ["auto", "live", "lines", "json"]).pipe(
    Flag.withDescription(
      "What to show: a live view, a line for each event, or JSON; auto is live on a terminal, else lines (default auto)"
    ),
    Flag.withDefault("auto")
  ),
  logDirectory: folder(
    "log-directory",
    variable("log-directory"),
    "Keep the output of each job in a file of this folder"
  )
}

const runnerFlags = {
  runner: choice("runner", ["agent", "command"]).pipe(
    Flag.withDescription(
      "What runs a job: a buildkite-agent of its own (default), or a shell that runs its command and isolates nothing"
    ),
    Flag.withDefault("agent")
  ),
  agentPath: optionalWords(
    "agent-path",
    "FILE",
    "With --runner agent: the agent (default buildkite-agent, looked up on PATH)"
  ),
  buildPath: folder(
    "build-path",
    "BUILDKITE_BUILD_PATH",
    "With --runner agent: where agents check out and build (else BUILDKITE_BUILD_PATH)"
  ),
  reflectExitStatus: yes("reflect-exit-status", "With --runner agent: agents end with the exit status of their job"),
  directory: folder(
    "directory",
    variable("directory"),
    "With --runner command: the folder in which all commands run (default: for each job a new empty one)"
  ),
  timeout: number("timeout", 1, 7 * 24 * 3600).pipe(
    Flag.withMetavar("SECONDS"),
    Flag.withDescription("With --runner command: how long a job may run (default: as long as it takes)"),
    Flag.optional
  )
}

const healthFlags = {
  healthPort: number("health-port", 0, 65_535).pipe(
    Flag.withDescription("Serve /metrics, /healthz and /readyz on this port; 0 is a free one (default: not at all)"),
    Flag.optional
  ),
  healthHost: words("health-host").pipe(
    Flag.withDescription("The address for --health-port (default 127.0.0.1: only this machine reaches it)"),
    Flag.withDefault("127.0.0.1")
  )
}

const clusterFlags = {
  cluster: yes(
    "cluster",
    "Share the work with other processes that run the same, by the database of DATABASE_URL, and the Redis of REDIS_URL if it is set"
  ),
  host: optionalWords(
    "host",
    "NAME",
    "With --cluster: the name or address under which the other processes reach this one (default: this machine's name)"
  ),
  port: number("port", 1, 65_535).pipe(
    Flag.withDescription("With --cluster: the port on which they do (default 34431)"),
    Flag.withDefault(34_431)
  ),
  listenHost: optionalWords("listen-host", "ADDRESS", "With --cluster: the address to listen on (default --host)"),
  onProcessDeath: choice("on-process-death", ["fail", "run-again"]).pipe(
    Flag.withDescription(
      "With --cluster: what becomes of a job whose process died while it ran it, if no agent has it (default fail)"
    ),
    Flag.withDefault("fail")
  ),
  lockExpiration: number("lock-expiration", 3, 3600).pipe(
    Flag.withMetavar("SECONDS"),
    Flag.withDescription("With --cluster: how long a process may be silent before others take over (default 5)"),
    Flag.withDefault(5)
  ),
  tablePrefix: words("table-prefix").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("With --cluster: what the names of all tables begin with (default stacksapi)"),
    Flag.filter(
      // With what comes after it, PostgreSQL still tells names apart.
      (text) => /^[a-z_][a-z0-9_]{0,29}$/.test(text),
      () => "Expected at most 30 small letters, digits and _, and no digit first"
    ),
    Flag.withDefault("stacksapi")
  ),
  processes: number("processes", 1, 1000).pipe(
    Flag.withDescription(
      "With --cluster and REDIS_URL: how many processes there are at most; they share the rate limits while Redis is gone (default 4)"
    ),
    Flag.withDefault(4)
  ),
  redisPrefix: optionalWords(
    "redis-prefix",
    "TEXT",
    "With --cluster and REDIS_URL: goes before the keys there; each service that is called needs its own"
  )
}

export const runFlags = { ...stackFlags, ...runnerFlags, ...viewFlags, ...healthFlags, ...clusterFlags, ...flags }
