/** Whether a request may still be sent. Checked right before it is written, because it may have waited for a connection. */
import * as Context from "effect/Context"
import { constTrue } from "effect/Function"

export const Fence: Context.Reference<() => boolean> = Context.Reference("@stacksapi/node/internal/Fence", {
  defaultValue: (): (() => boolean) => constTrue
})
