/** What a process does with the jobs that are dispatched to it, with a test clock and a scripted service. */
import { assert, it } from "@effect/vitest"
import { JobRunner, RateLimit, StacksClient, type StacksSchema } from "@stacksapi/core"
import { DateTime, Duration, Effect, Exit, Fiber, Scope } from "effect"
import { Entity, ShardingConfig } from "effect/cluster"
import { TestClock } from "effect/testing"
import { JobEntity } from "../../../packages/node/src/internal/cluster/jobEntity.ts"
import * as Lease from "../../../packages/node/src/internal/cluster/lease.ts"
import type { Ownership } from "../../../packages/node/src/internal/cluster/ownership.ts"
import * as Worker from "../../../packages/node/src/internal/cluster/worker.ts"
import * as Scripted from "../../support/scripted.ts"

const job: StacksSchema.ScheduledJob = {
  id: "01900000-0000-7000-8000-000000000001",
  priority: 0,
  agentQueryRules: [],
  scheduledAt: DateTime.makeUnsafe(0),
  runnableAt: null,
  pipeline: { slug: "p", uuid: "u" },
  build: { uuid: "b", number: 1, branch: "main" },
  step: { key: null }
}

/** A process with two slots, with scripted ownership and service. */
const make = Effect.fnUntraced(
  function* (ownership: Pick<Ownership, "stateOf" | "claim">, run: JobRunner.Service["run"], answer: Scripted.Answer) {
    const service = Scripted.make(answer)
    const lease = yield* Lease.make(Duration.seconds(10))
    yield* lease.renew(Effect.succeed(true))
    const unused = Effect.die(new Error("Not called here"))
    /** What is written when the process ends. */
    const written: Array<string> = []
    const scope = yield* Scope.fork(yield* Effect.scope)
    const worker = yield* Worker.make({
      ownership: {
        ...ownership,
        assign: () => unused,
        release: ({ jobUuid }, dispatchId, owner) =>
          Effect.sync(() => void written.push(`${jobUuid} of dispatch ${dispatchId} is released by ${owner}`)),
        saveAnswer: ({ jobUuid }, dispatchId, owner, answer) =>
          Effect.sync(
            () => void written.push(`${jobUuid} of dispatch ${dispatchId} ended at ${owner}: ${answer._tag}`)
          ),
        retry: () => unused,
        requeue: () => unused,
        reassign: () => unused,
        owned: () => Effect.succeed([])
      },
      lease,
      limiter: RateLimit.none,
      processId: "here",
      slots: 2,
      onProcessDeath: "retry",
      tokenLifetime: undefined,
      stacks: [{ key: "s", queueKey: "q" }],
      publish: () => {},
      restoreLogs: (effect) => effect,
      scope
    }).pipe(
      Effect.provideService(JobRunner.JobRunner, JobRunner.make(run)),
      Effect.provideService(StacksClient.StacksClient, yield* Scripted.client(service))
    )
    const clientOf = yield* Entity.makeTestClient(JobEntity, worker.layer)
    const client = yield* clientOf("0/s/j")
    const send = (dispatchId: number) => Effect.forkChild(client.Run({ stackKey: "s", job, dispatchId }))
    const stop = Effect.as(Scope.close(scope, Exit.void), written)
    return { lease, send, stop, worker, requests: service.requests }
  },
  Effect.provide(ShardingConfig.layer({ shardsPerGroup: 1 }))
)

const finished = JobRunner.Finished({ exitStatus: 0, detail: "" })

const notOrphan = { isOrphan: false, answer: undefined }
const orphan = { isOrphan: true, answer: undefined }

it.effect("A job whose process died is left alone if the service does not know its state", () =>
  Effect.gen(function* () {
    let runs = 0
    const { requests, send } = yield* make(
      { stateOf: () => Effect.succeed("orphaned"), claim: () => Effect.succeed(orphan) },
      () => Effect.sync(() => ++runs).pipe(Effect.as(finished)),
      Scripted.json(404, { message: "No stack found" })
    )
    const answer = yield* send(1)
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(yield* Fiber.join(answer), { _tag: "AgentOwned" })
    assert.lengthOf(requests, 1)
    assert.strictEqual(runs, 0)
  })
)

it.effect("A job whose claim took longer than the lease is claimed again before it starts", () =>
  Effect.gen(function* () {
    const claims: Array<typeof notOrphan | "dead"> = [notOrphan, "dead", notOrphan]
    let runs = 0
    const { lease, send } = yield* make(
      {
        stateOf: () => Effect.succeed("waiting"),
        claim: () =>
          Effect.delay(
            Effect.sync(() => claims.shift()),
            claims.length === 3 ? "20 seconds" : 0
          )
      },
      () => Effect.sync(() => ++runs).pipe(Effect.as(finished)),
      Scripted.silence
    )
    const answer = yield* send(1)
    yield* TestClock.adjust("1 minute")
    assert.strictEqual(runs, 0)
    assert.lengthOf(claims, 2)
    yield* lease.renew(Effect.succeed(true))
    yield* TestClock.adjust("1 second")
    // This process owned it already, and had not started it.
    assert.strictEqual((yield* Fiber.join(answer))._tag, "Finished")
    assert.strictEqual(runs, 1)
    assert.isEmpty(claims)
  })
)

it.effect("A job that is dispatched to the same process again waits for its first execution to end", () =>
  Effect.gen(function* () {
    /** The last dispatch. */
    let current = 1
    let running = 0
    let most = 0
    let runs = 0
    const { lease, send, worker } = yield* make(
      {
        stateOf: (_, dispatchId) =>
          Effect.succeed(dispatchId !== current ? undefined : current === 1 ? "waiting" : "orphaned"),
        claim: (_, dispatchId) =>
          Effect.succeed(dispatchId !== current ? undefined : current === 1 ? notOrphan : orphan)
      },
      () =>
        Effect.acquireUseRelease(
          Effect.sync(() => {
            runs++
            most = Math.max(most, ++running)
          }),
          () => (runs === 1 ? Effect.never : Effect.succeed(finished)),
          // A command that ignores its signal.
          () =>
            Effect.andThen(
              Effect.sleep("4 seconds"),
              Effect.sync(() => running--)
            )
        ),
      Scripted.json(200, { states: { [job.id]: "reserved" } })
    )
    yield* send(1)
    yield* TestClock.adjust("1 second")
    assert.strictEqual(running, 1)
    // The process loses the job, and then the job is dispatched to it again.
    current = 2
    yield* worker.audit
    const answer = yield* send(2)
    yield* TestClock.adjust("3 seconds")
    assert.strictEqual(runs, 1)
    yield* lease.renew(Effect.succeed(true))
    yield* TestClock.adjust("8 seconds")
    assert.strictEqual((yield* Fiber.join(answer))._tag, "Finished")
    assert.strictEqual(runs, 2)
    assert.strictEqual(most, 1)
  })
)

it.effect("A process that stops releases jobs that it has not started, and saves answers that were not sent", () =>
  Effect.gen(function* () {
    const { send, stop } = yield* make(
      {
        stateOf: () => Effect.succeed("waiting"),
        claim: (_, dispatchId) => Effect.delay(Effect.succeed(notOrphan), dispatchId === 1 ? 0 : "1 minute")
      },
      () => Effect.succeed(finished),
      Scripted.silence
    )
    for (const dispatchId of [1, 2]) yield* send(dispatchId)
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* stop, [
      `${job.id} of dispatch 1 ended at here: Finished`,
      `${job.id} of dispatch 2 is released by here`
    ])
  })
)

it.effect(
  "A process that stops keeps the jobs that it has started, and releases jobs that another process had started",
  () =>
    Effect.gen(function* () {
      const { send, stop } = yield* make(
        {
          stateOf: (_, dispatchId) => Effect.succeed(dispatchId === 1 ? "waiting" : "orphaned"),
          claim: (_, dispatchId) => Effect.succeed(dispatchId === 1 ? notOrphan : orphan)
        },
        () => Effect.never,
        Scripted.silence
      )
      // The first one runs; the state of the second one is not known yet.
      for (const dispatchId of [1, 2]) yield* send(dispatchId)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* stop, [`${job.id} of dispatch 2 is released by here`])
    })
)

it.effect("A job that has ended on another process is answered with the saved answer", () =>
  Effect.gen(function* () {
    let runs = 0
    const answer = { _tag: "Finished", exitStatus: 3, detail: "three" } as const
    const { requests, send } = yield* make(
      { stateOf: () => Effect.succeed("owned"), claim: () => Effect.succeed({ isOrphan: true, answer }) },
      () => Effect.sync(() => ++runs).pipe(Effect.as(finished)),
      Scripted.silence
    )
    assert.deepStrictEqual(yield* Fiber.join(yield* send(1)), answer)
    assert.isEmpty(requests)
    assert.strictEqual(runs, 0)
  })
)
