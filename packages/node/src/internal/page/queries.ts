/** The queries of the page: the overview, as it changes, and lists, page by page. */
import type * as StacksEmulator from "@stacksapi/core/StacksEmulator"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Graph from "./graph.ts"
import * as Model from "./model.ts"
import * as Overview from "./overview.ts"
import * as Waits from "./waits.ts"

export interface QueryOptions {
  readonly emulator: StacksEmulator.Service
  /** Changes whenever a request arrives or ends. */
  readonly requestsVersion: Effect.Effect<number>
}

/** How often the overview is computed while a page is open. Otherwise nothing runs. */
const overviewInterval = "500 millis"

/** How long an overview is shared by several open pages. */
const maxOverviewAge = "400 millis"

/** Sent before each event: after how many milliseconds a browser reconnects. */
const retry = "retry: 1000\n"

/** How many jobs, requests or notifications one response has. */
const pageSize = 50

const JobsQuery = Schema.Struct({
  phase: Schema.optionalKey(Schema.Literals(Model.phases)),
  queue: Schema.optionalKey(Schema.String),
  text: Schema.optionalKey(Schema.String),
  offset: Schema.optionalKey(Schema.FiniteFromString.check(Schema.isInt(), Schema.isGreaterThanOrEqualTo(0)))
})

const IdQuery = Schema.Struct({ id: Schema.String })

const LogQuery = Schema.Struct({ id: Schema.String, size: Schema.optionalKey(Schema.FiniteFromString) })

const RequestsQuery = Schema.Struct({ only: Schema.optionalKey(Schema.Literal("problems")) })

export const layer = (options: QueryOptions) => Layer.unwrap(make(options))

const make = Effect.fnUntraced(function* ({ emulator, requestsVersion }: QueryOptions) {
  const encode = encoderWithout(Redacted.value(emulator.token))

  /** The route of a query. An undefined result is a 404. */
  const get = <A, I extends Readonly<Record<string, string | ReadonlyArray<string> | undefined>>>(
    name: string,
    query: Schema.ConstraintCodec<A, I, never, unknown>,
    read: (query: A) => Effect.Effect<unknown>
  ) =>
    HttpRouter.add(
      "GET",
      `/ui/${name}`,
      HttpServerRequest.schemaSearchParams(query).pipe(
        Effect.flatMap(read),
        Effect.map((value) => (value === undefined ? text('{"message":"Not found"}', 404) : text(encode(value)))),
        Effect.catchTag("SchemaError", ({ message }) => Effect.succeed(text(encode({ message }), 400)))
      )
    )

  const overview = Effect.suspend(() => Effect.flatMap(requestsVersion, (version) => Overview.make(emulator, version)))

  const pipelines = Effect.all([emulator.jobs, emulator.steps])

  // Computed once for all open pages.
  const latest = yield* Effect.cachedWithTTL(
    Effect.map(Effect.all([Clock.currentTimeMillis, overview]), ([now, overview]) => ({
      now,
      overview: encode(overview)
    })),
    maxOverviewAge
  )

  const events = Stream.fromEffectSchedule(latest, Schedule.spaced(overviewInterval)).pipe(
    Stream.changesWith((before, after) => before.overview === after.overview),
    Stream.map(({ now, overview }) => {
      const data = `{"now":${now},"overview":${overview}}`
      return retry + Sse.encoder.write({ _tag: "Event", event: "overview", id: undefined, data })
    }),
    Stream.encodeText
  )

  return Layer.mergeAll(
    HttpRouter.add("GET", "/ui/events", HttpServerResponse.stream(events, { contentType: "text/event-stream" })),
    get("overview", Schema.Struct({}), () => Effect.all({ now: Clock.currentTimeMillis, overview })),
    get("jobs", JobsQuery, ({ offset = 0, ...filter }) =>
      Effect.map(emulator.jobs, (jobs) => {
        const matching = jobs.filter(Model.matches(filter)).reverse()
        return {
          total: matching.length,
          pageSize,
          jobs: matching.slice(offset, offset + pageSize).map(Model.row)
        }
      })
    ),
    get("job", IdQuery, ({ id }) =>
      Effect.gen(function* () {
        const jobs = yield* emulator.jobs
        const job = jobs.find((job) => job.id === id)
        if (job === undefined) return undefined
        const [queues, stacks, now] = yield* Effect.all([emulator.queues, emulator.stacks, DateTime.now])
        const waits = Waits.waits(job, { jobs, queues, stacks, now })
        return Model.job(job, yield* emulator.notifications, yield* emulator.jobLog(id), waits)
      })
    ),
    get("builds", Schema.Struct({}), () => Effect.map(pipelines, ([jobs, steps]) => Graph.builds(jobs, steps))),
    get("graph", Schema.Struct({ build: Schema.String }), ({ build }) =>
      Effect.map(pipelines, ([jobs, steps]) => Graph.graph(jobs, steps, build))
    ),
    // Asks runners to send the output of their jobs here.
    get("job-output", Schema.Struct({}), () => Effect.succeed({ isWanted: true })),
    get("job-log", LogQuery, ({ id, size }) =>
      Effect.gen(function* () {
        const job = (yield* emulator.jobs).find((job) => job.id === id)
        return job && Model.log(job, job.logSize === size ? undefined : yield* emulator.jobLog(id))
      })
    ),
    get("held", Schema.Struct({}), () =>
      Effect.map(emulator.steps, (steps) => steps.filter(Model.isHeld).map(Model.heldStep))
    ),
    get("notifications", Schema.Struct({}), () =>
      Effect.map(emulator.notifications, (all) => newest(all).map(Model.notification))
    ),
    get("requests", RequestsQuery, ({ only }) =>
      Effect.map(emulator.requests, (all) =>
        newest(Model.identify(all).filter((each) => only === undefined || isProblem(each))).map(Model.requestRow)
      )
    ),
    get("request", IdQuery, ({ id }) =>
      Effect.map(emulator.requests, (all) => {
        const found = Model.identify(all).find((each) => each.id === id)
        return found && Model.request(found)
      })
    )
  )
})

const newest = <A>(all: ReadonlyArray<A>): ReadonlyArray<A> => all.slice(-pageSize).reverse()

/** A request that was rejected, or hit a fault. */
const isProblem = ({ request: { fault, status } }: Model.IdentifiedRequest): boolean =>
  fault !== undefined || (status !== undefined && status >= 400)

const text = (json: string, status = 200) => HttpServerResponse.text(json, { status, contentType: "application/json" })

/**
 * Writes JSON without tokens, wherever somebody has put them: in a job's environment or output, or a header of their own.
 * The API's is left out whatever it looks like, those of agents and jobs by their form.
 */
const encoderWithout =
  (token: string) =>
  (value: unknown): string =>
    JSON.stringify(value, (_, part) => {
      if (typeof part !== "string") return part
      const rest = token === "" ? part : part.replaceAll(token, "[token]")
      return rest.replace(/\bbk[a-z]{1,4}_[\w.-]{20,}|\beyJ[\w-]+\.[\w-]+\.[\w-]+/g, "[token]")
    })
