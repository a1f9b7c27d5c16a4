/** What `stacksapi deregister` does. */
import * as StacksClient from "@stacksapi/core/StacksClient"
import * as Effect from "effect/Effect"
import type { DeregisterInput } from "./deregister.ts"
import { printOne } from "./output.ts"
import { withClient } from "./withClient.ts"

export const handle = Effect.fnUntraced(function* ({ json, key }: DeregisterInput) {
  const client = yield* StacksClient.StacksClient
  yield* client.deregisterStack({ stackKey: key })
  yield* printOne(json, { text: `The stack ${key} is deregistered`, json: { key, isDeregistered: true } })
}, withClient)
