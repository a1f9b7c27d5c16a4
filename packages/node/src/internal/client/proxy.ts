/**
 * Chooses the proxy of a request, by the rules of Go's `net/http`, like `buildkite-agent`.
 */
import { BlockList, isIP } from "node:net"
import { domainToASCII } from "node:url"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"

/** A proxy, and the setting that names it. */
export interface Proxy {
  /** Without user name and password. */
  readonly url: URL
  readonly username: string
  readonly password: Redacted.Redacted
  readonly setting: string
}

/** The proxy for a URL, undefined for a direct connection, or what is wrong with the settings. */
export type ProxyOf = (url: URL) => Result.Result<Proxy | undefined, string>

/** The option of the client: a proxy for all hosts, or none. */
export type Choice = URL | Redacted.Redacted | false

// -----------------------------------------------------------------------------
// Settings
// -----------------------------------------------------------------------------

/** The proxies of a client; undefined if it never uses one. */
export const make = (choice: Choice | undefined): Effect.Effect<ProxyOf | undefined> => {
  if (choice === false) return Effect.succeed(undefined)
  if (choice === undefined) return fromSettings
  const proxy = parse(Redacted.isRedacted(choice) ? Redacted.value(choice) : choice.href, "the option proxy")
  return Effect.succeed((url) => (isLoopback(hostOf(url)) ? Result.succeed(undefined) : proxy))
}

/** The value of a setting. The upper-case name takes precedence. Empty values are ignored. */
const setting = (name: string): Effect.Effect<{ readonly name: string; readonly value: string } | undefined> =>
  Effect.map(
    Effect.forEach([name, name.toLowerCase()], (name) =>
      Effect.map(Effect.option(Config.String(name)), (value) => ({
        name,
        value: Option.getOrElse(value, () => "").trim()
      }))
    ),
    (settings) => settings.find(({ value }) => value !== "")
  )

const fromSettings: Effect.Effect<ProxyOf | undefined> = Effect.gen(function* () {
  const http = yield* setting("HTTP_PROXY")
  const https = yield* setting("HTTPS_PROXY")
  if (http === undefined && https === undefined) return undefined
  const exceptions = parseExceptions((yield* setting("NO_PROXY"))?.value ?? "")
  const isCgi = (yield* setting("REQUEST_METHOD")) !== undefined
  const proxies = {
    "http:": http && parse(http.value, http.name),
    "https:": https && parse(https.value, https.name)
  }
  return (url) => {
    const proxy =
      url.protocol === "http:" ? proxies["http:"] : url.protocol === "https:" ? proxies["https:"] : undefined
    if (proxy === undefined || isLoopback(hostOf(url)) || exceptions(hostOf(url), portOf(url))) {
      return Result.succeed(undefined)
    }
    // In CGI, HTTP_PROXY is a header that clients can set.
    return url.protocol === "http:" && isCgi
      ? Result.fail("REQUEST_METHOD is set, as in a CGI program, where HTTP_PROXY can't be trusted; unset one of them")
      : proxy
  }
})

const protocols: ReadonlySet<string> = new Set(["http:", "https:", "socks5:", "socks:"])

/** Parses a proxy: a URL, or a host with or without a port. */
const parse = (text: string, setting: string): Result.Result<Proxy, string> => {
  // The message does not repeat the value, which may contain a password.
  const none = Result.fail(
    `${setting} names no proxy: write it as http://host:port; https:// and socks5:// can stand in place of http://`
  )
  const href = /^[a-z][a-z\d+.-]*:\/\//i.test(text) ? text.replace(/^socks5h:/i, "socks5:") : `http://${text}`
  if (!URL.canParse(href)) return none
  const url = new URL(href)
  if (!protocols.has(url.protocol) || url.hostname === "") return none
  const decode = (part: string) =>
    Result.getOrElse(
      Result.try(() => decodeURIComponent(part)),
      () => part
    )
  const proxy: Proxy = {
    url: new URL(`${url.protocol}//${url.host}`),
    username: decode(url.username),
    password: Redacted.make(decode(url.password)),
    setting
  }
  return Result.succeed(proxy)
}

/** The options of undici's agent for a proxy. */
export const agentOptions = ({ password, url, username }: Proxy) => {
  const secret = Redacted.value(password)
  if (username === "" && secret === "") return { uri: url.href }
  return /^socks/.test(url.protocol)
    ? { uri: url.href, username, password: secret }
    : { uri: url.href, token: `Basic ${Buffer.from(`${username}:${secret}`).toString("base64")}` }
}

// -----------------------------------------------------------------------------
// Hosts
// -----------------------------------------------------------------------------

/** The host of a URL, in lower case and without brackets. */
export const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, "").toLowerCase()

const portOf = (url: URL): string => url.port || (url.protocol === "https:" ? "443" : "80")

const loopback = new BlockList()
loopback.addSubnet("127.0.0.0", 8, "ipv4")
loopback.addAddress("::1", "ipv6")

/** Whether a host is this machine: a name or an address, an IPv6 address without brackets. */
export const isLoopback = (host: string): boolean => host === "localhost" || isIn(loopback, host)

/** IPv4 addresses in IPv6 notation match too. */
const isIn = (list: BlockList, host: string): boolean => {
  const version = isIP(host)
  return version !== 0 && list.check(host, version === 4 ? "ipv4" : "ipv6")
}

type Exception = (host: string, port: string) => boolean

/** The hosts that NO_PROXY names. */
const parseExceptions = (text: string): Exception => {
  const exceptions = text
    .toLowerCase()
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "")
    .map(parseException)
  return (host, port) => exceptions.some((exception) => exception(host, port))
}

/** `*`, an address, a range of addresses, or a domain; addresses and domains with or without a port. */
const parseException = (entry: string): Exception => {
  if (entry === "*") return () => true
  const [, network = "", bits = ""] = entry.match(/^([^/%]+)\/(\d{1,3})$/) ?? []
  const version = isIP(network)
  if (version !== 0) {
    if (Number(bits) > (version === 4 ? 32 : 128)) return () => false
    const list = new BlockList()
    list.addSubnet(network, Number(bits), version === 4 ? "ipv4" : "ipv6")
    return (host) => isIn(list, host)
  }
  const [, bracketed, plain, port = ""] = entry.match(/^(?:\[([^\]]*)\]|([^:]*))(?::(\d*))?$/) ?? []
  const name = bracketed ?? plain ?? entry
  const isPort = (actual: string) => port === "" || port === actual
  if (isIP(name) !== 0) {
    const list = new BlockList()
    if (!name.includes("%")) list.addAddress(name, isIP(name) === 4 ? "ipv4" : "ipv6")
    return (host, actual) => isPort(actual) && isIn(list, host)
  }
  const isSuffix = /^(?:\*\.|\.)/.test(name)
  const domain = name.replace(/^\*?\./, "")
  const ascii = domainToASCII(domain) || domain
  if (ascii === "") return () => false
  // A domain includes its subdomains; with a leading dot, only those.
  return (host, actual) =>
    isPort(actual) && isIP(host) === 0 && (host.endsWith(`.${ascii}`) || (!isSuffix && host === ascii))
}

// -----------------------------------------------------------------------------
// Failures
// -----------------------------------------------------------------------------

/** A request that did not pass a proxy, without the proxy's user name and password. Core's client reads these fields. */
const notSent = (whyNotSent: string, notSentBy: string, cause: Error | undefined) =>
  Object.assign(new Error(whyNotSent, cause === undefined ? {} : { cause }), {
    code: "ERR_NOT_SENT",
    whyNotSent,
    notSentBy
  })

const codeOf = (error: Error): string =>
  Predicate.hasProperty(error, "code") && Predicate.isString(error.code) ? error.code : ""

const unreachable: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT"
])
const unknown: ReadonlySet<string> = new Set(["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL"])

/** Describes a failure before a request was sent through a proxy, or a response of the proxy itself. */
export const failure = (proxy: Proxy, target: URL, error: Error): Error => {
  const { setting, url, username } = proxy
  const shown = url.href.replace(/\/$/, "")
  const code = codeOf(error)
  const fail = (description: string, cause?: Error) =>
    notSent(`the proxy ${shown} ${description}${cause === undefined || code === "" ? "" : ` (${code})`}`, shown, cause)
  const [status] = error.message.match(/(?<=\()\d{3}(?=\))/) ?? []
  if (
    status === "407" ||
    code.startsWith("UND_ERR_SOCKS5_AUTH") ||
    /^Username and password required/.test(error.message)
  ) {
    return username === ""
      ? fail(`asks for a name and a password: write them into ${setting}, as in http://name:password@host:port`)
      : fail(`does not accept the name and the password in ${setting}`)
  }
  if (status !== undefined) {
    return status.startsWith("5")
      ? fail(`could not connect to ${target.host} (status ${status}): can it look that host up, and reach it?`)
      : fail(`does not connect to ${target.host} (status ${status}): it has to allow that host`)
  }
  if (code.startsWith("UND_ERR_SOCKS5"))
    return fail(`does not connect to ${target.host}: it has to allow that host`, error)
  if (unknown.has(code)) return fail(`is not known by that name: is ${setting} right?`, error)
  if (unreachable.has(code)) return fail(`can't be reached: is ${setting} right, and is the proxy up?`, error)
  if (/CERT|SIGNATURE|UND_ERR_PRX_TLS/.test(code)) {
    return fail(
      "or the service behind it has a certificate that is not trusted: set NODE_EXTRA_CA_CERTS to its CA",
      error
    )
  }
  return fail(`broke the connection to ${target.host} before it was made: is ${setting} right?`, error)
}
