/** Reads a response's body as text, up to a limit. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpClientError from "effect/http/HttpClientError"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as Stream from "effect/Stream"

/** The limit for a success, far above the largest page: 1000 jobs are about 0.4 MB. */
export const MaxBodyBytes = 64 * 1024 * 1024

/** The limit for a body that is not decoded. */
export const MaxRawBodyBytes = 64 * 1024

export interface Body {
  readonly text: string
  /** Whether the body is longer than the limit, or incomplete. */
  readonly isCropped: boolean
}

/** Reads a whole body, or its beginning if it is longer than the limit. Call it once per response. */
export const readWhole = (response: HttpClientResponse): Effect.Effect<Body, HttpClientError.HttpClientError> => {
  const { headers } = response
  // Unknown if the body is compressed.
  const length = headers["content-encoding"] ? Number.NaN : Number(headers["content-length"])
  if (length <= MaxBodyBytes) return Effect.map(response.text, (text) => ({ text, isCropped: false }))
  // If the header already says that the body is too long, read only its beginning.
  const received = new Received(length > MaxBodyBytes ? MaxRawBodyBytes : MaxBodyBytes)
  return Effect.as(receive(response, received), received)
}

/**
 * Reads the beginning of a body that is not decoded, until it ends, breaks, times out or reaches the limit. It never fails,
 * because the status of the response is known. Call it once per response.
 */
export const readSome = (response: HttpClientResponse, timeout: Duration.Duration): Effect.Effect<Body> => {
  const received = new Received(MaxRawBodyBytes)
  const soFar = Effect.sync((): Body => ({ text: received.text, isCropped: true }))
  return receive(response, received).pipe(
    Effect.as<Body>(received),
    Effect.timeoutOrElse({ duration: timeout, orElse: () => soFar }),
    Effect.catch(() => soFar)
  )
}

class Received implements Body {
  readonly #chunks: Array<Uint8Array> = []
  readonly #maxBytes: number
  #size = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Whether to read more. */
  add(chunk: Uint8Array): boolean {
    this.#chunks.push(chunk)
    this.#size += chunk.byteLength
    return !this.isCropped
  }

  get isCropped(): boolean {
    return this.#size > this.#maxBytes
  }

  get text(): string {
    return decodeUtf8(this.#chunks, this.isCropped ? MaxRawBodyBytes : this.#size)
  }
}

const receive = (
  response: HttpClientResponse,
  received: Received
): Effect.Effect<void, HttpClientError.HttpClientError> =>
  Stream.runForEachWhile(response.stream, (chunk) => Effect.sync(() => received.add(chunk))).pipe(
    Effect.catch((error) => (error.reason._tag === "EmptyBodyError" ? Effect.void : Effect.fail(error)))
  )

const decodeUtf8 = (chunks: ReadonlyArray<Uint8Array>, size: number): string => {
  const bytes = new Uint8Array(size)
  let offset = 0
  for (const chunk of chunks) {
    bytes.set(chunk.subarray(0, size - offset), offset)
    offset = Math.min(offset + chunk.length, size)
  }
  return new TextDecoder().decode(bytes)
}
