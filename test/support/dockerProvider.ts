/** A provider of containers, and requests for it as the runner makes them. */
import { AgentProvider, type StacksSchema } from "@stacksapi/core"
import * as DockerProvider from "@stacksapi/node/DockerProvider"
import { Context, DateTime, Effect, Layer, Redacted, Schedule, Stream } from "effect"
import { environmentOf, labelsOf } from "../../packages/core/src/internal/agentProvider/agentRequest.ts"
import * as Docker from "./docker.ts"
import * as Images from "./dockerImages.ts"

/** The Engine of a test file. */
export class TestEngine extends Context.Service<TestEngine, Docker.Engine>()("TestEngine") {
  static readonly layer = Layer.effect(
    TestEngine,
    Effect.tap(Docker.engine(), (engine) => Images.importShellAgent(engine, shellAgent))
  )
}

export const shellAgent = "stacksapi-shell-agent:1"

/** The options of all tests: traffic stays on this machine. */
export const optionsFor = ({ host }: Docker.Engine, options: Partial<DockerProvider.Options> = {}) => ({
  image: shellAgent,
  hosts: [host],
  networks: ["host"],
  pull: "never" as const,
  ...options
})

export const provider = (options: Partial<DockerProvider.Options> = {}) =>
  Layer.unwrap(Effect.map(TestEngine, (engine) => DockerProvider.layer(optionsFor(engine, options))))

let count = 0

/** What an agent of a new job needs; `notes` is what its job's page says. */
export const request = (more: Partial<AgentProvider.AgentRequest> = {}) => {
  const id = `job-${process.pid}-${++count}`
  const stackKey = more.stackKey ?? `stack-${process.pid}-${count}`
  const name = AgentProvider.nameOf(stackKey, id)
  const token = Redacted.make(`bkjat_secret_of_${id}`)
  const job: StacksSchema.ScheduledJob = {
    id,
    priority: 0,
    agentQueryRules: [],
    scheduledAt: DateTime.makeUnsafe(0),
    pipeline: { slug: "p", uuid: null },
    build: { uuid: null, number: 1, branch: "main" },
    step: { key: null }
  }
  const of = { name, jobUuid: id, queueKey: "q", stackKey }
  const notes: Array<string> = []
  const made: AgentProvider.AgentRequest & { readonly notes: Array<string> } = {
    name,
    job,
    stackKey,
    queueKey: "q",
    details: Effect.succeed({ id, env: {}, command: "true" }),
    requests: {},
    token,
    env: environmentOf(of, token, "http://127.0.0.1:9/v3/"),
    labels: labelsOf(of),
    annotations: {},
    notify: (text) => Effect.sync(() => void notes.push(text)),
    ...more,
    notes
  }
  return made
}

type Request = ReturnType<typeof request>

export const refOf = ({ job, name, stackKey }: Request) => ({ stackKey, jobUuid: job.id, name })

/** Creates an agent, which is deleted when the scope closes. */
export const created = Effect.fnUntraced(function* (of: Request) {
  const agents = yield* AgentProvider.AgentProvider
  yield* Effect.addFinalizer(() => Effect.ignore(agents.delete(refOf(of), "the test is over")))
  yield* agents.create(of)
})

/** The agent as it is listed when it has ended. */
export const ended = Effect.fnUntraced(function* (of: Request) {
  const agents = yield* AgentProvider.AgentProvider
  return yield* Effect.map(agents.list(of.stackKey), ([agent]) => agent).pipe(
    Effect.repeat({
      until: (agent) => agent?.phase === "Failed" || agent?.phase === "Succeeded",
      schedule: Schedule.spaced("50 millis")
    })
  )
})

/** All that an agent prints. */
export const printed = Effect.fnUntraced(function* (of: Request) {
  const agents = yield* AgentProvider.AgentProvider
  const logs = agents.logs?.(refOf(of)) ?? Stream.empty
  return yield* Stream.mkString(Stream.decodeText(logs))
})
