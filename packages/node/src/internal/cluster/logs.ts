/**
 * What Effect's cluster logs: warnings of each of its retries, with all causes, and dozens at a time where the database is
 * away. They are for who looks closely, at the level Debug; what they mean for the process is logged in few words by us.
 */
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { CurrentLogAnnotations, MinimumLogLevel } from "effect/References"

const mark = "stacksapi.cluster"

/** Subdues what is logged within, and by fibers that are started there. */
export const subdued = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  effect.pipe(
    Effect.annotateLogs(mark, true),
    Effect.updateService(Logger.CurrentLoggers, (loggers) => new Set(Array.from(loggers, subdue)))
  )

/** What is told in other words, if it lasts; and the end of a connection from a process that was killed. */
const isTold = /^(Shard lock storage is unhealthy|Unhandled error in SocketServer)/

const subdue = (logger: Logger.Logger<unknown, unknown>): Logger.Logger<unknown, unknown> =>
  Logger.make((options) => {
    const isOfCluster = options.fiber.getRef(CurrentLogAnnotations)[mark] === true
    const isLoud = LogLevel.isGreaterThan(options.logLevel, "Warn") && !isTold.test(String(options.message))
    const isWanted = LogLevel.isLessThanOrEqualTo(options.fiber.getRef(MinimumLogLevel), "Debug")
    return !isOfCluster || isLoud || isWanted ? logger.log(options) : undefined
  })

/** What is done in the cluster's fibers, and is not the cluster's: it is logged like all else of the process. */
export type Outspoken = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

export const outspoken: Effect.Effect<Outspoken> = Effect.map(CurrentLogAnnotations, (annotations) =>
  Effect.provideService(CurrentLogAnnotations, annotations)
)
