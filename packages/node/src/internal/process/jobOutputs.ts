/** The outputs of all jobs: publishes lines, keeps the last ones of each job, and writes files. */

import type { JobRunnerError } from "@stacksapi/core/JobRunner"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as PubSub from "effect/PubSub"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as JobOutput from "../../JobOutput.ts"
import * as Redactor from "../secrets/redactor.ts"
import { Lines } from "../terminal/lines.ts"
import type { Environment, Extra } from "./environment.ts"
import { codeOf, errorDescription, isTransient } from "./errorDescription.ts"
import { hostFailure } from "./jobScope.ts"
import * as Secrets from "./secrets.ts"

const { defaultRedactedVars, maxEndedJobs, maxLineLength, maxTailLines, maxWaitingLines } = JobOutput

/** The sink of one job's output, until the scope in which it was opened closes. */
export interface JobSink {
  readonly write: (channel: JobOutput.Line["channel"], bytes: Uint8Array) => Effect.Effect<void>
  /** Completes the last line of an output without a line end. */
  readonly end: Effect.Effect<void>
}

export interface JobOutputs extends JobOutput.Service {
  /** Opens the sink of a job. `secrets` are redacted beside those in its environment. Fails if this host can't open the job's file now. */
  readonly open: (
    jobUuid: string,
    environment: Environment,
    secrets: ReadonlyArray<string>
  ) => Effect.Effect<JobSink, JobRunnerError, Scope.Scope>
}

export const make = Effect.fnUntraced(function* (
  options: JobOutput.Options,
  extra: Extra
): Effect.fn.Return<JobOutputs, never, Scope.Scope | FileSystem.FileSystem | Path.Path> {
  const { logDirectory, redactedVars = defaultRedactedVars, secrets = [] } = options
  // Not the layer's scope: each job's output has its own.
  const services = Context.pick(
    FileSystem.FileSystem,
    Path.Path
  )(yield* Effect.context<FileSystem.FileSystem | Path.Path>())
  const lines = yield* Effect.acquireRelease(PubSub.sliding<JobOutput.Line>(maxWaitingLines), (pubsub) =>
    PubSub.shutdown(pubsub)
  )
  const tails = new Map<string, Array<string>>()
  /** Jobs that have ended, the oldest first. */
  const ended = new Set<string>()
  const known = [...secrets.map(Redacted.value), ...Secrets.markedIn(extra)]

  const open = Effect.fnUntraced(function* (
    jobUuid: string,
    environment: Environment,
    more: ReadonlyArray<string>
  ): Effect.fn.Return<JobSink, JobRunnerError, Scope.Scope> {
    const redactor = Redactor.make([...known, ...more, ...Secrets.secretsIn(environment, redactedVars)])
    const log = yield* Ref.make(yield* Effect.provideContext(openLog(logDirectory, jobUuid), services))
    ended.delete(jobUuid)
    const tail = tails.get(jobUuid) ?? []
    tails.set(jobUuid, tail)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        ended.add(jobUuid)
        const [oldest] = ended.size > maxEndedJobs ? ended : []
        if (oldest === undefined) return
        ended.delete(oldest)
        tails.delete(oldest)
      })
    )
    const channelOf = () => ({ lines: new Lines(), redacted: redactor.open(maxLineLength) })
    const channels = { stdout: channelOf(), stderr: channelOf() }

    const writeLog = Effect.fnUntraced(function* (text: string) {
      const file = yield* Ref.get(log)
      if (file === undefined) return
      yield* file
        .writeAll(new TextEncoder().encode(text))
        .pipe(
          Effect.catch((error) =>
            Effect.andThen(
              Ref.set(log, undefined),
              Effect.logWarning(`Stopped keeping the output of a job: ${errorDescription(error)}`)
            )
          )
        )
    })

    const keep = Effect.fnUntraced(function* (channel: JobOutput.Line["channel"], texts: ReadonlyArray<string>) {
      if (texts.length === 0) return
      const time = yield* DateTime.now
      tail.push(...texts.slice(-maxTailLines))
      tail.splice(0, tail.length - maxTailLines)
      yield* PubSub.publishAll(
        lines,
        texts.map((text) => ({ jobUuid, channel, text, time }))
      )
      yield* writeLog(`${texts.join("\n")}\n`)
    })

    const endOf = (channel: JobOutput.Line["channel"]) =>
      Effect.suspend(() => {
        const { lines, redacted } = channels[channel]
        return keep(channel, [...lines.end().flatMap((line) => redacted.push(line)), ...redacted.end()])
      })

    return {
      write: (channel, bytes) =>
        Effect.suspend(() => {
          const { lines, redacted } = channels[channel]
          return keep(
            channel,
            lines.push(bytes).flatMap((line) => redacted.push(line))
          )
        }),
      end: Effect.andThen(endOf("stdout"), endOf("stderr"))
    }
  })

  return {
    lines: Stream.fromPubSub(lines),
    tail: (jobUuid) => Effect.sync(() => Array.from(tails.get(jobUuid) ?? [])),
    open
  }
})

/** The name of the file with the output of a job. */
export const logName = (jobUuid: string): string => `${encodeURIComponent(jobUuid.toWellFormed())}.log`

/** Opens a file for appending, readable by this user only. */
const openFile = Effect.fnUntraced(function* (file: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const opened = yield* fileSystem.open(file, { flag: "a", mode: 0o600 })
  // The mode above applies to a new file only.
  yield* fileSystem.chmod(file, 0o600)
  return opened
})

/** Opens the file of a job. Fails if a later attempt may succeed; otherwise logs a warning. */
const openLog = Effect.fnUntraced(function* (logDirectory: string | undefined, jobUuid: string) {
  if (logDirectory === undefined) return undefined
  const fileSystem = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = path.join(logDirectory, logName(jobUuid))
  return yield* openFile(file).pipe(
    Effect.catchReason("PlatformError", "NotFound", () =>
      Effect.andThen(fileSystem.makeDirectory(logDirectory, { recursive: true }), openFile(file))
    ),
    Effect.catch((error) =>
      isTransient(codeOf(error))
        ? Effect.fail(hostFailure(`Can't open a file for the output of the job: ${errorDescription(error)}`, error))
        : Effect.as(Effect.logWarning(`Can't keep the output of a job: ${errorDescription(error)}`), undefined)
    )
  )
})
