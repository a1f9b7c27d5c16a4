/** What `stacksapi register` does. */
import * as Stack from "@stacksapi/core/Stack"
import * as StacksClient from "@stacksapi/core/StacksClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { sanitizeLine } from "../terminal/sanitize.ts"
import { printOne } from "./output.ts"
import type { RegisterInput } from "./register.ts"
import { withClient } from "./withClient.ts"

export const handle = Effect.fnUntraced(function* (input: RegisterInput) {
  const client = yield* StacksClient.StacksClient
  yield* Stack.checkToken
  const stack = yield* client.registerStack({
    key: input.key,
    queueKey: input.queue,
    type: input.type,
    metadata: Option.getOrUndefined(input.metadata)
  })
  yield* printOne(input.json, {
    text: sanitizeLine(`The stack ${stack.key} is registered for the queue ${stack.clusterQueueKey} (${stack.state})`),
    json: stack
  })
}, withClient)
