/** By itself: users' declarations name it, and may not have those of Node. */
import * as Data from "effect/Data"
import * as Predicate from "effect/Predicate"

/** A server can't listen where it was told to: the port is in use, or the address is not this machine's. */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly host: string
  readonly port: number
  /** Node's code, for example `EADDRINUSE`. */
  readonly code: string | undefined
  readonly cause: unknown
}> {
  /** Of what Node says. */
  static of(host: string, port: number, cause: unknown): ListenError {
    const code = Predicate.hasProperty(cause, "code") && Predicate.isString(cause.code) ? cause.code : undefined
    return new ListenError({ host, port, code, cause })
  }

  override get message(): string {
    const reason = this.code === "EADDRINUSE" ? "the port is in use" : (this.code ?? String(this.cause))
    return `Can't listen on ${this.host}:${this.port}: ${reason}`
  }
}
