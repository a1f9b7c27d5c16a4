/** A Redis server for a test: on loopback, with its data in a temporary folder and none of it on disk. */
import { type ChildProcess, spawn } from "node:child_process"
import { Effect, Redacted, type Scope } from "effect"
import { createClient } from "redis"
import { freePort } from "./freePort.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

export interface RedisServer {
  readonly url: Redacted.Redacted<string>
  /** Kills it: what it had is lost. */
  readonly stop: Effect.Effect<void>
  /** Starts it again where it was. */
  readonly start: Effect.Effect<void>
  /** It keeps its connections, and answers nothing. */
  readonly suspend: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  /** Sends it a command. */
  readonly command: (...words: ReadonlyArray<string>) => Effect.Effect<unknown>
}

const launch = (port: number, directory: string) =>
  Effect.callback<ChildProcess>((resume) => {
    const child = spawn("redis-server", [
      ...["--port", String(port), "--bind", "127.0.0.1", "--dir", directory],
      ...["--save", "", "--appendonly", "no", "--daemonize", "no"]
    ])
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (text) => {
      output += text
      if (output.includes("Ready to accept connections")) resume(Effect.succeed(child))
    })
    child.once("error", () => resume(Effect.die("There is no redis-server: run npx -y pnpm@12 services")))
    child.once("exit", () => resume(Effect.die(`redis-server did not start:\n${output}`)))
  })

/** Makes a server that is not started yet, and ends with the scope. */
export const make: Effect.Effect<RedisServer, never, Scope.Scope> = Effect.gen(function* () {
  const port = yield* freePort
  const directory = yield* temporaryFolder
  let child: ChildProcess | undefined
  const stop = Effect.callback<void>((resume) => {
    // Ctrl-C ends it too.
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.removeAllListeners("exit").once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
    child = undefined
  })
  const signal = (name: NodeJS.Signals) => Effect.sync(() => void child?.kill(name))
  yield* Effect.addFinalizer(() => stop)
  const url = `redis://127.0.0.1:${port}`
  return {
    url: Redacted.make(url),
    stop,
    start: Effect.map(launch(port, directory), (started) => {
      child = started
    }),
    suspend: signal("SIGSTOP"),
    resume: signal("SIGCONT"),
    command: (...words) =>
      Effect.acquireUseRelease(
        Effect.promise(() => createClient({ url }).connect()),
        (client) => Effect.promise(() => client.sendCommand(words)),
        (client) => Effect.sync(() => client.destroy())
      )
  }
})

/** A server that runs. */
export const started = Effect.tap(make, ({ start }) => start)
