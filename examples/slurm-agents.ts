/**
 * A stack whose agents are batch jobs of Slurm. A job says how many CPUs it needs by the agent query rule cpus=N. The stack may restart,
 * or be killed, at any time: batch jobs go on, and `squeue` finds them again.
 *
 *     STACK_STORE=/var/lib/my-stack/jobs BUILDKITE_CLUSTER_TOKEN=… node examples/slurm-agents.ts
 */
import { spawn } from "node:child_process"
import { text } from "node:stream/consumers"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { AgentProvider, AgentQueryRules, Stack, StacksClient } from "@stacksapi/core"
import { FileJobStore, NodeStacksClient } from "@stacksapi/node"
import { Config, Console, Effect, Layer, Record, Redacted, Semaphore } from "effect"

// Slurm -----------------------------------------------------------------------

const failed = (reason: AgentProvider.ProviderError["reason"], message: string, cause?: unknown) =>
  new AgentProvider.ProviderError({ reason, message, cause })

// Runs a command of Slurm's, and gives what it prints.
const slurm = (command: string, args: ReadonlyArray<string>, input = "") =>
  Effect.tryPromise({
    try: async () => {
      const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] })
      const status = new Promise<number | null>((resolve, reject) => child.once("error", reject).once("close", resolve))
      child.stdin.on("error", () => {}).end(input)
      const [output, problem] = await Promise.all([text(child.stdout), text(child.stderr), status])
      return { output, problem, status: await status }
    },
    catch: (cause) => failed("Unavailable", `${command} can't be run`, cause)
  }).pipe(
    Effect.timeout("1 minute"),
    Effect.catchTag("TimeoutError", (cause) => Effect.fail(failed("Unavailable", `${command} does not end`, cause))),
    Effect.flatMap(({ output, problem, status }) => {
      if (status === 0) return Effect.succeed(output)
      const message = `${command} failed: ${problem.trim()}`
      if (/QOS|AssocMaxSubmit|exceeds|limit/i.test(problem)) return Effect.fail(failed("NoCapacity", message))
      return Effect.fail(failed(/invalid|not available/i.test(problem) ? "Refused" : "Unavailable", message))
    })
  )

// Texts of any kind, in a comment, and in a script.
const prefix = "stacksapi:"
const encode = (...texts: ReadonlyArray<string>) => prefix + Buffer.from(JSON.stringify(texts)).toString("base64url")
const decode = (comment: string): ReadonlyArray<string> =>
  comment.startsWith(prefix) ? JSON.parse(Buffer.from(comment.slice(prefix.length), "base64url").toString()) : []
const quote = (value: string) => `'${value.replaceAll("'", `'\\''`)}'`

export const makeProvider = Effect.fnUntraced(function* (agentPath: string) {
  // Slurm takes two jobs of one name: whether there is one is looked up first, by one at a time.
  const submitting = yield* Semaphore.make(1)
  const list = Effect.fnUntraced(function* (stackKey: string) {
    const output = yield* slurm("squeue", ["--me", "--noheader", "--format=%j|%T|%k"])
    const agents = output.split("\n").flatMap((line): ReadonlyArray<AgentProvider.Agent> => {
      const [name = "", state = "", comment = ""] = line.trim().split("|")
      const [key, jobUuid = ""] = decode(comment)
      return key === stackKey ? [{ name, jobUuid, phase: state === "PENDING" ? "Pending" : "Running" }] : []
    })
    return Array.from(new Map(agents.map((agent) => [agent.name, agent])).values())
  })
  return AgentProvider.AgentProvider.of({
    create: ({ env, job, name, requests, stackKey }) =>
      Effect.gen(function* () {
        if ((yield* list(stackKey)).some((agent) => agent.name === name)) return
        const plain = Record.map(env, (value) => (Redacted.isRedacted(value) ? Redacted.value(value) : value))
        // The script goes through a pipe, because everybody can read arguments. By default, sbatch exports the stack's cluster token too.
        const lines = Object.entries(plain).map(([key, value]) => `export ${key}=${quote(value)}`)
        const script = ["#!/bin/sh", ...lines, `exec ${quote(agentPath)} start`, ""].join("\n")
        const common = ["--export=HOME,PATH", `--job-name=${name}`, `--comment=${encode(stackKey, job.id)}`]
        const args = [...common, `--cpus-per-task=${requests["cpus"] ?? 1}`, "--output=%x.log", "--no-requeue"]
        yield* slurm("sbatch", args, script)
      }).pipe(submitting.withPermit, Effect.uninterruptible),
    // Jobs that have ended leave the queue by themselves.
    list,
    delete: ({ name }) => slurm("scancel", ["--me", "--quiet", `--name=${name}`])
  })
})

// The stack -------------------------------------------------------------------

const program = Effect.gen(function* () {
  const store = yield* Config.withDefault(Config.String("STACK_STORE"), "")
  if (store === "") return yield* Console.log("There is no file for the stack's jobs: set STACK_STORE to one")
  const agentPath = yield* Config.withDefault(Config.String("AGENT_PATH"), "buildkite-agent")
  const endpoint = yield* Config.withDefault(Config.String("BUILDKITE_AGENT_ENDPOINT"), StacksClient.DefaultBaseUrl)
  const Provider = Layer.effect(AgentProvider.AgentProvider, makeProvider(agentPath))
  const Runner = AgentProvider.layerRunner({ endpoint, startDeadline: "1 day" }).pipe(Layer.provide(Provider))
  return yield* Stack.run({
    key: yield* Config.withDefault(Config.String("STACK_KEY"), "slurm-agents"),
    queueKey: yield* Config.withDefault(Config.String("STACK_QUEUE"), "_default"),
    tags: [1, 2, 4, 8, 16, 32].map((cpus) => `cpus=${cpus}`),
    maxInFlight: 500,
    requests: ({ agentQueryRules }) => {
      const rule = agentQueryRules.map(AgentQueryRules.parse).find(({ key }) => key === "cpus")
      return { cpus: Number(rule?.value ?? 1) }
    }
  }).pipe(Effect.provide([Runner, FileJobStore.layer({ path: store }), NodeStacksClient.layerConfig]))
})

if (import.meta.main) NodeRuntime.runMain(program)
