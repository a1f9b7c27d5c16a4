import * as Http from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect } from "effect"
import { TestClock } from "effect/testing"

interface Answer {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly text: string
}

interface Sent {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

/** Asks for a path of the emulator's host, with any headers: clients for everyday use would not send a foreign Host. */
const send = Effect.fnUntraced(function* (path: string, { body, headers, method = "GET" }: Sent = {}) {
  const { baseUrl } = yield* StacksEmulator.StacksEmulator
  return yield* Effect.callback<Answer>((resume) => {
    const request = Http.request(new URL(path, baseUrl), { method, headers, agent: false }, (response) => {
      let text = ""
      response.setEncoding("utf8").on("data", (part) => {
        text += part
      })
      response.on("end", () =>
        resume(Effect.succeed({ status: response.statusCode ?? 0, headers: response.headers, text }))
      )
    })
    request.on("error", (error) => resume(Effect.die(error)))
    request.end(body === undefined ? undefined : JSON.stringify(body))
  })
})

const status = (path: string, sent?: Sent) => Effect.map(send(path, sent), ({ status }) => status)

const json = "application/json"

/** What the page's own button would send. */
const press = (path: string, body: unknown, headers: Readonly<Record<string, string>> = {}) =>
  send(path, { method: "POST", body, headers: { "content-type": json, ...headers } })

const addJob = { queueKey: "q", count: 1, command: "make", env: {}, priority: 0 }

const dataPaths = ["overview", "jobs", "job?id=j", "notifications", "requests"].map((path) => `/ui/${path}`)

/** The stream of events: the next one, whenever it comes. */
const watch = Effect.gen(function* () {
  const { baseUrl } = yield* StacksEmulator.StacksEmulator
  const waiting: Array<(event: string) => void> = []
  const arrived: Array<string> = []
  yield* Effect.acquireRelease(
    Effect.sync(() =>
      Http.get(new URL("/ui/events", baseUrl), { agent: false }, (response) => {
        response.setEncoding("utf8").on("data", (event) => {
          const resume = waiting.shift()
          if (resume === undefined) arrived.push(event)
          else resume(event)
        })
        response.on("error", () => {})
      }).on("error", () => {})
    ),
    (request) => Effect.sync(() => request.destroy())
  )
  return Effect.callback<string>((resume) => {
    const event = arrived.shift()
    if (event === undefined) waiting.push((event) => resume(Effect.succeed(event)))
    else resume(Effect.succeed(event))
  })
})

describe("The web page of the emulator", () => {
  it.effect("is served at the root, with its files under /ui/", () =>
    Effect.gen(function* () {
      const page = yield* send("/")
      assert.strictEqual(page.status, 200)
      assert.match(page.text, /<html lang="en">/)
      assert.strictEqual(yield* status("/", { method: "HEAD" }), 200)
      const files = Array.from(page.text.matchAll(/"(\/ui\/[^"]+)"/g), ([, path]) => path ?? "")
      assert.isAbove(files.length, 2)
      for (const path of ["/", "/?from=somewhere", ...files, ...dataPaths.filter((path) => !path.includes("?"))]) {
        const { headers, status } = yield* send(path)
        assert.strictEqual(status, 200, path)
        assert.strictEqual(headers["x-content-type-options"], "nosniff", path)
        const policy = headers["content-security-policy"] ?? ""
        assert.include(policy, "default-src 'none'")
        assert.include(policy, "frame-ancestors 'none'")
        assert.notInclude(policy, "unsafe")
      }
    }).pipe(Effect.provide(NodeStacksEmulator.layer()))
  )

  it.effect("loads nothing from other hosts", () =>
    Effect.gen(function* () {
      const page = yield* send("/")
      const paths = ["/", ...Array.from(page.text.matchAll(/(?:src|href)="(\/[^"]+)"/g), ([, path]) => path ?? "")]
      for (const path of paths) {
        const { text } = yield* send(path)
        assert.deepStrictEqual(
          text.match(/https?:\/\/[^\s"'`]+/g)?.filter((url) => url !== "http://www.w3.org/2000/svg") ?? [],
          []
        )
      }
    }).pipe(Effect.provide(NodeStacksEmulator.layer()))
  )

  it.effect("can be disabled, and then its paths get the API's 404", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      for (const path of ["/", ...dataPaths]) assert.strictEqual(yield* status(path), 401)
      assert.lengthOf(yield* emulator.requests, 1 + dataPaths.length)
    }).pipe(Effect.provide(NodeStacksEmulator.layer({ page: false })))
  )

  it.effect("is not affected by faults, and not in the log of requests", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.setFaults([StacksEmulator.Fault.Status({ status: 503 })])
      assert.strictEqual(yield* status("/"), 200)
      assert.strictEqual(yield* status("/ui/overview"), 200)
      assert.deepStrictEqual(yield* emulator.requests, [])
      assert.strictEqual(yield* status("/v3/stacks/s/jobs/j"), 503)
      yield* emulator.setFaults([])
      for (const path of ["/v3/", "/uint", "/elsewhere", "/v3/ui/overview"]) {
        assert.strictEqual(yield* status(path), 401, path)
      }
      assert.lengthOf(yield* emulator.requests, 5)
    }).pipe(Effect.provide(NodeStacksEmulator.layer()))
  )

  it.effect("explains an invalid request", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      assert.strictEqual(yield* status("/ui/nothing"), 404)
      assert.strictEqual(yield* status("/ui/job?id=nobody"), 404)
      assert.strictEqual(yield* status("/ui/job"), 400)
      assert.strictEqual(yield* status("/ui/jobs?phase=unheard"), 400)
      assert.strictEqual(yield* status("/ui/jobs?offset=-1"), 400)
      const wrong = [
        ["add-jobs", { ...addJob, queueKey: "" }],
        ["add-jobs", { ...addJob, count: 0 }],
        ["add-jobs", { ...addJob, count: 10_001 }],
        ["add-jobs", { ...addJob, queueKey: "unknown" }],
        ["cancel-job", { id: "nobody" }],
        ["pause-queue", { key: "unknown", paused: true }],
        ["inject-fault", { kind: "Status", status: 99 }],
        ["inject-fault", { kind: "Flood" }]
      ] as const
      for (const [name, body] of wrong) {
        const answer = yield* press(`/ui/${name}`, body)
        assert.strictEqual(answer.status, 400, name)
        assert.isAbove(JSON.parse(answer.text).message.length, 5)
      }
      assert.include((yield* press("/ui/cancel-job", { id: "nobody" })).text, "there is no job nobody")
      assert.deepStrictEqual(yield* emulator.jobs, [])
      assert.deepStrictEqual(yield* emulator.faults, [])
    }).pipe(Effect.provide(NodeStacksEmulator.layer({ queues: ["q"] })))
  )
})

describe("The data of the page with 10,000 jobs", () => {
  it.effect("is loaded in small pages", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const long = "echo ".repeat(1000)
      yield* emulator.addJobs(
        Array.from({ length: 10_000 }, (_, i) => ({ queueKey: "q", id: `job-${i}`, command: `${i} ${long}` }))
      )
      const overview = yield* send("/ui/overview")
      assert.isBelow(overview.text.length, 5_000)
      assert.strictEqual(JSON.parse(overview.text).overview.phases.scheduled, 10_000)
      const newest = yield* send("/ui/jobs")
      assert.isBelow(newest.text.length, 50_000)
      const ids = ({ text }: Answer) => JSON.parse(text).jobs.map(({ id }: { readonly id: string }) => id)
      assert.lengthOf(ids(newest), 50)
      assert.strictEqual(ids(newest)[0], "job-9999")
      assert.strictEqual(ids(yield* send("/ui/jobs?offset=9990")).at(-1), "job-0")
      assert.deepStrictEqual(ids(yield* send("/ui/jobs?text=JOB-1234&queue=q&phase=scheduled")), ["job-1234"])
      assert.deepStrictEqual(ids(yield* send("/ui/jobs?phase=running")), [])
    }).pipe(Effect.provide(NodeStacksEmulator.layer()))
  )

  it.effect("is computed twice a second while a page is open, and sent if it has changed", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const next = yield* watch
      assert.include(yield* next, '"scheduled":0')
      yield* TestClock.adjust("10 seconds")
      yield* emulator.addJobs([{ queueKey: "q" }])
      yield* TestClock.adjust("500 millis")
      const event = yield* next
      assert.include(event, '"scheduled":1')
      assert.include(event, "event: overview")
    }).pipe(Effect.provide(NodeStacksEmulator.layer()))
  )
})

describe("Other web pages", () => {
  const ownNames = ["localhost", "localhost:4567", "LOCALHOST", "127.0.0.1:80", "[::1]:80", "emulator.localhost"]
  const foreignNames = ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "a@localhost"]

  it.effect("can't get its origin by DNS rebinding", () =>
    Effect.gen(function* () {
      for (const host of ownNames) assert.strictEqual(yield* status("/", { headers: { host } }), 200, host)
      for (const host of foreignNames) {
        for (const path of ["/", "/ui/overview", "/ui/main.js", "/ui/events"]) {
          assert.strictEqual(yield* status(path, { headers: { host } }), 421, `${host} ${path}`)
        }
        const { status: refused } = yield* press("/ui/add-jobs", addJob, { host, origin: `http://${host}` })
        assert.strictEqual(refused, 421)
      }
      assert.deepStrictEqual(yield* (yield* StacksEmulator.StacksEmulator).jobs, [])
    }).pipe(Effect.provide(NodeStacksEmulator.layer()))
  )

  it.effect("can't use its buttons", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const { host } = new URL(emulator.baseUrl)
      const foreign = [
        { origin: "http://evil.example" },
        { origin: "null" },
        { origin: "http://127.0.0.1:1" },
        { origin: "http://localhost" },
        { "sec-fetch-site": "cross-site" },
        { "sec-fetch-site": "same-site" },
        { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" }
      ]
      for (const headers of foreign) {
        assert.strictEqual((yield* press("/ui/add-jobs", addJob, headers)).status, 403, JSON.stringify(headers))
      }
      for (const type of ["text/plain", "application/x-www-form-urlencoded", ""]) {
        const { status } = yield* press("/ui/add-jobs", addJob, { "content-type": type })
        assert.strictEqual(status, 415, type)
      }
      assert.deepStrictEqual(yield* emulator.jobs, [])
      const own = { origin: `http://${host}`, "sec-fetch-site": "same-origin" }
      assert.strictEqual((yield* press("/ui/add-jobs", addJob, own)).status, 200)
      assert.strictEqual((yield* press("/ui/add-jobs", addJob)).status, 200)
      assert.lengthOf(yield* emulator.jobs, 2)
    }).pipe(Effect.provide(NodeStacksEmulator.layer()))
  )

  it.effect("can link to it, but can't read it", () =>
    Effect.gen(function* () {
      const foreign = { "sec-fetch-site": "cross-site" }
      assert.strictEqual(yield* status("/", { headers: { ...foreign, "sec-fetch-mode": "navigate" } }), 200)
      for (const path of ["/ui/overview", "/ui/jobs", "/ui/events", "/ui/main.js"]) {
        assert.strictEqual(yield* status(path, { headers: { ...foreign, "sec-fetch-mode": "no-cors" } }), 403, path)
      }
      const { headers } = yield* send("/ui/overview")
      assert.isUndefined(headers["access-control-allow-origin"])
      assert.strictEqual(headers["cross-origin-resource-policy"], "same-origin")
    }).pipe(Effect.provide(NodeStacksEmulator.layer()))
  )
})

it.effect("do not get it under another name if it listens on every address", () =>
  Effect.gen(function* () {
    for (const host of ["192.168.1.5:80", "[2001:db8::1]", "localhost"]) {
      assert.strictEqual(yield* status("/", { headers: { host } }), 200, host)
    }
    assert.strictEqual(yield* status("/", { headers: { host: "evil.example" } }), 421)
  }).pipe(Effect.provide(NodeStacksEmulator.layer({ host: "0.0.0.0" })))
)

it.effect("The page and its data contain no token", () =>
  Effect.gen(function* () {
    const emulator = yield* StacksEmulator.StacksEmulator
    const secret = "bkct_very-secret"
    const authorization = `Token ${secret}`
    yield* emulator.addJobs([{ id: "j", queueKey: "q", command: `echo ${secret}`, env: { TOKEN: secret } }])
    const register = { key: "s", type: "custom", queue_key: "q", metadata: { note: secret } }
    const headers = { authorization, "x-token": secret, "content-type": json }
    yield* send(`/v3/stacks/register?token=${secret}`, { method: "POST", headers, body: register })
    yield* send("/v3/stacks/s/scheduled-jobs/batch-reserve", { method: "PUT", headers, body: { job_uuids: ["j"] } })
    const issued = yield* send("/v3/stacks/s/job-acquisition-tokens", {
      method: "POST",
      headers,
      body: { job_uuids: ["j"] }
    })
    const token: string = JSON.parse(issued.text).job_acquisition_tokens[0].job_acquisition_token
    const notifications = [{ job_uuid: "j", detail: `${secret} ${token}` }]
    yield* send("/v3/stacks/s/notifications", { method: "POST", headers, body: { notifications } })

    const { text } = yield* send("/ui/requests")
    const ids: ReadonlyArray<string> = JSON.parse(text).map(({ id }: { readonly id: string }) => id)
    assert.lengthOf(ids, 4)
    const { text: html } = yield* send("/")
    const files = Array.from(html.matchAll(/"(\/ui\/[^"]+)"/g), ([, path]) => path ?? "")
    for (const path of ["/", ...files, ...dataPaths, ...ids.map((id) => `/ui/request?id=${id}`)]) {
      const { status, text } = yield* send(path)
      assert.strictEqual(status, 200, path)
      assert.notInclude(text, secret, path)
      assert.notInclude(text, token, path)
      assert.notInclude(text.toLowerCase(), '"authorization"', path)
    }
    const next = yield* watch
    assert.notInclude(yield* next, secret)
    assert.include((yield* send("/ui/job?id=j")).text, "echo [token]")
  }).pipe(Effect.provide(NodeStacksEmulator.layer({ token: "bkct_very-secret" })))
)
