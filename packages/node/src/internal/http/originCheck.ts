/**
 * The origin check: a server without a login responds only at its own names, and only to its own pages.
 *
 * Any web page can make a browser on this machine send requests to it. With a foreign name that resolves to this machine (DNS rebinding),
 * such a page has the same origin, and could read the responses too.
 */
import * as Net from "node:net"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { bare, hostname, parse } from "./hostname.ts"

/** Why a request is rejected. */
interface Rejection {
  readonly status: 403 | 415 | 421
  readonly message: string
}

export interface OriginCheckOptions {
  /** The host that the server listens on. */
  readonly boundTo: string
  /** More names at which clients reach it. */
  readonly allowedHosts: ReadonlyArray<string>
}

/** Checks a request's `Host`, `Origin` and `Sec-Fetch-Site`; undefined if it is accepted. */
export type OriginCheck = (request: HttpServerRequest.HttpServerRequest) => Rejection | undefined

export const make = ({ allowedHosts, boundTo }: OriginCheckOptions): OriginCheck => {
  const names = new Set(["localhost", ...[boundTo, ...allowedHosts].flatMap((name) => hostname(name) ?? [])])
  // On all interfaces, any address may belong to this machine; an address can't be rebound.
  const isEverywhere = everywhere.has(boundTo)

  const isOwnName = (name: string): boolean =>
    names.has(name) ||
    name.endsWith(".localhost") ||
    (Net.isIP(name) !== 0 && (isEverywhere || loopback.check(name, Net.isIPv6(name) ? "ipv6" : "ipv4")))

  return ({ headers, method, url }) => {
    const host = parse(headers["host"] ?? "")
    if (host === undefined || !isOwnName(bare(host.hostname))) return wrongName
    const site = headers["sec-fetch-site"]
    // A link to the page may be on another site.
    const isLink = method === "GET" && /^\/(\?|$)/.test(url) && headers["sec-fetch-mode"] === "navigate"
    if (isLink) return undefined
    if (site !== undefined && site !== "same-origin" && site !== "none") return foreignPage
    const origin = headers["origin"]
    return origin === undefined || URL.parse(origin)?.host === host.host ? undefined : foreignPage
  }
}

/** Runs a check before an application. */
export const before = <E, R>(
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  check: OriginCheck
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const rejection = check(request)
    return rejection === undefined
      ? app
      : Effect.succeed(HttpServerResponse.jsonUnsafe({ message: rejection.message }, { status: rejection.status }))
  })

/** Accepts POST requests with JSON only, which forms of other pages can't send. */
export const jsonOnly: OriginCheck = ({ headers, method }) =>
  method === "POST" && headers["content-type"]?.split(";")[0]?.trim() !== "application/json"
    ? { status: 415, message: "The body must be application/json" }
    : undefined

const wrongName: Rejection = {
  status: 421,
  message:
    "The emulator answers only under localhost, the address that it listens on, and the names in allowedHosts (--allowed-host)"
}

const foreignPage: Rejection = { status: 403, message: "The emulator rejects requests of other web pages" }

const everywhere = new Set(["", "0.0.0.0", "::", "[::]"])

const loopback = new Net.BlockList()
loopback.addSubnet("127.0.0.0", 8, "ipv4")
loopback.addAddress("::1", "ipv6")
