/**
 * Spans of an installed tracer.
 *
 * They are the same as those of `Effect.useSpan`, which would add Effect's default tracer to every bundle. The client makes no spans
 * without a tracer.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { constUndefined } from "effect/Function"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"

/** The installed tracer, if tracing is enabled. */
export const installedTracer = (fiber: Fiber.Fiber<unknown, unknown>): Tracer.Tracer | undefined =>
  fiber.cache.tracerEnabled ? fiber.cache.tracer : undefined

/** The parent of a new span, without spans that disable propagation. */
const parentOf = (span: Tracer.AnySpan | undefined): Option.Option<Tracer.AnySpan> => {
  if (span === undefined) return Option.none()
  if (!Context.get(span.annotations, Tracer.DisablePropagation)) return Option.some(span)
  return span._tag === "Span" ? parentOf(Option.getOrUndefined(span.parent)) : Option.none()
}

/** Runs an effect in a span. */
export const useSpan = <A, E>(
  fiber: Fiber.Fiber<unknown, unknown>,
  tracer: Tracer.Tracer,
  options: {
    readonly name: string
    readonly kind: Tracer.SpanKind
    readonly attributes: Readonly<Record<string, unknown>>
  },
  f: (span: Tracer.Span) => Effect.Effect<A, E>
): Effect.Effect<A, E> => {
  const parent = parentOf(fiber.cache.span)
  const clock = fiber.getRef(Clock.Clock)
  const isTimed = fiber.getRef(References.TracerTimingEnabled)
  const now = () => (isTimed ? clock.currentTimeNanosUnsafe() : BigInt(0))
  const span = tracer.span({
    name: options.name,
    kind: options.kind,
    parent,
    annotations: Context.empty(),
    links: Array.from(fiber.getRef(References.TracerSpanLinks)),
    startTime: now(),
    root: false,
    sampled:
      (Option.isNone(parent) || parent.value.sampled) &&
      LogLevel.isLessThanOrEqualTo(fiber.getRef(Tracer.MinimumTraceLevel), fiber.getRef(Tracer.CurrentTraceLevel))
  })
  for (const attributes of [fiber.getRef(References.TracerSpanAnnotations), options.attributes]) {
    for (const [key, value] of Object.entries(attributes)) span.attribute(key, value)
  }
  return Effect.onExit(f(span), (exit) => Effect.sync(() => span.end(now(), exit)))
}

/** Makes a span the parent of an effect's spans, and adds it to the stack traces of its failures. */
export const withParent = <A, E>(
  fiber: Fiber.Fiber<unknown, unknown>,
  effect: Effect.Effect<A, E>,
  span: Tracer.Span
): Effect.Effect<A, E> =>
  effect.pipe(
    Effect.provideService(References.CurrentStackFrame, {
      name: span.name,
      stack: constUndefined,
      parent: fiber.getRef(References.CurrentStackFrame)
    }),
    Effect.provideService(Tracer.ParentSpan, span)
  )
