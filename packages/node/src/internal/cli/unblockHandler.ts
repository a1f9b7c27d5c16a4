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
import { Failed } from "./failure.ts"
import * as Output from "./output.ts"
import type { UnblockInput } from "./unblock.ts"

/** An emulator is near. */
const timeout = "5 seconds"

const HeldStep = Schema.Struct({
  id: Schema.String,
  kind: Schema.String,
  name: Schema.String,
  state: Schema.String,
  hold: Schema.String,
  fields: Schema.Array(Schema.Struct({ key: Schema.String, isRequired: Schema.Boolean }))
})

type HeldStep = typeof HeldStep.Type

const Refusal = Schema.Struct({ message: Schema.String })

export const handle = Effect.fnUntraced(
  function* ({ endpoint, fields, json, step }: UnblockInput) {
    const page = yield* pageOf(yield* Access.endpoint({ endpoint }))
    if (Option.isNone(step)) return yield* show(yield* heldSteps(page), json)
    const values = Option.getOrElse(fields, (): Record<string, string> => ({}))
    yield* send(
      HttpClientRequest.post(`${page}/ui/unblock`).pipe(HttpClientRequest.bodyJsonUnsafe({ step: step.value, values }))
    )
    yield* Output.printOne(json, {
      text: sanitizeLine(`${step.value} is unblocked`),
      json: { step: step.value, isUnblocked: true }
    })
  },
  Effect.provide(UndiciHttpClient.layerProxied(false))
)

/** The origin of the emulator. It has no user and no password. */
const pageOf = (endpoint: string | undefined) =>
  endpoint === undefined ? noEndpoint : Effect.succeed(new URL(endpoint).origin)

const noEndpoint = new Failed({
  message: "There is no emulator to talk to. Set BUILDKITE_AGENT_ENDPOINT as the emulator says, or give --endpoint URL"
})

const send = (request: HttpClientRequest.HttpClientRequest) =>
  Effect.gen(function* () {
    const response = yield* Effect.timeout(HttpClient.execute(request), timeout)
    if (response.status === 200) return response
    const refusal = yield* Effect.option(HttpClientResponse.schemaBodyJson(Refusal)(response))
    return yield* new Failed({
      message: Option.match(refusal, {
        onNone: () => `The emulator answered with ${response.status}. Is ${request.url} one of this version?`,
        onSome: ({ message }) => `Not unblocked: ${message}`
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
      { name: "state", value: ({ state }) => state },
      { name: "fields", value: ({ fields }) => fields.map(({ key }) => key).join(", ") },
      { name: "why", isFlexible: true, value: ({ hold }) => hold }
    ],
    toJson: (step) => step
  })
  return yield* printer.print(steps)
})
