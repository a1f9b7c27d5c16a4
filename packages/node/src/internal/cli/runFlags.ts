/** The flags of `stacksapi run`. Each can be set by its variable too, which suits deployments. */
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import type * as Command from "effect/cli/Command"
import * as Option from "effect/Option"
import { dockerFlags, engineFlags } from "./dockerFlags.ts"
import * as Flag from "./flag.ts"
import * as Settings from "./settings.ts"

const stackFlags = {
  key: Settings.key,
  queues: Flag.withDefault(
    Flag.map(
      Flag.texts("queue", {
        ...Settings.queueOptions,
        description: `${Settings.queueOptions.description}; may be repeated, for several queues`
      }),
      (queues): ReadonlyArray<string> => queues.map((queue) => queue.trim()).filter((queue) => queue !== "")
    ),
    [StacksSchema.DefaultQueue]
  ),
  tags: Settings.tags,
  maxInFlight: Flag.withDefault(
    Flag.integer("max-in-flight", {
      description: "How many jobs run at once in this process, of all queues together",
      variable: true,
      min: 1,
      max: 10_000
    }),
    25
  ),
  untilIdle: Flag.toggle("until-idle", {
    description:
      "For one queue: end when it is empty and all jobs are done; exit with 1 if a job failed here, even if its step has soft_fail",
    variable: true
  }),
  shutdownGrace: Flag.withDefault(
    Flag.integer("shutdown-grace", {
      description: "How long jobs may continue after SIGTERM or Ctrl-C",
      metavar: "SECONDS",
      variable: true,
      min: 0,
      max: 24 * 3600
    }),
    30
  ),
  store: Flag.optional(
    Flag.path("store", "either", {
      description:
        "Save the stack's jobs in this file. After a restart or a crash, the next process finds running containers, starts jobs that " +
        "no agent has acquired, and sends outcomes that the service has not accepted. Agents and commands on this machine end with " +
        "the process",
      metavar: "FILE",
      variable: true
    })
  ),
  onExit: Flag.optional(
    Flag.choice("on-exit", ["drain", "detach"], {
      description:
        "On SIGTERM or Ctrl-C: drain gives jobs --shutdown-grace to end, detach ends at once and leaves the jobs to the next " +
        "process with the same --store. Agents and commands on this machine end with the process in both cases",
      variable: true,
      otherwise: "drain; detach with --runner docker"
    })
  )
}

const runnerFlags = {
  runner: Flag.withDefault(
    Flag.choice("runner", ["agent", "command", "docker"], {
      description:
        "Run each job by a buildkite-agent on this machine, by a shell, which isolates nothing, or by an agent in a container of " +
        "its own",
      variable: true
    }),
    "agent"
  ),
  agentPath: Flag.optional(
    Flag.text("agent-path", {
      onlyWith: "--runner agent",
      description: "the path or name of the agent's program",
      metavar: "FILE",
      variable: true,
      otherwise: "buildkite-agent on PATH"
    })
  ),
  buildPath: Flag.optional(
    Flag.path("build-path", "directory", {
      onlyWith: "--runner agent",
      description: "where agents check out and build; required",
      metavar: "FOLDER",
      variable: "BUILDKITE_BUILD_PATH"
    })
  ),
  reflectExitStatus: Flag.toggle("reflect-exit-status", {
    description:
      "Agents exit with the exit status of their job, for programs that watch agents or containers; the stack does not need it",
    variable: true
  }),
  directory: Flag.optional(
    Flag.path("directory", "directory", {
      onlyWith: "--runner command",
      description: "the folder in which all commands run",
      metavar: "FOLDER",
      variable: true,
      otherwise: "a new empty folder for each job"
    })
  ),
  timeout: Flag.optional(
    Flag.integer("timeout", {
      onlyWith: "--runner command",
      description: "how long a job may run",
      metavar: "SECONDS",
      variable: true,
      otherwise: "no limit",
      min: 1,
      max: 7 * 24 * 3600
    })
  )
}

const viewFlags = {
  format: Flag.withDefault(
    Flag.choice("format", ["auto", "live", "lines", "json"], {
      description: "Show a live view, a line for each event, or JSON; auto is live on a terminal, else lines",
      variable: true
    }),
    "auto"
  ),
  jobOutput: Flag.optionalToggle("job-output", {
    description: "With --format lines or json, print the lines that jobs print too; --no-job-output does not",
    variable: true,
    otherwise: "with --runner command and --format lines"
  }),
  logDirectory: Flag.optional(
    Flag.path("log-directory", "directory", {
      description: "Keep the output of each job in a file in this folder; files are never removed",
      metavar: "FOLDER",
      variable: true
    })
  )
}

const healthFlags = {
  healthPort: Flag.optional(
    Flag.integer("health-port", {
      description: "Serve /metrics, /healthz and /readyz on this port; 0 takes a free one",
      variable: true,
      min: 0,
      max: 65_535
    })
  ),
  healthHost: Flag.withDefault(
    Flag.text("health-host", {
      description: "The address for --health-port",
      metavar: "ADDRESS",
      variable: true
    }),
    "127.0.0.1"
  )
}

const clusterFlags = {
  cluster: Flag.toggle("cluster", {
    description:
      "Share the work with other processes, through the database of DATABASE_URL, and the Redis of REDIS_URL if it is set",
    variable: true
  }),
  onProcessDeath: Flag.withDefault(
    Flag.choice("on-process-death", ["fail", "retry"], {
      onlyWith: "--cluster",
      description: "what to do with a job whose process died while it ran the job, if no agent has acquired it",
      variable: true
    }),
    "fail"
  ),
  lockExpiration: Flag.withDefault(
    Flag.integer("lock-expiration", {
      onlyWith: "--cluster",
      description: "how long a process may miss its heartbeats before others take over",
      metavar: "SECONDS",
      variable: true,
      min: 3,
      max: 3600
    }),
    5
  ),
  tablePrefix: Flag.withDefault(
    Flag.check(
      Flag.text("table-prefix", {
        onlyWith: "--cluster",
        description: "the prefix of all table names",
        metavar: "NAME",
        variable: true
      }),
      // With the suffixes, the names are short enough for PostgreSQL to tell them apart.
      (text) => /^[a-z_][a-z0-9_]{0,29}$/.test(text),
      "Expected at most 30 lower-case letters, digits and _, not starting with a digit"
    ),
    "stacksapi"
  ),
  processes: Flag.withDefault(
    Flag.integer("processes", {
      onlyWith: "--cluster and REDIS_URL",
      description:
        "the maximum number of processes; while Redis is unavailable, each process limits itself to 1/N of the rate limits",
      variable: true,
      min: 1,
      max: 1000
    }),
    4
  ),
  redisPrefix: Flag.optional(
    Flag.text("redis-prefix", {
      onlyWith: "--cluster and REDIS_URL",
      description: "the prefix of the keys in Redis; use another one for each service that is called",
      metavar: "TEXT",
      variable: true
    })
  )
}

export const runFlags = {
  ...stackFlags,
  ...runnerFlags,
  ...dockerFlags,
  ...engineFlags,
  ...viewFlags,
  ...healthFlags,
  ...clusterFlags,
  ...Settings.flags
}

/** The values of the flags. */
export type RunInput = Command.Command.Config.Infer<typeof runFlags>

/** The tags of the agents, as an agent takes them. */
export const agentTags = ({ tags }: RunInput): ReadonlyArray<string> | undefined =>
  Option.getOrUndefined(Option.map(tags, (tags) => Object.entries(tags).map(([name, value]) => `${name}=${value}`)))
