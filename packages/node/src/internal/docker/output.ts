/** The output of containers: read from the Engine for as long as they run, and kept as that of their jobs. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as JobOutput from "../../JobOutput.ts"
import type { JobOutputs, JobSink } from "../process/jobOutputs.ts"
import { isEnded } from "./agents.ts"
import type { Engine, EngineError } from "./engine.ts"
import { Frames } from "./frames.ts"
import { Details } from "./schemas.ts"

/** How many ended containers are remembered, so that their output is not read twice. */
const maxRead = 2000

export interface Output {
  readonly engine: Engine
  /** The container's id. */
  readonly id: string
  readonly jobUuid: string
}

export interface Outputs {
  /** Reads a container's output until it has ended. A second call for a container does nothing. */
  readonly follow: (output: Output, secrets?: ReadonlyArray<string>) => Effect.Effect<void>
  /** Waits until the output of a container that has ended is read, at most a moment. */
  readonly settled: (id: string) => Effect.Effect<void>
  /** Forgets a container. */
  readonly forget: (id: string) => void
}

/** Reads until the scope closes. */
export const make = Effect.fnUntraced(function* (
  jobOutputs: JobOutputs
): Effect.fn.Return<Outputs, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const followed = new Map<string, Deferred.Deferred<void>>()

  const follow = (output: Output, secrets: ReadonlyArray<string> | undefined, done: Deferred.Deferred<void>) =>
    Effect.gen(function* () {
      const sink = yield* jobOutputs.open(output.jobUuid, {}, secrets ?? [])
      yield* Effect.ensuring(readAll(output, secrets !== undefined, sink), sink.end)
    }).pipe(
      Effect.scoped,
      Effect.catchCause((cause) => Effect.logDebug(`The output of a container can't be kept`, cause)),
      Effect.ensuring(Effect.sync(() => Deferred.doneUnsafe(done, Effect.void)))
    )

  return {
    follow: (output, secrets) =>
      Effect.suspend(() => {
        if (followed.has(output.id)) return Effect.void
        const done = Deferred.makeUnsafe<void>()
        followed.set(output.id, done)
        if (followed.size > maxRead) forgetOldest(followed)
        return Effect.asVoid(Effect.forkIn(follow(output, secrets, done), scope))
      }),
    settled: (id) =>
      Effect.suspend(() => {
        const done = followed.get(id)
        return done === undefined ? Effect.void : Effect.asVoid(Effect.timeoutOption(Deferred.await(done), "1 second"))
      }),
    forget: (id) => void followed.delete(id)
  }
})

/** A container that is still read stays: forgotten, it would be read twice. */
const forgetOldest = (followed: Map<string, Deferred.Deferred<void>>): void => {
  for (const [id, done] of followed) {
    if (!Deferred.isDoneUnsafe(done)) continue
    followed.delete(id)
    return
  }
}

/** Reads to the end, also across restarts of the Engine. Of a container of an earlier process only the last lines are read. */
const readAll = Effect.fnUntraced(function* ({ engine, id }: Output, isNew: boolean, sink: JobSink) {
  const clock = yield* Clock.Clock
  let tail = isNew ? "all" : String(JobOutput.maxTailLines)
  let since: string | undefined
  while (true) {
    const frames = new Frames()
    const read = engine
      .bytes("GET", `/containers/${id}/logs`, {
        query: { follow: "1", stdout: "1", stderr: "1", tail, since }
      })
      .pipe(
        Stream.runForEach((piece) => {
          since = (clock.currentTimeMillisUnsafe() / 1000).toFixed(3)
          tail = "all"
          return Effect.forEach(frames.push(piece), ({ bytes, channel }) => sink.write(channel, bytes), {
            discard: true
          })
        })
      )
    const exit = yield* Effect.exit(read)
    const details = yield* Effect.exit(engine.json(Details, "GET", `/containers/${id}/json`))
    if (Exit.isFailure(details) && isGone(details)) return
    if (Exit.isSuccess(exit) && Exit.isSuccess(details) && isEnded({ State: details.value.State.Status })) return
    yield* Effect.sleep("1 second")
  }
})

const isGone = (exit: Exit.Failure<unknown, EngineError>): boolean =>
  exit.cause.reasons.some((reason) => reason._tag === "Fail" && reason.error.status === 404)
