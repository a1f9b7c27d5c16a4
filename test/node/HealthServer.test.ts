/** The health server over real HTTP, with stacks on a test clock. */
import { assert, describe, it } from "@effect/vitest"
import { AgentProvider, JobRunner, Stack, Stacks, StacksClient } from "@stacksapi/core"
import { AgentProviderEmulator, StacksEmulator } from "@stacksapi/core/testing"
import { HealthServer, NodeStacksEmulator } from "@stacksapi/node"
import type * as ClusterStack from "@stacksapi/node/ClusterStack"
import { Duration, Effect, Exit, Fiber, Layer, Logger, Metric, Scope, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, done, emulated, slowly, start, takes } from "../support/stacks.ts"

const { Fault } = StacksEmulator

/** A server on a free port, with metrics from zero on. */
const served = (options?: Partial<HealthServer.Options>, service?: StacksEmulator.Options) =>
  Layer.provideMerge(HealthServer.layer({ port: 0, ...options }), emulated(service))

const alone = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => Effect.provideService(effect, Metric.MetricRegistry, new Map()))

const request = Effect.fnUntraced(function* (path: string, init: RequestInit = {}) {
  const { url } = yield* HealthServer.HealthServer
  return yield* Effect.promise(async () => {
    const response = await fetch(`${url}${path}`, init)
    return { status: response.status, headers: response.headers, text: await response.text() }
  })
})

const report = Effect.fnUntraced(function* (path: "/healthz" | "/readyz") {
  const { headers, status, text } = yield* request(path)
  assert.strictEqual(headers.get("content-type"), "application/json")
  const body: HealthServer.Report = JSON.parse(text)
  assert.strictEqual(body.status, status === 200 ? "ok" : "unavailable")
  return { ...body, status }
})

/** Only what `/readyz` decides. */
const readiness = Effect.map(report("/readyz"), ({ reason, status }) => `${status} ${reason}`)

const watched = Effect.fnUntraced(function* (...args: Parameters<typeof start>) {
  const health = yield* HealthServer.HealthServer
  const stack = yield* start(...args)
  yield* health.watch(stack)
  return stack
})

describe("/readyz", () => {
  it.effect("follows a stack from before registration until after its end", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(1)
      yield* emulator.setFaults([Fault.Status({ status: 500, operations: ["listScheduledJobs"], times: 1 })])
      assert.strictEqual(yield* readiness, "503 no stack is registered yet")
      const scope = yield* Scope.make()
      const stack = yield* Scope.provide(watched(takes("5 seconds"), { shutdownGrace: "1 minute" }), scope)
      assert.strictEqual(yield* readiness, "503 stack s has not polled its queue yet")
      yield* slowly("3 seconds")
      assert.strictEqual(yield* readiness, "200 null")
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* slowly("1 second")
      assert.strictEqual((yield* stack.status).phase, "draining")
      assert.strictEqual(yield* readiness, "503 stack s is draining")
      yield* slowly("5 seconds")
      yield* Fiber.join(closing)
      assert.strictEqual(yield* readiness, "503 stopped")
    }).pipe(Effect.scoped, Effect.provide(served()))
  )

  it.effect("is 503 when the queue could not be polled for a minute, and 200 when it can again", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* watched(takes("5 seconds"))
      yield* slowly("2 seconds")
      yield* emulator.setFaults([Fault.Status({ status: 503 })])
      yield* TestClock.adjust("50 seconds")
      assert.strictEqual(yield* readiness, "200 null")
      yield* TestClock.adjust("13 seconds")
      assert.match(yield* readiness, /^503 stack s last polled its queue 6\d s ago$/)
      assert.strictEqual((yield* report("/healthz")).status, 200)
      yield* emulator.setFaults([])
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* readiness, "200 null")
    }).pipe(Effect.scoped, Effect.provide(served()))
  )

  it.effect("uses `maxPollAge`", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* watched(takes("5 seconds"))
      yield* slowly("2 seconds")
      yield* emulator.setFaults([Fault.Status({ status: 503 })])
      yield* TestClock.adjust("12 seconds")
      const late = yield* readiness
      // Otherwise the end of the stack would wait for the stopped test clock.
      yield* emulator.setFaults([])
      assert.match(late, /^503 stack s last polled/)
    }).pipe(Effect.scoped, Effect.provide(served({ maxPollAge: "10 seconds" })))
  )

  it.effect("is 200 while the queue is paused", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.pauseQueue("q", true)
      yield* watched(takes("5 seconds"))
      yield* slowly("2 seconds")
      const { stacks, status } = yield* report("/readyz")
      assert.strictEqual(status, 200)
      assert.isTrue(stacks[0]?.isPaused)
    }).pipe(Effect.scoped, Effect.provide(served()))
  )

  it.effect("is 503 while starts are suspended, and 200 when a job starts again", () =>
    Effect.gen(function* () {
      let isBroken = true
      yield* watched(
        () =>
          isBroken
            ? Effect.fail(new JobRunner.JobRunnerError({ message: "the disk is full", isRetryable: true }))
            : Effect.succeed(done),
        { maxInFlight: 20 }
      )
      yield* addJobs(12)
      yield* slowly("2 seconds")
      const suspended = yield* readiness
      isBroken = false
      yield* addJobs(1)
      yield* slowly("2 minutes", "500 millis")
      assert.strictEqual(suspended, "503 stack s has suspended starts: starts of different jobs kept failing")
      assert.strictEqual(yield* readiness, "200 null")
    }).pipe(Effect.scoped, Effect.provide(served()))
  )

  it.effect("is 503 with the reason while the host of the agents does not respond, and so say the metrics", () =>
    Effect.gen(function* () {
      const { setFaults } = yield* AgentProviderEmulator.AgentProviderEmulator
      const health = yield* HealthServer.HealthServer
      yield* setFaults([{ kind: "Unavailable" }])
      yield* addJobs(2)
      const stack = yield* Stack.make({ key: "s", queueKey: "q", shutdownGrace: 0, onClose: "drain" }).pipe(
        Effect.provide(AgentProvider.layerRunner())
      )
      yield* health.watch(stack)
      yield* slowly("3 seconds")
      assert.strictEqual(
        yield* readiness,
        "503 stack s reserves no jobs, because its runner is unavailable: An emulated fault: Unavailable"
      )
      assert.include((yield* request("/metrics")).text, "stacksapi_agent_provider_unavailable 1")
      yield* setFaults([])
      yield* slowly("3 seconds")
      assert.strictEqual(yield* readiness, "200 null")
      assert.include((yield* request("/metrics")).text, "stacksapi_agent_provider_unavailable 0")
      yield* slowly("2 minutes", "1 second")
    }).pipe(Effect.scoped, Effect.provide(Layer.provideMerge(AgentProviderEmulator.layer(), served())), alone)
  )

  it.effect("checks every stack of the process, except stopped ones", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([{ queueKey: "other" }])
      const first = yield* watched(takes("5 seconds"))
      yield* watched(takes("5 seconds"), { key: "t", queueKey: "other" })
      yield* slowly("2 seconds")
      assert.strictEqual(yield* readiness, "200 null")
      yield* first.drain
      const { reason, stacks } = yield* report("/readyz")
      assert.isNull(reason)
      assert.deepStrictEqual(
        stacks.map(({ inFlight, key, phase, queueKey }) => ({ inFlight, key, phase, queueKey })),
        [
          { inFlight: 0, key: "s", phase: "stopped", queueKey: "q" },
          { inFlight: 1, key: "t", phase: "running", queueKey: "other" }
        ]
      )
    }).pipe(Effect.scoped, Effect.provide(served()))
  )
})

describe("/healthz", () => {
  it.effect("is 200 before there is a stack", () =>
    Effect.gen(function* () {
      assert.deepInclude(yield* report("/healthz"), { status: 200, reason: null, stacks: [] })
    }).pipe(Effect.provide(served()))
  )

  it.effect("reports the state of each stack", () =>
    Effect.gen(function* () {
      yield* addJobs(3)
      yield* watched(takes("1 minute"), { maxInFlight: 2 })
      yield* slowly("1500 millis")
      const { stacks, status } = yield* report("/healthz")
      assert.strictEqual(status, 200)
      assert.lengthOf(stacks, 1)
      const { secondsSincePoll, ...rest } = stacks[0] ?? assert.fail()
      assert.isAtMost(secondsSincePoll ?? assert.fail(), 1)
      assert.deepStrictEqual(rest, {
        key: "s",
        queueKey: "q",
        phase: "running",
        isPaused: false,
        maxInFlight: 2,
        inFlight: 2,
        pending: 1,
        backingOff: 0,
        finishing: 0,
        startsSuspended: false,
        runnerUnavailable: null,
        failure: null
      })
    }).pipe(Effect.scoped, Effect.provide(served()))
  )

  it.effect("is 503 when a stack has failed, and says why without its token", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* watched(takes("5 seconds"), { authGrace: 0 })
      yield* slowly("2 seconds")
      yield* emulator.setFaults([Fault.Status({ status: 401, body: { message: "No access for bkct_emulator" } })])
      yield* slowly("2 seconds")
      const { reason, stacks, status } = yield* report("/healthz")
      assert.strictEqual(status, 503)
      assert.match(reason ?? "", /^stack s has failed: .*401 .*cluster token/)
      assert.include(reason ?? "", stacks[0]?.failure ?? assert.fail())
      assert.notInclude(JSON.stringify(stacks) + reason, "bkct_emulator")
      assert.strictEqual((yield* report("/readyz")).reason, reason)
    }).pipe(Effect.scoped, Effect.provide(served()))
  )
})

describe("A process with several queues", () => {
  it.effect("is live while one queue is refused, and ready when all are registered", () =>
    Effect.gen(function* () {
      const health = yield* HealthServer.HealthServer
      const client = yield* StacksClient.StacksClient
      yield* client.registerStack({ key: "other", type: "custom", queueKey: "a" })
      const stacks = yield* Stacks.make({ key: "s", queues: ["a", "b"], shutdownGrace: 0 }).pipe(
        Effect.provide([JobRunner.layer(takes("1 second")), Logger.layer([])])
      )
      yield* health.watch(stacks)
      yield* slowly("2 seconds")
      assert.strictEqual((yield* report("/healthz")).status, 200)
      const unready = yield* report("/readyz")
      assert.match(unready.reason ?? "", /^stack s--[ab] has failed: .*403/)
      assert.sameDeepMembers(
        unready.stacks.map(({ failure, phase }) => [phase, failure === null]),
        [
          ["running", true],
          ["stopped", false]
        ]
      )
      yield* client.deregisterStack({ stackKey: "other" })
      yield* TestClock.adjust("1 minute")
      yield* slowly("2 seconds")
      assert.strictEqual(yield* readiness, "200 null")
    }).pipe(Effect.scoped, Effect.provide(served({}, { maxStacks: 2 })))
  )
})

describe("A process of a cluster", () => {
  const watchedProcess = Effect.fnUntraced(function* (changes: Partial<ClusterStack.Status>) {
    const health = yield* HealthServer.HealthServer
    const status = { phase: "running", slots: 8, processes: [], running: [], leading: [], ...changes } as const
    yield* health.watch({ status: Effect.succeed(status), awaitFailure: Effect.never })
  })

  it.effect("is ready when it is a member, although it leads no queue", () =>
    Effect.gen(function* () {
      const processes = [{ name: "a", slots: 8 }]
      yield* watchedProcess({ processes })
      assert.deepStrictEqual(yield* report("/readyz"), {
        status: 200,
        reason: null,
        stacks: [],
        cluster: { phase: "running", slots: 8, running: 0, processes }
      })
    }).pipe(Effect.provide(served()))
  )

  it.effect("is live and not ready while it joins, is partitioned or leaves", () =>
    Effect.gen(function* () {
      for (const [phase, reason] of [
        ["joining", /has not joined the cluster yet/],
        ["partitioned", /database does not confirm/],
        ["leaving", /is leaving/]
      ] as const) {
        yield* Effect.gen(function* () {
          yield* watchedProcess({ phase })
          assert.match(yield* readiness, reason)
          assert.strictEqual((yield* report("/healthz")).status, 200)
        }).pipe(Effect.provide(HealthServer.layer({ port: 0 })))
      }
    })
  )

  it.effect("is ready only when it has polled the queues that it leads", () =>
    Effect.gen(function* () {
      const status = yield* (yield* start(takes("5 seconds"))).status
      yield* watchedProcess({ leading: [{ stackKey: "s", status }] })
      assert.strictEqual(yield* readiness, "503 stack s has not polled its queue yet")
    }).pipe(Effect.scoped, Effect.provide(served()))
  )
})

describe("/metrics", () => {
  const text = Effect.map(request("/metrics"), ({ text }) => text)

  it.effect("has the metrics of the stack, in Prometheus' format", () =>
    Effect.gen(function* () {
      yield* addJobs(3)
      yield* watched(() => Effect.succeed(done))
      yield* slowly("2 seconds")
      const { headers, status } = yield* request("/metrics")
      assert.strictEqual(status, 200)
      assert.strictEqual(headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8")
      const lines = (yield* text).split("\n")
      for (const line of [
        "# HELP stacksapi_jobs_total Jobs by outcome",
        "# TYPE stacksapi_jobs_total counter",
        `stacksapi_jobs_total{outcome="Finished"} 3`,
        `stacksapi_jobs_total{outcome="Failed"} 0`,
        "stacksapi_jobs_started_total 3",
        "# TYPE stacksapi_slots_available gauge",
        "stacksapi_slots_available 25",
        "stacksapi_jobs_in_flight 0",
        "# TYPE stacksapi_schedule_to_start_seconds histogram",
        `stacksapi_schedule_to_start_seconds_bucket{le="+Inf"} 3`,
        "stacksapi_schedule_to_start_seconds_count 3",
        `stacksapi_requests_total{operation="registerStack"} 1`
      ]) {
        assert.include(lines, line)
      }
      assert.strictEqual(lines.at(-1), "")
    }).pipe(Effect.scoped, Effect.provide(served()), alone)
  )

  it.effect("adds type and unit to names once, and escapes labels", () =>
    Effect.gen(function* () {
      const labels = { attributes: { path: 'C:\\a "b"\nc' } }
      yield* Metric.update(Metric.counter("mine_total", labels), 2)
      yield* Metric.update(Metric.frequency("colors"), "red")
      yield* Metric.update(Metric.timer("work", { boundaries: [1000] }), Duration.seconds(2))
      yield* Metric.update(Metric.gauge("level"), 1.5)
      const lines = (yield* text).split("\n")
      for (const line of [
        String.raw`mine_total{path="C:\\a \"b\"\nc"} 2`,
        `colors_total{key="red"} 1`,
        `work_milliseconds_bucket{le="1000"} 0`,
        "work_milliseconds_sum 2000",
        "level 1.5"
      ]) {
        assert.include(lines, line)
      }
    }).pipe(Effect.provide(served()), alone)
  )

  it.effect("keeps stacks with different labels apart", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([{ queueKey: "linux" }, { queueKey: "linux" }, { queueKey: "macos" }])
      for (const queue of ["linux", "macos"]) {
        yield* Effect.provideService(
          start(() => Effect.never, { key: queue, queueKey: queue }),
          Metric.CurrentMetricAttributes,
          { queue }
        )
      }
      yield* slowly("2 seconds")
      const lines = (yield* text).split("\n")
      for (const line of [
        `stacksapi_jobs_in_flight{queue="linux"} 2`,
        `stacksapi_jobs_in_flight{queue="macos"} 1`,
        `stacksapi_slots_available{queue="macos"} 24`,
        `stacksapi_jobs_started_total{queue="linux"} 2`,
        `stacksapi_jobs_total{queue="linux",outcome="Finished"} 0`,
        `stacksapi_requests_total{queue="linux",operation="batchReserveJobs"} 1`
      ]) {
        assert.include(lines, line)
      }
    }).pipe(Effect.scoped, Effect.provide(served()), alone)
  )

  it.effect("follows Prometheus' naming conventions", () =>
    Effect.gen(function* () {
      yield* addJobs(1)
      yield* watched(({ notify }) => Effect.as(notify("hello"), done))
      yield* slowly("2 seconds")
      const families = Array.from((yield* text).matchAll(/^# TYPE (\S+) (\S+)$/gm), ([, name = "", type = ""]) => ({
        name,
        type
      }))
      assert.include(
        families.map(({ name }) => name),
        "stacksapi_notifications_total"
      )
      for (const { name, type } of families) {
        assert.match(name, /^stacksapi_[a-z_]+$/)
        assert.strictEqual(name.endsWith("_total"), type === "counter", name)
        if (type === "histogram") assert.match(name, /_seconds$/)
      }
    }).pipe(Effect.scoped, Effect.provide(served()), alone)
  )
})

describe("The server", () => {
  it.effect("answers HEAD like GET, without the body", () =>
    Effect.gen(function* () {
      for (const path of ["/metrics", "/healthz", "/readyz"]) {
        const get = yield* request(path)
        const head = yield* request(path, { method: "HEAD" })
        assert.strictEqual(head.text, "")
        assert.strictEqual(head.status, get.status)
        assert.strictEqual(head.headers.get("content-type"), get.headers.get("content-type"))
      }
    }).pipe(Effect.provide(served()), alone)
  )

  it.effect("responds 404 to other paths, and 405 to other methods", () =>
    Effect.gen(function* () {
      for (const path of ["/", "/metrics/", "/healthz/x", "//", "/%00", "/Metrics"]) {
        assert.strictEqual((yield* request(path)).status, 404, path)
      }
      for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
        const { headers, status } = yield* request("/healthz", { method })
        assert.deepStrictEqual([status, headers.get("allow")], [405, "GET, HEAD"])
      }
      assert.strictEqual((yield* request("/healthz?probe=1")).status, 200)
    }).pipe(Effect.provide(served()))
  )

  it.effect("shows no token", () =>
    Effect.gen(function* () {
      yield* addJobs(2)
      yield* watched(({ acquisitionToken }) => Effect.as(acquisitionToken, done))
      yield* slowly("2 seconds")
      for (const path of ["/metrics", "/healthz", "/readyz"]) {
        assert.notMatch((yield* request(path)).text, /bkct_|bkjat_/)
      }
    }).pipe(Effect.scoped, Effect.provide(served()))
  )

  it.effect("makes no traces of probes", () =>
    Effect.gen(function* () {
      const names: Array<string> = []
      const tracer = Tracer.make({
        span: (options) => {
          names.push(options.name)
          return new Tracer.NativeSpan(options)
        }
      })
      yield* Effect.gen(function* () {
        yield* request("/healthz")
        yield* request("/metrics")
      }).pipe(Effect.provide(served()), Effect.withTracer(tracer))
      assert.deepStrictEqual(names, [])
    })
  )

  it.live("fails with the port that is in use", () =>
    Effect.gen(function* () {
      const { url } = yield* HealthServer.HealthServer
      const port = Number(new URL(url).port)
      const error = yield* Effect.flip(Effect.scoped(HealthServer.make({ port })))
      assert.instanceOf(error, NodeStacksEmulator.ListenError)
      assert.strictEqual(error.message, `Can't listen on 127.0.0.1:${port}: the port is in use`)
    }).pipe(Effect.provide(HealthServer.layer({ port: 0 })))
  )

  it.live("frees its port when it ends, even with open connections", () =>
    Effect.gen(function* () {
      const url = yield* Effect.gen(function* () {
        yield* request("/healthz", { headers: { connection: "keep-alive" } })
        return (yield* HealthServer.HealthServer).url
      }).pipe(Effect.provide(HealthServer.layer({ port: 0 })))
      yield* Effect.scoped(HealthServer.make({ port: Number(new URL(url).port) }))
    })
  )
})

describe("A stack with its health server, as its documentation has it", () => {
  it.effect("runs, and is watched", () =>
    Effect.gen(function* () {
      yield* addJobs(1)
      const program = Effect.gen(function* () {
        const health = yield* HealthServer.HealthServer
        const stack = yield* Stack.make({ key: "my-stack", queueKey: "q" })
        yield* health.watch(stack)
        yield* stack.awaitIdle
        return yield* report("/healthz")
      }).pipe(
        Effect.scoped,
        Effect.provide([HealthServer.layer({ port: 0 }), JobRunner.layer(() => Effect.succeed(done))])
      )
      const running = yield* Effect.forkChild(program)
      yield* slowly("3 seconds")
      assert.strictEqual((yield* Fiber.join(running)).stacks[0]?.key, "my-stack")
    }).pipe(Effect.provide(emulated()))
  )
})
