/** A call that is interrupted lets its connection go, at whatever moment that is. */
import { assert, describe, it } from "@effect/vitest"
import { RateLimit } from "@stacksapi/core"
import { Deferred, Effect, Exit, Fiber, Scheduler } from "effect"
import * as RawServer from "../../support/rawServer.ts"
import { calls } from "../../support/samples.ts"
import * as Undici from "../../support/undici.ts"

/** The head of a response, and a body that never comes. */
const onlyAHead: RawServer.Answer = (socket) => void socket.write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")

describe("A call that is interrupted between the head and the body of its response", () => {
  it.effect("closes its connection if it is interrupted while the head is handled", () =>
    Effect.gen(function* () {
      const server = yield* RawServer.make(onlyAHead)
      const client = yield* Undici.client({ baseUrl: server.baseUrl })
      const limiter: RateLimit.Limiter = {
        limit: (_, attempt) => Effect.withFiber((fiber) => attempt(() => fiber.interruptUnsafe()))
      }
      const exit = yield* calls
        .getJob(client)
        .pipe(Effect.provideService(RateLimit.RateLimit, limiter), Effect.forkChild, Effect.flatMap(Fiber.await))
      assert.isTrue(Exit.hasInterrupts(exit))
      yield* Deferred.await((yield* server.firstRequest).closed)
    })
  )

  it.effect("closes its connection if other fibers ran between the two", () =>
    Effect.gen(function* () {
      const server = yield* RawServer.make(onlyAHead)
      const client = yield* Undici.client({ baseUrl: server.baseUrl })
      let isHeaded = false
      // As the scheduler does by itself with a fiber that has had its turn.
      const scheduler = new Scheduler.MixedScheduler()
      const shouldYield = scheduler.shouldYield.bind(scheduler)
      const headed = Deferred.makeUnsafe<void>()
      scheduler.shouldYield = (fiber) => {
        if (!isHeaded) return shouldYield(fiber)
        isHeaded = false
        Deferred.doneUnsafe(headed, Effect.void)
        return true
      }
      const limiter: RateLimit.Limiter = {
        limit: (_, attempt) =>
          attempt(() => {
            isHeaded = true
          })
      }
      const call = yield* calls
        .getJob(client)
        .pipe(
          Effect.provideService(RateLimit.RateLimit, limiter),
          Effect.provideService(Scheduler.Scheduler, scheduler),
          Effect.forkChild
        )
      yield* Deferred.await(headed)
      yield* Fiber.interrupt(call)
      yield* Deferred.await((yield* server.firstRequest).closed)
    })
  )
})
