/** Classifies failures of requests, and adds advice to their messages. */
import type * as Duration from "effect/Duration"
import type { StartError } from "../../Stack.ts"
import * as StacksError from "../../StacksError.ts"

const advice: { readonly [R in StacksError.ErrorReason["_tag"]]?: string } = {
  Unauthorized: "The token is not valid, or not any more: start the stack with a valid cluster token (bkct_…)",
  Forbidden:
    "The organization may have reached its limit of active stacks: deregister those that are not in use, or have the limit raised",
  NotFound:
    "The queue may not exist in the token's cluster: check its key, and which cluster the token belongs to. Or the base URL lacks " +
    "the API's path, which is /v3/ at Buildkite"
}

/** The same failure with advice appended to its message. */
export const withAdvice = <E extends StartError>(error: E): E | StacksError.ErrorResponse<StacksError.FatalReason> => {
  if (error._tag !== "ErrorResponse") return error
  const { reason } = error
  const todo = advice[reason._tag]
  if (todo === undefined) return error
  const message = `${reason.message.replace(/[.\s]*$/, "")}. ${todo}`
  const { headers, method, operation, rawBody, status, url } = error
  const response = { headers, method, operation, rawBody, status, url }
  switch (reason._tag) {
    case "Unauthorized":
      return new StacksError.ErrorResponse({ ...response, reason: new StacksError.Unauthorized({ message }) })
    case "Forbidden":
      return new StacksError.ErrorResponse({ ...response, reason: new StacksError.Forbidden({ message }) })
    case "NotFound":
      return new StacksError.ErrorResponse({ ...response, reason: new StacksError.NotFound({ message }) })
    default:
      return error
  }
}

/** Whether the service refuses the token (401) or its permission (403). */
export const isUnauthorized = (error: StacksError.StacksError | StacksError.CursorStalled): boolean =>
  error._tag === "ErrorResponse" && (error.reason._tag === "Unauthorized" || error.reason._tag === "Forbidden")

/** Whether the stack, queue or job is unknown (404). The service may have forgotten the stack. */
export const isNotFound = (error: StacksError.StacksError | StacksError.CursorStalled): boolean =>
  error._tag === "ErrorResponse" && error.reason._tag === "NotFound"

/** Statuses in the 400s that may be temporary, or that a proxy sends. */
const passingStatuses = new Set([407, 408, 409, 425, 429])

/** Whether the service refuses a request, so that a retry would be refused too. A proxy's page is no refusal. */
export const isRefusal = (error: StacksError.StacksError): boolean => {
  if (error._tag !== "ErrorResponse") return error._tag === "InvalidRequest"
  const { rawBody, status } = error
  return status >= 400 && status < 500 && !passingStatuses.has(status) && !rawBody.trimStart().startsWith("<")
}

/** Whether the service may have acted on a request with this failure. */
export const mayBeProcessed = (error: StacksError.StacksError): boolean => {
  switch (error._tag) {
    case "TransportError":
      return error.mayHaveBeenProcessed
    case "ErrorResponse":
      return error.status >= 500
    case "DecodeError":
      return true
    case "InvalidRequest":
      return false
  }
}

/** How long the service asks to wait. */
export const retryAfterOf = (
  error: StacksError.StacksError | StacksError.CursorStalled
): Duration.Duration | undefined => (error._tag === "ErrorResponse" ? error.retryAfter : undefined)
