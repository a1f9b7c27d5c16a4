/** Requests of all kinds, right and mutilated, over HTTP, to every endpoint of the emulator: of stacks, agents, and its page. */
import * as Http from "node:http"
import * as Net from "node:net"
import { gzipSync } from "node:zlib"
import { StacksApi } from "@stacksapi/core"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Arbitrary, Effect, Schema } from "effect"
import { byteEdits, editBytes, edits, mutate, splitBytes, splits } from "../../support/mutate.ts"
import { live, type Outcomes, Unexpected } from "./fuzz.ts"

/** So many emulators at a time. */
const lanes = 8

// -----------------------------------------------------------------------------
// What is sent
// -----------------------------------------------------------------------------

interface Target {
  readonly method: string
  /** `:job` and `:stack` stand for an id and a key. */
  readonly path: string
  readonly body?: unknown
}

const job = "00000000-0000-4000-8000-000000000001"

const stackTargets = Object.values(StacksApi.StacksApi.groups.stacks.endpoints).map(
  ({ identifier, method, path }): Target => {
    const bodies: { readonly [E in StacksApi.Endpoint]?: unknown } = {
      registerStack: { key: "s", type: "custom", queue_key: "q", metadata: { zone: "a" } },
      batchReserveJobs: { job_uuids: [job], reservation_expiry_seconds: 300 },
      getJobStates: { job_uuids: [job] },
      finishJob: { exit_status: 0, detail: "done", signal_reason: "stack_error" },
      createStackNotifications: { notifications: [{ job_uuid: job, detail: "pulling" }] },
      issueJobAcquisitionTokens: { job_uuids: [job], token_lifetime_seconds: 60 }
    }
    const query = identifier === "listScheduledJobs" ? "?queue_key=q&limit=10&after=MQ==" : ""
    return {
      method,
      path: `/v3${path.replace(":stackKey", ":stack").replace(":jobUuid", ":job")}${query}`,
      body: bodies[identifier]
    }
  }
)

const agentTargets: ReadonlyArray<Target> = [
  {
    method: "POST",
    path: "/v3/register",
    body: { name: "a-%n", hostname: "h", version: "3.1", meta_data: ["queue=q"] }
  },
  { method: "POST", path: "/v3/connect" },
  { method: "POST", path: "/v3/disconnect" },
  { method: "GET", path: "/v3/ping" },
  { method: "POST", path: "/v3/heartbeat", body: { sent_at: "2026-01-01T00:00:00Z" } },
  { method: "POST", path: "/v3/stop", body: { force: true } },
  { method: "PUT", path: "/v3/jobs/:job/acquire" },
  { method: "PUT", path: "/v3/jobs/:job/accept" },
  { method: "PUT", path: "/v3/jobs/:job/start", body: { started_at: "2026-01-01T00:00:00Z" } },
  { method: "GET", path: "/v3/jobs/:job" },
  { method: "POST", path: "/v3/jobs/:job/chunks?sequence=1&offset=0&size=14", body: { chunk: "text" } },
  { method: "POST", path: "/v3/jobs/:job/chunks?sequence=1&offset=999999999999999&size=14", body: { chunk: "text" } },
  { method: "POST", path: "/v3/jobs/:job/header_times", body: { header_times: {} } },
  { method: "PUT", path: "/v3/jobs/:job/finish", body: { exit_status: "0", signal: "", signal_reason: "" } },
  { method: "POST", path: "/v3/jobs/:job/annotations", body: { body: "b" } },
  { method: "POST", path: "/v3/jobs/:job/data/set", body: { key: "k", value: "v" } },
  { method: "POST", path: "/v3/jobs/:job/data/get", body: { key: "k" } },
  { method: "POST", path: "/v3/jobs/:job/data/exists", body: { key: "k" } },
  { method: "POST", path: "/v3/jobs/:job/data/keys" }
]

const pageTargets: ReadonlyArray<Target> = [
  { method: "GET", path: "/" },
  { method: "GET", path: "/ui/main.js" },
  { method: "GET", path: "/ui/overview" },
  { method: "GET", path: "/ui/events" },
  { method: "GET", path: "/ui/jobs?phase=scheduled&queue=q&text=t&offset=0" },
  { method: "GET", path: "/ui/job?id=:job" },
  { method: "GET", path: "/ui/notifications" },
  { method: "GET", path: "/ui/requests?only=problems" },
  { method: "GET", path: "/ui/request?id=1" },
  {
    method: "POST",
    path: "/ui/add-jobs",
    body: { queueKey: "q", count: 2, command: "c", env: { A: "b" }, priority: 1 }
  },
  { method: "POST", path: "/ui/cancel-job", body: { id: job } },
  { method: "POST", path: "/ui/pause-queue", body: { key: "q", paused: true } },
  { method: "POST", path: "/ui/forget-stack", body: { key: "s" } },
  { method: "POST", path: "/ui/inject-fault", body: { kind: "Status", operation: "getJob", status: 503, times: 1 } },
  { method: "POST", path: "/ui/clear-faults", body: {} }
]

const otherTargets: ReadonlyArray<Target> = [
  "",
  "/",
  "/stacks",
  "/v4/stacks",
  "/ui",
  "/v3/jobs",
  "/%",
  "//",
  "/v3/../ui/"
].map((path) => ({ method: "GET", path: path.startsWith("/") ? path : `/v3/${path}` }))

const targets = [...stackTargets, ...agentTargets, ...pageTargets, ...otherTargets]

/** 20 MB of zeros. */
const bomb = gzipSync(Buffer.alloc(20_000_000))

const otherBodies = [
  "",
  "null",
  "[]",
  '"text"',
  "{",
  "\u0000",
  "\ufeff{}",
  "[".repeat(100_000),
  `{"a":${"[".repeat(5000)}${"]".repeat(5000)}}`,
  `{"job_uuids":[${`"${job}",`.repeat(2000)}"x"]}`,
  `{"key":"${"k".repeat(200_000)}"}`,
  '{"__proto__":{"key":"s"},"constructor":{"prototype":1}}'
]

const natural = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))
const oneOf = <const A extends string>(values: ReadonlyArray<A>) => Schema.Literals(values)

/** Nearly right requests get furthest: one value in six is another one than the usual one. */
const mostly = <const A extends string>(usual: A, ...others: ReadonlyArray<A>) =>
  oneOf([...Array.from(others).flatMap(() => Array.from({ length: 5 }, () => usual)), ...others])

const Call = Schema.Struct({
  target: natural(targets.length - 1),
  /** "" is the endpoint's own. */
  method: mostly("", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"),
  job: mostly(job, "", "0", "x".repeat(3000), "%2E%2E", "a%2Fb", "%00", "%ff", "%", "__proto__", "ä", "a b"),
  stack: mostly("s", "unknown", "", "%2E", "a%2Eb", "__proto__", "S".repeat(200)),
  query: mostly(
    "",
    "&limit=0",
    "&after=%",
    "&after=__proto__",
    "&offset=-1",
    "&offset=1e9",
    "&id=&id=",
    "&=&&&",
    "&text=(("
  ),
  body: mostly("own", "other", "other", "bytes", "bomb", "none"),
  isMutated: Schema.Literals([0, 1]),
  other: natural(otherBodies.length - 1),
  encoding: mostly("", "gzip", "deflate", "br", "identity", "gzip, gzip", "x-unknown"),
  token: mostly("own", "cluster", "agent", "wrong", "none", "odd"),
  type: mostly("application/json", "text/plain", "multipart/form-data; boundary=x", ""),
  host: mostly("", "evil.test", "localhost", "[::1]", "127.0.0.1:x"),
  origin: mostly("", "null", "http://evil.test", "http://127.0.0.1", "::"),
  more: mostly(
    "",
    "expect: 100-continue",
    "upgrade: websocket",
    "cookie: a=b",
    "range: bytes=0-0",
    "accept-encoding: gzip"
  ),
  isEdited: Schema.Literals([0, 0, 0, 0, 1])
})

interface Request {
  readonly method: string
  readonly path: string
  readonly headers: Record<string, string>
  readonly body: Uint8Array
  readonly token: "cluster" | "agent" | "wrong" | "none" | "odd"
  /** Sends other bytes than the request's, in these pieces. */
  readonly mutilated: ((bytes: Uint8Array) => ReadonlyArray<Uint8Array>) | undefined
}

const request: Arbitrary.Arbitrary<Request> = Arbitrary.all({
  call: Arbitrary.schema(Call),
  edits,
  byteEdits,
  splits
}).pipe(
  Arbitrary.map(({ byteEdits, call, edits, splits }) => {
    const target = targets[call.target] ?? { method: "GET", path: "/" }
    const path = target.path.replace(":job", call.job).replace(":stack", call.stack) + call.query
    const text = {
      own:
        target.body === undefined
          ? ""
          : (JSON.stringify(call.isMutated === 1 ? mutate(target.body, edits) : target.body) ?? ""),
      other: otherBodies[call.other] ?? "",
      bytes: String.fromCharCode(...Array.from({ length: 300 }, (_, index) => (index * 37) % 256)),
      none: ""
    }
    const plain = call.body === "bomb" ? bomb : Buffer.from(text[call.body])
    const body = call.encoding === "gzip" && call.body !== "bomb" ? gzipSync(plain) : plain
    const [extraName = "", extraValue = ""] = call.more.split(": ")
    const optional = {
      "content-type": call.type,
      "content-encoding": call.body === "bomb" ? "gzip" : call.encoding,
      host: call.host,
      origin: call.origin,
      [extraName]: extraValue
    }
    return {
      method: call.method || target.method,
      // What an HTTP client can't even put on the wire.
      path: path.replaceAll(/[^\x21-\x7e]/g, (text) => encodeURIComponent(text)) || "/",
      headers: Object.fromEntries(Object.entries(optional).filter(([name, value]) => name !== "" && value !== "")),
      body,
      token: call.token === "own" ? (agentTargets.includes(target) ? "agent" : "cluster") : call.token,
      mutilated: call.isEdited === 1 ? (bytes) => splitBytes(editBytes(bytes, byteEdits), splits) : undefined
    }
  })
)

// -----------------------------------------------------------------------------
// What comes back
// -----------------------------------------------------------------------------

interface Answer {
  readonly status: number | undefined
  readonly type: string
  readonly text: string
}

/** Sends a request as it should be sent, over a connection that is kept. */
const send = (
  origin: URL,
  agent: Http.Agent,
  { body, headers, method, path }: Request
): Effect.Effect<Answer, string> =>
  Effect.callback((resume) => {
    const outgoing = Http.request(
      {
        host: origin.hostname,
        port: origin.port,
        method,
        path,
        headers: { ...headers, "content-length": body.length },
        agent
      },
      (response) => {
        const type = response.headers["content-type"] ?? ""
        const { statusCode } = response
        const chunks: Array<Buffer> = []
        const done = () => resume(Effect.succeed({ status: statusCode, type, text: Buffer.concat(chunks).toString() }))
        response.on("data", (chunk: Buffer) => {
          chunks.push(chunk)
          // It never ends.
          if (type !== "text/event-stream") return
          done()
          response.destroy()
        })
        response.on("end", done)
        response.on("error", (error) => resume(Effect.fail(`The answer breaks off: ${error.message}`)))
      }
    )
    outgoing.on("upgrade", (response, socket) => {
      socket.destroy()
      resume(Effect.succeed({ status: response.statusCode, type: "", text: "" }))
    })
    outgoing.on("error", (error) => resume(Effect.fail(`No answer: ${error.message}`)))
    outgoing.end(body)
    return Effect.sync(() => outgoing.destroy())
  })

/** How long a server may think before whoever sent something broken lets it know that nothing more comes. */
const patienceMillis = 100

/** Sends whatever bytes; a server may close the connection, but not leave it open once the client has. */
const sendBytes = (origin: URL, pieces: ReadonlyArray<Uint8Array>): Effect.Effect<Answer> =>
  Effect.callback((resume) => {
    let text = ""
    const socket = Net.connect(Number(origin.port), origin.hostname, () => {
      const next = (index: number) => {
        const piece = pieces[index]
        if (socket.destroyed || piece === undefined) return
        socket.write(piece)
        setImmediate(next, index + 1)
      }
      next(0)
    })
    socket.setNoDelay(true)
    const timer = setTimeout(() => socket.end(), patienceMillis)
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1")
      if (text.includes("\r\n\r\n") && !/^HTTP\/1\.1 100 /.test(text)) socket.destroy()
    })
    // The server closes while there is still something to send.
    socket.on("error", () => {})
    socket.on("close", () => {
      clearTimeout(timer)
      const status = /^(?:HTTP\/1\.1 100 Continue\r\n\r\n)?HTTP\/1\.1 (\d{3}) /.exec(text)?.[1]
      resume(Effect.succeed({ status: status === undefined ? undefined : Number(status), type: "", text }))
    })
    return Effect.sync(() => {
      clearTimeout(timer)
      socket.destroy()
    })
  })

const bytesOf = ({ body, headers, method, path }: Request): Uint8Array => {
  const all = { host: "localhost", ...headers, "content-length": String(body.length) }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`, "latin1"), body])
}

const outcomeOf = ({ status, text, type }: Answer): Effect.Effect<string, string> => {
  if (status === undefined) return text === "" ? Effect.succeed("closed") : Effect.fail("No answer in HTTP")
  if (status === 500) return Effect.fail(`500: ${text.slice(0, 1000)}`)
  if (type.startsWith("application/json") && text !== "") {
    return Effect.try({ try: () => JSON.parse(text), catch: () => "The answer is no JSON" }).pipe(
      Effect.as(String(status))
    )
  }
  return Effect.succeed(String(status))
}

/** An emulator with jobs, a stack and an agent, and what is needed to talk to it. */
const setUp = Effect.gen(function* () {
  const emulator = yield* Effect.orDie(NodeStacksEmulator.make({ rateLimits: false }))
  yield* emulator.addJobs([{ queueKey: "q", id: job }, ...Array.from({ length: 20 }, () => ({ queueKey: "q" }))])
  const agent = yield* Effect.acquireRelease(
    Effect.sync(() => new Http.Agent({ keepAlive: true, maxSockets: 1 })),
    (agent) => Effect.sync(() => agent.destroy())
  )
  const origin = new URL(emulator.baseUrl)
  const ask = (path: string, body: unknown) =>
    Effect.orDie(
      send(origin, agent, {
        method: "POST",
        path,
        headers: { authorization: `Token bkct_emulator`, "content-type": "application/json" },
        body: Buffer.from(JSON.stringify(body)),
        token: "cluster",
        mutilated: undefined
      })
    )
  const register = ask("/v3/stacks/register", { key: "s", type: "custom", queue_key: "q", metadata: {} })
  const registered = yield* ask("/v3/register", { name: "agent" })
  const accessToken: string = JSON.parse(registered.text).access_token
  const authorization = {
    cluster: { authorization: "Token bkct_emulator" },
    agent: { authorization: `Token ${accessToken}` },
    wrong: { authorization: "Token bkct_wrong" },
    odd: { authorization: "Token token token" },
    none: {}
  }
  return { emulator, agent, origin, authorization, register }
})

/** Sends requests, a number of them decided by a seed; gives what was answered. */
export const requests = Effect.fnUntraced(function* (seed: number, count: number) {
  const all = yield* Effect.orDie(Arbitrary.sampleEffect(request, { count, seed }))
  const outcomes: Outcomes = {}
  const lane = Effect.fnUntraced(function* (first: number) {
    const { agent, authorization, emulator, origin, register } = yield* setUp
    for (let index = first; index < all.length; index += lanes) {
      const chosen = all[index]
      if (chosen === undefined) continue
      // One of the requests before may have removed it.
      yield* register
      const sent = { ...chosen, headers: { ...chosen.headers, ...authorization[chosen.token] } }
      const answer =
        sent.mutilated === undefined ? send(origin, agent, sent) : sendBytes(origin, sent.mutilated(bytesOf(sent)))
      const outcome = yield* live("20 seconds", Effect.flatMap(answer, outcomeOf)).pipe(
        Effect.mapError((problem) => {
          const { body, headers, method, path } = sent
          const text = Buffer.from(body.subarray(0, 1000)).toString("latin1")
          return new Unexpected({ seed, index, problem, sent: JSON.stringify({ method, path, headers, text }) })
        })
      )
      // One that was asked for has been answered; from here on it would only be in the way.
      yield* emulator.setFaults([])
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
    }
  }, Effect.scoped)
  yield* Effect.forEach(Array.from({ length: lanes }).keys(), lane, { concurrency: "unbounded", discard: true })
  return outcomes
})
