/** Many calls in few requests, and the rate limits. */
import { JobStates, Notifications, RateLimit, Reservations, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Fiber, Stream } from "effect"
import { countOf, Emulator } from "../support/remote.ts"
import { type Cases, clientWith, jobs, reservedJobs, same, stackKey } from "../support/scene.ts"

const { Fault } = StacksEmulator

export const batches: Cases = {
  "any number of jobs is reserved, and a request that fails loses nothing": Effect.gen(function* () {
    const { setFaults } = yield* Emulator
    const jobUuids = yield* jobs(2500)
    yield* setFaults([Fault.Status({ status: 401, operations: ["batchReserveJobs"], skip: 1, times: 1 })])
    const { failed, notReserved, reserved } = yield* Reservations.reserve({ stackKey, jobUuids, concurrency: 1 })
    same([reserved.length, notReserved.length], [1500, 0])
    same(
      failed.map(({ error, jobUuids }) => [error._tag, jobUuids.length]),
      [["ErrorResponse", 1000]]
    )
  }),

  "reservations are renewed while they are held": Effect.gen(function* () {
    const [id = ""] = yield* reservedJobs(1)
    const renewal = yield* Reservations.renewing({ stackKey, jobUuids: [id], reservationExpiry: "4 seconds" })
    // One request has reserved it, and then comes one every second.
    while ((yield* countOf("batchReserveJobs")) < 3) yield* Effect.sleep("100 millis")
    same(yield* renewal.held, new Set([id]))
  }),

  "lookups that are made together are one request": Effect.gen(function* () {
    const ids = yield* reservedJobs(300)
    const states = yield* Effect.forEach(ids, (id) => JobStates.get(stackKey, id), { concurrency: "unbounded" })
    same(new Set(states), new Set(["reserved"]))
    same(yield* countOf("getJobStates"), 1)
  }),

  "a job's states are told until the last one": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const [id = ""] = yield* reservedJobs(1)
    const watching = yield* JobStates.watch(stackKey, id).pipe(
      Stream.tap((state) =>
        state === "reserved" ? client.finishJob({ stackKey, jobUuid: id, exitStatus: 0, detail: "done" }) : Effect.void
      ),
      Stream.runCollect,
      Effect.provideService(JobStates.PollInterval, "1 second"),
      Effect.forkChild
    )
    same(yield* Fiber.join(watching), ["reserved", "finished"])
  }),

  "notifications are sent together, and the rest when the layer closes": Effect.gen(function* () {
    const emulator = yield* Emulator
    const ids = yield* jobs(50)
    yield* Effect.forEach(ids, (id) => Notifications.notify(id, "Reserved"), { discard: true }).pipe(
      Effect.provide(Notifications.layer({ stackKey, window: "1 hour" }))
    )
    same(
      (yield* emulator.notifications).map(({ jobUuid }) => jobUuid),
      ids
    )
    same(yield* countOf("createStackNotifications"), 1)
  }),

  "a limiter keeps calls within the service's limits": Effect.gen(function* () {
    const emulator = yield* Emulator
    const ids = yield* jobs(1)
    const client = yield* clientWith({}, RateLimit.layerMemory)
    const call = client.getJobStates({ stackKey, jobUuids: ids })
    yield* Effect.all(
      Array.from({ length: 45 }, () => call),
      { concurrency: "unbounded" }
    )
    const statuses = (yield* emulator.requests).filter(({ operation }) => operation === "getJobStates")
    same(
      statuses.map(({ status }) => status),
      Array.from({ length: 45 }, () => 200)
    )
  }),

  "without one the service refuses, and the client comes back when it may": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const emulator = yield* Emulator
    const ids = yield* jobs(1)
    yield* emulator.setFaults([Fault.Status({ status: 429, times: 1 })])
    same(Object.keys((yield* client.getJobStates({ stackKey, jobUuids: ids })).states), ids)
    same((yield* emulator.requests).map(({ status }) => status).slice(-2), [429, 200])
  })
}
