/** Answers that a service, a proxy or a broken network may give: right, almost right, and nothing like it. */
import { StacksApi } from "@stacksapi/core"
import { Arbitrary, Schema } from "effect"
import { edits, mutate } from "./mutate.ts"
import { answers, operations } from "./samples.ts"

const oneOf = <const A extends ReadonlyArray<string | number>>(values: A) => Schema.Literals(values)

const natural = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const statuses = [
  ...[200, 200, 200, 201, 201, 202, 204, 206, 299, 300, 302, 304, 308],
  ...[400, 401, 403, 404, 409, 418, 422, 429, 451, 499, 500, 502, 503, 504, 599]
] as const

const seconds = ["0", "1", "0.25", "-1", "", "soon", "NaN", "Infinity", "1e400", "9".repeat(30)]
const dates = ["Thu, 01 Oct 2026 12:00:10 GMT", "Thu, 99 Oct 2026 12:00:10 GMT", "Mon, 01 Jan 1990 00:00:00 GMT"]

const headers = Schema.Struct({
  "retry-after": Schema.optionalKey(oneOf([...seconds, ...dates])),
  "ratelimit-reset": Schema.optionalKey(oneOf(seconds)),
  "ratelimit-limit": Schema.optionalKey(oneOf(seconds)),
  "ratelimit-scope": Schema.optionalKey(oneOf(["default", "", "__proto__"])),
  "content-type": Schema.optionalKey(oneOf(["application/json", "text/html; charset=utf-16", "nonsense", ""])),
  location: Schema.optionalKey(oneOf(["/elsewhere", "http://", "javascript:alert(1)"]))
})

const endpoints = Object.keys(answers) as ReadonlyArray<StacksApi.Endpoint>

const otherBodies = [
  "",
  " ",
  "null",
  "true",
  "0",
  '"text"',
  "[]",
  "{}",
  "{",
  "<!DOCTYPE html><html><body>502</body></html>",
  "upstream connect error",
  '{"message":"no"}',
  '{"message":null,"reset":1e308,"limit":"x","current":-1,"scope":[]}',
  '{"message":{"message":"deep"},"reset":-1}',
  '{"__proto__":{"message":"inherited"}}',
  '{"errors":[{"error":"no","indexes":[0]}]}',
  '{"errors":[{"error":"no","indexes":[9007199254740993]}]}',
  "\ufeff{}",
  "[".repeat(50_000),
  `{"message":"${"m".repeat(100_000)}"}`,
  "\u0000\u0001"
]

const rejection = { errors: [{ error: "job stack notification count exceeded", indexes: [0] }] }

const bodyOf = (endpoint: StacksApi.Endpoint) =>
  endpoint === "createStackNotifications" ? rejection : (answers[endpoint].body ?? {})

export interface AnyResponse {
  readonly operation: StacksApi.Operation
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  /** Where the body is cut into pieces, as parts of its length. */
  readonly cuts: ReadonlyArray<number>
  /** Whether the connection breaks at the last cut. */
  readonly breaksOff: boolean
}

/** Answers to a call of an operation. */
export const anyResponse: Arbitrary.Arbitrary<AnyResponse> = Arbitrary.all({
  call: Arbitrary.schema(
    Schema.Struct({
      operation: oneOf(operations),
      status: oneOf(statuses),
      headers,
      body: oneOf(["own", "own", "own", "another's", "other", "other", "bytes"]),
      of: oneOf(endpoints),
      which: natural(otherBodies.length - 1),
      keep: oneOf([1, 1, 1, 0.99, 0.5]),
      cuts: Schema.Array(oneOf([0, 0.1, 0.25, 0.5, 0.9, 0.999, 1])),
      breaksOff: oneOf([0, 0, 0, 1])
    })
  ),
  edits
}).pipe(
  Arbitrary.map(({ call, edits }): AnyResponse => {
    const { breaksOff, cuts, headers, keep, of, operation, status, which } = call
    const bytes = new TextEncoder().encode(
      call.body === "own" || call.body === "another's"
        ? (JSON.stringify(mutate(bodyOf(call.body === "own" ? StacksApi.endpointOf(operation) : of), edits)) ?? "")
        : (otherBodies[which] ?? "")
    )
    return {
      operation,
      status,
      headers: headers as Readonly<Record<string, string>>,
      body:
        call.body === "bytes" ? bytes.map((byte, index) => byte ^ (index * 37)) : bytes.slice(0, bytes.length * keep),
      cuts,
      breaksOff: breaksOff === 1
    }
  })
)

/** The body in its pieces. */
export const piecesOf = ({ body, breaksOff, cuts }: AnyResponse): ReadonlyArray<Uint8Array> => {
  const places = [0, ...cuts.map((cut) => Math.floor(cut * body.length)).sort((a, b) => a - b), body.length]
  const pieces = places.slice(1).map((end, index) => body.slice(places[index], end))
  return breaksOff ? pieces.slice(0, -1) : pieces
}
