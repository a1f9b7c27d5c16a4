/**
 * An endpoint of the declaration, made ready to be called: how a request becomes a URL and a body, and how a body becomes a
 * value. Everything that can be computed once is computed here.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type Declaration, declarations, type Endpoint, type Request, type Success } from "../api/declaration.ts"
import { withoutServices } from "../schema/decoder.ts"
import { makeLenientDecoder } from "../schema/lenience.ts"

/** What to send. */
export interface EncodedRequest {
  /** Path and query, relative to the base URL, starting with a slash. */
  readonly path: string
  readonly body: string | undefined
}

export interface CompiledEndpoint<Request = never, Success = unknown> {
  readonly name: Endpoint
  readonly method: string
  /** The path as declared, with its parameters' names. */
  readonly pathTemplate: string
  readonly encode: (request: Request) => Result.Result<EncodedRequest, Schema.SchemaError>
  /** What the body of a success becomes: a constant where the body is not looked at. */
  readonly success:
    | { readonly _tag: "Constant"; readonly value: Success }
    | {
        readonly _tag: "Json"
        /** `redact` takes secrets out of what is told of the items that don't decode. */
        readonly decode: (json: unknown, redact: (text: string) => string) => Result.Result<Success, Schema.SchemaError>
      }
  /** Whether responses hold secrets. */
  readonly isSensitive: boolean
}

type Encode = (request: unknown) => Result.Result<unknown, Schema.SchemaError>

const encoder = (schema: Schema.Top | undefined): Encode | undefined =>
  schema === undefined ? undefined : Schema.encodeUnknownResult(withoutServices(schema))

/** One path segment. The service's router does not take a raw dot. */
const encodeSegment = (text: string) => (/^[\w-]*$/.test(text) ? text : encodeURIComponent(text).replaceAll(".", "%2E"))

/** What puts the parameters into `/stacks/:stackKey/jobs`. */
const pathOf = (template: string) => {
  const parts = template.split(/:(\w+)/)
  return (params: Readonly<Record<string, string>>): string =>
    parts.map((part, index) => (index % 2 === 0 ? part : encodeSegment(params[part] ?? ""))).join("")
}

const queryString = (query: Readonly<Record<string, string | number>>) => {
  let text = ""
  for (const [name, value] of Object.entries(query)) {
    text += `${text === "" ? "?" : "&"}${encodeURIComponent(name)}=${encodeURIComponent(value)}`
  }
  return text
}

const compile = (name: Endpoint, declaration: Declaration): CompiledEndpoint<unknown> => {
  const { isSensitive, method, params, path, payload, query, success } = declaration
  const encodeParams = encoder(params)
  const encodeQuery = encoder(query)
  const encodePayload = encoder(payload)
  const toPath = pathOf(path)
  return {
    name,
    method,
    pathTemplate: path,
    isSensitive: isSensitive ?? false,
    encode: (request) => {
      const params = encodeParams === undefined ? Result.succeed({}) : encodeParams(request)
      if (Result.isFailure(params)) return Result.fail(params.failure)
      let target = toPath(params.success as Readonly<Record<string, string>>)
      if (encodeQuery !== undefined) {
        const query = encodeQuery(request)
        if (Result.isFailure(query)) return Result.fail(query.failure)
        target += queryString(query.success as Readonly<Record<string, string | number>>)
      }
      if (encodePayload === undefined) return Result.succeed({ path: target, body: undefined })
      const body = encodePayload(request)
      return Result.isFailure(body)
        ? Result.fail(body.failure)
        : Result.succeed({ path: target, body: JSON.stringify(body.success) })
    },
    success:
      success === undefined
        ? { _tag: "Constant", value: undefined }
        : { _tag: "Json", decode: makeLenientDecoder(success) }
  }
}

type Endpoints = { readonly [E in Endpoint]: CompiledEndpoint<Request<E>, Success<E>> }

/** Every endpoint of the declaration. */
export const endpoints = Object.fromEntries(
  Object.entries(declarations).map(([name, declaration]) => [name, compile(name as Endpoint, declaration)])
  // The names were only lost on the way.
) as Endpoints
