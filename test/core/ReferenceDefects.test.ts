/** Where the Go client falls short of the service, and this one must not. */
import { assert, describe, it } from "@effect/vitest"
import { StacksClient, StacksSchema } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Layer } from "effect"

const emulated = StacksEmulator.layerClient.pipe(Layer.provideMerge(StacksEmulator.layer()))

const stackKey = "my-stack"

/** A registered stack that has reserved one job. */
const setUp = Effect.gen(function* () {
  const client = yield* StacksClient.StacksClient
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs([{ queueKey: "default", id: "job-1" }])
  yield* client.registerStack({ key: stackKey, type: "custom", queueKey: "default" })
  yield* client.batchReserveJobs({ stackKey, jobUuids: ["job-1"] })
  const job = Effect.map(emulator.jobs, ([first]) => first)
  const paths = Effect.map(emulator.requests, (requests) => requests.map(({ method, path }) => `${method} ${path}`))
  return { client, emulator, job, paths }
})

describe("Defects of the reference client are fixed", () => {
  it.effect("exit status 0 is sent", () =>
    Effect.gen(function* () {
      const { client, emulator, job } = yield* setUp
      yield* client.finishJob({ stackKey, jobUuid: "job-1", exitStatus: 0, detail: "it worked" })
      assert.strictEqual((yield* job)?.exitStatus, 0)
      const sent = (yield* emulator.requests).at(-1)
      assert.deepStrictEqual(sent?.body, { exit_status: 0, detail: "it worked" })
    }).pipe(Effect.provide(emulated))
  )

  it.effect("dispatch_paused is read as well as paused", () =>
    Effect.gen(function* () {
      const { client, emulator } = yield* setUp
      const isPaused = Effect.map(
        client.listScheduledJobs({ stackKey, clusterQueueKey: "default" }),
        ({ clusterQueue }) => clusterQueue.dispatchPaused
      )
      assert.isFalse(yield* isPaused)
      yield* emulator.pauseQueue("default", true)
      assert.isTrue(yield* isPaused)
      yield* emulator.pauseQueue("default", false)
      assert.isFalse(yield* isPaused)
    }).pipe(Effect.provide(emulated))
  )

  it.effect("a long detail is cropped between characters", () =>
    Effect.gen(function* () {
      const { client, job } = yield* setUp
      yield* client.finishJob({ stackKey, jobUuid: "job-1", detail: `x${"😀".repeat(2000)}` })
      const { detail = "" } = (yield* job) ?? {}
      assert.isAtMost(new TextEncoder().encode(detail).length, StacksSchema.MaxFinishDetailBytes)
      assert.match(detail, /^x(😀)+… \(cropped\)$/u)
    }).pipe(Effect.provide(emulated))
  )

  it.effect("failJob calls the finish endpoint", () =>
    Effect.gen(function* () {
      const { client, emulator, job, paths } = yield* setUp
      yield* client.failJob({ stackKey, jobUuid: "job-1", detail: "no such image" })
      assert.strictEqual((yield* paths).at(-1), "POST /v3/stacks/my-stack/jobs/job-1/finish")
      assert.deepStrictEqual((yield* emulator.requests).at(-1)?.body, { exit_status: -1, detail: "no such image" })
      assert.strictEqual((yield* job)?.state, "finished")
      assert.strictEqual((yield* job)?.exitStatus, -1)
    }).pipe(Effect.provide(emulated))
  )

  it.effect("createStackNotification calls the notifications endpoint", () =>
    Effect.gen(function* () {
      const { client, emulator, paths } = yield* setUp
      yield* client.createStackNotification({ stackKey, jobUuid: "job-1", detail: "pulling the image" })
      assert.strictEqual((yield* paths).at(-1), "POST /v3/stacks/my-stack/notifications")
      assert.deepStrictEqual(
        (yield* emulator.notifications).map(({ detail, jobUuid }) => ({ detail, jobUuid })),
        [{ detail: "pulling the image", jobUuid: "job-1" }]
      )
    }).pipe(Effect.provide(emulated))
  )

  it.effect("a notification that the service does not store is a failure", () =>
    Effect.gen(function* () {
      const { client } = yield* setUp
      const notify = client.createStackNotification({ stackKey, jobUuid: "job-1", detail: "again" })
      yield* Effect.replicateEffect(notify, StacksSchema.MaxNotificationsPerJob)
      const error = yield* Effect.flip(notify)
      assert(error._tag === "NotificationRejected")
      assert.strictEqual(error.error, "job stack notification count exceeded")
    }).pipe(Effect.provide(emulated))
  )

  it.effect("the service decides the default expiry of reservations", () =>
    Effect.gen(function* () {
      const { emulator } = yield* setUp
      const sent = (yield* emulator.requests).at(-1)
      assert.deepStrictEqual(sent?.body, { job_uuids: ["job-1"] })
    }).pipe(Effect.provide(emulated))
  )
})
