/** How the service is reached: TLS, proxy, latency and clock. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Proxy from "../client/proxy.ts"
import { type Finding, finding, reportIt } from "./findings.ts"
import type { Exchange } from "./service.ts"

/** `isConnected`: whether a response has arrived. */
export const examineUrl = (
  baseUrl: URL,
  usesProxy: boolean,
  isConnected: boolean
): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.map(Effect.all([Proxy.make(usesProxy ? undefined : false), isVerifying]), ([proxyOf, isVerifying]) => {
    const proxy = proxyOf?.(baseUrl) ?? Result.succeed(undefined)
    return [
      isEncrypted(baseUrl)
        ? ofHttps(isConnected, isVerifying)
        : Proxy.isLoopback(Proxy.hostOf(baseUrl))
          ? finding("tls", "note", "the endpoint is http, on this machine")
          : finding(
              "tls",
              "differs",
              "the endpoint is http: anyone on the network path can read the token",
              "Use an https endpoint"
            ),
      Result.match(proxy, {
        onFailure: (problem) => finding("proxy", "failed", problem, "Correct the setting, or use --no-proxy"),
        onSuccess: (proxy) =>
          finding(
            "proxy",
            isConnected || proxy === undefined ? "ok" : "note",
            proxy === undefined ? "none" : `${proxy.url.origin}, from ${proxy.setting}`
          )
      })
    ]
  })

/** Whether Node verifies certificates. */
const isVerifying = Effect.map(
  Effect.option(Config.String("NODE_TLS_REJECT_UNAUTHORIZED")),
  (setting) => Option.getOrUndefined(setting) !== "0"
)

const ofHttps = (isConnected: boolean, isVerifying: boolean): Finding => {
  if (!isVerifying) {
    return finding(
      "tls",
      "differs",
      "NODE_TLS_REJECT_UNAUTHORIZED=0: no certificate is verified, so anyone on the network path can read the token",
      "Unset NODE_TLS_REJECT_UNAUTHORIZED, and name a company's certificates in NODE_EXTRA_CA_CERTS"
    )
  }
  return isConnected
    ? finding("tls", "ok", "the endpoint is https; the certificate is verified with each connection")
    : finding("tls", "skipped", "there was no connection")
}

const isEncrypted = ({ protocol }: URL) => protocol === "https:"

/** More than this is a problem for reservations and tokens, whose expiry is by the service's clock. */
const maxClockDifference = 5000

const slow = 1000

export const examineExchanges = (exchanges: ReadonlyArray<Exchange>): ReadonlyArray<Finding> =>
  exchanges.length === 0 ? [] : [clock(exchanges), latency(exchanges)]

/** The header has whole seconds, so the smallest difference is the most exact one. */
const clock = (exchanges: ReadonlyArray<Exchange>): Finding => {
  const differences = exchanges.flatMap(({ at, date }) => (Number.isNaN(date) ? [] : [date + 500 - at]))
  const smallest = differences.toSorted((one, other) => Math.abs(one) - Math.abs(other))[0]
  if (smallest === undefined) return finding("clock", "differs", "no response has a valid Date header", reportIt)
  const seconds = (Math.abs(smallest) / 1000).toFixed(1)
  return Math.abs(smallest) <= maxClockDifference
    ? finding("clock", "ok", `within ${maxClockDifference / 1000} seconds of the service's`)
    : finding(
        "clock",
        "differs",
        `this machine is ${seconds} seconds ${smallest > 0 ? "behind" : "ahead of"} the service`,
        "Synchronize this machine's clock"
      )
}

const latency = (exchanges: ReadonlyArray<Exchange>): Finding => {
  const sorted = exchanges.map(({ millis }) => millis).toSorted((one, other) => one - other)
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0
  const detail = `median ${Math.round(median)} ms, longest ${Math.round(sorted.at(-1) ?? 0)} ms of ${sorted.length} requests`
  return median <= slow
    ? finding("latency", "ok", detail)
    : finding("latency", "note", detail, "A slow connection limits how fast a stack starts jobs")
}
