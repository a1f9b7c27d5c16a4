/** Records the response of a call for `withResponse`. */
import * as Context from "effect/Context"
import * as Headers from "effect/http/Headers"

export interface Recorder {
  status: number
  headers: Headers.Headers
  attempts: number
}

export const emptyRecorder = (): Recorder => ({ status: 0, headers: Headers.empty, attempts: 0 })

export const CurrentRecorder: Context.Reference<Recorder | undefined> = Context.Reference(
  "@stacksapi/core/internal/CurrentRecorder",
  { defaultValue: (): Recorder | undefined => undefined }
)
