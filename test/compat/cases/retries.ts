/** Retries, and what must not run twice. */
import { RetryPolicy, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, Effect, Schedule } from "effect"
import { CurrentPlatform } from "../support/platform.ts"
import { countOf, Emulator, jobOf } from "../support/remote.ts"
import { type Cases, clientWith, jobs, must, queueKey, reservedJobs, same, stackKey } from "../support/scene.ts"

const { Fault } = StacksEmulator

export const retries: Cases = {
  "what may be tried again is, until it works": Effect.gen(function* () {
    const { resends } = yield* CurrentPlatform
    const client = yield* StacksClient.StacksClient
    const { setFaults } = yield* Emulator
    const [id = ""] = yield* jobs(1)
    yield* setFaults([
      Fault.Status({ status: 503, times: 1 }),
      Fault.Reset({ times: 1 }),
      Fault.Html({ times: 1 }),
      Fault.Truncate({ times: 1 })
    ])
    const { attempts, value } = yield* StacksClient.withResponse(client.getJob({ stackKey, jobUuid: id }))
    same(value.id, id)
    must(attempts === 5 || (resends !== "nothing" && attempts === 4), `there were ${attempts} attempts`)
    same(yield* countOf("getJob"), 5)
  }),

  "a policy's attempts are counted": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const { setFaults } = yield* Emulator
    yield* jobs(0)
    yield* setFaults([Fault.Status({ status: 500 })])
    const policy = RetryPolicy.make(Schedule.spaced("5 millis")).pipe(RetryPolicy.maxAttempts(3))
    yield* Effect.exit(client.getJob({ stackKey, jobUuid: "a" }).pipe(RetryPolicy.withPolicy(policy)))
    same(yield* countOf("getJob"), 3)
  }),

  "a layer chooses the policy of single operations": Effect.gen(function* () {
    const { setFaults } = yield* Emulator
    yield* jobs(0)
    const client = yield* clientWith({}, RetryPolicy.layerFor({ listScheduledJobs: RetryPolicy.none }))
    yield* setFaults([Fault.Status({ status: 500 })])
    yield* Effect.exit(client.listScheduledJobs({ stackKey, clusterQueueKey: queueKey }))
    yield* Effect.exit(client.getJob({ stackKey, jobUuid: "a" }))
    same([yield* countOf("listScheduledJobs"), yield* countOf("getJob")], [1, 5])
  }),

  "what can't get better is not tried again": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    yield* jobs(0)
    yield* Effect.exit(client.getJob({ stackKey, jobUuid: "nobody" }))
    same(yield* countOf("getJob"), 1)
  }),

  "Retry-After is waited for": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const { setFaults } = yield* Emulator
    const [id = ""] = yield* jobs(1)
    yield* setFaults([Fault.Status({ status: 503, retryAfter: "1 second", times: 1 })])
    const policy = RetryPolicy.make(Schedule.spaced("5 millis")).pipe(RetryPolicy.honorRetryAfter())
    const start = yield* Clock.currentTimeMillis
    yield* client.getJob({ stackKey, jobUuid: id }).pipe(RetryPolicy.withPolicy(policy))
    must((yield* Clock.currentTimeMillis) - start >= 990, "a second has gone by")
  }),

  "finishJob, whose answer got lost, finishes the job once and succeeds": Effect.gen(function* () {
    const { resends } = yield* CurrentPlatform
    const client = yield* StacksClient.StacksClient
    const { setFaults } = yield* Emulator
    const [id = ""] = yield* reservedJobs(1)
    yield* setFaults([Fault.LostResponse({ operations: ["finishJob"], times: 1 })])
    const finish = client.finishJob({ stackKey, jobUuid: id, exitStatus: 3, detail: "by hand" })
    // Where the platform has sent it again, nobody but the service can tell: it says that the job is finished already.
    yield* resends === "everything"
      ? Effect.catchReason(finish, "ErrorResponse", "Unprocessable", () => Effect.void)
      : finish
    const { exitStatus, state } = yield* jobOf(id)
    same([state, exitStatus], ["finished", 3])
  }),

  "finishJob, which never arrived, is sent again": Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const { setFaults } = yield* Emulator
    const [id = ""] = yield* reservedJobs(1)
    yield* setFaults([Fault.Reset({ operations: ["finishJob"], times: 2 })])
    yield* client.finishJob({ stackKey, jobUuid: id, exitStatus: 0, detail: "done" })
    same((yield* jobOf(id)).exitStatus, 0)
  }),

  "deregisterStack, whose answer got lost, succeeds": Effect.gen(function* () {
    const { resends } = yield* CurrentPlatform
    const client = yield* StacksClient.StacksClient
    const { setFaults } = yield* Emulator
    yield* jobs(0)
    yield* setFaults([Fault.LostResponse({ operations: ["deregisterStack"], times: 1 })])
    const leave = client.deregisterStack({ stackKey })
    yield* resends === "everything" ? Effect.catchReason(leave, "ErrorResponse", "NotFound", () => Effect.void) : leave
  })
}
