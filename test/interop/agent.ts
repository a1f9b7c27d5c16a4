/** Runs jobs of an emulator with a real agent, as a stack does: reserve, token, one agent per job. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { stripVTControlCharacters } from "node:util"
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Redacted } from "effect"
import { temporaryFolder } from "../support/temporaryFolder.ts"

export const stackKey = "interop"
export const queueKey = "q"

interface Ended {
  readonly exitCode: number | null
  readonly job: StacksEmulator.Job
  /** The job's output, without terminal codes. */
  readonly output: string
  /** The agent's own output. */
  readonly agentOutput: string
}

interface Running {
  readonly id: string
  readonly child: ChildProcess
  /** Waits until the job's output has this text. */
  readonly seen: (text: string) => Effect.Effect<void>
  readonly ended: Effect.Effect<Ended>
}

/** Agents mark lines with their times, in a terminal code of their own. */
const agentCodes = new RegExp(
  `${String.fromCharCode(27)}_bk;[^${String.fromCharCode(7)}]*${String.fromCharCode(7)}`,
  "g"
)

const withoutCodes = (text: string): string =>
  stripVTControlCharacters(text.replaceAll(agentCodes, "")).replaceAll("\r", "")

/** The current state of a job. */
export const jobOf = Effect.fnUntraced(function* (id: string) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const job = (yield* emulator.jobs).find((job) => job.id === id)
  return job ?? (yield* Effect.die(new Error(`there is no job ${id}`)))
})

const outputOf = (id: string) =>
  Effect.flatMap(StacksEmulator.StacksEmulator, ({ jobLog }) => Effect.map(jobLog(id), withoutCodes))

/** Adds a job and returns its id. */
export const add = Effect.fnUntraced(function* (command: string, options: Partial<StacksEmulator.NewJob> = {}) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const [job] = yield* emulator.addJobs([{ queueKey, command, ...options }])
  return job?.id ?? ""
})

/** Starts an agent for a job. It is killed when the scope closes. */
export const start = Effect.fnUntraced(function* (agent: string, id: string) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const client = yield* StacksClient.StacksClient
  yield* client.batchReserveJobs({ stackKey, jobUuids: [id] })
  const { tokens } = yield* client.issueJobAcquisitionTokens({ stackKey, jobUuids: [id] })
  // A short path: the agent makes sockets in it.
  const folder = yield* temporaryFolder
  for (const name of ["builds", "hooks", "plugins"]) mkdirSync(join(folder, name), { recursive: true })
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(agent, ["start"], {
        cwd: folder,
        detached: true,
        stdio: ["ignore", "pipe", "pipe"],
        env: {
          PATH: process.env["PATH"] ?? "",
          HOME: folder,
          BUILDKITE_AGENT_ENDPOINT: emulator.baseUrl,
          BUILDKITE_AGENT_TOKEN: tokens[0] === undefined ? "" : Redacted.value(tokens[0].token),
          BUILDKITE_AGENT_ACQUIRE_JOB: id,
          BUILDKITE_AGENT_NAME: "interop-%n",
          BUILDKITE_BUILD_PATH: join(folder, "builds"),
          BUILDKITE_HOOKS_PATH: join(folder, "hooks"),
          BUILDKITE_PLUGINS_PATH: join(folder, "plugins"),
          BUILDKITE_AGENT_NO_COLOR: "true"
        }
      })
    ),
    (child) => Effect.sync(() => kill(child))
  )
  const agentOutput: Array<string> = []
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => agentOutput.push(String(chunk)))
  const exit = new Promise<number | null>((resolve, reject) => {
    child.on("close", resolve)
    child.on("error", reject)
  })
  // Whoever waits for the end gets the error.
  exit.catch(() => {})
  const running: Running = {
    id,
    child,
    seen: (text) =>
      Effect.gen(function* () {
        while (!(yield* outputOf(id)).includes(text)) {
          if (child.exitCode !== null) return
          yield* Effect.sleep("100 millis")
        }
      }).pipe(Effect.provideService(StacksEmulator.StacksEmulator, emulator)),
    ended: Effect.gen(function* () {
      const exitCode = yield* Effect.promise(() => exit)
      return { exitCode, job: yield* jobOf(id), output: yield* outputOf(id), agentOutput: agentOutput.join("") }
    }).pipe(Effect.provideService(StacksEmulator.StacksEmulator, emulator))
  }
  return running
})

/** Kills an agent and what it has started. */
export const kill = (child: ChildProcess): void => {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL")
  } catch {
    // It is gone.
  }
}

/** Runs a job to its end. */
export const run = Effect.fnUntraced(function* (
  agent: string,
  command: string,
  options: Partial<StacksEmulator.NewJob> = {}
) {
  const running = yield* start(agent, yield* add(command, options))
  return yield* running.ended
})
