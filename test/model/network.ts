/** What is between a stack and the service: it sees every request and response, and may spoil them. */
import { type StacksApi, StacksClient } from "@stacksapi/core"
import { Clock, Effect, Exit } from "effect"
import {
  HttpClient,
  HttpClientError,
  type HttpClientRequest,
  type HttpClientResponse,
  HttpServerResponse
} from "effect/http"
import { step } from "./crash.ts"
import { onDelivered, onRequest, onReserved } from "./invariants.ts"
import { observe } from "./ownership.ts"
import type { Odd } from "./plan.ts"
import type { Life, PendingRequest, World } from "./world.ts"

/** A request of a stack, read. */
export interface Sent {
  readonly operation: StacksApi.Operation | undefined
  /** The jobs that it names. */
  readonly jobs: ReadonlyArray<string>
  /** For a reservation: how long it is to last, in seconds. */
  readonly expiry: number | undefined
  readonly hasCursor: boolean
}

/** The client of one life of a stack. */
export const clientOf = (world: World, life: Life): Effect.Effect<StacksClient.StacksClient["Service"]> => {
  const http = HttpClient.transform(world.http, (response, request) => travel(world, life, request, response))
  const { baseUrl, token } = world.emulator
  return Effect.provideService(StacksClient.make({ baseUrl, token }), HttpClient.HttpClient, http)
}

type Answer = Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>

const travel = (world: World, life: Life, request: HttpClientRequest.HttpClientRequest, response: Answer): Answer =>
  Effect.suspend(() => {
    if (!life.isAlive) return Effect.never
    world.requests++
    const sent = read(request)
    const pending: PendingRequest = { operation: sent.operation, since: world.now }
    life.pending.add(pending)
    world.activity++
    const exchange = Effect.andThen(onRequest(world, life, sent), deliver(world, life, request, sent, response))
    return step(world, life, exchange).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          life.pending.delete(pending)
          world.activity++
          const end = Exit.isSuccess(exit) ? String(exit.value.status) : "no response"
          if (sent.operation !== "listScheduledJobs" && sent.operation !== "getJobStates") {
            world.note(`${life.name}: ${sent.operation} ${sent.jobs.join(" ")} ${sent.expiry ?? ""} -> ${end}`)
          } else if (end !== "200") world.note(`${life.name}: ${sent.operation} -> ${end}`)
        })
      )
    )
  })

const deliver = Effect.fnUntraced(function* (
  world: World,
  life: Life,
  request: HttpClientRequest.HttpClientRequest,
  sent: Sent,
  response: Answer
) {
  const { link } = life.process
  if (link === "refuses") return yield* broken(request, "ECONNREFUSED")
  if (link === "hangs") return yield* Effect.never
  const refusal = refusalFor(world, sent)
  if (refusal !== undefined) {
    onDelivered(world, life, sent, refusal.status, undefined)
    return answer(request, refusal.status, refusal.body)
  }
  // The service has a clock of its own.
  const exit = yield* Effect.exit(Effect.provideService(response, Clock.Clock, world.clock))
  yield* onReserved(world, life, sent)
  if (sent.operation === "finishJob") yield* observe(world)
  if (!life.isAlive) return yield* Effect.never
  if (life.process.link === "hangs") return yield* Effect.never
  if (life.process.link === "losesResponses") return yield* broken(request, "ECONNRESET")
  const arrived = yield* exit
  const late = take(world, (odd) => odd.kind === "statusAfter" && odd.operation === sent.operation)
  if (late?.kind === "statusAfter") {
    if (sent.operation === "batchReserveJobs" && late.status < 500) {
      for (const job of sent.jobs) life.refusedAfterwards.add(job)
    }
    onDelivered(world, life, sent, late.status, undefined)
    return answer(request, late.status, message(late.status))
  }
  const text = yield* Effect.exit(arrived.text)
  // A body that breaks off: it will break off for the client, too.
  if (Exit.isFailure(text)) return arrived
  const body = arrived.status < 300 ? mutate(world, sent, parse(text.value)) : undefined
  onDelivered(world, life, sent, arrived.status, body ?? parse(text.value))
  return answer(request, arrived.status, body === undefined ? text.value : JSON.stringify(body), {
    ...arrived.headers,
    date: new Date(world.now).toUTCString()
  })
})

// -----------------------------------------------------------------------------
// Requests and responses
// -----------------------------------------------------------------------------

const routes: ReadonlyArray<readonly [RegExp, StacksApi.Operation]> = [
  [/\/stacks\/register$/, "registerStack"],
  [/\/deregister$/, "deregisterStack"],
  [/\/scheduled-jobs$/, "listScheduledJobs"],
  [/\/batch-reserve$/, "batchReserveJobs"],
  [/\/jobs\/get-states$/, "getJobStates"],
  [/\/jobs\/[^/]+\/finish$/, "finishJob"],
  [/\/jobs\/[^/]+$/, "getJob"],
  [/\/notifications$/, "createStackNotifications"],
  [/\/job-acquisition-tokens$/, "issueJobAcquisitionTokens"],
  [/\/token$/, "getTokenIdentity"]
]

interface Body {
  readonly job_uuids?: ReadonlyArray<string>
  readonly notifications?: ReadonlyArray<{ readonly job_uuid: string }>
  readonly reservation_expiry_seconds?: number
}

const read = (request: HttpClientRequest.HttpClientRequest): Sent => {
  const [path = "", query = ""] = request.url.split("?", 2)
  const operation = routes.find(([pattern]) => pattern.test(path))?.[1]
  const text = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
  const body: Body = text === "" ? {} : JSON.parse(text)
  const inPath = /\/jobs\/([^/]+)/.exec(path)?.[1]
  const jobs =
    body.job_uuids ??
    body.notifications?.map(({ job_uuid }) => job_uuid) ??
    (inPath === undefined || inPath === "get-states" ? [] : [decodeURIComponent(inPath)])
  const params = Array.from(request.urlParams.params, ([name]) => name)
  const hasCursor = query.includes("after=") || params.includes("after")
  return { operation, jobs, expiry: body.reservation_expiry_seconds, hasCursor }
}

const parse = (text: string): unknown => {
  try {
    return text === "" ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}

const message = (status: number) => JSON.stringify({ message: `An odd response: ${status}` })

const answer = (
  request: HttpClientRequest.HttpClientRequest,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {}
): HttpClientResponse.HttpClientResponse =>
  HttpServerResponse.toClientResponse(
    HttpServerResponse.text(body, {
      status,
      contentType: body.startsWith("<") ? "text/html" : "application/json"
    }).pipe(
      HttpServerResponse.setHeaders({ ...headers, "content-length": String(new TextEncoder().encode(body).length) })
    ),
    { request }
  )

const broken = (request: HttpClientRequest.HttpClientRequest, code: string) =>
  Effect.fail(
    new HttpClientError.HttpClientError({
      reason: new HttpClientError.TransportError({ request, cause: Object.assign(new Error(code), { code }) })
    })
  )

// -----------------------------------------------------------------------------
// Odd responses
// -----------------------------------------------------------------------------

/** The next odd response of a kind, if one is left. */
const take = (world: World, isMeant: (odd: Odd) => boolean): Odd | undefined => {
  const entry = world.odd.find(({ odd, left }) => left > 0 && isMeant(odd))
  if (entry === undefined) return undefined
  entry.left--
  world.odd = world.odd.filter(({ left }) => left > 0)
  return entry.odd
}

const refusalFor = (world: World, sent: Sent): { readonly status: number; readonly body: string } | undefined => {
  const odd = take(
    world,
    (odd) =>
      (odd.kind === "status" || odd.kind === "poison") &&
      odd.operation === sent.operation &&
      (odd.kind === "status" || sent.jobs.includes(odd.job))
  )
  if (odd?.kind === "status") {
    return { status: odd.status, body: odd.html ? "<html><body>proxy</body></html>" : message(odd.status) }
  }
  if (odd?.kind === "poison") return { status: odd.status, body: message(odd.status) }
  return undefined
}

type Json = Record<string, unknown>

const mutations: {
  readonly [K in Odd["kind"]]?: {
    readonly operation: StacksApi.Operation
    readonly change: (body: Json, odd: Extract<Odd, { readonly kind: K }>, sent: Sent) => Json
  }
} = {
  omitReserved: {
    operation: "batchReserveJobs",
    change: (body, { all }) => ({ ...body, reserved: all ? [] : listIn(body, "reserved").slice(1) })
  },
  respellReserved: {
    operation: "batchReserveJobs",
    change: (body) => ({ ...body, reserved: listIn(body, "reserved").map((id) => String(id).toUpperCase()) })
  },
  nullList: { operation: "batchReserveJobs", change: (body, { list }) => ({ ...body, [list]: null }) },
  oddCursor: {
    operation: "listScheduledJobs",
    change: (body, { cursor }) => {
      const info = body["page_info"] as Json
      const end = cursor === "missing" ? null : info["end_cursor"]
      return { ...body, page_info: { has_next_page: true, end_cursor: end } }
    }
  },
  undecodableJob: {
    operation: "listScheduledJobs",
    change: (body) => ({ ...body, jobs: [{ id: "undecodable", priority: "high" }, ...listIn(body, "jobs")] })
  },
  repeatedJob: {
    operation: "listScheduledJobs",
    change: (body) => ({ ...body, jobs: [...listIn(body, "jobs"), ...listIn(body, "jobs")] })
  },
  omitStates: { operation: "getJobStates", change: (body) => ({ ...body, states: {} }) },
  omitTokens: {
    operation: "issueJobAcquisitionTokens",
    change: (body) => ({ ...body, job_acquisition_tokens: [], not_issued: [] })
  }
}

const listIn = (body: Json, key: string): ReadonlyArray<unknown> => {
  const list = body[key]
  return Array.isArray(list) ? list : []
}

/** The body as it is delivered; undefined where it is not changed. */
const mutate = (world: World, sent: Sent, original: unknown): unknown => {
  if (typeof original !== "object" || original === null) return undefined
  const body = renameStates(world, sent, original as Json)
  const odd = take(world, ({ kind }) => mutations[kind] !== undefined && mutations[kind].operation === sent.operation)
  if (odd === undefined) return body
  const mutation = mutations[odd.kind] as { readonly change: (body: Json, odd: Odd, sent: Sent) => Json }
  world.note(`network: ${odd.kind}`)
  return mutation.change(body, odd, sent)
}

/** Jobs that have timed out or expired: the emulator knows canceled ones alone. */
const renameStates = (world: World, sent: Sent, body: Json): Json => {
  if (sent.operation !== "getJobStates") return body
  const states = Object.entries(body["states"] as Record<string, string>).map(([id, state]) => {
    const as = world.jobs.get(id)?.canceledAs
    if (as === "timed out" && state === "canceling") return [id, "timing_out"]
    if (as === "timed out" && state === "canceled") return [id, "timed_out"]
    if (as === "expired" && state === "canceled") return [id, "expired"]
    return [id, state]
  })
  return { ...body, states: Object.fromEntries(states) }
}
