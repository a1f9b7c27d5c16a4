/**
 * A process that uses a job store, and tells what it does by lines on its standard output:
 *
 * - `append FILE STACKS`: for each stack saves jobs and removes older ones, one call after the other. `+STACK N` when the N-th call
 *   has succeeded.
 * - `contend FILE`: for each line of its input takes the store, tells `held` or `locked PID`, and lets go at the next line.
 * - `hold FILE`: takes the store, tells `held`, and stays.
 * - `fill FILE`: saves until the disk is full, then removes all. Tells what that came to.
 */
import { writeSync } from "node:fs"
import * as readline from "node:readline"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import type * as JobStore from "@stacksapi/core/JobStore"
import * as FileJobStore from "@stacksapi/node/FileJobStore"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import { change, savedJob } from "./savedJobs.ts"

const [, , mode, path = ""] = process.argv
const stacks = Number(process.argv[4])
const tell = (line: string) => writeSync(1, `${line}\n`)

const append = Effect.gen(function* () {
  const store = yield* FileJobStore.make({ path })
  const call = (stack: number, n: number): Effect.Effect<void, JobStore.JobStoreError> => {
    const { removed, saved } = change(n)
    const key = `stack-${stack}`
    return saved.length > 0 ? store.save(key, saved) : store.remove(key, removed)
  }
  const appendTo = Effect.fnUntraced(function* (stack: number) {
    for (let n = 0; ; n++) {
      yield* call(stack, n)
      tell(`+${stack} ${n}`)
    }
  })
  tell("ready")
  yield* Effect.forEach(Array.from({ length: stacks }).keys(), appendTo, { concurrency: "unbounded", discard: true })
})

const contend = Effect.gen(function* () {
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const nextLine = Effect.promise(() => lines.next())
  tell("ready")
  for (;;) {
    yield* nextLine
    yield* Effect.scoped(
      FileJobStore.make({ path }).pipe(
        Effect.match({
          onFailure: (error) => tell(error._tag === "FileJobStoreError" ? `locked ${error.pid}` : error.message),
          onSuccess: () => tell("held")
        }),
        Effect.andThen(nextLine)
      )
    )
    tell("free")
  }
})

const hold = Effect.gen(function* () {
  yield* FileJobStore.make({ path })
  tell("held")
  yield* Effect.sleep("1 hour")
})

const fill = Effect.gen(function* () {
  const store = yield* FileJobStore.make({ path })
  const ids: Array<string> = []
  const save = Effect.suspend(() => {
    const saved = savedJob(`job-${ids.length}`)
    return Effect.map(store.save("s", [saved]), () => ids.push(saved.job.id))
  })
  const error = yield* Effect.flip(Effect.forever(save))
  const after = yield* store.load("s")
  // A short line still fits where a long one did not.
  const again = yield* Effect.exit(store.remove("s", ids.slice(0, 1)))
  tell(
    JSON.stringify({
      error: error.message,
      isWhole: after.length === ids.length,
      saved: ids.length,
      isRemoved: again._tag === "Success"
    })
  )
})

const program = { append, contend, hold, fill }[mode ?? ""] ?? Effect.die(new Error(`No mode ${mode}`))

Effect.runFork(program.pipe(Effect.scoped, Effect.provide([NodeFileSystem.layer, NodePath.layer, Logger.layer([])])))
