/**
 * The demonstration: a stack at work, against an emulated service or a real one.
 *
 *     pnpm demo
 *     pnpm demo --faults
 *     pnpm demo --jobs jobs.jsonl
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { RateLimit, RetryPolicy, StacksSchema } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksClient, NodeStacksEmulator } from "@stacksapi/node"
import {
  Config,
  Console,
  Data,
  DateTime,
  Duration,
  Effect,
  Exit,
  Layer,
  Logger,
  Option,
  Redacted,
  Runtime,
  Schedule
} from "effect"
import { CliConfig, Command, Flag, GlobalFlag, Prompt } from "effect/cli"
import { pipelineJobs, readJobs } from "./jobs.ts"
import * as Measure from "./measure.ts"
import * as Progress from "./progress.ts"
import { pretendedOutput, Report, run } from "./run.ts"
import { summarize } from "./summary.ts"

const stackKey = "stacksapi-demo"

/** Ends the program with a message. Exit code 1: it failed; 2: it was not used as it has to be. */
class Failure extends Data.TaggedError("Failure")<{ readonly message: string; readonly exitCode: 1 | 2 }> {
  override readonly [Runtime.errorReported] = false
  override get [Runtime.errorExitCode]() {
    return this.exitCode
  }
}

const usage = (message: string) => new Failure({ message, exitCode: 2 })
const failed = (error: { readonly message: string }) => new Failure({ message: error.message, exitCode: 1 })

// -----------------------------------------------------------------------------
// The run and its report
// -----------------------------------------------------------------------------

/** Runs with whatever client there is, and reports, also where it was interrupted. */
const runAndReport = Effect.fn("demo.runAndReport")(function* (options: {
  readonly queueKey: string
  readonly seed: number
  /** How many jobs there are, where that is known. */
  readonly expected: number
}) {
  const report = new Report()
  const measurements = yield* Measure.Measure
  const startedAt = yield* DateTime.now
  yield* Effect.gen(function* () {
    const progress = yield* Progress.show(report, options.expected, pretendedOutput(report))
    yield* run({ ...options, stackKey, progress }, report).pipe(
      Effect.ensuring(
        Effect.suspend(() => {
          const deregistered = measurements.endpoints.get("deregisterStack")
          return deregistered === undefined
            ? Effect.void
            : progress.say(deregistered.isDone ? "Deregistered" : "Not deregistered")
        })
      )
    )
  }).pipe(
    Effect.scoped,
    Effect.onExit(
      Effect.fnUntraced(function* (exit) {
        yield* Measure.readMetrics(measurements)
        const seconds = Duration.toSeconds(DateTime.distance(startedAt, yield* DateTime.now))
        const end =
          Exit.isSuccess(exit) && report.isComplete ? "complete" : Exit.hasInterrupts(exit) ? "interrupted" : "failed"
        yield* Console.log(`\n${summarize({ report, measurements, seconds, end })}`)
      })
    ),
    // The stack logs what it does; here its events tell it.
    Effect.provide(Logger.layer([])),
    Effect.mapError(failed)
  )
  if (!report.isComplete) return yield* failed({ message: "Not every job that was reserved was finished." })
})

// -----------------------------------------------------------------------------
// Against the emulator
// -----------------------------------------------------------------------------

const { Fault } = StacksEmulator

/** About every seventh response. */
const faults = [
  Fault.Status({ status: 503, rate: 0.02 }),
  Fault.Status({ status: 500, body: "", rate: 0.015 }),
  Fault.Status({ status: 429, retryAfter: "1 second", rate: 0.01, times: 3 }),
  Fault.Html({ status: 502, rate: 0.03 }),
  Fault.Reset({ rate: 0.03 }),
  Fault.Stall({ rate: 0.01 }),
  Fault.Truncate({ rate: 0.02 }),
  Fault.LostResponse({ rate: 0.03 })
]

/** The default gives up after 5 attempts and 10 seconds: fine for an outage, but this is a network that fails all the time. */
const persistent = RetryPolicy.make(
  Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(Schedule.jittered)
).pipe(RetryPolicy.maxAttempts(15), RetryPolicy.honorRetryAfter({ max: "5 seconds" }))

const againstEmulator = Effect.fn("demo.againstEmulator")(function* (options: {
  readonly queueKey: string
  readonly seed: number
  readonly jobs: Option.Option<string>
  readonly faults: boolean
}) {
  const jobs = yield* Option.match(options.jobs, {
    onNone: () => Effect.map(DateTime.now, (now) => pipelineJobs(options.queueKey, now)),
    onSome: (path) => Effect.mapError(readJobs(path, options.queueKey), ({ message }) => usage(message))
  })

  const program = Effect.gen(function* () {
    const emulator = yield* StacksEmulator.StacksEmulator
    yield* emulator.addJobs(jobs)
    if (options.faults) yield* emulator.setFaults(faults)
    const health = options.faults ? "every seventh response goes wrong" : "rate limits on"
    yield* Console.log(`Emulated service: ${emulator.baseUrl}, ${jobs.length} jobs, ${health}`)
    yield* runAndReport({ ...options, expected: jobs.length })
  })

  // From the inside out: the client knows its limits, its patience and where the service is; the emulator is the service.
  const client = Layer.unwrap(
    Effect.map(StacksEmulator.StacksEmulator, ({ baseUrl, token }) =>
      NodeStacksClient.layer({
        baseUrl,
        token,
        userAgentPrefix: "stacksapi-demo",
        // What stalls is given up soon: over the loopback interface two seconds are long.
        ...(options.faults && { timeout: "2 seconds" })
      })
    )
  )
  yield* program.pipe(
    Effect.provide(
      client.pipe(
        Layer.provide(options.faults ? RetryPolicy.layer(persistent) : Layer.empty),
        Layer.provide(rateLimit),
        Layer.provideMerge(Measure.Measure.layer),
        Layer.provideMerge(NodeStacksEmulator.layer({ seed: options.seed }))
      )
    ),
    Effect.catchTag("ListenError", (error) => Effect.fail(failed(error)))
  )
})

const rateLimit = Layer.provide(Measure.layerRateLimit, RateLimit.layerMemory)

// -----------------------------------------------------------------------------
// Against a service
// -----------------------------------------------------------------------------

const againstService = Effect.fn("demo.againstService")(function* (options: {
  readonly endpoint: string
  readonly token: Redacted.Redacted
  readonly queueKey: string
  readonly seed: number
  readonly yes: boolean
}) {
  if (!URL.canParse(options.endpoint)) {
    return yield* usage(
      "BUILDKITE_AGENT_ENDPOINT is no URL. Set it to one, for example https://agent.buildkite.com/v3/"
    )
  }
  const { host, pathname, protocol } = new URL(options.endpoint)
  yield* Console.log(
    `Using the service at ${protocol}//${host}${pathname}, because BUILDKITE_AGENT_ENDPOINT and BUILDKITE_CLUSTER_TOKEN are set.\n` +
      `This registers the stack ${stackKey}, reserves every job of the queue ${options.queueKey} that may start,\n` +
      "and finishes each with a made-up outcome: the jobs are over then, and none of them has run."
  )
  if (!options.yes) {
    if (!process.stdin.isTTY || !process.stdout.isTTY) {
      return yield* usage("Say --yes if that is what you want, or unset both variables to use the emulator.")
    }
    if (!(yield* Prompt.run(Prompt.Confirm({ message: "Go on?" })))) return yield* Console.log("Nothing was done.")
  }
  yield* runAndReport({ ...options, expected: 0 }).pipe(
    Effect.provide(
      NodeStacksClient.layer({
        baseUrl: options.endpoint,
        token: options.token,
        userAgentPrefix: "stacksapi-demo"
      }).pipe(Layer.provide(rateLimit), Layer.provideMerge(Measure.Measure.layer))
    )
  )
})

// -----------------------------------------------------------------------------
// The command line
// -----------------------------------------------------------------------------

const variable = (name: string) =>
  Config.map(
    Config.option(Config.String(name)),
    Option.filter((value) => value !== "")
  )

const demo = Command.make(
  "demo",
  {
    jobs: Flag.Path("jobs").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription(
        "Give the emulator the jobs of this file, one JSON object a line, instead of the demo's own"
      ),
      Flag.optional
    ),
    faults: Flag.Boolean("faults").pipe(
      Flag.withDescription("Let every seventh response of the emulator go wrong"),
      Flag.withDefault(false)
    ),
    seed: Flag.Int("seed").pipe(
      Flag.withDescription("Another number makes other outcomes and other faults"),
      Flag.withDefault(1)
    ),
    queue: Flag.String("queue").pipe(
      Flag.withDescription("The key of the queue"),
      Flag.withDefault(StacksSchema.DefaultQueue)
    ),
    yes: Flag.Boolean("yes").pipe(
      Flag.withDescription("Don't ask before finishing jobs of a service that is not the emulator"),
      Flag.withDefault(false)
    )
  },
  Effect.fn("demo")(function* ({ faults, jobs, queue: queueKey, seed, yes }) {
    const endpoint = yield* variable("BUILDKITE_AGENT_ENDPOINT")
    const token = yield* variable("BUILDKITE_CLUSTER_TOKEN")
    if (Option.isNone(endpoint) || Option.isNone(token)) {
      return yield* againstEmulator({ queueKey, seed, jobs, faults })
    }
    if (faults || Option.isSome(jobs)) {
      return yield* usage(
        "--jobs and --faults are for the emulator: unset BUILDKITE_AGENT_ENDPOINT or BUILDKITE_CLUSTER_TOKEN to use it."
      )
    }
    yield* againstService({ endpoint: endpoint.value, token: Redacted.make(token.value), queueKey, seed, yes })
  })
).pipe(
  Command.withDescription(
    "A stack at work: it takes the jobs of a queue and finishes them with made-up outcomes. Runs against an emulated service, " +
      "or against the one that BUILDKITE_AGENT_ENDPOINT and BUILDKITE_CLUSTER_TOKEN name, if both are set."
  )
)

// Some package managers hand on the `--` that stands between their arguments and the program's.
const [first, ...rest] = process.argv.slice(2)
const args = first === undefined || first === "--" ? rest : [first, ...rest]

Command.runWith(demo, { version: "0" })(args).pipe(
  Effect.provide(Layer.merge(NodeServices.layer, CliConfig.layer({ builtIns: [GlobalFlag.Help] }))),
  Effect.catchTag("ShowHelp", ({ errors }) => (errors.length === 0 ? Effect.void : Effect.fail(usage("")))),
  Effect.tapError((error) => (error.message === "" ? Effect.void : Console.error(error.message))),
  NodeRuntime.runMain
)
