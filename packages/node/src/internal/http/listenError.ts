/** In its own file, because users' declarations refer to it and may not have Node's types. */
import * as Data from "effect/Data"
import * as Predicate from "effect/Predicate"

/** A server can't listen on its address: the port is in use, or the address does not belong to this machine. */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly host: string
  readonly port: number
  /** Node's code, for example `EADDRINUSE`. */
  readonly code: string | undefined
  readonly cause: unknown
}> {
  /** From Node's error. */
  static of(host: string, port: number, cause: unknown): ListenError {
    const code = Predicate.hasProperty(cause, "code") && Predicate.isString(cause.code) ? cause.code : undefined
    return new ListenError({ host, port, code, cause })
  }

  override get message(): string {
    const reason = this.code === "EADDRINUSE" ? "the port is in use" : (this.code ?? String(this.cause))
    return `Can't listen on ${this.host}:${this.port}: ${reason}`
  }
}
