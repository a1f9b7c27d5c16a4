/** The stacks of the queues that this process leads: opens them, and closes them with or without a resignation. */
import type { JobRunner } from "@stacksapi/core/JobRunner"
import type { StacksClient } from "@stacksapi/core/StacksClient"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { type Led, lead } from "./leader.ts"
import type { LeadershipOptions } from "./leadership.ts"
import type { Taken, Term } from "./storage.ts"

export interface OpenStack extends Led {
  readonly fiber: Fiber.Fiber<unknown>
  /** The sequence number of the last snapshot request before the queue was taken. */
  readonly takenAt: number
}

export interface OpenStacks {
  readonly all: () => ReadonlyArray<OpenStack>
  /** Whether the stack of a queue is open, or about to end. */
  readonly has: (stackKey: string) => boolean
  readonly open: (memberId: number, taken: Taken) => Effect.Effect<void>
  /** Ends a stack in the background, then resigns if the queue is still this process's. */
  readonly close: (stack: OpenStack, isResigned: boolean) => void
  readonly resign: (term: Term) => Effect.Effect<unknown>
  /** Reserves nothing more for a queue. */
  readonly stopReserving: (stack: OpenStack) => void
  /** Waits until the stacks that were closed have ended. */
  readonly ended: Effect.Effect<void>
}

export const make = Effect.fnUntraced(function* (
  options: LeadershipOptions
): Effect.fn.Return<OpenStacks, never, StacksClient | JobRunner | Scope.Scope> {
  const { failOnDefect, lastSnapshot, requests, stacks, storage } = options
  const scope = yield* Scope.fork(yield* Effect.scope)
  const services = yield* Effect.context<StacksClient | JobRunner>()
  const opened = new Map<string, OpenStack>()
  const closing = new Map<string, Fiber.Fiber<unknown>>()
  const resign = (term: Term) => requests.promptly(storage.resign(term))
  const run = (effect: Effect.Effect<unknown>) => Effect.runForkWith(services)(failOnDefect(effect))

  return {
    all: () => Array.from(opened.values()),
    has: (stackKey) => opened.has(stackKey) || closing.has(stackKey),
    open: Effect.fnUntraced(function* (memberId, taken) {
      const { fence, stackKey } = taken
      const stack = stacks.find(({ key }) => key === stackKey)
      if (stack === undefined) return
      const led: Led = {
        term: { memberId, stackKey, fence },
        options: stack,
        isOpen: true,
        stack: undefined,
        queue: undefined,
        wanted: 0,
        watched: new Set()
      }
      const fiber = yield* Effect.forkIn(Effect.provideContext(lead(options, led, taken), services), scope)
      opened.set(stackKey, Object.assign(led, { fiber, takenAt: lastSnapshot() }))
    }),
    close: (stack, isResigned) => {
      const { stackKey } = stack.term
      stack.isOpen = false
      opened.delete(stackKey)
      const ending = Fiber.interrupt(stack.fiber).pipe(
        Effect.andThen(isResigned ? resign(stack.term) : Effect.void),
        Effect.ensuring(Effect.sync(() => closing.delete(stackKey)))
      )
      closing.set(stackKey, run(ending))
    },
    resign,
    stopReserving: ({ stack }) => {
      if (stack !== undefined) run(Effect.orDie(stack.setMaxInFlight(0)))
    },
    ended: Effect.suspend(() => Effect.asVoid(Fiber.awaitAll(closing.values())))
  }
})
