import * as Data from "effect/Data"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"

export class BrokenConnection extends Data.TaggedError("BrokenConnection")<{
  /** What is sent before the connection breaks: the head of this response, and these bytes of its body. */
  readonly sent: { readonly response: HttpServerResponse; readonly body: Uint8Array } | undefined
}> {}
