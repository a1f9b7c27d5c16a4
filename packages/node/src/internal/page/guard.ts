/** Who may use the page: itself, opened from this machine or by the name under which the emulator was told to listen. */
import * as Net from "node:net"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"

/** Why a request is not answered. */
export interface Refusal {
  readonly status: 403 | 415 | 421
  readonly message: string
}

/** Other web pages in the same browser can send requests here too: these must not get through. */
export const check = (request: HttpServerRequest.HttpServerRequest, boundTo: string): Refusal | undefined => {
  const { headers } = request
  // A foreign name that resolves to this machine makes a foreign page of the same origin (DNS rebinding).
  if (!isOwnName(headers["host"] ?? "", boundTo)) {
    return { status: 421, message: "The emulator's page is served under localhost and its own address only" }
  }
  const site = headers["sec-fetch-site"]
  // Whoever follows a link to the page comes from another site.
  if (request.method === "GET" && headers["sec-fetch-mode"] === "navigate") return undefined
  const isForeign = site !== undefined && site !== "same-origin" && site !== "none"
  const origin = headers["origin"]
  if (isForeign || (origin !== undefined && URL.parse(origin)?.host !== headers["host"]?.toLowerCase())) {
    return { status: 403, message: "Only the emulator's own page may ask for this" }
  }
  // Forms of other pages can send anything but JSON.
  if (request.method === "POST" && headers["content-type"]?.split(";")[0]?.trim() !== "application/json") {
    return { status: 415, message: "The body has to be application/json" }
  }
  return undefined
}

const isOwnName = (host: string, boundTo: string): boolean => {
  if (!/^[\w.:[\]-]+$/.test(host)) return false
  const name = bare(URL.parse(`http://${host}`)?.hostname ?? "")
  const isAddress = Net.isIP(name) !== 0
  return (
    name === "localhost" ||
    name.endsWith(".localhost") ||
    name === "::1" ||
    (Net.isIPv4(name) && name.startsWith("127.")) ||
    name === bare(boundTo.toLowerCase()) ||
    // Told to listen everywhere: any address may be this machine's, and no address can be rebound.
    (isAddress && (boundTo === "0.0.0.0" || boundTo === "::"))
  )
}

/** A name without the brackets of an IPv6 address. */
const bare = (name: string): string => name.replace(/^\[|\]$/g, "")

/** On every answer: the page runs its own files only, in no frame, and nothing that it is given becomes code. */
export const securityHeaders = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'"
  ].join("; "),
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store"
}
