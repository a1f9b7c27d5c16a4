/** Keeps what a program shows of itself: its log lines and its spans. */
import { Effect, Layer, Logger, type LogLevel, References, Tracer } from "effect"

interface LogLine {
  readonly level: LogLevel.LogLevel
  readonly message: string
  readonly annotations: Readonly<Record<string, unknown>>
}

export interface Recording {
  readonly logs: ReadonlyArray<LogLine>
  /** Every rendering of every log line that Effect has, as one text. */
  readonly output: () => string
  readonly spans: ReadonlyArray<Tracer.NativeSpan>
  /** Records everything, down to the level Trace. */
  readonly layer: Layer.Layer<never>
}

const make = (): Recording => {
  const logs: Array<LogLine> = []
  const output: Array<unknown> = []
  const spans: Array<Tracer.NativeSpan> = []
  const lines = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
    logs.push({
      level: logLevel,
      message: Array.isArray(message) ? message.join(" ") : String(message),
      annotations: fiber.getRef(References.CurrentLogAnnotations)
    })
  })
  const renderings = [Logger.formatSimple, Logger.formatLogFmt, Logger.formatJson, Logger.formatStructured].map(
    (logger) => Logger.map(logger, (line: unknown) => void output.push(line))
  )
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return {
    logs,
    output: () => output.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n"),
    spans,
    layer: Layer.mergeAll(
      Logger.layer([lines, ...renderings]),
      Layer.succeed(References.MinimumLogLevel, "Trace"),
      Layer.succeed(Tracer.Tracer, tracer)
    )
  }
}

/** Runs an effect and gives what it showed of itself. */
export const record = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const recording = make()
    return Effect.map(Effect.exit(Effect.provide(effect, recording.layer)), (exit) => ({ exit, recording }))
  })
