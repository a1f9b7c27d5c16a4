/** The command `stacksapi`: within this process, which is quick, or as a process, which is what users have. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { NodeServices } from "@effect/platform-node"
import type { StacksEmulator } from "@stacksapi/core/testing"
import { Cause, ConfigProvider, Console, Effect, Layer, Redacted, Stdio, Stream } from "effect"
import { Host } from "../../packages/node/src/internal/cli/host.ts"
import { main } from "../../packages/node/src/internal/cli/main.ts"
import { bareEnvironment } from "./bareEnvironment.ts"

export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** The environment with which the command reaches an emulator. */
export const environmentOf = ({ baseUrl, token }: StacksEmulator.Service): Record<string, string> => ({
  BUILDKITE_AGENT_ENDPOINT: baseUrl,
  BUILDKITE_CLUSTER_TOKEN: Redacted.value(token)
})

export interface Options {
  readonly env?: Readonly<Record<string, string>>
  readonly stdin?: string
}

/** Runs the command in this process. */
export const stacksapi = Effect.fnUntraced(function* (
  args: ReadonlyArray<string>,
  { env = {}, stdin = "" }: Options = {}
) {
  const output: Record<"stdout" | "stderr", Array<string>> = { stdout: [], stderr: [] }
  const collect =
    (channel: "stdout" | "stderr") =>
    (...texts: ReadonlyArray<unknown>) =>
      void output[channel].push(`${texts.map(String).join(" ")}\n`)
  const console = Object.assign(Object.create(globalThis.console), { log: collect("stdout"), error: collect("stderr") })
  const exit = yield* main(args).pipe(
    Effect.provideService(Host, { expectStop: Effect.void }),
    Effect.provideService(Console.Console, console),
    Effect.provide(
      Stdio.layerTest({ stdin: Stream.fromIterable([new TextEncoder().encode(stdin)]) }).pipe(
        Layer.provideMerge(Layer.merge(NodeServices.layer, ConfigProvider.layer(ConfigProvider.fromUnknown(env))))
      )
    ),
    Effect.exit
  )
  const status = exit._tag === "Success" ? exit.value : yield* Effect.die(Cause.pretty(exit.cause))
  return { status, stdout: output.stdout.join(""), stderr: output.stderr.join("") } satisfies Ended
})

export const bin = fileURLToPath(new URL("../../packages/node/src/bin.ts", import.meta.url))

/** A shell's name for the command. */
export const quoted = `"${process.execPath}" "${bin}"`

interface Process {
  readonly pid: number
  /** Waits for the first output in which this occurs. */
  readonly seen: (text: string) => Effect.Effect<Ended>
  readonly kill: (signal: NodeJS.Signals) => Effect.Effect<void>
  readonly ended: Effect.Effect<Ended>
}

/** Starts a program, in its own process group, that is gone when the scope closes. */
export const start = Effect.fnUntraced(function* (
  program: string,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {}
) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(program, args, {
        env: { ...bareEnvironment, ...env },
        detached: true,
        stdio: ["ignore", "pipe", "pipe"]
      })
    ),
    (child) =>
      Effect.sync(() => {
        if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
          process.kill(-child.pid, "SIGKILL")
      })
  )
  const output = { stdout: "", stderr: "" }
  const watchers = new Set<() => void>()
  let status: number | null | undefined
  const changed = () => {
    for (const watcher of watchers) watcher()
  }
  for (const channel of ["stdout", "stderr"] as const) {
    child[channel].setEncoding("utf8").on("data", (text: string) => {
      output[channel] += text
      changed()
    })
  }
  child.on("close", (code) => {
    status = code
    changed()
  })
  const now = (): Ended => ({ status: status ?? null, ...output })
  const until = (isSo: () => boolean): Effect.Effect<Ended> =>
    Effect.callback((resume) => {
      const look = () => {
        if (!isSo()) return
        watchers.delete(look)
        resume(Effect.sync(now))
      }
      watchers.add(look)
      look()
    })
  return {
    pid: child.pid ?? 0,
    seen: (text) => {
      const isSeen = () => output.stdout.includes(text) || output.stderr.includes(text)
      return Effect.flatMap(
        until(() => isSeen() || status !== undefined),
        (ended) => (isSeen() ? Effect.succeed(ended) : Effect.die(`ended without "${text}": ${JSON.stringify(ended)}`))
      )
    },
    kill: (signal) => Effect.sync(() => void child.kill(signal)),
    ended: until(() => status !== undefined)
  } satisfies Process
})

/** Runs the command as a process, to its end. */
export const run = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) =>
  Effect.scoped(Effect.flatMap(start(process.execPath, [bin, ...args], env), ({ ended }) => ended))
