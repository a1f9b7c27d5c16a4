/** The spans of a stack. They are made only if a tracer is installed. */
import * as Effect from "effect/Effect"
import type * as Tracer from "effect/Tracer"
import type { ScheduledJob } from "../../StacksSchema.ts"
import { isTraced } from "../telemetry.ts"

/** The span of the request that reserved a job, if there is one. */
export type ReserveSpan = Tracer.Span | undefined

/** Runs a reserve request in its own trace, because it belongs to several jobs. */
export const inReserveSpan = <A, E, R>(
  count: number,
  stackKey: string,
  f: (span: ReserveSpan) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) =>
    isTraced(fiber)
      ? Effect.useSpan(
          "Stack.reserve",
          { root: true, attributes: { "stacksapi.stack_key": stackKey, "stacksapi.jobs": count } },
          (span) => Effect.withParentSpan(f(span), span)
        )
      : f(undefined)
  )

/** Runs a job, from its slot to its end, in its own trace. The trace includes its runner's spans, and links to the reserve request. */
export const inJobSpan =
  (job: ScheduledJob, stackKey: string, reserveSpan: ReserveSpan) =>
  <A, E, R>(life: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) =>
      isTraced(fiber)
        ? Effect.useSpan(
            "Stack.job",
            {
              root: true,
              attributes: { "stacksapi.job_uuid": job.id, "stacksapi.stack_key": stackKey },
              links: reserveSpan === undefined ? [] : [{ span: reserveSpan, attributes: {} }]
            },
            (span) => Effect.withParentSpan(life, span)
          )
        : life
    )
