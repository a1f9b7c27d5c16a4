/**
 * The logs of Effect's cluster. It warns of every retry, with all causes, dozens of times while the database is unavailable. They are
 * shown at the level Debug only; this package logs what they mean for the process.
 */
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { CurrentLogAnnotations, MinimumLogLevel } from "effect/References"

const annotation = "stacksapi.cluster"

/** Hides the logs of an effect, and of the fibers that it starts, unless the level is Debug. */
export const demoteLogs = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  effect.pipe(
    Effect.annotateLogs(annotation, true),
    Effect.updateService(Logger.CurrentLoggers, (loggers) => new Set(Array.from(loggers, demote)))
  )

/** Errors that this package logs itself if they last, and the end of a connection from a process that was killed. */
const isCovered = /^(Shard lock storage is unhealthy|Unhandled error in SocketServer)/

const demote = (logger: Logger.Logger<unknown, unknown>): Logger.Logger<unknown, unknown> =>
  Logger.make((options) => {
    const isOfCluster = options.fiber.getRef(CurrentLogAnnotations)[annotation] === true
    const isLoud = LogLevel.isGreaterThan(options.logLevel, "Warn") && !isCovered.test(String(options.message))
    const isWanted = LogLevel.isLessThanOrEqualTo(options.fiber.getRef(MinimumLogLevel), "Debug")
    return !isOfCluster || isLoud || isWanted ? logger.log(options) : undefined
  })

/** Undoes `demoteLogs` for our own effects that run in the cluster's fibers. */
export type RestoreLogs = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

export const restoreLogs: Effect.Effect<RestoreLogs> = Effect.map(CurrentLogAnnotations, (annotations) =>
  Effect.provideService(CurrentLogAnnotations, annotations)
)
