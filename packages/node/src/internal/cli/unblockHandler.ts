/** What `stacksapi emulator unblock` does. */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as UndiciHttpClient from "../client/undici.ts"
import { sanitizeLine } from "../terminal/sanitize.ts"
import * as Access from "./access.ts"
import { Failed, Misused } from "./failure.ts"
import * as Output from "./output.ts"
import type { UnblockInput } from "./unblock.ts"

/** An emulator is near. */
const timeout = "5 seconds"

const Field = Schema.Struct({
  key: Schema.String,
  label: Schema.String,
  hint: Schema.optionalKey(Schema.String),
  isRequired: Schema.Boolean,
  defaultValue: Schema.optionalKey(Schema.String),
  options: Schema.optionalKey(Schema.Array(Schema.String)),
  isMultiple: Schema.Boolean,
  format: Schema.optionalKey(Schema.String)
})

const HeldStep = Schema.Struct({
  id: Schema.String,
  kind: Schema.String,
  name: Schema.String,
  key: Schema.optionalKey(Schema.String),
  state: Schema.String,
  hold: Schema.String,
  pipeline: Schema.String,
  build: Schema.Int,
  prompt: Schema.optionalKey(Schema.String),
  fields: Schema.Array(Field)
})

type HeldStep = typeof HeldStep.Type

const Refusal = Schema.Struct({ message: Schema.String })

export const handle = Effect.fnUntraced(
  function* ({ endpoint, fields, json, step: name }: UnblockInput) {
    const page = yield* pageOf(yield* Access.endpoint({ endpoint }))
    const held = yield* heldSteps(page)
    if (Option.isNone(name)) return yield* show(held, json)
    const step = held.find(({ id, key, name: label }) => [id, key, label].includes(name.value))
    const values = yield* valuesOf(
      step,
      Option.getOrElse(fields, () => [])
    )
    const request = HttpClientRequest.post(`${page}/ui/unblock`)
    yield* send(HttpClientRequest.bodyJsonUnsafe(request, { step: name.value, values }), hintFor(step))
    yield* Output.printOne(json, {
      text: sanitizeLine(`${name.value} is unblocked`),
      json: { step: name.value, isUnblocked: true }
    })
  },
  Effect.provide(UndiciHttpClient.layerProxied(false))
)

/** The value of each field. Several values of a field are its lines, if several of its options may be chosen. */
const valuesOf = (step: HeldStep | undefined, given: ReadonlyArray<readonly [key: string, value: string]>) =>
  Effect.gen(function* () {
    const values = new Map<string, string>()
    for (const [key, value] of given) {
      const earlier = values.get(key)
      const field = step?.fields.find((field) => field.key === key)
      if (earlier !== undefined && field?.isMultiple === false) {
        return yield* new Misused({ message: `The field ${key} takes one value: give --field ${key}=VALUE only once` })
      }
      values.set(key, earlier === undefined ? value : `${earlier}\n${value}`)
    }
    return Object.fromEntries(values)
  })

/** How to give values for a step's fields. */
const hintFor = (step: HeldStep | undefined): string => {
  const fields = step?.fields ?? []
  const flags = fields.map(({ isRequired, key }) => (isRequired ? `--field ${key}=VALUE` : `[--field ${key}=VALUE]`))
  return fields.length === 0 ? "" : `. Its fields: ${flags.join(" ")}`
}

/** The origin of the emulator. It has no user and no password. */
const pageOf = (endpoint: string | undefined) =>
  endpoint === undefined ? noEndpoint : Effect.succeed(new URL(endpoint).origin)

const noEndpoint = new Failed({
  message: "There is no emulator to talk to. Set BUILDKITE_AGENT_ENDPOINT as the emulator says, or give --endpoint URL"
})

/** Sends a request. `hint` follows the reason of a refusal. */
const send = (request: HttpClientRequest.HttpClientRequest, hint = "") =>
  Effect.gen(function* () {
    const response = yield* Effect.timeout(HttpClient.execute(request), timeout)
    if (response.status === 200) return response
    const refusal = yield* Effect.option(HttpClientResponse.schemaBodyJson(Refusal)(response))
    return yield* new Failed({
      message: Option.match(refusal, {
        onNone: () => `The emulator answered with ${response.status}. Is ${request.url} one of this version?`,
        onSome: ({ message }) => `Not unblocked: ${message}${hint}`
      })
    })
  }).pipe(
    Effect.catchTag(["HttpClientError", "TimeoutError"], () =>
      Effect.fail(new Failed({ message: `Nothing answers at ${new URL("/", request.url)}. Is the emulator running?` }))
    )
  )

const heldSteps = (page: string) =>
  Effect.flatMap(send(HttpClientRequest.get(`${page}/ui/held`)), (response) =>
    Effect.mapError(
      HttpClientResponse.schemaBodyJson(Schema.Array(HeldStep))(response),
      () => new Failed({ message: `${page}/ is no emulator of this version` })
    )
  )

const show = Effect.fnUntraced(function* (steps: ReadonlyArray<HeldStep>, json: boolean) {
  if (steps.length === 0) return yield* Output.say("No step waits for you.")
  const printer = yield* Output.printer<HeldStep>({
    json,
    columns: [
      { name: "step", value: ({ name }) => name },
      // A step without a key and a label has to be named by its id.
      { name: "key", value: ({ id, key, kind, name }) => key ?? (name === kind ? id : "") },
      { name: "state", value: ({ state }) => state },
      { name: "build", value: ({ build, pipeline }) => `${pipeline}#${build}` },
      { name: "fields", isFlexible: true, value: ({ fields }) => fields.map(describe).join(" ") },
      { name: "why", isFlexible: true, value: ({ hold, prompt }) => prompt ?? hold }
    ],
    toJson: (step) => step
  })
  return yield* printer.print(steps)
})

/** For example `name`, `stream=beta|stable`, or `[notes]` for a field that needs no value. */
const describe = ({ isRequired, key, options }: typeof Field.Type): string => {
  const text = options === undefined ? key : `${key}=${options.join("|")}`
  return isRequired ? text : `[${text}]`
}
