/** Removes tokens from failures, log lines and spans. */
import * as Headers from "effect/http/Headers"
import * as Predicate from "effect/Predicate"
import type { Body } from "./responseBody.ts"

export interface Redact {
  /** Removes the client's token and all job tokens from a text. */
  readonly text: (text: string) => string
  /** The same for a body. If it is cropped, an incomplete token at its end is removed too. */
  readonly body: (body: Body) => string
  readonly headers: (headers: Headers.Headers) => Headers.Headers
  /**
   * Copies an `HttpClient`'s error and its causes to plain errors with name, message, stack and code. The original may hold the
   * request and its headers.
   */
  readonly cause: (cause: unknown) => unknown
}

const mark = "<redacted>"

/** Shorter texts are not redacted: they reveal nothing, and a test's token `t` is part of most words. */
const minLength = 8

/** Any token of Buildkite: `bkct_`, `bkjat_`, `bkaj_` …; some are JWTs. */
const tokens = /bk\w{2,3}_[\w.~+/=-]{6,}/g

export const make = (token: string): Redact => {
  const text = (text: string): string =>
    (token.length >= minLength && text.includes(token) ? text.replaceAll(token, mark) : text).replace(tokens, mark)

  const cutText = (cut: string): string => {
    let length = Math.min(token.length - 1, cut.length)
    while (length >= minLength && !cut.endsWith(token.slice(0, length))) length--
    return text(length >= minLength ? cut.slice(0, -length) : cut)
  }

  const cause = (value: unknown, depth = 0): unknown => {
    if (Predicate.isString(value)) return text(value)
    if (!Predicate.isObject(value)) return Predicate.isFunction(value) ? undefined : value
    if (depth > 4) return undefined
    const read = (key: string) =>
      Predicate.hasProperty(value, key) && Predicate.isString(value[key]) ? text(value[key]) : undefined
    const options = "cause" in value ? { cause: cause(value["cause"], depth + 1) } : undefined
    const message = read("message")
    const { errors } = value
    const error = Array.isArray(errors)
      ? new AggregateError(
          errors.slice(0, 10).map((inner) => cause(inner, depth + 1)),
          message,
          options
        )
      : new Error(message, options)
    for (const key of ["name", "stack"]) {
      const shown = read(key)
      if (shown !== undefined) Object.defineProperty(error, key, { value: shown, configurable: true, writable: true })
    }
    const code = read("code")
    return code === undefined ? error : Object.assign(error, { code })
  }

  return {
    text,
    body: (body) => (body.isCropped ? cutText(body.text) : text(body.text)),
    headers: (headers) =>
      Headers.fromInput(Object.entries(headers).map(([name, value]) => [name, text(value ?? "")] as const)),
    cause: (value) => cause(value)
  }
}
