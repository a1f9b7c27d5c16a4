import * as StacksClient from "@stacksapi/core/StacksClient"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { printOne } from "./output.ts"
import * as Settings from "./settings.ts"
import { flags, withClient } from "./withClient.ts"

export const deregister = Command.make(
  "deregister",
  { key: Settings.key, ...flags },
  Effect.fnUntraced(function* ({ json, key }) {
    const client = yield* StacksClient.StacksClient
    yield* client.deregisterStack({ stackKey: key })
    yield* printOne(json, { text: `The stack ${key} is deregistered`, json: { key, isDeregistered: true } })
  }, withClient)
).pipe(
  Command.withDescription("Deregister a stack: the service forgets it"),
  Command.withExamples([{ command: "stacksapi deregister --key my-stack" }])
)
