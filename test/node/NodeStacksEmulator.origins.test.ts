/** To whom the emulator answers over HTTP: its default token is known to everybody, and browsers run everybody's pages. */
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect } from "effect"
import { connectTo } from "../support/rawClient.ts"

/** Sends a request with exactly these headers, and gives the status and the rest of the answer. */
const send = Effect.fnUntraced(function* (request: string, ...headers: ReadonlyArray<string>) {
  const { baseUrl } = yield* StacksEmulator.StacksEmulator
  const { closed, socket } = yield* connectTo(baseUrl)
  socket.write([request, ...headers, "connection: close", "", ""].join("\r\n"))
  const answer = yield* closed
  return { status: Number(answer.slice(9, 12)), answer }
}, Effect.scoped)

const getJob = (version: string, ...headers: ReadonlyArray<string>) =>
  send(`GET /v3/stacks/s/jobs/j ${version}`, "authorization: Token bkct_emulator", ...headers)

/** Who asks for a job's environment, which holds a secret. */
const asking = Effect.fnUntraced(function* (...headers: ReadonlyArray<string>) {
  const { answer, status } = yield* getJob("HTTP/1.1", ...headers)
  assert.strictEqual(answer.includes("hush"), status === 200, answer)
  return status
})

const prepared = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs([{ id: "j", queueKey: "q", env: { PASSWORD: "hush" } }])
  const headers = { authorization: "Token bkct_emulator" }
  const body = '{"key":"s","type":"custom","queue_key":"q","metadata":{}}'
  yield* Effect.promise(() => fetch(new URL("stacks/register", emulator.baseUrl), { method: "POST", headers, body }))
  return emulator
})

const own = [
  ...["localhost", "localhost:4567", "LOCALHOST", "localhost.", "emulator.localhost", "127.0.0.1", "127.1.2.3:80"],
  ...["[::1]", "[::1]:80", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]"]
]

const foreign = [
  ...["evil.example", "evil.example:4567", "127.0.0.1.evil.example", "localhost.evil.example", "evillocalhost"],
  ...["10.0.0.1", "192.168.1.5", "0.0.0.0", "[::]", "[2001:db8::1]", "[::ffff:10.0.0.1]", "host.docker.internal"],
  ...["a@localhost", "localhost/", "localhost evil.example", "localhost,evil.example", ":80", "[::1", "localhost:x", ""]
]

describe("The API", () => {
  it.effect("responds under the names of this machine", () =>
    Effect.gen(function* () {
      yield* prepared
      for (const host of own) assert.strictEqual(yield* asking(`host: ${host}`), 200, host)
    }).pipe(Effect.provide(NodeStacksEmulator.layer({ rateLimits: false })))
  )

  it.effect("rejects requests under other names, from stacks and agents", () =>
    Effect.gen(function* () {
      const emulator = yield* prepared
      for (const host of foreign) assert.strictEqual(yield* asking(`host: ${host}`), 421, host)
      assert.strictEqual((yield* getJob("HTTP/1.0")).status, 421)
      for (const path of ["stacks/s/deregister", "register", "ping", "jobs/j/acquire", "nowhere"]) {
        const { answer, status } = yield* send(`POST /v3/${path} HTTP/1.1`, "host: evil.example")
        assert.strictEqual(status, 421, path)
        assert.match(answer, /allowedHosts/)
      }
      assert.lengthOf(yield* emulator.requests, 1)
      assert.lengthOf(yield* emulator.stacks, 1)
    }).pipe(Effect.provide(NodeStacksEmulator.layer({ rateLimits: false, page: false })))
  )

  it.effect("rejects requests of other web pages under any name", () =>
    Effect.gen(function* () {
      const emulator = yield* prepared
      const port = new URL(emulator.baseUrl).port
      const host = `host: 127.0.0.1:${port}`
      for (const header of [
        ...["http://evil.example", "null", "", "http://localhost", `http://localhost:${port}`, "http://127.0.0.1"].map(
          (origin) => `origin: ${origin}`
        ),
        "origin: file://",
        "sec-fetch-site: cross-site",
        "sec-fetch-site: same-site",
        "sec-fetch-site: cross-site\r\nsec-fetch-mode: navigate"
      ]) {
        assert.strictEqual(yield* asking(host, header), 403, header)
        assert.strictEqual((yield* send("OPTIONS /v3/stacks/register HTTP/1.1", host, header)).status, 403, header)
      }
      assert.lengthOf(yield* emulator.requests, 1)
      for (const header of [
        "accept: */*",
        `origin: http://127.0.0.1:${port}`,
        "sec-fetch-site: same-origin",
        "sec-fetch-site: none"
      ]) {
        assert.strictEqual(yield* asking(host, header), 200, header)
      }
      assert.strictEqual(yield* asking("host: localhost:80", "origin: http://localhost"), 200)
    }).pipe(Effect.provide(NodeStacksEmulator.layer({ rateLimits: false })))
  )

  it.effect("responds under allowedHosts", () =>
    Effect.gen(function* () {
      const { baseUrl } = yield* prepared
      for (const host of ["host.docker.internal:4567", "HOST.docker.internal", "emulator", "emulator.", "10.0.0.7"]) {
        assert.strictEqual(yield* asking(`host: ${host}`), 200, host)
        assert.strictEqual((yield* send("GET / HTTP/1.1", `host: ${host}`)).status, 200, host)
      }
      for (const host of ["docker.internal", "x.host.docker.internal", "10.0.0.8", "evil.example"]) {
        assert.strictEqual(yield* asking(`host: ${host}`), 421, host)
      }
      assert.strictEqual(yield* asking("host: emulator", "origin: http://emulator"), 200)
      assert.strictEqual(yield* asking("host: emulator", "origin: http://10.0.0.7"), 403)
      assert.include(baseUrl, "127.0.0.1")
    }).pipe(
      Effect.provide(
        NodeStacksEmulator.layer({
          rateLimits: false,
          allowedHosts: ["host.docker.internal", "Emulator:8080", "10.0.0.7", "not a name"]
        })
      )
    )
  )

  it.effect("responds under any address if it listens on all, and under no other name", () =>
    Effect.gen(function* () {
      yield* prepared
      for (const host of ["10.0.0.1", "[2001:db8::1]:80", "0.0.0.0", "localhost"]) {
        assert.strictEqual(yield* asking(`host: ${host}`), 200, host)
      }
      assert.strictEqual(yield* asking("host: evil.example"), 421)
    }).pipe(Effect.provide(NodeStacksEmulator.layer({ rateLimits: false, host: "0.0.0.0" })))
  )
})
