import * as Net from "node:net"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, describe, it } from "@effect/vitest"
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Exit, Fiber, Layer, Redacted, Scope } from "effect"
import * as HttpClient from "effect/http/HttpClient"
import type { HttpClientError } from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import { TestClock } from "effect/testing"

const { Fault } = StacksEmulator

/** The emulator on a free port, and an HttpClient over undici. */
const served = (options?: NodeStacksEmulator.Options) =>
  Layer.mergeAll(NodeStacksEmulator.layer(options), NodeHttpClient.layerUndici)

const setFaults = (...faults: ReadonlyArray<StacksEmulator.Fault>) =>
  Effect.flatMap(StacksEmulator.StacksEmulator, (emulator) => emulator.setFaults(faults))

const execute = Effect.fnUntraced(function* (
  method: "GET" | "POST",
  path: string,
  { body, token = "bkct_emulator" }: { readonly body?: unknown; readonly token?: string } = {}
) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const request = HttpClientRequest.make(method)(`${emulator.baseUrl}${path}`).pipe(
    HttpClientRequest.setHeader("authorization", `Token ${token}`)
  )
  return yield* HttpClient.execute(body === undefined ? request : HttpClientRequest.bodyJsonUnsafe(request, body))
})

const register = execute("POST", "stacks/register", {
  body: { key: "s", type: "custom", queue_key: "q", metadata: {} }
})

const status = (...args: Parameters<typeof execute>) => Effect.map(execute(...args), ({ status }) => status)

const stateOf = (id: string) =>
  Effect.gen(function* () {
    const emulator = yield* StacksEmulator.StacksEmulator
    return (yield* emulator.jobs).find((job) => job.id === id)?.state
  })

/** An emulator with a stack and a job. */
const prepared = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs([{ id: "j", queueKey: "q", command: "make" }])
  yield* register
  return emulator
})

/** Sends bytes on a connection of its own and gives what came back until it ended, and how it ended. */
const exchange = Effect.fnUntraced(function* (...lines: ReadonlyArray<string>) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const { hostname, port } = new URL(emulator.baseUrl)
  return yield* Effect.callback<{ readonly text: string; readonly error: string | undefined }>((resume) => {
    let text = ""
    let error: string | undefined
    const socket = Net.connect({ host: hostname, port: Number(port) }, () => socket.write(lines.join("\r\n")))
    socket.on("data", (data) => {
      text += data.toString("utf8")
    })
    socket.on("error", (cause: NodeJS.ErrnoException) => {
      error = cause.code
    })
    socket.on("close", () => resume(Effect.succeed({ text, error })))
    return Effect.sync(() => socket.destroy())
  })
})

/** Waits until so many requests have arrived. */
const arrived = Effect.fnUntraced(function* (count: number) {
  const emulator = yield* StacksEmulator.StacksEmulator
  while ((yield* emulator.requests).length < count) {
    yield* Effect.callback<void>((resume) => {
      setImmediate(() => resume(Effect.void))
    })
  }
})

const authorized = ["Host: localhost", "Authorization: Token bkct_emulator"]
const getJob = ["GET /v3/stacks/s/jobs/j HTTP/1.1", ...authorized, "Connection: close", "", ""]

const codeOf = (error: HttpClientError) => (error.reason.cause as { readonly code?: string } | undefined)?.code

describe("The emulator over HTTP", () => {
  it.effect("listens on a free port of 127.0.0.1, under /v3, with the rate limits on", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      assert.match(emulator.baseUrl, /^http:\/\/127\.0\.0\.1:\d{4,5}\/v3\/$/)
      assert.strictEqual(Redacted.value(emulator.token), "bkct_emulator")
      assert.strictEqual((yield* register).status, 201)
      for (let i = 0; i < 10; i++) {
        assert.strictEqual(yield* status("GET", "stacks/s/scheduled-jobs?queue_key=q"), 200)
      }
      const refused = yield* execute("GET", "stacks/s/scheduled-jobs?queue_key=q")
      assert.strictEqual(refused.status, 429)
      assert.strictEqual(refused.headers["retry-after"], "1")
      assert.strictEqual(refused.headers["ratelimit-remaining"], "0")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* status("GET", "stacks/s/scheduled-jobs?queue_key=q"), 200)
      assert.strictEqual(yield* status("GET", "../stacks/s/jobs/j"), 404)
    }).pipe(Effect.provide(served()))
  )

  it.effect("is reachable only at 127.0.0.1, and requires its token", () =>
    Effect.gen(function* () {
      const { baseUrl } = yield* StacksEmulator.StacksEmulator
      // Also an address of this machine, as would be that of its network: who listens everywhere is reached there.
      const connected = yield* Effect.callback<boolean>((resume) => {
        const socket = Net.connect(Number(new URL(baseUrl).port), "127.0.0.2")
        socket.on("connect", () => resume(Effect.succeed(true)))
        socket.on("error", () => resume(Effect.succeed(false)))
        return Effect.sync(() => socket.destroy())
      })
      assert.isFalse(connected)
      for (const authorization of [undefined, "Token ", "Token bkct_other", "Bearer bkct_emulator"]) {
        for (const path of ["stacks/register", "stacks/s/jobs/get-states", "register", "connect"]) {
          const request = HttpClientRequest.post(`${baseUrl}${path}`, { headers: { authorization } })
          const { status } = yield* HttpClient.execute(HttpClientRequest.bodyJsonUnsafe(request, {}))
          assert.strictEqual(status, 401, `${path} with ${authorization}`)
        }
      }
    }).pipe(Effect.provide(served()))
  )

  it.effect("accepts the options of the emulator", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      assert.match(emulator.baseUrl, /^http:\/\/127\.0\.0\.1:/)
      const token = "bkct_mine"
      assert.strictEqual((yield* register).status, 401)
      const body = { key: "s", type: "custom", queue_key: "windows", metadata: {} }
      assert.strictEqual(yield* status("POST", "stacks/register", { body, token }), 404)
      yield* execute("POST", "stacks/register", { body: { ...body, queue_key: "linux" }, token })
      for (let i = 0; i < 20; i++) {
        assert.strictEqual(yield* status("GET", "stacks/s/scheduled-jobs?queue_key=linux", { token }), 200)
      }
    }).pipe(
      Effect.provide(
        served({ host: "0.0.0.0", token: Redacted.make("bkct_mine"), queues: ["linux"], rateLimits: false })
      )
    )
  )

  it.effect("fails if it can't listen", () =>
    Effect.gen(function* () {
      const { baseUrl } = yield* StacksEmulator.StacksEmulator
      const port = Number(new URL(baseUrl).port)
      const error = yield* Effect.flip(Effect.scoped(NodeStacksEmulator.make({ port })))
      assert(error._tag === "ListenError")
      assert.strictEqual(error.code, "EADDRINUSE")
      assert.strictEqual(error.message, `Can't listen on 127.0.0.1:${port}: the port is in use`)
    }).pipe(Effect.provide(served()))
  )

  it.effect("serves this library's client", () =>
    Effect.gen(function* () {
      const { baseUrl, token, ...emulator } = yield* StacksEmulator.StacksEmulator
      const client = yield* StacksClient.make({ baseUrl, token })
      const [job] = yield* emulator.addJobs([{ id: "a.b/ü", queueKey: "q", command: "make", env: { A: "ü" } }])
      assert.isDefined(job)
      yield* client.registerStack({ key: "s", type: "custom", queueKey: "q", metadata: { zone: "a" } })
      const page = yield* client.listScheduledJobs({ stackKey: "s", clusterQueueKey: "q" })
      assert.deepStrictEqual(
        page.jobs.map(({ id }) => id),
        ["a.b/ü"]
      )
      yield* client.batchReserveJobs({ stackKey: "s", jobUuids: [job.id] })
      assert.deepStrictEqual(yield* client.getJob({ stackKey: "s", jobUuid: job.id }), {
        id: "a.b/ü",
        env: { A: "ü" },
        command: "make"
      })
      yield* client.createStackNotification({ stackKey: "s", jobUuid: job.id, detail: "starting" })
      const { tokens } = yield* client.issueJobAcquisitionTokens({ stackKey: "s", jobUuids: [job.id] })
      assert.deepStrictEqual(
        tokens.map(({ jobUuid }) => jobUuid),
        [job.id]
      )
      yield* client.finishJob({ stackKey: "s", jobUuid: job.id, exitStatus: 0, detail: "done" })
      assert.deepStrictEqual(yield* client.getJobStates({ stackKey: "s", jobUuids: [job.id] }), {
        states: { [job.id]: "finished" }
      })
      yield* client.deregisterStack({ stackKey: "s" })
      assert.strictEqual((yield* emulator.notifications)[0]?.detail, "starting")
      assert.deepStrictEqual(yield* emulator.stacks, [])
    }).pipe(Effect.provide(served()))
  )
})

describe("Clients in other languages", () => {
  it.effect("can omit headers, and send requests like curl and Go", () =>
    Effect.gen(function* () {
      yield* prepared
      const bare = yield* exchange(...getJob)
      assert.match(bare.text, /^HTTP\/1\.1 200 OK\r\n/)
      assert.match(bare.text, /\r\n\r\n\{"id":"j","env":\{\},"command":"make"\}$/)
      const charset = yield* exchange(
        "POST /v3/stacks/s/jobs/get-states HTTP/1.1",
        ...authorized,
        "Content-Type: application/json; charset=UTF-8",
        "Connection: close",
        "Content-Length: 19",
        "",
        '{"job_uuids":["j"]}'
      )
      assert.match(charset.text, /\{"states":\{"j":"scheduled"\}\}$/)
      const form = yield* exchange(
        "POST /v3/stacks/s/jobs/get-states HTTP/1.1",
        ...authorized,
        "Content-Type: application/x-www-form-urlencoded",
        "Expect: 100-continue",
        "Connection: close",
        "Content-Length: 19",
        "",
        '{"job_uuids":["j"]}'
      )
      assert.match(form.text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/)
      const chunked = yield* exchange(
        "POST /v3/stacks/s/jobs/j/finish HTTP/1.1",
        ...authorized,
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
        "Connection: close",
        "",
        "a",
        '{"detail":',
        "6",
        '"done"',
        "1",
        "}",
        "0",
        "",
        ""
      )
      assert.match(chunked.text, /^HTTP\/1\.1 200 OK\r\n/)
      assert.match(chunked.text, /\r\ncontent-length: 0\r\n/)
      assert.match(chunked.text, /\r\n\r\n$/)
      assert.strictEqual(yield* stateOf("j"), "finished")
      const empty = yield* exchange(
        "POST /v3/stacks/s/deregister HTTP/1.1",
        ...authorized,
        "Content-Type: application/json",
        "Connection: close",
        "Content-Length: 0",
        "",
        ""
      )
      assert.match(empty.text, /^HTTP\/1\.1 204 No Content\r\n/)
    }).pipe(Effect.provide(served()))
  )

  it.effect("must percent-encode dots in paths, as for the service", () =>
    Effect.gen(function* () {
      const emulator = yield* prepared
      yield* emulator.addJobs([{ id: "a.b", queueKey: "q" }])
      for (const [id, answer] of [
        ["a%2Eb", /^HTTP\/1\.1 200 OK\r\n/],
        ["a.b", /^HTTP\/1\.1 404 Not Found\r\n/],
        ["%61%2eb", /^HTTP\/1\.1 200 OK\r\n/]
      ] as const) {
        const { text } = yield* exchange(
          `GET /v3/stacks/s/jobs/${id} HTTP/1.1`,
          ...authorized,
          "Connection: close",
          "",
          ""
        )
        assert.match(text, answer)
      }
      assert.strictEqual((yield* emulator.requests).at(-1)?.path, "/v3/stacks/s/jobs/%61%2eb")
    }).pipe(Effect.provide(served()))
  )
})

describe("Faults on real connections", () => {
  it.effect("Reset: no byte of a response arrives", () =>
    Effect.gen(function* () {
      const emulator = yield* prepared
      yield* setFaults(Fault.Reset({}))
      assert.deepStrictEqual(yield* exchange(...getJob), { text: "", error: "ECONNRESET" })
      const error = yield* Effect.flip(execute("POST", "stacks/s/deregister"))
      assert.strictEqual(error.reason._tag, "TransportError")
      assert.strictEqual((yield* emulator.stacks).length, 1)
    }).pipe(Effect.provide(served()))
  )

  it.effect("LostResponse: no byte of a response arrives, and the service has acted", () =>
    Effect.gen(function* () {
      const emulator = yield* prepared
      yield* setFaults(Fault.LostResponse({}))
      assert.deepStrictEqual(yield* exchange(...getJob), { text: "", error: "ECONNRESET" })
      const error = yield* Effect.flip(execute("POST", "stacks/s/deregister"))
      assert.strictEqual(error.reason._tag, "TransportError")
      assert.deepStrictEqual(yield* emulator.stacks, [])
    }).pipe(Effect.provide(served()))
  )

  it.effect("Truncate: the head and half of the body arrive", () =>
    Effect.gen(function* () {
      yield* prepared
      yield* setFaults(Fault.Truncate({}))
      const { text } = yield* exchange(...getJob)
      const body = '{"id":"j","env":{},"command":"make"}'
      const [head, half] = text.split("\r\n\r\n")
      assert.include(head, "HTTP/1.1 200 OK\r\n")
      assert.include(head, `content-length: ${body.length}\r\n`)
      assert.strictEqual(half, body.slice(0, body.length / 2))
      const response = yield* execute("GET", "stacks/s/jobs/j")
      assert.strictEqual(response.status, 200)
      const error = yield* Effect.flip(response.text)
      assert.strictEqual(error.reason._tag, "DecodeError")
      assert.strictEqual(codeOf(error), "UND_ERR_SOCKET")
    }).pipe(Effect.provide(served()))
  )

  it.effect("Html, Malformed and Status: arrive unchanged", () =>
    Effect.gen(function* () {
      yield* prepared
      yield* setFaults(Fault.Html({ times: 1 }), Fault.Malformed({ times: 1 }), Fault.Status({ status: 503 }))
      assert.match((yield* exchange(...getJob)).text, /^HTTP\/1\.1 502 Bad Gateway\r\ncontent-type: text\/html\r\n/)
      assert.match((yield* exchange(...getJob)).text, /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n\{"unfinished": $/)
      assert.match((yield* exchange(...getJob)).text, /^HTTP\/1\.1 503 Service Unavailable\r\n/)
    }).pipe(Effect.provide(served()))
  )

  it.effect("Stall: a client that disconnects leaves nothing behind", () =>
    Effect.gen(function* () {
      const emulator = yield* prepared
      yield* setFaults(Fault.Stall({ times: 1 }))
      const stalled = yield* Effect.forkChild(execute("POST", "stacks/s/deregister"))
      yield* arrived(2)
      yield* Fiber.interrupt(stalled)
      assert.strictEqual(yield* status("GET", "stacks/s/jobs/j"), 200)
      assert.deepInclude((yield* emulator.requests)[1], { fault: "Stall", status: undefined })
      assert.strictEqual((yield* emulator.stacks).length, 1)
    }).pipe(Effect.provide(served()))
  )

  it.effect("Stall: the response arrives after the delay", () =>
    Effect.gen(function* () {
      yield* prepared
      yield* setFaults(Fault.Stall({ duration: "30 seconds", times: 1 }))
      const stalled = yield* Effect.forkChild(status("GET", "stacks/s/jobs/j"))
      yield* arrived(2)
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* Fiber.join(stalled), 200)
    }).pipe(Effect.provide(served()))
  )
})

describe("Closing the emulator", () => {
  it.effect("does not wait for idle connections, incomplete requests or stalled responses", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const emulator = yield* Scope.provide(NodeStacksEmulator.make(), scope)
      const talk = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.provideService(effect, StacksEmulator.StacksEmulator, emulator)
      // undici keeps this connection open.
      assert.strictEqual((yield* talk(register)).status, 201)
      yield* emulator.setFaults([Fault.Stall({})])
      const stalled = yield* Effect.forkChild(talk(exchange(...getJob)))
      const unfinished = yield* Effect.forkChild(talk(exchange("POST /v3/stacks/register HTTP/1.1", "Host: emul")))
      yield* talk(arrived(2))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(stalled)).text, "")
      assert.strictEqual((yield* Fiber.join(unfinished)).text, "")
      const refused = yield* Effect.flip(talk(register))
      assert.strictEqual(codeOf(refused), "ECONNREFUSED")
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )
})
