/** What faults, authentication and rate limits need to know about a request before it is routed. */
import * as Context from "effect/Context"
import * as FindMyWay from "effect/http/FindMyWay"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import { type Endpoint, Limit } from "../../StacksApi.ts"
import { parseJson } from "./requestLog.ts"
import { Api } from "./routes.ts"

export interface RequestInfo {
  readonly request: HttpServerRequest
  /** The body. */
  readonly text: string
  /** Undefined for an unknown path. */
  readonly endpoint: Endpoint | undefined
  /** The key of the stack that it counts for. */
  readonly stackKey: string
  readonly limit: Limit["Service"]
}

export const make = (request: HttpServerRequest, text: string): RequestInfo => {
  const found = hasRawDot(request.url) ? undefined : router.find(request.method, request.url)
  const endpoint = found?.handler.endpoint
  const stackKey = endpoint === "registerStack" ? keyInBody(text) : found?.params["stackKey"]
  return { request, text, endpoint, stackKey: stackKey ?? "", limit: found?.handler.limit ?? defaultLimit }
}

/** The service's router refuses a dot in a path; `%2E` is allowed. */
const hasRawDot = (url: string): boolean => url.split("?", 1)[0]?.includes(".") === true

export const defaultLimit: Limit["Service"] = { scope: "default", limit: 10 }

const router = FindMyWay.make<{ readonly endpoint: Endpoint; readonly limit: Limit["Service"] }>()
for (const endpoint of Object.values(Api.groups.stacks.endpoints)) {
  router.on(endpoint.method, endpoint.path, {
    endpoint: endpoint.identifier,
    limit: Context.getOrElse(endpoint.annotations, Limit, () => defaultLimit)
  })
}

/** For `registerStack`, which has the key in its body. */
const keyInBody = (text: string): string | undefined => {
  const body = Option.getOrUndefined(parseJson(text))
  return Predicate.hasProperty(body, "key") && Predicate.isString(body.key) ? body.key : undefined
}

export const isAuthenticated = ({ request }: RequestInfo, token: Redacted.Redacted): boolean =>
  tokenOf(request) === Redacted.value(token)

export const tokenOf = (request: HttpServerRequest): string | undefined =>
  request.headers["authorization"]?.match(/^token +(\S+) *$/i)?.[1]
