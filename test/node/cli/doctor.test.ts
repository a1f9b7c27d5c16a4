import { assert, describe, it } from "@effect/vitest"
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { DateTime, Deferred, Effect, Exit, Redacted } from "effect"
import * as ExitStatus from "../../../packages/node/src/internal/cli/exitStatus.ts"
import * as Altered from "../../support/altered.ts"
import { bin, environmentOf, stacksapi, start } from "../../support/cli.ts"
import { examined, served } from "../../support/doctor.ts"

describe("stacksapi doctor", () => {
  it.live("gives the emulator a clean bill, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([{ id: "waits", queueKey: "q" }])
      const { bad, findings, queue, status } = yield* examined()
      assert.deepStrictEqual(bad, [])
      assert.strictEqual(status, 0)
      assert.strictEqual(queue, "q")
      assert.isAtLeast(findings.filter(({ verdict }) => verdict === "ok").length, 20)
      assert.isEmpty(yield* emulator.stacks)
      assert.strictEqual((yield* emulator.jobs)[0]?.state, "scheduled")
    }).pipe(served)
  )

  it.live("gives the emulator a clean bill with a canary, which it finishes", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([
        { id: "canary", queueKey: "canary" },
        { id: "other", queueKey: "q" }
      ])
      const { bad, findings, queue, status } = yield* examined({}, "--canary", "canary")
      assert.deepStrictEqual(bad, [])
      assert.strictEqual(status, 0)
      assert.strictEqual(queue, "canary")
      assert.includeMembers(
        findings.map(({ check }) => check),
        [
          "canary: details",
          "canary: extend",
          "canary: token",
          "canary: lapse of a shortened reservation",
          "canary: finish twice"
        ]
      )
      assert.deepStrictEqual(
        (yield* emulator.jobs).map(({ exitStatus, state }) => [state, exitStatus]),
        [
          ["finished", 0],
          ["scheduled", undefined]
        ]
      )
    }).pipe(served)
  )

  it.live("skips the canary if no job waits in its queue", () =>
    Effect.gen(function* () {
      const { findings, status } = yield* examined({}, "--canary", "canary")
      assert.strictEqual(status, 0)
      assert.containsSubset(
        findings.find(({ check }) => check === "canary"),
        { verdict: "skipped", detail: "no job waits in the queue canary" }
      )
    }).pipe(served)
  )

  it.live("leaves a job alone that another stack reserves after the canary has listed it", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const client = yield* StacksClient.StacksClient
      yield* emulator.addJobs([{ id: "taken", queueKey: "canary" }])
      yield* client.registerStack({ key: "other", type: "custom", queueKey: "canary" })
      yield* client.batchReserveJobs({ stackKey: "other", jobUuids: ["taken"] })
      const [job] = yield* emulator.jobs
      assert.strictEqual(job?.reservedBy, "other")
      const stillListed = Altered.json(/scheduled-jobs\?.*limit=1$/, (body) => ({ ...body, jobs: [{ id: "taken" }] }))
      const { bad, findings, status } = yield* examined({ alter: stillListed }, "--canary", "canary")
      assert.strictEqual(status, 1)
      const reserve = bad.find(({ check }) => check === "canary: reserve")
      assert.strictEqual(reserve?.detail, "the job was not reserved")
      assert.include(reserve?.advice, "Another stack")
      assert.isUndefined(findings.find(({ check }) => check === "canary: finish"))
      assert.deepStrictEqual((yield* emulator.jobs)[0], job)
    }).pipe(Effect.provide(NodeStacksEmulator.layerClient), served)
  )

  it.live("prints a table with advice for people", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const endpoint = yield* Altered.serve(Altered.header(/^GET token/, "date", undefined))
      const ended = yield* stacksapi(["doctor"], {
        env: { ...environmentOf(emulator), BUILDKITE_AGENT_ENDPOINT: endpoint }
      })
      assert.strictEqual(ended.status, 0, ended.stdout)
      assert.match(ended.stdout, /^CHECK +VERDICT +DETAIL +ADVICE/)
      assert.match(ended.stdout, /token identity +ok +status 200/)
    }).pipe(served)
  )

  it.live("shows no token, and stops after one that is not valid", () =>
    Effect.gen(function* () {
      const secret = "bkct_MTA.this_is_not_the_right_one"
      const { bad, findings, status, stderr, stdout } = yield* examined({ token: secret })
      assert.strictEqual(status, 1)
      assert.strictEqual(bad[0]?.check, "token identity")
      assert.include(bad[0]?.advice, "bkct_")
      assert.strictEqual(findings.find(({ check }) => check === "the rest")?.verdict, "skipped")
      assert.notInclude(stdout + stderr, "not_the_right")
    }).pipe(served)
  )

  it.live("shows no token that a service repeats in headers and names of fields", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const secret = Redacted.value(emulator.token)
      const repeats: Altered.Alter = (request, answer) => {
        const body = request.startsWith("GET token") ? { ...JSON.parse(answer.body), [`x-${secret}`]: 1 } : undefined
        const headers = { ...answer.headers, "ratelimit-scope": `scope of ${secret}` }
        return { ...answer, headers, body: body === undefined ? answer.body : JSON.stringify(body) }
      }
      const { bad, findings, stderr, stdout } = yield* examined({ alter: repeats })
      const shown = findings.map(({ detail }) => detail).join("\n")
      // The findings are there.
      assert.include(shown, "unknown fields: x-")
      assert.isTrue(bad.some(({ detail }) => detail.startsWith("RateLimit-Scope is scope of ")))
      const table = yield* stacksapi(["doctor", "--queue", "q"], {
        env: { ...environmentOf(emulator), BUILDKITE_AGENT_ENDPOINT: yield* Altered.serve(repeats) }
      })
      assert.include(table.stdout, "unknown fields: x-")
      for (const output of [stdout, stderr, table.stdout, table.stderr]) assert.notInclude(output, "c2VjcmV0")
    }).pipe((effect) => served(effect, { token: Redacted.make("bkct_MTA.c2VjcmV0LW9mLWRvY3Rvcg") }))
  )

  it.live("says that nothing listens", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const env = { ...environmentOf(emulator), BUILDKITE_AGENT_ENDPOINT: "http://127.0.0.1:1/v3" }
      const ended = yield* stacksapi(["doctor"], { env })
      assert.strictEqual(ended.status, 1)
      assert.match(ended.stdout, /token identity +failed +connect ECONNREFUSED 127\.0\.0\.1:1 \(ECONNREFUSED\)/)
    }).pipe(served)
  )

  it.live("says nothing about TLS and certificates without a connection", () =>
    Effect.gen(function* () {
      const env = { BUILDKITE_CLUSTER_TOKEN: "bkct_none", BUILDKITE_AGENT_ENDPOINT: "https://127.0.0.1:1/v3" }
      const report = (yield* stacksapi(["doctor"], { env })).stdout
      assert.match(report, /^tls +skipped +there was no connection/m)
    })
  )

  it.live("says that certificates are not verified", () =>
    Effect.gen(function* () {
      const env = {
        BUILDKITE_CLUSTER_TOKEN: "bkct_none",
        BUILDKITE_AGENT_ENDPOINT: "https://127.0.0.1:1/v3",
        NODE_TLS_REJECT_UNAUTHORIZED: "0"
      }
      assert.match((yield* stacksapi(["doctor"], { env })).stdout, /^tls +differs +NODE_TLS_REJECT_UNAUTHORIZED=0: /m)
    })
  )

  it.live.each([
    [404, /--queue/],
    [403, /limit of active stacks/]
  ] as const)("skips what needs a stack if the service refuses to register one with %i", ([status, advice]) =>
    Effect.gen(function* () {
      const refuses = Altered.status(/^POST stacks\/register/, status)
      const { bad, findings } = yield* examined({ alter: refuses })
      assert.deepStrictEqual(
        bad.map(({ check, verdict }) => [check, verdict]),
        [["register a stack", "failed"]]
      )
      assert.match(bad[0]?.advice ?? "", advice)
      assert.containsSubset(
        findings.find(({ check }) => check === "the rest"),
        { verdict: "skipped", detail: "it needs a registered stack" }
      )
    }).pipe(served)
  )
})

describe("stacksapi doctor, when it is interrupted", () => {
  it.live.each(["SIGINT", "SIGTERM"] as const)("by %s, removes its stack", (signal) =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const reached = yield* Deferred.make<void>()
      const stalled = Altered.stalled(/scheduled-jobs\?/, () => Deferred.doneUnsafe(reached, Exit.void))
      const doctor = yield* doctorProcess(stalled, "--queue", "q")
      yield* Deferred.await(reached)
      assert.lengthOf(yield* emulator.stacks, 1)
      yield* doctor.kill(signal)
      assert.strictEqual((yield* doctor.ended).status, ExitStatus.signals[signal])
      assert.isEmpty(yield* emulator.stacks)
    }).pipe(served)
  )

  it.live("gives the canary back, too", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([{ id: "job-of-canary", queueKey: "canary" }])
      const reached = yield* Deferred.make<void>()
      const stalled = Altered.stalled(/^GET .*job-of-canary$/, () => Deferred.doneUnsafe(reached, Exit.void))
      const doctor = yield* doctorProcess(stalled, "--canary", "canary")
      yield* Deferred.await(reached)
      const [reserved] = yield* emulator.jobs
      assert.strictEqual(reserved?.state, "reserved")
      const before = millis(reserved?.reservedUntil)
      yield* doctor.kill("SIGINT")
      yield* doctor.ended
      assert.isEmpty(yield* emulator.stacks)
      const [job] = yield* emulator.jobs
      assert.isBelow(millis(job?.reservedUntil), before - 30_000)
    }).pipe(served)
  )
})

describe("stacksapi doctor advises", () => {
  it.live("how to remove a stack that it could not deregister", () =>
    Effect.gen(function* () {
      const { bad } = yield* examined({ alter: Altered.status(/deregister$/, 503) })
      const failed = bad.find(({ check }) => check === "deregister the stack")
      assert.match(failed?.advice ?? "", /stacksapi deregister --key stacksapi-doctor-[0-9a-f]{8}$/)
    }).pipe(served)
  )

  it.live("how to remove a stack that may be registered", () =>
    Effect.gen(function* () {
      const down = Altered.status(/^POST stacks\//, 503)
      const { bad } = yield* examined({ alter: down })
      assert.deepStrictEqual(
        bad.map(({ check }) => check),
        ["register a stack", "deregister the stack"]
      )
      assert.match(bad[1]?.advice ?? "", /stacksapi deregister --key/)
    }).pipe(served)
  )

  it.live("to check the endpoint if it has no tokens, and sends nothing else there", () =>
    Effect.gen(function* () {
      const requests: Array<string> = []
      const elsewhere: Altered.Alter = (request, answer) => {
        requests.push(request)
        return { ...answer, status: 404, body: "<html>Not found</html>" }
      }
      const { bad } = yield* examined({ alter: elsewhere })
      assert.match(bad[0]?.advice ?? "", /BUILDKITE_AGENT_ENDPOINT/)
      assert.strictEqual(bad[0]?.verdict, "failed")
      assert.deepStrictEqual(Array.from(new Set(requests)), ["GET token"])
    }).pipe(served)
  )

  it.live("to use a token of a cluster, and not to report that", () =>
    Effect.gen(function* () {
      const unclustered = Altered.json(/^GET token/, (body) => ({ ...body, cluster_uuid: null }))
      const { bad } = yield* examined({ alter: unclustered })
      assert.strictEqual(bad[0]?.advice, "Use an agent token of a cluster")
    }).pipe(served)
  )

  it.live("nothing about the limit of stacks after a 403 for something else", () =>
    Effect.gen(function* () {
      const { bad } = yield* examined({ alter: Altered.status(/get-states$/, 403) })
      assert.strictEqual(bad[0]?.check, "states of an unknown job")
      assert.notInclude(bad[0]?.advice, "limit")
    }).pipe(served)
  )
})

const millis = (time: DateTime.Utc | undefined) => (time === undefined ? 0 : DateTime.toEpochMillis(time))

/** Starts the command as a process, with an altered service. */
const doctorProcess = Effect.fnUntraced(function* (alter: Altered.Alter, ...args: ReadonlyArray<string>) {
  const env = environmentOf(yield* StacksEmulator.StacksEmulator)
  const endpoint = yield* Altered.serve(alter)
  return yield* start(process.execPath, [bin, "doctor", ...args], { ...env, BUILDKITE_AGENT_ENDPOINT: endpoint })
})

const jobsOf = (body: Readonly<Record<string, unknown>>) => (Array.isArray(body["jobs"]) ? body["jobs"] : [])

/** Each deviation of a service, and the check and the words that have to name it. */
const deviations: ReadonlyArray<
  readonly [name: string, alter: Altered.Alter, check: string, words: string, verdict?: "note"]
> = [
  [
    "a token without a cluster",
    Altered.json(/^GET token/, (body) => ({ ...body, cluster_uuid: "" })),
    "token identity",
    "belongs to no cluster"
  ],
  [
    "a missing field",
    Altered.json(/^GET token/, ({ organization_slug: _, ...body }) => body),
    "token identity",
    "organization_slug is missing"
  ],
  [
    "an unknown field",
    Altered.json(/scheduled-jobs\?.*limit=1$/, (body) => ({ ...body, next_poll_in: 5 })),
    "list scheduled jobs",
    "next_poll_in",
    "note"
  ],
  [
    "an unknown field of jobs",
    Altered.json(/scheduled-jobs\?.*limit=1$/, (body) => ({
      ...body,
      jobs: jobsOf(body).map((job) => ({ ...job, retries: 1 }))
    })),
    "list scheduled jobs",
    "jobs[].retries",
    "note"
  ],
  [
    "a field of another kind",
    Altered.json(/scheduled-jobs\?.*limit=1$/, (body) => ({
      ...body,
      jobs: jobsOf(body).map((job) => ({ ...job, priority: "0" }))
    })),
    "list scheduled jobs",
    "jobs[].priority is a string"
  ],
  [
    "a renamed field of the queue",
    Altered.json(/scheduled-jobs\?.*limit=1$/, (body) => ({ ...body, cluster_queue: { id: "x", paused: false } })),
    "list scheduled jobs",
    "cluster_queue.dispatch_paused is missing"
  ],
  ["another status for a new stack", Altered.status(/^POST stacks\/register/, 202), "register a stack", "status 202"],
  [
    "a state of a stack that is unknown",
    Altered.json(/^POST stacks\/register/, (body) => ({ ...body, state: "paused" })),
    "register a stack",
    "state is unknown"
  ],
  [
    "another rate limit",
    Altered.header(/scheduled-jobs\?/, "ratelimit-limit", "2"),
    "rate limit of list-scheduled-jobs",
    "2 requests a second, not 10"
  ],
  [
    "a rate limit without headers",
    Altered.header(/get-states/, "ratelimit-reset", undefined),
    "rate limit of batch-load-job-states",
    "no header ratelimit-reset"
  ],
  [
    "another scope of a rate limit",
    Altered.header(/batch-reserve/, "ratelimit-scope", "reserve"),
    "rate limit of batch-reserve",
    "RateLimit-Scope is reserve"
  ],
  [
    "states for jobs that do not exist",
    Altered.json(/get-states/, () => ({ states: { "00000000-0000-4000-8000-000000000000": "broken" } })),
    "states of an unknown job",
    "the unknown job has a state"
  ],
  ["a success for a job that does not exist", Altered.status(/\/finish$/, 200), "finish an unknown job", "status 200"],
  [
    "an error that is no JSON",
    Altered.status(/^GET stacks\/[^/]+\/jobs\//, 404, "<html>Not found</html>"),
    "details of an unknown job",
    "not JSON"
  ],
  [
    "an error without a message",
    Altered.status(/^GET stacksapi-doctor/, 404, '{"error":"Not found"}'),
    "unknown path",
    "message is missing"
  ],
  [
    "a batch that fails for one unknown job",
    Altered.status(/notifications$/, 422),
    "notify an unknown job",
    "status 422"
  ],
  [
    "an unknown job that is reserved",
    Altered.json(/batch-reserve/, ({ not_reserved, reserved }) => ({ reserved: not_reserved, not_reserved: reserved })),
    "reserve an unknown job",
    "not_reserved does not have the unknown job"
  ],
  [
    "a clock that is wrong",
    Altered.header(/./, "date", DateTime.toDateUtc(DateTime.makeUnsafe("2026-01-01T00:00:00Z")).toUTCString()),
    "clock",
    "ahead of the service"
  ],
  [
    "another rate limit of deregistrations",
    Altered.header(/deregister$/, "ratelimit-limit", "1"),
    "rate limit of default (deregister the stack)",
    "1 requests a second, not 10"
  ],
  [
    "a body that is too large",
    Altered.json(/^GET token/, (body) => ({ ...body, more: "x".repeat(9 * 1024 * 1024) })),
    "token identity",
    "larger than 8 MiB"
  ],
  ["responses without a date", Altered.header(/./, "date", undefined), "clock", "no response has a valid Date header"],
  ["an outage of tokens", Altered.status(/acquisition-tokens$/, 503), "tokens for an unknown job", "status 503"]
]

describe("stacksapi doctor finds and names", () => {
  it.live.each(deviations)("%s", ([, alter, check, words, verdict]) =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([{ queueKey: "q" }])
      const { bad, findings, status } = yield* examined({ alter })
      const named = findings.filter((found) => found.check === check && found.detail.includes(words))
      assert.lengthOf(named, 1, JSON.stringify(findings))
      assert.isNotEmpty(named[0]?.advice)
      if (verdict === "note") {
        assert.strictEqual(named[0]?.verdict, "note")
        assert.deepStrictEqual(bad, [])
      } else {
        assert.strictEqual(status, 1)
        assert.include(bad, named[0])
      }
    }).pipe(served)
  )

  it.live("details of a job without its environment", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([{ id: "canary", queueKey: "canary" }])
      const withoutEnv = Altered.json(/^GET .*\/jobs\/canary$/, ({ env: _, ...body }) => ({ ...body, script: "" }))
      const { bad, findings } = yield* examined({ alter: withoutEnv }, "--canary", "canary")
      assert.deepStrictEqual(
        bad.map(({ check, detail }) => [check, detail]),
        [["canary: details", "env is missing"]]
      )
      assert.isTrue(findings.some(({ detail }) => detail === "unknown fields: script"))
    }).pipe(served)
  )

  it.live("a canary that somebody else changes, and does not conclude that reservations stay", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([{ id: "canary", queueKey: "canary" }])
      let isShortened = false
      const canceled: Altered.Alter = (request, answer) => {
        if (request.endsWith("job-acquisition-tokens")) isShortened = true
        return isShortened && request.endsWith("get-states")
          ? { ...answer, body: JSON.stringify({ states: { canary: "canceled" } }) }
          : answer
      }
      const { findings } = yield* examined({ alter: canceled }, "--canary", "canary")
      const lapse = findings.find(({ check }) => check === "canary: lapse of a shortened reservation")
      assert.containsSubset(lapse, { verdict: "skipped", detail: "the job is canceled: somebody else changed it" })
    }).pipe(served)
  )
})
