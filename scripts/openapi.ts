/**
 * Writes `docs/openapi.json`, the OpenAPI document of the Stacks API, from the declaration in `StacksApi`.
 *
 * It improves Effect's document for readers and for code generators: named schemas become components, additional fields are allowed,
 * and the token and the headers of every response are declared.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { STATUS_CODES } from "node:http"
import { join } from "node:path"
import { StacksApi, StacksClient, StacksSchema } from "@stacksapi/core"
import { Schema } from "effect"
import { OpenApi } from "effect/http-api"
import { root } from "./run.ts"

type Json = null | boolean | number | string | Array<Json> | JsonObject
interface JsonObject {
  [key: string]: Json
}

const isObject = (json: unknown): json is JsonObject =>
  typeof json === "object" && json !== null && !Array.isArray(json)

const mapObject = (object: JsonObject, f: (value: Json) => Json): JsonObject =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, f(value)]))

/** A value as plain JSON. */
const toJson = (value: object): JsonObject => JSON.parse(JSON.stringify(value))

// -----------------------------------------------------------------------------
// Schemas
// -----------------------------------------------------------------------------

/** Removes what is redundant or only true of this library, such as closed objects and the range of doubles. */
const simplify = (json: Json): Json => {
  if (Array.isArray(json)) return json.map(simplify)
  if (!isObject(json)) return json
  const { anyOf, ...schema } = mapObject(json, simplify)
  if (typeof schema["additionalProperties"] === "boolean") delete schema["additionalProperties"]
  for (const bound of ["minimum", "maximum"]) {
    if (Math.abs(Number(schema[bound])) === Number.MAX_SAFE_INTEGER) delete schema[bound]
  }
  if (!Array.isArray(anyOf)) return schema
  const [first, ...others] = anyOf
  return isObject(first) &&
    typeof first["type"] === "string" &&
    others.every((it) => isObject(it) && it["type"] === "null")
    ? { ...schema, ...first, type: [first["type"], "null"] }
    : { ...schema, anyOf }
}

const jsonSchemaOf = (schema: Schema.Top): JsonObject => {
  const json = simplify(toJson(Schema.toJsonSchemaDocument(schema, { onExcessProperty: "error" }).schema))
  return isObject(json) ? json : {}
}

const source = readFileSync(join(root, "packages/core/src/StacksSchema.ts"), "utf8")

/** The first sentence of a schema's doc comment. */
const descriptionOf = (name: string): string => {
  const before = source.slice(0, source.indexOf(`\nexport const ${name} `))
  const comment = before.slice(before.lastIndexOf("/**") + 3).replaceAll(/\n? \* ?/g, " ")
  const [sentence = ""] = comment.split(/(?<=\.)\s/)
  return sentence.replaceAll(/`|\{@link |\}/g, "").trim()
}

const exported = Object.entries(StacksSchema)
  .flatMap(([name, value]) => (Schema.isSchema(value) ? [{ name, json: jsonSchemaOf(value) }] : []))
  .sort((a, b) => (a.name < b.name ? -1 : 1))

/** Path parameters and queries get no component, because they are not bodies. */
const named = exported.filter(({ json, name }) => "properties" in json && !/(Params|Query)$/.test(name))

const nameOf = new Map(named.map(({ json, name }) => [JSON.stringify(json), name]))

/** Replaces named schemas by references. */
const refer = (json: Json): Json => {
  if (Array.isArray(json)) return json.map(refer)
  if (!isObject(json)) return json
  const name = nameOf.get(JSON.stringify(json))
  return name === undefined ? mapObject(json, refer) : { $ref: `#/components/schemas/${name}` }
}

const schemas = Object.fromEntries(
  named.map(({ json, name }) => [name, { description: descriptionOf(name), ...mapObject(json, refer) }])
)

// -----------------------------------------------------------------------------
// Responses
// -----------------------------------------------------------------------------

const headers = {
  "RateLimit-Scope": { description: "The limit that this request was counted under.", schema: { type: "string" } },
  "RateLimit-Limit": { description: "Requests allowed in a second.", schema: { type: "integer" } },
  "RateLimit-Remaining": { description: "Requests left.", schema: { type: "integer" } },
  "RateLimit-Reset": { description: "Seconds until the count starts again.", schema: { type: "integer" } },
  "Retry-After": {
    description: "How long to wait before the next request: seconds, or a date. May come with a success too.",
    schema: { type: "string" }
  }
}

const allHeaders = Object.fromEntries(
  Object.keys(headers).map((name) => [name, { $ref: `#/components/headers/${name}` }])
)

const finishResponse = (status: string, { content }: OpenApi.OpenApiSpecResponse) => ({
  description: STATUS_CODES[status] ?? "",
  headers: allHeaders,
  ...(content && { content: refer(simplify(toJson(content))) })
})

/** The error responses, which all endpoints share. */
const errorResponses: Record<string, unknown> = {}

const responseOf = ([status, response]: [string, OpenApi.OpenApiSpecResponse]): [string, unknown] => {
  const finished = finishResponse(status, response)
  if (Number(status) < 400) return [status, finished]
  const name = finished.description.replaceAll(" ", "")
  errorResponses[name] = finished
  return [status, { $ref: `#/components/responses/${name}` }]
}

// -----------------------------------------------------------------------------
// Operations
// -----------------------------------------------------------------------------

/** The types of query parameters. Effect declares them as strings, which they are in a URL. */
const queryOf = (operationId: string): JsonObject => {
  const properties = exported.find(({ name }) => name.toLowerCase() === `${operationId}query`.toLowerCase())?.json
  return isObject(properties?.["properties"]) ? properties["properties"] : {}
}

const finishOperation = ({
  operationId,
  parameters,
  requestBody,
  responses,
  ...rest
}: OpenApi.OpenAPISpecOperation) => {
  const query = queryOf(operationId)
  return {
    operationId,
    description: rest.description,
    tags: rest.tags,
    parameters: parameters.map((parameter) => ({ ...parameter, schema: query[parameter.name] ?? parameter.schema })),
    ...(requestBody && { requestBody: refer(simplify(toJson(requestBody))) }),
    responses: Object.fromEntries(Object.entries(responses).map(responseOf))
  }
}

const spec = OpenApi.fromApi(StacksApi.StacksApi)

const paths = Object.fromEntries(
  Object.entries(spec.paths).map(([path, { get, post, put }]) => [
    path,
    {
      ...(get && { get: finishOperation(get) }),
      ...(post && { post: finishOperation(post) }),
      ...(put && { put: finishOperation(put) })
    }
  ])
)

const document = {
  openapi: spec.openapi,
  info: spec.info,
  servers: [{ url: StacksClient.DefaultBaseUrl.replace(/\/$/, "") }],
  security: [{ clusterToken: [] }],
  tags: spec.tags,
  paths,
  components: {
    schemas,
    responses: errorResponses,
    headers,
    securitySchemes: {
      clusterToken: {
        type: "apiKey",
        in: "header",
        name: "Authorization",
        description: "The word Token, a space and a cluster token: `Token bkct_…`. REST and GraphQL tokens do not work."
      }
    }
  }
}

export const text = `${JSON.stringify(document, undefined, 2)}\n`

if (import.meta.main) {
  writeFileSync(join(root, "docs/openapi.json"), text)
  console.log(`docs/openapi.json: ${Object.keys(paths).length} paths`)
}
