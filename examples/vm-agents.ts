/**
 * A stack whose agents run in virtual machines, one for each job, which an HTTP API creates. A job selects the size of its machine by
 * the agent query rule size=small, size=medium or size=large. The stack may restart or be killed at any time: machines continue.
 *
 *     VM_API_URL=https://vms.example VM_API_TOKEN=… BUILDKITE_CLUSTER_TOKEN=… STACK_CPUS=8 node examples/vm-agents.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { AgentProvider, AgentQueryRules, Stack, StacksClient, type StacksSchema } from "@stacksapi/core"
import { FileJobStore, NodeStacksClient } from "@stacksapi/node"
import { Config, Console, Effect, Layer, Record, Redacted, Schema } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest, HttpClientResponse } from "effect/http"

// The API of the machines -----------------------------------------------------

const Machine = Schema.Struct({
  name: Schema.String,
  status: Schema.Literals(["booting", "running", "off", "failed"]),
  labels: Schema.Record(Schema.String, Schema.String),
  createdAt: Schema.DateTimeUtcFromString,
  message: Schema.optional(Schema.String)
})
const readMachines = HttpClientResponse.schemaBodyJson(Schema.Struct({ machines: Schema.Array(Machine) }))

const phases = { booting: "Pending", running: "Running", off: "Succeeded", failed: "Failed" } as const

// Maps the API's statuses to reasons: no room now, a permanent refusal, or a temporary failure.
const reasonOf = (status: number): AgentProvider.ProviderError["reason"] =>
  status === 507 ? "NoCapacity" : status >= 400 && status < 500 && status !== 429 ? "Refused" : "Unavailable"

const toProviderError = (cause: { readonly message: string }) =>
  cause instanceof AgentProvider.ProviderError
    ? cause
    : new AgentProvider.ProviderError({ reason: "Unavailable", message: "The VM API does not answer", cause })

export const makeProvider = Effect.fnUntraced(function* (url: string, token: Redacted.Redacted) {
  const http = yield* HttpClient.HttpClient
  const send = Effect.fnUntraced(function* (request: HttpClientRequest.HttpClientRequest, isFine?: number) {
    const { prependUrl, bearerToken } = HttpClientRequest
    const response = yield* request.pipe(
      prependUrl(url),
      bearerToken(token),
      http.execute,
      Effect.timeout("10 seconds")
    )
    const { status } = response
    if (status < 300 || status === isFine) return response
    return yield* new AgentProvider.ProviderError({ reason: reasonOf(status), message: `The VM API says ${status}` })
  }, Effect.mapError(toProviderError))

  // Names are unique in this API: it responds with 409 if a machine of this name exists.
  return AgentProvider.AgentProvider.of({
    create: ({ env, labels, name, requests }) => {
      const variables = Record.map(env, (value) => (Redacted.isRedacted(value) ? Redacted.value(value) : value))
      const machine = { name, labels, cpus: requests["cpus"], env: variables }
      return send(HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post("/machines"), machine), 409)
    },
    list: Effect.fnUntraced(function* (stackKey) {
      const label = `stacksapi-stack=${stackKey}`
      const response = yield* send(HttpClientRequest.get("/machines", { urlParams: { label } }))
      const { machines } = yield* readMachines(response)
      return machines.map(({ createdAt, labels, message, name, status }) => {
        return { name, jobUuid: labels["stacksapi-job"] ?? "", phase: phases[status], createdAt, message }
      })
    }, Effect.mapError(toProviderError)),
    delete: ({ name }) => send(HttpClientRequest.delete(`/machines/${name}`), 404)
  })
})

// The stack -------------------------------------------------------------------

const sizes: Record<string, number> = { small: 1, medium: 2, large: 4 }

const cpusOf = ({ agentQueryRules }: StacksSchema.ScheduledJob): number =>
  sizes[agentQueryRules.map(AgentQueryRules.parse).find(({ key }) => key === "size")?.value ?? "small"] ?? 1

const program = Effect.gen(function* () {
  const url = yield* Config.withDefault(Config.String("VM_API_URL"), "")
  if (url === "") return yield* Console.log("There is no API of machines here: set VM_API_URL to that of yours")
  const capacity = { cpus: yield* Config.withDefault(Config.Int("STACK_CPUS"), 8) }
  const Provider = Layer.effect(AgentProvider.AgentProvider, makeProvider(url, yield* Config.Redacted("VM_API_TOKEN")))
  const Runner = AgentProvider.layerRunner({
    startDeadline: yield* Config.withDefault(Config.Duration("STACK_START_DEADLINE"), "15 minutes"),
    endpoint: yield* Config.withDefault(Config.String("BUILDKITE_AGENT_ENDPOINT"), StacksClient.DefaultBaseUrl)
  })
  const Store = FileJobStore.layer({ path: yield* Config.withDefault(Config.String("STACK_STORE"), "vm-agents.jobs") })
  return yield* Stack.run({
    key: yield* Config.withDefault(Config.String("STACK_KEY"), "vm-agents"),
    queueKey: yield* Config.withDefault(Config.String("STACK_QUEUE"), "_default"),
    tags: Object.keys(sizes).map((size) => `size=${size}`),
    maxInFlight: capacity.cpus,
    capacity,
    requests: (job) => ({ cpus: cpusOf(job) })
  }).pipe(Effect.provide([Layer.provide(Runner, Provider), Store, NodeStacksClient.layerConfig]))
}).pipe(Effect.provide(FetchHttpClient.layer))

if (import.meta.main) NodeRuntime.runMain(program)
