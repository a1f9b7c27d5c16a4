/** What a process does with the jobs that it is sent, where time and the service are the test's. */
import { assert, it } from "@effect/vitest"
import { JobRunner, RateLimit, StacksClient, type StacksSchema } from "@stacksapi/core"
import { DateTime, Duration, Effect, Exit, Fiber, Scope } from "effect"
import { Entity, ShardingConfig } from "effect/cluster"
import { TestClock } from "effect/testing"
import type { Book } from "../../../packages/node/src/internal/cluster/book.ts"
import { JobEntity } from "../../../packages/node/src/internal/cluster/jobEntity.ts"
import * as Lease from "../../../packages/node/src/internal/cluster/lease.ts"
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

/** A process with one slot, its book and service as the test says. */
const make = Effect.fnUntraced(
  function* (book: Pick<Book, "look" | "claim">, run: JobRunner.Service["run"], answer: Scripted.Answer) {
    const service = Scripted.make(answer)
    const lease = yield* Lease.make(Duration.seconds(10))
    yield* lease.renew(Effect.succeed(true))
    const unused = Effect.die(new Error("Not asked here"))
    /** What is left when the process ends. */
    const left: Array<string> = []
    const scope = yield* Scope.fork(yield* Effect.scope)
    const worker = yield* Worker.make({
      book: {
        ...book,
        place: () => unused,
        release: ({ jobUuid }, ticket, owner) =>
          Effect.sync(() => void left.push(`${jobUuid} of ticket ${ticket} is not ${owner}'s`)),
        keep: ({ jobUuid }, ticket, owner, answer) =>
          Effect.sync(() => void left.push(`${jobUuid} of ticket ${ticket} ended ${owner}: ${answer._tag}`)),
        requeue: () => unused,
        withdraw: () => unused,
        inherit: () => unused,
        owned: () => Effect.succeed([])
      },
      lease,
      limiter: RateLimit.none,
      processId: "here",
      slots: 2,
      onProcessDeath: "runAgain",
      tokenLifetime: undefined,
      stacks: [{ key: "s", queueKey: "q" }],
      tell: () => {},
      outspoken: (effect) => effect,
      scope
    }).pipe(
      Effect.provideService(JobRunner.JobRunner, JobRunner.make(run)),
      Effect.provideService(StacksClient.StacksClient, yield* Scripted.client(service))
    )
    const clientOf = yield* Entity.makeTestClient(JobEntity, worker.layer)
    const client = yield* clientOf("0/s/j")
    const send = (ticket: number) => Effect.forkChild(client.Run({ stackKey: "s", job, ticket }))
    const stop = Effect.as(Scope.close(scope, Exit.void), left)
    return { lease, send, stop, worker, requests: service.requests }
  },
  Effect.provide(ShardingConfig.layer({ shardsPerGroup: 1 }))
)

const finished = JobRunner.Finished({ exitStatus: 0, detail: "" })

const asItWas = { isOrphan: false, answer: undefined }
const begunElsewhere = { isOrphan: true, answer: undefined }

it.effect("A job whose process died is left alone where the service will never say how it is", () =>
  Effect.gen(function* () {
    let runs = 0
    const { requests, send } = yield* make(
      { look: () => Effect.succeed("orphaned"), claim: () => Effect.succeed(begunElsewhere) },
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

it.effect("A job is not started whose claim was answered when the process might not be alive any more", () =>
  Effect.gen(function* () {
    const claims: Array<typeof asItWas | "dead"> = [asItWas, "dead", asItWas]
    let runs = 0
    const { lease, send } = yield* make(
      {
        look: () => Effect.succeed("waiting"),
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
    // It was this process's already, and had not begun.
    assert.strictEqual((yield* Fiber.join(answer))._tag, "Finished")
    assert.strictEqual(runs, 1)
    assert.isEmpty(claims)
  })
)

it.effect("A job that comes back to a process waits until what it had begun has ended", () =>
  Effect.gen(function* () {
    /** The ticket by which it was sent last. */
    let placed = 1
    let running = 0
    let most = 0
    let runs = 0
    const { lease, send, worker } = yield* make(
      {
        look: (_, ticket) => Effect.succeed(ticket !== placed ? undefined : placed === 1 ? "waiting" : "orphaned"),
        claim: (_, ticket) => Effect.succeed(ticket !== placed ? undefined : placed === 1 ? asItWas : begunElsewhere)
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
    // The book says that it is not this process's any more, and then it is sent here again.
    placed = 2
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

it.effect("A process that ends gives back what it has claimed and not begun, and keeps what nobody has been told", () =>
  Effect.gen(function* () {
    const { send, stop } = yield* make(
      {
        look: () => Effect.succeed("waiting"),
        claim: (_, ticket) => Effect.delay(Effect.succeed(asItWas), ticket === 1 ? 0 : "1 minute")
      },
      () => Effect.succeed(finished),
      Scripted.silence
    )
    for (const ticket of [1, 2]) yield* send(ticket)
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* stop, [
      `${job.id} of ticket 1 ended here: Finished`,
      `${job.id} of ticket 2 is not here's`
    ])
  })
)

it.effect("A process that ends leaves what it had begun as begun, and what another one had", () =>
  Effect.gen(function* () {
    const { send, stop } = yield* make(
      {
        look: (_, ticket) => Effect.succeed(ticket === 1 ? "waiting" : "orphaned"),
        claim: (_, ticket) => Effect.succeed(ticket === 1 ? asItWas : begunElsewhere)
      },
      () => Effect.never,
      Scripted.silence
    )
    // The first one runs; what has become of the second one is not known yet.
    for (const ticket of [1, 2]) yield* send(ticket)
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* stop, [`${job.id} of ticket 2 is not here's`])
  })
)

it.effect("A job that has ended elsewhere is answered with what was kept of its end", () =>
  Effect.gen(function* () {
    let runs = 0
    const answer = { _tag: "Finished", exitStatus: 3, detail: "three" } as const
    const { requests, send } = yield* make(
      { look: () => Effect.succeed("owned"), claim: () => Effect.succeed({ isOrphan: true, answer }) },
      () => Effect.sync(() => ++runs).pipe(Effect.as(finished)),
      Scripted.silence
    )
    assert.deepStrictEqual(yield* Fiber.join(yield* send(1)), answer)
    assert.isEmpty(requests)
    assert.strictEqual(runs, 0)
  })
)
