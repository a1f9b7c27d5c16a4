/** The spans of a stack. They are made only where a tracer is installed: without one they would be for nobody. */
import * as Effect from "effect/Effect"
import type * as Tracer from "effect/Tracer"
import type { ScheduledJob } from "../../StacksSchema.ts"
import { isTraced } from "../telemetry.ts"

/** The span of the request that reserved a job, where there is one. */
export type ReserveSpan = Tracer.Span | undefined

/** A trace of its own for a request that reserves: it belongs to all the jobs in it. */
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

/** A job's trace, from its slot to its end, linked to the request that reserved it; whatever its runner does is part of it. */
export const inJobSpan =
  (job: ScheduledJob, stackKey: string, reservedIn: ReserveSpan) =>
  <A, E, R>(life: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) =>
      isTraced(fiber)
        ? Effect.useSpan(
            "Stack.job",
            {
              root: true,
              attributes: { "stacksapi.job_uuid": job.id, "stacksapi.stack_key": stackKey },
              links: reservedIn === undefined ? [] : [{ span: reservedIn, attributes: {} }]
            },
            (span) => Effect.withParentSpan(life, span)
          )
        : life
    )
