/** Reading a response's body as text, never more of it than a bound. */
import * as Effect from "effect/Effect"
import type * as HttpClientError from "effect/http/HttpClientError"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as Stream from "effect/Stream"

/** The most that is read of a success: far above the largest page (1000 jobs are about 0.4 MB). */
export const MaxBodyBytes = 64 * 1024 * 1024

/** The most that is kept of a body that nobody decodes. */
export const MaxRawBodyBytes = 64 * 1024

export interface Body {
  readonly text: string
  /** Whether the body went on behind the bound. */
  readonly isCropped: boolean
}

/** The body's length if the server told it and it can be believed: a compressed body's length says nothing. */
const knownLength = (response: HttpClientResponse): number | undefined => {
  const length = response.headers["content-length"]
  return length === undefined || response.headers["content-encoding"] !== undefined ? undefined : Number(length)
}

/**
 * Reads at most `maxBytes`. Where the body breaks off, the text up to there is handed to `onBroken`.
 */
export const read = <E>(
  response: HttpClientResponse,
  maxBytes: number,
  onBroken: (error: HttpClientError.HttpClientError, text: string) => Effect.Effect<Body, E>
): Effect.Effect<Body, E> => {
  const length = knownLength(response)
  if (length !== undefined && length <= maxBytes) {
    return Effect.matchEffect(response.text, {
      onFailure: (error) => onBroken(error, ""),
      onSuccess: (text) => Effect.succeed({ text, isCropped: false })
    })
  }
  return readStream(response, maxBytes, onBroken)
}

const readStream = <E>(
  response: HttpClientResponse,
  maxBytes: number,
  onBroken: (error: HttpClientError.HttpClientError, text: string) => Effect.Effect<Body, E>
): Effect.Effect<Body, E> =>
  Effect.suspend(() => {
    const chunks: Array<Uint8Array> = []
    let size = 0
    const text = () => decodeUtf8(chunks, Math.min(size, maxBytes))
    return Stream.runForEachWhile(response.stream, (chunk) =>
      Effect.sync(() => {
        chunks.push(chunk)
        size += chunk.byteLength
        return size <= maxBytes
      })
    ).pipe(
      Effect.matchEffect({
        onFailure: (error) =>
          error.reason._tag === "EmptyBodyError"
            ? Effect.succeed({ text: "", isCropped: false })
            : onBroken(error, text()),
        onSuccess: () => Effect.succeed({ text: text(), isCropped: size > maxBytes })
      })
    )
  })

const decodeUtf8 = (chunks: ReadonlyArray<Uint8Array>, size: number): string => {
  const decoder = new TextDecoder()
  let text = ""
  let left = size
  for (const chunk of chunks) {
    if (left <= 0) break
    const part = chunk.byteLength <= left ? chunk : chunk.subarray(0, left)
    text += decoder.decode(part, { stream: true })
    left -= part.byteLength
  }
  return text + decoder.decode()
}
