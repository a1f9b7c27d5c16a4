/**
 * A stack whose agents are processes of this machine that outlive it: each in a session and a folder of its own, with a pid file.
 *
 *     AGENTS_FOLDER=/var/lib/my-stack BUILDKITE_CLUSTER_TOKEN=… node examples/detached-agents.ts
 */
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir, readdir, readFile, readlink, realpath, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { AgentProvider, Stack, StacksClient } from "@stacksapi/core"
import { FileJobStore, NodeStacksClient } from "@stacksapi/node"
import { Config, Console, Effect, Layer, Record, Redacted } from "effect"

// Agents ----------------------------------------------------------------------

// The pid file is made by the agent's own shell, which ends if there is one: so there is one agent, however often it is created. Its
// status is in a file when it has ended. The token is in its environment, which only this user can read.
const script = `set -C; echo $$ > pid || exit 0
"$0" start > output 2>&1
echo $? > status.new; mv status.new status`

const text = (...path: ReadonlyArray<string>) => readFile(join(...path), "utf8").catch(() => "")

// Another process may have got the number since: it has another working folder.
const pidOf = async (folder: string): Promise<number | undefined> => {
  const pid = Number(await text(folder, "pid"))
  return pid > 0 && (await readlink(`/proc/${pid}/cwd`).catch(() => "")) === folder ? pid : undefined
}

const phaseOf = async (folder: string) => {
  const isAlive = (await pidOf(folder)) !== undefined
  const status = await text(folder, "status")
  if (status === "") return { phase: isAlive ? "Running" : "Failed" } as const
  return { phase: Number(status) === 0 ? "Succeeded" : "Failed", exitStatus: Number(status) } as const
}

const failed = (cause: unknown) =>
  new AgentProvider.ProviderError({ reason: "Unavailable", message: "The folder failed", cause })
const attempt = <A>(run: () => Promise<A>) => Effect.tryPromise({ try: run, catch: failed })

export const makeProvider = Effect.fnUntraced(function* (parent: string, agentPath: string) {
  yield* attempt(() => mkdir(parent, { recursive: true }))
  const agents = yield* attempt(() => realpath(parent))
  return AgentProvider.AgentProvider.of({
    create: ({ env, job, name, stackKey }) =>
      attempt(async () => {
        const folder = join(agents, name)
        if (existsSync(join(folder, "pid"))) return
        await mkdir(folder, { recursive: true })
        await writeFile(join(folder, "agent.json"), JSON.stringify({ stackKey, jobUuid: job.id, name }))
        const { HOME, PATH } = process.env
        const plain = Record.map(env, (value) => (Redacted.isRedacted(value) ? Redacted.value(value) : value))
        const variables = { HOME, PATH, BUILDKITE_BUILD_PATH: join(folder, "builds"), ...plain }
        const options = { cwd: folder, env: variables, detached: true, stdio: "ignore" } as const
        const shell = spawn("/bin/sh", ["-c", script, agentPath], options).once("error", () => {})
        shell.unref()
        for (let tries = 0; tries < 1000 && !existsSync(join(folder, "pid")); tries++) await setTimeout(10)
        if (!existsSync(join(folder, "pid"))) throw new Error("The agent's shell did not start within 10 seconds")
        // Not to be interrupted halfway.
      }).pipe(Effect.uninterruptible),
    list: (stackKey) =>
      attempt(async () => {
        const found = []
        for (const name of await readdir(agents)) {
          const agent = JSON.parse((await text(agents, name, "agent.json")) || "{}")
          if (agent.stackKey !== stackKey || !existsSync(join(agents, name, "pid"))) continue
          found.push({ name, jobUuid: agent.jobUuid, ...(await phaseOf(join(agents, name))) })
        }
        return found
      }),
    // It reaches what is in the agent's process group. Run the agents with systemd-run if their jobs may leave it.
    delete: ({ name }) =>
      attempt(async () => {
        const pid = await pidOf(join(agents, name))
        if (pid !== undefined) process.kill(-pid, "SIGKILL")
        await rm(join(agents, name), { recursive: true, force: true })
      })
  })
})

// The stack -------------------------------------------------------------------

const program = Effect.gen(function* () {
  const folder = yield* Config.withDefault(Config.String("AGENTS_FOLDER"), "")
  if (folder === "") return yield* Console.log("There is no folder for agents: set AGENTS_FOLDER to one")
  const agent = yield* Config.withDefault(Config.String("AGENT_PATH"), "buildkite-agent")
  const Provider = Layer.effect(AgentProvider.AgentProvider, makeProvider(join(folder, "agents"), agent))
  const endpoint = yield* Config.withDefault(Config.String("BUILDKITE_AGENT_ENDPOINT"), StacksClient.DefaultBaseUrl)
  const Runner = AgentProvider.layerRunner({ endpoint }).pipe(Layer.provide(Provider))
  return yield* Stack.run({
    key: yield* Config.withDefault(Config.String("STACK_KEY"), "detached-agents"),
    queueKey: yield* Config.withDefault(Config.String("STACK_QUEUE"), "_default"),
    maxInFlight: yield* Config.withDefault(Config.Int("STACK_SLOTS"), 4)
  }).pipe(Effect.provide([Runner, FileJobStore.layer({ path: join(folder, "jobs") }), NodeStacksClient.layerConfig]))
})

if (import.meta.main) NodeRuntime.runMain(program)
