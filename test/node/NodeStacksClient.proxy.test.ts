/** A client in a network that only a proxy leads out of. No host of these tests exists: only a proxy knows where to go. */
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, StacksClient } from "@stacksapi/core"
import { NodeStacksClient } from "@stacksapi/node"
import { ConfigProvider, Effect, Exit, Layer, Redacted, Result } from "effect"
import * as ProxyRules from "../../packages/node/src/internal/client/proxy.ts"
import * as Certificate from "../support/certificate.ts"
import { stacksapi } from "../support/cli.ts"
import * as Proxy from "../support/proxy.ts"
import * as RawServer from "../support/rawServer.ts"
import { record } from "../support/recording.ts"
import { answers, calls } from "../support/samples.ts"
import * as Secrets from "../support/secrets.ts"

type Settings = Readonly<Record<string, string>>

const layerSettings = (settings: Settings) => ConfigProvider.layer(ConfigProvider.fromUnknown(settings))

/** Asks a service for a job, in an environment. */
const getJob = (baseUrl: string, settings: Settings, options: Partial<NodeStacksClient.Options> = {}) =>
  Effect.flatMap(StacksClient.StacksClient, calls.getJob).pipe(
    RetryPolicy.withPolicy(RetryPolicy.none),
    Effect.provide(
      NodeStacksClient.layer({ token: Redacted.make("bkct_PLANTED_token"), baseUrl, ...options }).pipe(
        Layer.provide(layerSettings(settings))
      )
    )
  )

const portOf = ({ origin }: RawServer.RawServer) => Number(new URL(origin).port)

/** A service, and a proxy that leads every name to it. */
const setUp = Effect.fnUntraced(function* (
  options: Omit<Proxy.Options, "to"> = {},
  serverOptions: RawServer.Options = {}
) {
  const server = yield* RawServer.make(RawServer.always({ body: JSON.stringify(answers.getJob.body) }), serverOptions)
  return { server, proxy: yield* Proxy.make({ ...options, to: portOf(server) }) }
})

const authority = Certificate.make()

/** A service with TLS under a name that does not exist. */
const setUpTls = Effect.fnUntraced(function* (options: Omit<Proxy.Options, "to"> = {}) {
  yield* Certificate.trusted(authority)
  return yield* setUp(options, { certificate: Certificate.make({ signer: authority, host: "stacks.invalid" }) })
})

const plain = "http://stacks.invalid/v3/"
const secure = "https://stacks.invalid/v3/"
const target = (base: string) => new RegExp(`^GET ${base}stacks/my-stack/jobs/\\S+$`)

describe("A proxy of the environment", () => {
  it.live("gets requests to an http:// service unchanged", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* setUp()
      for (const name of ["HTTP_PROXY", "http_proxy"]) yield* getJob(plain, { [name]: proxy.url })
      assert.lengthOf(proxy.seen, 2)
      for (const seen of proxy.seen) assert.match(seen, target(plain))
      assert.strictEqual(RawServer.header(yield* server.firstRequest, "host"), "stacks.invalid")
      assert.strictEqual(RawServer.header(yield* server.firstRequest, "authorization"), "Token bkct_PLANTED_token")
    }).pipe(Effect.scoped)
  )

  it.live("tunnels requests to an https:// service", () =>
    Effect.gen(function* () {
      const { proxy } = yield* setUpTls()
      for (const name of ["HTTPS_PROXY", "https_proxy"]) yield* getJob(secure, { [name]: proxy.url })
      assert.deepStrictEqual(proxy.seen, ["CONNECT stacks.invalid:443", "CONNECT stacks.invalid:443"])
    }).pipe(Effect.scoped)
  )

  it.live("is reused for the next requests", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* setUpTls()
      yield* Effect.gen(function* () {
        const client = yield* StacksClient.StacksClient
        for (let call = 0; call < 6; call++) yield* calls.getJob(client)
      }).pipe(
        Effect.provide(
          NodeStacksClient.layer({ token: Redacted.make("bkct_test"), baseUrl: secure }).pipe(
            Layer.provide(layerSettings({ HTTPS_PROXY: proxy.url }))
          )
        )
      )
      assert.lengthOf(server.requests, 6)
      assert.isAtMost(proxy.seen.length, 2)
    }).pipe(Effect.scoped)
  )

  it.live("may be written without http://", () =>
    Effect.gen(function* () {
      const { proxy } = yield* setUp()
      yield* getJob(plain, { HTTP_PROXY: proxy.host })
      assert.lengthOf(proxy.seen, 1)
    }).pipe(Effect.scoped)
  )

  it.live("gets the user name and password of its URL", () =>
    Effect.gen(function* () {
      const { proxy } = yield* setUp({ login: "me:p@ss word" })
      yield* getJob(plain, { HTTP_PROXY: `http://me:p%40ss%20word@${proxy.host}` })
      const tls = yield* setUpTls({ login: "me:p@ss word" })
      yield* getJob(secure, { HTTPS_PROXY: `http://me:p%40ss%20word@${tls.proxy.host}` })
      assert.lengthOf([...proxy.seen, ...tls.proxy.seen], 2)
    }).pipe(Effect.scoped)
  )

  it.live("may use TLS itself", () =>
    Effect.gen(function* () {
      const certificate = Certificate.make({ signer: authority })
      const { proxy } = yield* setUpTls({ certificate })
      yield* getJob(secure, { HTTPS_PROXY: proxy.url })
      assert.deepStrictEqual(proxy.seen, ["CONNECT stacks.invalid:443"])
    }).pipe(Effect.scoped)
  )

  it.live("may use SOCKS5, and resolves host names", () =>
    Effect.gen(function* () {
      const { server } = yield* setUpTls()
      const proxy = yield* Proxy.makeSocks(portOf(server))
      for (const url of [proxy.url, proxy.url.replace("socks5:", "socks5h:")])
        yield* getJob(secure, { HTTPS_PROXY: url })
      assert.deepStrictEqual(proxy.seen, ["CONNECT stacks.invalid:443", "CONNECT stacks.invalid:443"])
    }).pipe(Effect.scoped)
  )

  it.live("is not used for this machine", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* setUp()
      const settings = { HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url }
      for (const host of ["127.0.0.1", "localhost"]) yield* getJob(`http://${host}:${portOf(server)}/v3/`, settings)
      yield* getJob(`http://localhost:${portOf(server)}/v3/`, settings, { proxy: new URL(proxy.url) })
      assert.isEmpty(proxy.seen)
      assert.lengthOf(server.requests, 3)
    }).pipe(Effect.scoped)
  )

  it.live("is not used with `proxy: false`, or for requests of the other scheme", () =>
    Effect.gen(function* () {
      const { proxy } = yield* setUp()
      const settings = { HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url }
      for (const failing of [
        getJob(plain, settings, { proxy: false }),
        getJob(plain, { HTTPS_PROXY: proxy.url }),
        getJob(secure, { HTTP_PROXY: proxy.url }),
        getJob(plain, { ...settings, NO_PROXY: "other.test, .invalid" }),
        getJob(plain, { ALL_PROXY: proxy.url })
      ]) {
        const error = yield* Effect.flip(failing)
        assert(error._tag === "TransportError")
        assert.isUndefined(error.proxy)
      }
      assert.isEmpty(proxy.seen)
    }).pipe(Effect.scoped)
  )

  it.live("is overridden by the option `proxy`", () =>
    Effect.gen(function* () {
      const { proxy } = yield* setUp({ login: "me:PLANTED_password" })
      const url = `http://me:PLANTED_password@${proxy.host}`
      yield* getJob(plain, { HTTP_PROXY: "http://other.invalid", NO_PROXY: "*" }, { proxy: new URL(url) })
      yield* getJob(plain, {}, { proxy: Redacted.make(url) })
      assert.lengthOf(proxy.seen, 2)
    }).pipe(Effect.scoped)
  )

  it.live("is used by layerConfig", () =>
    Effect.gen(function* () {
      const { proxy } = yield* setUp()
      yield* Effect.flatMap(StacksClient.StacksClient, calls.getJob).pipe(
        Effect.provide(
          NodeStacksClient.layerConfig.pipe(
            Layer.provide(
              layerSettings({
                BUILDKITE_CLUSTER_TOKEN: "bkct_x",
                BUILDKITE_AGENT_ENDPOINT: plain,
                http_proxy: proxy.url
              })
            )
          )
        )
      )
      assert.lengthOf(proxy.seen, 1)
    }).pipe(Effect.scoped)
  )
})

describe("A failure of a proxy", () => {
  const login = "me:PLANTED_password"
  type Case = readonly [what: string, options: Omit<Proxy.Options, "to">, login: string | undefined, said: RegExp]
  const cases: ReadonlyArray<Case> = [
    ["wants a log-in", { login }, undefined, /asks for a name and a password: write them into HTTPS?_PROXY/],
    ["wants another log-in", { login: "me:other" }, login, /does not accept the name and the password in HTTPS?_PROXY/]
  ]
  const tunnelCases: ReadonlyArray<Case> = [
    ["forbids the host", { refusal: 403 }, login, /does not connect to stacks\.invalid \(status 403\)/],
    ["can't reach the host", { refusal: 502 }, login, /could not connect to stacks\.invalid \(status 502\)/],
    ["breaks the connection", { isBroken: true }, login, /broke the connection to stacks\.invalid/]
  ]
  for (const [base, list] of [
    [plain, cases],
    [secure, [...cases, ...tunnelCases]]
  ] as const) {
    for (const [what, options, credentials, said] of list) {
      it.live(`is told, and what to do: it ${what}, for ${base}`, () =>
        Effect.gen(function* () {
          const { proxy, server } = yield* setUp(options)
          const url = `http://${credentials === undefined ? "" : `${credentials}@`}${proxy.host}`
          const program = getJob(base, { HTTP_PROXY: url, HTTPS_PROXY: url }, { logPayloads: true })
          const { exit, recording } = yield* record(program)
          const error = yield* Effect.flip(exit)
          assert(error._tag === "TransportError")
          assert.match(error.description, said)
          assert.include(error.message, `the proxy http://${proxy.host} `)
          assert.strictEqual(error.proxy, `http://${proxy.host}`)
          assert.deepStrictEqual(
            [error.kind, error.mayHaveBeenProcessed, error.isRetryable],
            ["NotConnected", false, true]
          )
          assert.isEmpty(server.requests)
          Secrets.assertNone("a failure at a proxy", [
            ...Secrets.recorded(recording),
            ...Secrets.renderings(Exit.fail(error))
          ])
        }).pipe(Effect.scoped)
      )
    }
  }

  it.live.each([
    ["is not there", "127.0.0.1:1", /can't be reached/],
    ["has a name that nobody knows", "proxy.invalid:3128", /is not known by that name/]
  ] as const)("is told: it %s", ([, host, said]) =>
    Effect.gen(function* () {
      const url = `http://${login}@${host}`
      for (const base of [plain, secure]) {
        const { exit, recording } = yield* record(getJob(base, { HTTP_PROXY: url, HTTPS_PROXY: url }))
        const error = yield* Effect.flip(exit)
        assert(error._tag === "TransportError")
        assert.match(error.description, said)
        assert.strictEqual(error.proxy, `http://${host}`)
        assert.strictEqual(error.kind, "NotConnected")
        Secrets.assertNone("a failure at a proxy", [
          ...Secrets.recorded(recording),
          ...Secrets.renderings(Exit.fail(error))
        ])
      }
    })
  )

  it.live("is reported if it replaces the service's certificate", () =>
    Effect.gen(function* () {
      const { proxy } = yield* setUp({}, { certificate: Certificate.make({ host: "stacks.invalid" }) })
      const error = yield* Effect.flip(getJob(secure, { HTTPS_PROXY: proxy.url }))
      assert(error._tag === "TransportError")
      assert.match(error.description, /NODE_EXTRA_CA_CERTS/)
    }).pipe(Effect.scoped)
  )

  it.live.each(["ftp://me:PLANTED_password@proxy.test", "http://me:PLANTED_password@", "http://[PLANTED", "http://"])(
    "is told where it is none, and nothing is sent past it: %s",
    (url) =>
      Effect.gen(function* () {
        const { exit, recording } = yield* record(getJob(secure, { HTTPS_PROXY: url }))
        const error = yield* Effect.flip(exit)
        assert(error._tag === "InvalidRequest")
        assert.match(error.issue, /^HTTPS_PROXY names no proxy: write it as http:\/\/host:port/)
        Secrets.assertNone(url, [...Secrets.recorded(recording), ...Secrets.renderings(Exit.fail(error))])
      })
  )

  it.live("is reported in a CGI program, where clients can set HTTP_PROXY", () =>
    Effect.gen(function* () {
      const { proxy } = yield* setUp()
      const error = yield* Effect.flip(getJob(plain, { HTTP_PROXY: proxy.url, REQUEST_METHOD: "GET" }))
      assert(error._tag === "InvalidRequest")
      assert.match(error.issue, /REQUEST_METHOD/)
      assert.isEmpty(proxy.seen)
    }).pipe(Effect.scoped)
  )
})

describe("NO_PROXY", () => {
  /** Whether a URL is called through the proxy. */
  const isProxied = (noProxy: string, url: string) =>
    Effect.map(
      ProxyRules.make(undefined).pipe(
        Effect.provide(layerSettings({ HTTP_PROXY: "proxy.test", HTTPS_PROXY: "proxy.test", no_proxy: noProxy }))
      ),
      (proxyOf) => Result.getOrThrow(proxyOf?.(new URL(url)) ?? Result.succeed(undefined)) !== undefined
    )

  it.effect.each([
    ["", "https://stacks.test", true],
    ["*", "https://stacks.test", false],
    ["a.test, * ,b.test", "https://stacks.test", false],
    ["stacks.test", "https://stacks.test", false],
    ["STACKS.test", "https://Stacks.TEST", false],
    ["stacks.test", "https://a.b.stacks.test", false],
    ["stacks.test", "https://mystacks.test", true],
    [".stacks.test", "https://a.stacks.test", false],
    [".stacks.test", "https://stacks.test", true],
    ["*.stacks.test", "https://a.stacks.test", false],
    ["*.stacks.test", "https://stacks.test", true],
    ["test", "https://a.stacks.test", false],
    ["stacks.test:443", "https://stacks.test", false],
    ["stacks.test:8443", "https://stacks.test", true],
    ["stacks.test:8443", "https://stacks.test:8443", false],
    ["stacks.test:80", "http://stacks.test", false],
    [".stacks.test:80", "http://a.stacks.test", false],
    ["bücher.test", "https://a.bücher.test", false],
    ["10.1.2.3", "https://10.1.2.3", false],
    ["10.1.2.3", "https://10.1.2.4", true],
    ["10.1.2.3:8443", "https://10.1.2.3", true],
    ["10.1.2.3:8443", "https://10.1.2.3:8443", false],
    ["10.0.0.0/8", "https://10.1.2.3", false],
    ["10.9.9.9/8", "https://10.1.2.3", false],
    ["10.0.0.0/8", "https://11.1.2.3", true],
    ["0.0.0.0/0", "https://11.1.2.3", false],
    ["192.168.0.0/16,10.0.0.0/8", "https://10.1.2.3", false],
    ["10.0.0.0/33", "https://10.1.2.3", true],
    ["10.0.0.0/8", "https://10.stacks.test", true],
    ["2.3", "https://10.1.2.3", true],
    ["fd00::/8", "https://[fd00::1]", false],
    ["fd00::/8", "https://[fe00::1]", true],
    ["fd00::1", "https://[fd00::1]", false],
    ["[fd00::1]", "https://[fd00::1]", false],
    ["[fd00::1]:8443", "https://[fd00::1]:8443", false],
    ["[fd00::1]:8443", "https://[fd00::1]", true],
    ["10.0.0.0/8", "https://[::ffff:10.1.2.3]", false],
    [":8443", "https://stacks.test:8443", true],
    [" , ,", "https://stacks.test", true],
    ["", "https://127.1.2.3", false],
    ["", "https://localhost", false],
    ["", "https://[::1]", false],
    ["", "http://[::ffff:127.0.0.1]", false],
    ["", "https://localhost.test", true]
  ] as const)("%s: %s is proxied: %s", ([noProxy, url, expected]) =>
    Effect.map(isProxied(noProxy, url), (actual) => assert.strictEqual(actual, expected))
  )

  it.effect("is read by its upper-case name first, like the others", () =>
    Effect.gen(function* () {
      const proxyOf = yield* ProxyRules.make(undefined).pipe(
        Effect.provide(
          layerSettings({
            HTTPS_PROXY: "upper.test",
            https_proxy: "lower.test",
            HTTP_PROXY: "",
            http_proxy: "lower.test",
            NO_PROXY: "",
            no_proxy: "a.test"
          })
        )
      )
      const of = (url: string) => Result.getOrThrow(proxyOf?.(new URL(url)) ?? Result.succeed(undefined))?.url.hostname
      assert.deepStrictEqual(["https://x.test", "http://x.test", "http://a.test"].map(of), [
        "upper.test",
        "lower.test",
        undefined
      ])
    })
  )
})

describe("The command", () => {
  const command = ["jobs", "states", "0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a10", "--key", "s"]
  const environment = (url: string) => ({
    BUILDKITE_AGENT_ENDPOINT: plain,
    BUILDKITE_CLUSTER_TOKEN: "bkct_PLANTED_token",
    HTTP_PROXY: url
  })

  it.live("uses the proxy of its environment, except with --no-proxy", () =>
    Effect.gen(function* () {
      const server = yield* RawServer.make(RawServer.always({ body: JSON.stringify(answers.getJobStates.body) }))
      const proxy = yield* Proxy.make({ to: portOf(server) })
      assert.strictEqual((yield* stacksapi(command, { env: environment(proxy.url) })).status, 0)
      assert.lengthOf(proxy.seen, 1)
      const { status, stderr } = yield* stacksapi([...command, "--no-proxy"], { env: environment(proxy.url) })
      assert.strictEqual(status, 1)
      assert.match(stderr, /stacks\.invalid.*no connection could be made/)
      assert.lengthOf(proxy.seen, 1)
    }).pipe(Effect.scoped)
  )

  it.live("explains a failure of the proxy", () =>
    Effect.gen(function* () {
      const env = environment("http://me:PLANTED_password@127.0.0.1:1")
      const { status, stderr, stdout } = yield* stacksapi([...command, "--log-level", "all"], { env })
      assert.strictEqual(status, 1)
      assert.match(stderr, /the proxy http:\/\/127\.0\.0\.1:1 can't be reached: is HTTP_PROXY right/)
      assert.notMatch(stderr, /Is BUILDKITE_AGENT_ENDPOINT/)
      Secrets.assertNone("what it prints", [stderr, stdout])
    })
  )
})
