/** Reading a response's body as text, never more of it than a bound. */
import type * as Duration from "effect/Duration"
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

/** The body's length if the server told it and it can be believed, else NaN: a compressed body's length says nothing. */
const knownLength = ({ headers }: HttpClientResponse): number =>
  headers["content-encoding"] === undefined ? Number(headers["content-length"]) : Number.NaN

/** Reads all of a body, unless it is longer than the bound: then only its beginning is kept. */
export const readWhole = (response: HttpClientResponse): Effect.Effect<Body, HttpClientError.HttpClientError> => {
  const length = knownLength(response)
  return length <= MaxBodyBytes
    ? Effect.map(response.text, (text) => ({ text, isCropped: false }))
    : Effect.suspend(() => {
        // One that says it is too long need not prove it.
        const received = new Received(length > MaxBodyBytes ? MaxRawBodyBytes : MaxBodyBytes)
        return Effect.as(receive(response, received), received)
      })
}

/**
 * Reads what there is of a body that nobody decodes: as far as it goes before it breaks off or takes too long, and no
 * further than the bound. It never fails: the response's status has said what matters.
 */
export const readSome = (response: HttpClientResponse, patience: Duration.Duration): Effect.Effect<Body> =>
  Effect.suspend(() => {
    const received = new Received(MaxRawBodyBytes)
    const soFar = Effect.sync((): Body => ({ text: received.text, isCropped: true }))
    return receive(response, received).pipe(
      Effect.as<Body>(received),
      Effect.timeoutOrElse({ duration: patience, orElse: () => soFar }),
      Effect.catch(() => soFar)
    )
  })

class Received implements Body {
  readonly #chunks: Array<Uint8Array> = []
  readonly #maxBytes: number
  #size = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Whether more is wanted. */
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
