/** Whether a request may still be sent, asked when it is about to be written: it may have waited for a connection. */
import * as Context from "effect/Context"
import { constTrue } from "effect/Function"

export const Fence: Context.Reference<() => boolean> = Context.Reference("@stacksapi/node/internal/Fence", {
  defaultValue: (): (() => boolean) => constTrue
})
