import * as Stack from "@stacksapi/core/Stack"
import * as StacksClient from "@stacksapi/core/StacksClient"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { sanitizeLine } from "../terminal/sanitize.ts"
import * as Flag from "./flag.ts"
import { printOne } from "./output.ts"
import * as Settings from "./settings.ts"
import { flags, withClient } from "./withClient.ts"

export const register = Command.make(
  "register",
  {
    key: Settings.key,
    queue: Settings.queue,
    type: Flag.withDefault(
      Flag.choice("type", StacksSchema.StackType.literals, {
        description: "The type of the stack; kubernetes and elastic are reserved for Buildkite's own stacks"
      }),
      "custom"
    ),
    metadata: Flag.optional(
      Flag.pairs("metadata", { description: "Metadata of the stack; may be repeated", metavar: "NAME=TEXT" })
    ),
    ...flags
  },
  Effect.fnUntraced(function* (input) {
    const client = yield* StacksClient.StacksClient
    yield* Stack.checkToken
    const stack = yield* client.registerStack({
      key: input.key,
      queueKey: input.queue,
      type: input.type,
      metadata: Option.getOrUndefined(input.metadata)
    })
    yield* printOne(input.json, {
      text: sanitizeLine(
        `The stack ${stack.key} is registered for the queue ${stack.clusterQueueKey} (${stack.state})`
      ),
      json: stack
    })
  }, withClient)
).pipe(
  Command.withDescription("Register a stack for a queue, or move a registered one to another queue"),
  Command.withExamples([{ command: "stacksapi register --key my-stack --queue linux" }])
)
