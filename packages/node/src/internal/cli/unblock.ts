/** `stacksapi emulator unblock`: unblocks steps of an emulator's pipelines. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as UndiciHttpClient from "../client/undici.ts"
import { sanitizeLine } from "../terminal/sanitize.ts"
import { Failed } from "./failure.ts"
import * as Flag from "./flag.ts"
import * as Output from "./output.ts"
import * as Settings from "./settings.ts"

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

export const unblock = Command.make(
  "unblock",
  {
    step: Argument.optional(
      Argument.String("step").pipe(
        Argument.withDescription(
          "The key, the label or the id of a step; without it, shows the steps that wait for you"
        )
      )
    ),
    fields: Flag.optional(
      Flag.pairs("field", { description: "The value of one of the step's fields; may be repeated" })
    ),
    endpoint: Flag.optional(
      Flag.text("endpoint", {
        description: "The URL of the emulator",
        metavar: "URL",
        otherVariables: "BUILDKITE_AGENT_ENDPOINT"
      })
    ),
    json: Output.json
  },
  Effect.fnUntraced(
    function* ({ endpoint, fields, json, step }) {
      const page = yield* pageOf(yield* Settings.endpoint({ endpoint }))
      if (Option.isNone(step)) return yield* show(yield* heldSteps(page), json)
      const values = Option.getOrElse(fields, (): Record<string, string> => ({}))
      yield* send(
        HttpClientRequest.post(`${page}/ui/unblock`).pipe(
          HttpClientRequest.bodyJsonUnsafe({ step: step.value, values })
        )
      )
      yield* Output.printOne(json, {
        text: sanitizeLine(`${step.value} is unblocked`),
        json: { step: step.value, isUnblocked: true }
      })
    },
    Effect.provide(UndiciHttpClient.layerProxied(false))
  )
).pipe(
  Command.withDescription("Unblock a step of an emulator's pipeline that is blocked, waits for input, or is held"),
  Command.withExamples([
    { command: "stacksapi emulator unblock" },
    { command: "stacksapi emulator unblock approve --field release-name=Dolphin" }
  ])
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
