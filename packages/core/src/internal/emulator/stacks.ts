/** Registered stacks. */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import type { RegisteredStack, StackType } from "../../StacksSchema.ts"
import { type ErrorResponse, errorResponse } from "./errorResponse.ts"
import { findQueue, type Stack, type State } from "./state.ts"

/** How long after its last poll a stack is disconnected. */
const disconnectedAfter = Duration.toMillis("5 minutes")

export interface NewStack {
  readonly key: string
  readonly type: StackType
  readonly queueKey: string
  readonly metadata?: Readonly<Record<string, string>> | undefined
}

export const register = (
  state: State,
  { key, metadata = {}, queueKey, type }: NewStack,
  now: number
): Result.Result<{ readonly stack: Stack; readonly isNew: boolean }, ErrorResponse> => {
  if (findQueue(state, queueKey) === undefined) return errorResponse(404, `No cluster queue found with key ${queueKey}`)
  const existing = state.stacks.get(key)
  if (existing !== undefined) {
    Object.assign(existing, { type, queueKey, metadata })
    return Result.succeed({ stack: existing, isNew: false })
  }
  if (state.stacks.size >= state.maxStacks) {
    return errorResponse(403, `The organization has reached its limit of ${state.maxStacks} active stacks`)
  }
  const stack: Stack = {
    id: state.random.uuid(),
    key,
    type,
    queueKey,
    metadata,
    registeredAt: now,
    polledAt: undefined
  }
  state.stacks.set(key, stack)
  return Result.succeed({ stack, isNew: true })
}

export const find = (state: State, key: string): Result.Result<Stack, ErrorResponse> => {
  const stack = state.stacks.get(key)
  return stack === undefined ? errorResponse(404, `No stack found with key ${key}`) : Result.succeed(stack)
}

/** A new stack is connected; later its polls decide, not its registrations. */
export const describe = (state: State, stack: Stack, now: number): RegisteredStack => ({
  id: stack.id,
  organizationUuid: state.organizationUuid,
  clusterQueueKey: stack.queueKey,
  key: stack.key,
  type: stack.type,
  metadata: stack.metadata,
  lastConnectedOn: stack.polledAt === undefined ? null : DateTime.makeUnsafe(stack.polledAt),
  state: now - (stack.polledAt ?? stack.registeredAt) > disconnectedAfter ? "disconnected" : "connected"
})
