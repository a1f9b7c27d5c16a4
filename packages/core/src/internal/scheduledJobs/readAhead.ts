/** Reads the pages of a queue, and requests the next page while one is processed. */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Predicate from "effect/Predicate"
import type * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import * as StacksClient from "../../StacksClient.ts"
import * as StacksError from "../../StacksError.ts"
import { MaxBatchSize, type ScheduledJobsPage } from "../../StacksSchema.ts"
import { OnJson } from "../client/onJson.ts"
import { CursorTrail } from "./cursorTrail.ts"

/**
 * A page that takes this many milliseconds is slow: the next one is requested before it is decoded. For fast pages this gains
 * nothing, and two pages take more memory than one.
 */
const slowMillis = 10

/** A pull of pages. The request in flight is interrupted when the scope closes. */
export const makePull = (
  options: StacksClient.ListScheduledJobsRequest,
  context: Context.Context<StacksClient.StacksClient>,
  scope: Scope.Scope
): Pull.Pull<Arr.NonEmptyReadonlyArray<ScheduledJobsPage>, StacksError.StacksError | StacksError.CursorStalled> => {
  const client = Context.get(context, StacksClient.StacksClient)
  const trail = new CursorTrail(options.startCursor)
  /** The next page, once its cursor is known. */
  let ahead:
    | { readonly cursor: string; fiber: Fiber.Fiber<ScheduledJobsPage, StacksError.StacksError> | undefined }
    | undefined
  /** Whether the last page was slow. */
  let isSlow = false

  const list = (startCursor: string | undefined): Effect.Effect<ScheduledJobsPage, StacksError.StacksError> =>
    Effect.flatMap(Clock.currentTimeMillis, (askedAt) =>
      client.listScheduledJobs({ ...options, startCursor, pageSize: options.pageSize ?? MaxBatchSize }).pipe(
        Effect.provideService(OnJson, (json) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            isSlow = now - askedAt >= slowMillis
            const cursor = nextCursorIn(json)
            return isSlow && ahead === undefined && trail.advancesTo(cursor) ? requestPage(cursor) : Effect.void
          })
        )
      )
    )
  const requestPage = (cursor: string) =>
    Effect.suspend(() => {
      const page: typeof ahead = { cursor, fiber: undefined }
      ahead = page
      return Effect.forkIn(Effect.setContext(list(cursor), context), scope, { startImmediately: true }).pipe(
        Effect.tap((fiber) =>
          Effect.sync(() => {
            page.fiber = fiber
          })
        ),
        Effect.uninterruptible,
        // Yield, so that the connection sends the request before this page is processed.
        Effect.andThen(isSlow ? Effect.yieldNow : Effect.void)
      )
    })

  let next: Effect.Effect<ScheduledJobsPage, StacksError.StacksError | StacksError.CursorStalled | Cause.Done> = list(
    options.startCursor
  )
  return Effect.gen(function* () {
    const page = yield* next
    const { endCursor, hasNextPage } = page.pageInfo
    if (ahead !== undefined && !(hasNextPage && ahead.cursor === endCursor)) {
      // The cursor of the raw page may differ from the cursor of the decoded one.
      if (ahead.fiber !== undefined) yield* Fiber.interrupt(ahead.fiber)
      ahead = undefined
    }
    if (ahead === undefined && hasNextPage && trail.advancesTo(endCursor)) yield* requestPage(endCursor)
    const fiber = ahead?.fiber
    next =
      fiber !== undefined
        ? Effect.suspend(() => {
            ahead = undefined
            return Fiber.join(fiber)
          })
        : hasNextPage
          ? Effect.fail(new StacksError.CursorStalled({ cursor: endCursor }))
          : Cause.done()
    return Arr.of(page)
  })
}

/** The cursor to the next page, from a page that is not decoded yet; null if there is none. */
const nextCursorIn = (page: unknown): string | null => {
  const info = Predicate.hasProperty(page, "page_info") ? page.page_info : undefined
  if (!Predicate.hasProperty(info, "has_next_page") || info.has_next_page !== true) return null
  return Predicate.hasProperty(info, "end_cursor") && Predicate.isString(info.end_cursor) ? info.end_cursor : null
}
