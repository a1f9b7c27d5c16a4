/** What `stacksapi agents delete` does. */
import * as AgentProvider from "@stacksapi/core/AgentProvider"
import * as Effect from "effect/Effect"
import type { DeleteInput } from "./agents.ts"
import * as Output from "./output.ts"
import { withProvider } from "./withProvider.ts"

export const handle = Effect.fnUntraced(function* ({ key }: DeleteInput) {
  const provider = yield* AgentProvider.AgentProvider
  const { length } = yield* provider.list(key)
  yield* AgentProvider.deleteAll(key, "stacksapi agents delete")
  yield* Output.say(
    length === 0 ? `The stack ${key} has no agents` : `Deleted the agents of the stack ${key}: ${length}`
  )
}, withProvider)
