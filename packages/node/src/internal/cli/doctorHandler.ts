/** What `stacksapi doctor` does. */
import * as StacksClient from "@stacksapi/core/StacksClient"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as UndiciHttpClient from "../client/undici.ts"
import * as Canary from "../doctor/canary.ts"
import * as Checks from "../doctor/checks.ts"
import * as Connection from "../doctor/connection.ts"
import { type Finding, isBad } from "../doctor/findings.ts"
import * as Service from "../doctor/service.ts"
import * as Redactor from "../secrets/redactor.ts"
import * as Sanitize from "../terminal/sanitize.ts"
import type { Style } from "../terminal/style.ts"
import type { Column } from "../terminal/table.ts"
import * as Access from "./access.ts"
import type { DoctorInput } from "./doctor.ts"
import { Failed } from "./failure.ts"
import * as Output from "./output.ts"
import type * as Settings from "./settings.ts"
import { version } from "./version.ts"
import { logFailure } from "./withClient.ts"

export const handle = Effect.fnUntraced(function* (input: DoctorInput) {
  const token = yield* Access.token(input)
  const baseUrl = yield* baseUrlOf(input)
  const service = Service.make({ baseUrl, token, userAgent: `stacksapi-doctor/${version}` })
  const findings = yield* examine(input, baseUrl).pipe(
    Effect.provide(
      Layer.provide(
        Layer.effect(Service.Service, service),
        UndiciHttpClient.layerProxied(input.proxy ? undefined : false)
      )
    )
  )
  // Headers and messages of another service may repeat the token.
  const redactor = Redactor.make([Redacted.value(token)])
  const shown = findings.map((finding) => ({ ...finding, detail: redactor.redact(finding.detail) }))
  yield* print(shown, input.json, { baseUrl, queue: queueOf(input) })
  const bad = findings.filter(isBad).length
  if (bad > 0) return yield* new Failed({ message: `${bad} of ${findings.length} findings are problems` })
}, logFailure)

const baseUrlOf = (input: Settings.Connection) =>
  Effect.map(Access.endpoint(input), (url) => {
    const base = new URL(url ?? StacksClient.DefaultBaseUrl)
    if (!base.pathname.endsWith("/")) base.pathname += "/"
    return base
  })

const queueOf = ({ canary, queue }: Pick<DoctorInput, "canary" | "queue">) => Option.getOrElse(canary, () => queue)

const examine = Effect.fnUntraced(function* (input: Pick<DoctorInput, "canary" | "proxy" | "queue">, baseUrl: URL) {
  const service = yield* Service.Service
  const suffix = (yield* Random.nextIntBetween(0, 0xffff_ffff)).toString(16).padStart(8, "0")
  const key = `stacksapi-doctor-${suffix}`
  const probe: Checks.Probe = { key, queue: queueOf(input), unknownJob }
  const checks = yield* Checks.examine(
    probe,
    Option.isSome(input.canary) ? Canary.examine(probe) : Effect.succeed<ReadonlyArray<Finding>>([])
  )
  const url = yield* Connection.examineUrl(baseUrl, input.proxy, service.exchanges.length > 0)
  return [...url, ...checks, ...Connection.examineExchanges(service.exchanges)]
})

/** No job has this id: the service makes ids of another UUID version. */
const unknownJob = "00000000-0000-4000-8000-000000000000"

const styles: Readonly<Record<Finding["verdict"], Style>> = {
  ok: "green",
  note: "dim",
  skipped: "yellow",
  differs: "red",
  failed: "red"
}

const columns: ReadonlyArray<Column<Finding>> = [
  { name: "check", value: ({ check }) => check },
  { name: "verdict", value: ({ verdict }) => verdict, style: ({ verdict }) => styles[verdict] },
  { name: "detail", value: ({ detail }) => detail },
  { name: "advice", value: ({ advice }) => advice ?? "", style: () => "dim" }
]

interface Examined {
  readonly baseUrl: URL
  readonly queue: string
}

const print = Effect.fnUntraced(function* (
  findings: ReadonlyArray<Finding>,
  isJson: boolean,
  { baseUrl: { host, protocol }, queue }: Examined
) {
  if (isJson) {
    return yield* Console.log(
      Sanitize.json({
        version,
        endpoint: `${protocol}//${host}`,
        queue,
        problems: findings.filter(isBad).length,
        findings
      })
    )
  }
  const printer = yield* Output.printer<Finding>({ json: false, columns, toJson: (finding) => finding })
  yield* printer.print(findings)
})
