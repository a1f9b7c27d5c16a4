/** Reads page after page of a queue: while one is worked on, the next one travels. */
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
 * A page is slow that takes so many milliseconds to come: then the next one is asked for before it is decoded. Where pages come at
 * once nothing is waited for, and two in memory cost more than one.
 */
const slowMillis = 10

/** Gives one page after the other, in an effect that is run again and again until the scope closes. */
export const makePull = (
  request: StacksClient.ListScheduledJobsRequest,
  context: Context.Context<StacksClient.StacksClient>,
  scope: Scope.Scope
): Pull.Pull<Arr.NonEmptyReadonlyArray<ScheduledJobsPage>, StacksError.StacksError | StacksError.CursorStalled> => {
  const client = Context.get(context, StacksClient.StacksClient)
  const trail = new CursorTrail(request.startCursor)
  /** The page after the one that is waited for or worked on, once it is known which one that is. */
  let ahead:
    | { readonly cursor: string; asked: Fiber.Fiber<ScheduledJobsPage, StacksError.StacksError> | undefined }
    | undefined
  /** Whether the page that came last was. */
  let isSlow = false

  const list = (startCursor: string | undefined): Effect.Effect<ScheduledJobsPage, StacksError.StacksError> =>
    Effect.flatMap(Clock.currentTimeMillis, (askedAt) =>
      client.listScheduledJobs({ ...request, startCursor, pageSize: request.pageSize ?? MaxBatchSize }).pipe(
        Effect.provideService(OnJson, (json) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            isSlow = now - askedAt >= slowMillis
            const cursor = nextCursorIn(json)
            return isSlow && ahead === undefined && trail.advancesTo(cursor) ? askFor(cursor) : Effect.void
          })
        )
      )
    )
  const askFor = (cursor: string) =>
    Effect.suspend(() => {
      const page: typeof ahead = { cursor, asked: undefined }
      ahead = page
      return Effect.forkIn(Effect.setContext(list(cursor), context), scope, { startImmediately: true }).pipe(
        Effect.tap((asked) =>
          Effect.sync(() => {
            page.asked = asked
          })
        ),
        Effect.uninterruptible,
        // Connections write a moment later: whoever is busy with this page at once would hold the request back.
        Effect.andThen(isSlow ? Effect.yieldNow : Effect.void)
      )
    })

  let next: Effect.Effect<ScheduledJobsPage, StacksError.StacksError | StacksError.CursorStalled | Cause.Done> = list(
    request.startCursor
  )
  return Effect.gen(function* () {
    const page = yield* next
    const { endCursor, hasNextPage } = page.pageInfo
    if (ahead !== undefined && !(hasNextPage && ahead.cursor === endCursor)) {
      // What could not be decoded at first may have named another page than what could.
      if (ahead.asked !== undefined) yield* Fiber.interrupt(ahead.asked)
      ahead = undefined
    }
    if (ahead === undefined && hasNextPage && trail.advancesTo(endCursor)) yield* askFor(endCursor)
    const asked = ahead?.asked
    next =
      asked !== undefined
        ? Effect.suspend(() => {
            ahead = undefined
            return Fiber.join(asked)
          })
        : hasNextPage
          ? Effect.fail(new StacksError.CursorStalled({ cursor: endCursor }))
          : Cause.done()
    return Arr.of(page)
  })
}

/** The cursor to the page after one, which is not decoded yet; null where it names none. */
const nextCursorIn = (page: unknown): string | null => {
  const info = Predicate.hasProperty(page, "page_info") ? page.page_info : undefined
  if (!Predicate.hasProperty(info, "has_next_page") || info.has_next_page !== true) return null
  return Predicate.hasProperty(info, "end_cursor") && Predicate.isString(info.end_cursor) ? info.end_cursor : null
}
