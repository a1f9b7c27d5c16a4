/** What a stack can't go on after, said so that whoever reads it knows what to do. */
import * as StacksError from "../../StacksError.ts"

const advice: { readonly [R in StacksError.ErrorReason["_tag"]]?: string } = {
  Unauthorized: "The token is not valid, or not any more: start the stack with a valid cluster token (bkct_…)",
  Forbidden:
    "The organization may have reached its limit of active stacks: deregister those that are not in use, or have the limit raised",
  NotFound: "The queue may not exist in the token's cluster: check its key, and which cluster the token belongs to"
}

/** The same failure, its message completed by what to do about it. */
export const withAdvice = <E extends StacksError.StacksError | StacksError.CursorStalled>(
  error: E
): E | StacksError.ErrorResponse<StacksError.FatalReason> => {
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

/** Whether it will be refused again, by whatever request: the token or the organization is not let in. */
export const isLockedOut = (error: StacksError.StacksError): boolean =>
  error._tag === "ErrorResponse" && (error.reason._tag === "Unauthorized" || error.reason._tag === "Forbidden")

/** Whether the service does not know what was asked for, perhaps because it has forgotten the stack. */
export const isNotFound = (error: StacksError.StacksError | StacksError.CursorStalled): boolean =>
  error._tag === "ErrorResponse" && error.reason._tag === "NotFound"

/** Whether the service found something wrong with the request itself, perhaps with one job of many. */
export const isRefused = (error: StacksError.StacksError): boolean =>
  error._tag === "ErrorResponse" && (error.reason._tag === "BadRequest" || error.reason._tag === "Unprocessable")
