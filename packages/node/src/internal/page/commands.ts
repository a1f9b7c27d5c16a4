/** The commands of the page: what its buttons do. */
import * as StacksEmulator from "@stacksapi/core/StacksEmulator"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { catchMisuse } from "./misuse.ts"
import * as Model from "./model.ts"

const atLeast = (minimum: number) => Schema.Int.check(Schema.isGreaterThanOrEqualTo(minimum))

/** Few enough that the emulator stays fast. */
const maxJobsAtOnce = 10_000

const NewJobs = Schema.Struct({
  queueKey: Schema.NonEmptyString,
  count: atLeast(1).check(Schema.isLessThanOrEqualTo(maxJobsAtOnce)),
  command: Schema.String,
  env: Schema.Record(Schema.String, Schema.String),
  priority: Schema.Int
})

const NewFault = Schema.Struct({
  kind: Schema.Literals(["Status", "Html", "Malformed", "Reset", "Stall", "Truncate", "LostResponse", "SlowDown"]),
  operation: Schema.optionalKey(Schema.Literals(Model.operations)),
  status: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 200, maximum: 599 }))),
  seconds: Schema.optionalKey(Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))),
  times: Schema.optionalKey(atLeast(1)),
  rate: Schema.optionalKey(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })))
})

const toFault = ({ kind, operation, rate, seconds, status, times }: typeof NewFault.Type): StacksEmulator.Fault => {
  const { Fault } = StacksEmulator
  const selection = { operations: operation && [operation], rate, times }
  const duration = seconds === undefined ? undefined : Duration.seconds(seconds)
  switch (kind) {
    case "Status":
      return Fault.Status({ ...selection, status: status ?? 503, retryAfter: duration })
    case "Html":
      return Fault.Html({ ...selection, status })
    case "Stall":
      return Fault.Stall({ ...selection, duration })
    case "SlowDown":
      return Fault.SlowDown({ ...selection, retryAfter: duration ?? Duration.seconds(1) })
    default:
      return Fault[kind](selection)
  }
}

/** The route of a command: the schema of its body, and its effect. */
const command = <A, RD>(
  name: string,
  schema: Schema.ConstraintDecoder<A, RD>,
  act: (body: A) => Effect.Effect<unknown>
) =>
  HttpRouter.add(
    "POST",
    `/ui/${name}`,
    HttpServerRequest.schemaBodyJson(schema).pipe(
      Effect.flatMap(act),
      Effect.as(HttpServerResponse.jsonUnsafe({})),
      Effect.catchTag(["SchemaError", "HttpServerError"], ({ message }) => Effect.succeed(badRequest(message))),
      // Invalid input, such as a job in a queue that does not exist, is the user's error.
      catchMisuse((problem) => Effect.succeed(badRequest(problem)))
    )
  )

const badRequest = (message: string) => HttpServerResponse.jsonUnsafe({ message }, { status: 400 })

/** The routes of all commands. They accept JSON only. */
export const layer = (emulator: StacksEmulator.Service) =>
  Layer.mergeAll(
    command("add-jobs", NewJobs, ({ count, ...job }) => emulator.addJobs(Array.from({ length: count }, () => job))),
    command("cancel-job", Schema.Struct({ id: Schema.String }), ({ id }) => emulator.cancelJob(id)),
    command("retry-job", Schema.Struct({ id: Schema.String }), ({ id }) => emulator.retryJob(id)),
    command(
      "unblock",
      Schema.Struct({ step: Schema.String, values: Schema.Record(Schema.String, Schema.String) }),
      ({ step, values }) => emulator.unblock(step, values)
    ),
    command("pause-queue", Schema.Struct({ key: Schema.String, paused: Schema.Boolean }), ({ key, paused }) =>
      emulator.pauseQueue(key, paused)
    ),
    command("forget-stack", Schema.Struct({ key: Schema.String }), ({ key }) => emulator.forgetStack(key)),
    command("inject-fault", NewFault, (fault) => emulator.changeFaults((faults) => [...faults, toFault(fault)])),
    command("remove-fault", Schema.Struct({ id: Schema.Int }), ({ id }) =>
      emulator.changeFaults((faults) => faults.filter((fault) => Model.idOf(fault) !== id))
    ),
    command("job-output", Schema.Struct({ id: Schema.String, text: Schema.String }), ({ id, text }) =>
      emulator.appendJobLog(id, text)
    ),
    command("clear-faults", Schema.Struct({}), () => emulator.setFaults([]))
  )
