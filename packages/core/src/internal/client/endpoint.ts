/**
 * Compiles the endpoints of the declaration: to an encoder, from a request to a URL and a body, and a decoder, from a body to a
 * value. What depends only on the declaration is computed once.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type Declaration, declarations, type Endpoint, type Request, type Success } from "../api/declaration.ts"
import { withoutServices } from "../schema/decoder.ts"
import { makeLenientDecoder } from "../schema/lenience.ts"

export interface EncodedRequest {
  /** Path and query, relative to the base URL, with a leading slash. */
  readonly path: string
  readonly body: string | undefined
}

export interface CompiledEndpoint<Request = never, Success = unknown> {
  readonly name: Endpoint
  readonly method: string
  /** The path as declared, for example `/stacks/:stackKey/jobs`. */
  readonly pathTemplate: string
  readonly encode: (request: Request) => Result.Result<EncodedRequest, Schema.SchemaError>
  /** How a success is decoded. A constant ignores the body. */
  readonly success:
    | { readonly _tag: "Constant"; readonly value: Success }
    | {
        readonly _tag: "Json"
        /** `redact` removes secrets from the issues of items that could not be decoded. */
        readonly decode: (json: unknown, redact: (text: string) => string) => Result.Result<Success, Schema.SchemaError>
      }
  /** Whether responses hold secrets. */
  readonly isSensitive: boolean
}

type Encode = (request: unknown) => Result.Result<unknown, Schema.SchemaError>

const encoder = (schema: Schema.Top | undefined): Encode | undefined =>
  schema === undefined ? undefined : Schema.encodeUnknownResult(withoutServices(schema))

/** One path segment. The service's router refuses a raw dot. */
const encodeSegment = (text: string) => (/^[\w-]*$/.test(text) ? text : encodeURIComponent(text).replaceAll(".", "%2E"))

/** Makes a function that inserts the parameters into `/stacks/:stackKey/jobs`. */
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
  // `fromEntries` loses the names in the types.
) as Endpoints
