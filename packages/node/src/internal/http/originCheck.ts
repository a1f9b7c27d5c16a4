/**
 * The origin check: a server without a log-in answers only under its own names, and only to its own pages.
 *
 * Any web page can have a browser on this machine send requests here. A foreign name that resolves to this machine makes such a
 * page one of this origin (DNS rebinding), which could then read the answers too.
 */
import * as Net from "node:net"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"

/** Why a request is not answered. */
interface Refusal {
  readonly status: 403 | 415 | 421
  readonly message: string
}

export interface OriginCheckOptions {
  /** The host that the server was told to listen on. */
  readonly boundTo: string
  /** Further names under which it is reached. */
  readonly allowedHosts: ReadonlyArray<string>
}

/** Checks a request's `Host`, `Origin` and `Sec-Fetch-Site`; undefined where it may be answered. */
export type OriginCheck = (request: HttpServerRequest.HttpServerRequest) => Refusal | undefined

export const make = ({ allowedHosts, boundTo }: OriginCheckOptions): OriginCheck => {
  const names = new Set(["localhost", ...[boundTo, ...allowedHosts].flatMap((name) => hostname(name) ?? [])])
  // Told to listen everywhere: any address may be this machine's, and no address can be rebound.
  const isEverywhere = everywhere.has(boundTo)

  const isOwnName = (name: string): boolean =>
    names.has(name) ||
    name.endsWith(".localhost") ||
    (Net.isIP(name) !== 0 && (isEverywhere || loopback.check(name, Net.isIPv6(name) ? "ipv6" : "ipv4")))

  return ({ headers, method, url }) => {
    const host = parse(headers["host"] ?? "")
    if (host === undefined || !isOwnName(bare(host.hostname))) return wrongName
    const site = headers["sec-fetch-site"]
    // Whoever follows a link to the page comes from another site.
    const isLink = method === "GET" && /^\/(\?|$)/.test(url) && headers["sec-fetch-mode"] === "navigate"
    if (isLink) return undefined
    if (site !== undefined && site !== "same-origin" && site !== "none") return foreignPage
    const origin = headers["origin"]
    return origin === undefined || URL.parse(origin)?.host === host.host ? undefined : foreignPage
  }
}

/** Puts a check in front of an application. */
export const before = <E, R>(
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  check: OriginCheck
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const refusal = check(request)
    return refusal === undefined
      ? app
      : Effect.succeed(HttpServerResponse.jsonUnsafe({ message: refusal.message }, { status: refusal.status }))
  })

/** The name of a host, which may have a port; undefined where it is none. */
export const hostname = (host: string): string | undefined => {
  const isAddress = Net.isIPv6(host)
  const url = parse(isAddress ? `[${host}]` : host)
  return url && bare(url.hostname)
}

/** Forms of other pages can send anything but JSON. */
export const jsonOnly: OriginCheck = ({ headers, method }) =>
  method === "POST" && headers["content-type"]?.split(";")[0]?.trim() !== "application/json"
    ? { status: 415, message: "The body has to be application/json" }
    : undefined

const wrongName: Refusal = {
  status: 421,
  message:
    "The emulator answers only under localhost, the address that it listens on, and the names in allowedHosts (--allowed-host)"
}

const foreignPage: Refusal = { status: 403, message: "The emulator answers no other web pages" }

const everywhere = new Set(["", "0.0.0.0", "::", "[::]"])

const loopback = new Net.BlockList()
loopback.addSubnet("127.0.0.0", 8, "ipv4")
loopback.addAddress("::1", "ipv6")

/** A host as it stands in a URL. */
const parse = (host: string): URL | undefined =>
  /^[\w.:[\]-]+$/.test(host) ? (URL.parse(`http://${host}`) ?? undefined) : undefined

/** A name without the brackets of an IPv6 address, and without the dot at the end of a complete name. */
const bare = (name: string): string => name.replace(/^\[|\]$/g, "").replace(/\.$/, "")
