/** A stack whose process is killed again and again: no job is lost, none lives twice at a time. */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Deferred, Effect, Redacted } from "effect"
import type { Message } from "../support/stackProcess.ts"

const program = fileURLToPath(new URL("../support/stackProcess.ts", import.meta.url))

describe("A stack that is killed", () => {
  it.live(
    "twenty times in mid-run, and started again with the same key, runs every job, and none twice at a time",
    () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const count = 400
        yield* emulator.addJobs(Array.from({ length: count }, () => ({ queueKey: "q" })))
        const services = yield* Effect.context<never>()

        /** The jobs that are being run, and the process that runs each. */
        const live = new Map<string, ChildProcess>()
        const mistakes: Array<string> = []
        let agents = 0

        const onMessage = (child: ChildProcess, message: Message): void => {
          switch (message.type) {
            case "began":
              if (live.has(message.jobUuid)) mistakes.push(`${message.jobUuid} lives twice`)
              live.set(message.jobUuid, child)
              break
            case "ended":
              live.delete(message.jobUuid)
              break
            case "agent":
              // The agent outlives the stack; the service gives a job to one agent only.
              emulator.acquireJob(Redacted.make(message.token)).pipe(
                Effect.tap(() => Effect.sync(() => void agents++)),
                Effect.tap(({ id }) => Effect.delay(emulator.completeJob(id, 0), "300 millis")),
                Effect.ignore,
                Effect.runForkWith(services)
              )
          }
        }

        /** A process that waits for its word to start. */
        const launch = Effect.acquireRelease(
          Effect.sync(() => {
            const child = fork(program, [emulator.baseUrl], { stdio: ["ignore", "inherit", "inherit", "ipc"] })
            const ready = Deferred.makeUnsafe<void>()
            const gone = Deferred.makeUnsafe<void>()
            child.on("message", (message: Message) => {
              if (message.type === "ready") Deferred.doneUnsafe(ready, Effect.void)
              else onMessage(child, message)
            })
            child.once("close", () => {
              for (const [jobUuid, owner] of live) if (owner === child) live.delete(jobUuid)
              Deferred.doneUnsafe(gone, Effect.void)
            })
            return {
              start: Effect.andThen(
                Deferred.await(ready),
                Effect.sync(() => void child.send("start"))
              ),
              kill: Effect.suspend(() => {
                child.kill("SIGKILL")
                return Deferred.await(gone)
              })
            }
          }),
          ({ kill }) => kill
        )

        const left = Effect.map(emulator.jobs, (jobs) => jobs.filter(({ state }) => state !== "finished").length)
        const isInMidRun = Effect.map(left, (left) => live.size > 0 || left === 0)

        let next = yield* launch
        let killedInMidRun = 0
        for (let kill = 0; kill < 20; kill++) {
          const stack = next
          yield* stack.start
          next = yield* launch
          // However long a process takes for its first job: what counts is the moment after that.
          yield* isInMidRun.pipe(Effect.delay("10 millis"), Effect.repeat({ until: (it) => it }))
          yield* Effect.sleep((kill * 37) % 90)
          if (live.size > 0) killedInMidRun++
          yield* stack.kill
          assert.strictEqual(live.size, 0)
        }
        yield* next.start
        yield* left.pipe(Effect.delay("100 millis"), Effect.repeat({ until: (left) => left === 0 }))
        yield* next.kill

        assert.isAtLeast(killedInMidRun, 10)
        assert.isEmpty(mistakes)
        const jobs = yield* emulator.jobs
        assert.deepStrictEqual(new Set(jobs.map(({ exitStatus }) => exitStatus)), new Set([0]))
        assert.strictEqual(agents, jobs.filter(({ id }) => Number.parseInt(id.slice(-1), 16) % 2 === 0).length)
      }).pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer({ rateLimits: false })))
  )
})
