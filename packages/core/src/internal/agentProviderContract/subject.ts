/** What the contract's cases share: a provider under test, whose calls and listings are checked each time. */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as AgentProvider from "../../AgentProvider.ts"
import { agentName } from "../agentProvider/agentName.ts"
import { environmentOf, labelsOf } from "../agentProvider/agentRequest.ts"
import { currentMonotonicMillis } from "../monotonicMillis.ts"

/** Why a rule is broken. */
export class Broken extends Data.TaggedError("Broken")<{ readonly how: string; readonly cause?: unknown }> {}

export const broken = (how: string): Effect.Effect<never, Broken> => Effect.fail(new Broken({ how }))

export interface Settings {
  readonly listedWithin: Duration.Duration
  readonly goneWithin: Duration.Duration
  readonly endedWithin: Duration.Duration | undefined
  readonly callTimeout: Duration.Duration
  readonly pollInterval: Duration.Duration
  readonly adapt: (request: AgentProvider.AgentRequest) => AgentProvider.AgentRequest
}

/** The agent that a call is about. */
type Ref = Pick<AgentProvider.AgentRequest, "name" | "job" | "stackKey">

export interface Subject {
  readonly settings: Settings
  readonly provider: AgentProvider.Service
  /** The key of a stack that only this case uses. */
  readonly stackKey: string
  /** A request for an agent of a new job. */
  readonly request: (job?: {
    readonly id?: string
    readonly stackKey?: string
  }) => Effect.Effect<AgentProvider.AgentRequest>
  readonly create: (request: AgentProvider.AgentRequest) => Effect.Effect<void, Broken>
  readonly delete: (agent: Ref) => Effect.Effect<void, Broken>
  readonly list: (stackKey?: string) => Effect.Effect<ReadonlyArray<AgentProvider.Agent>, Broken>
  /** Creates an agent, and waits until it is listed. */
  readonly created: (request: AgentProvider.AgentRequest) => Effect.Effect<AgentProvider.Agent, Broken>
  readonly awaitListed: (agent: Ref) => Effect.Effect<AgentProvider.Agent, Broken>
  readonly awaitGone: (agent: Ref) => Effect.Effect<void, Broken>
  /** Runs a call of the provider. Repeats it after temporary failures, which break no rule. */
  readonly call: <A>(what: string, run: () => Effect.Effect<A, AgentProvider.ProviderError>) => Effect.Effect<A, Broken>
  /** Lists until a test succeeds, for at most this long. */
  readonly eventually: <A>(
    within: Duration.Duration,
    look: Effect.Effect<A | undefined, Broken>,
    how: string
  ) => Effect.Effect<A, Broken>
}

const phases: ReadonlyArray<unknown> = ["Pending", "Running", "Succeeded", "Failed"]
const digits = "0123456789abcdef"

const randomHex = (length: number): Effect.Effect<string> =>
  Effect.map(Effect.replicateEffect(Random.nextIntBetween(0, 15), length), (all) =>
    all.map((digit) => digits[digit]).join("")
  )

const randomUuid = Effect.map(randomHex(32), (hex) =>
  [hex.slice(0, 8), hex.slice(8, 12), `7${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20)].join("-")
)

/** Runs a case, and deletes what it has created. */
export const withSubject = Effect.fnUntraced(function* (
  provider: AgentProvider.Service,
  settings: Settings,
  body: (subject: Subject) => Effect.Effect<void, Broken>
): Effect.fn.Return<void, Broken> {
  const stackKey = `contract-${yield* randomHex(12)}`
  /** The created agents by name. */
  const requests = new Map<string, AgentProvider.AgentRequest>()
  const call = makeCall(settings)
  const eventually = makeEventually(settings)

  const list: Subject["list"] = Effect.fnUntraced(function* (key = stackKey) {
    const agents = yield* call("list", () => provider.list(key))
    yield* checkListing(agents, requests, key)
    return agents
  })

  const request: Subject["request"] = Effect.fnUntraced(function* (job = {}) {
    const made = settings.adapt(yield* makeRequest(job.stackKey ?? stackKey, job.id ?? (yield* randomUuid)))
    requests.set(made.name, made)
    return made
  })

  const create: Subject["create"] = (request) => call("create", () => provider.create(request))

  const remove: Subject["delete"] = ({ job, name, stackKey }) =>
    call("delete", () => provider.delete({ stackKey, jobUuid: job.id, name }, "the contract is checked"))

  const find = (agent: Ref) =>
    Effect.map(list(agent.stackKey), (agents) => agents.find(({ name }) => name === agent.name))

  const awaitListed: Subject["awaitListed"] = (agent) =>
    eventually(settings.listedWithin, find(agent), "a created agent was not listed")

  const awaitGone: Subject["awaitGone"] = (agent) =>
    Effect.asVoid(
      eventually(
        settings.goneWithin,
        Effect.map(find(agent), (found) => (found === undefined ? true : undefined)),
        "a deleted agent was not gone"
      )
    )

  const subject: Subject = {
    settings,
    provider,
    stackKey,
    request,
    create,
    delete: remove,
    list,
    created: (request) => Effect.andThen(create(request), awaitListed(request)),
    awaitListed,
    awaitGone,
    call,
    eventually
  }

  // Also if the case is interrupted, because agents cost money.
  const removeAll = Effect.suspend(() =>
    Effect.forEach(requests.values(), (request) => Effect.ignoreCause(remove(request)), {
      concurrency: 4,
      discard: true
    })
  )
  yield* Effect.ensuring(body(subject), removeAll)
  yield* Effect.forEach(requests.values(), awaitGone, { discard: true })
})

const makeCall =
  ({ callTimeout, listedWithin, pollInterval }: Settings): Subject["call"] =>
  (what, run) =>
    Effect.suspend(run).pipe(
      Effect.retry({
        while: ({ reason }) => reason === "Unavailable",
        schedule: Schedule.spaced(pollInterval),
        times: Math.ceil(Duration.toMillis(listedWithin) / Duration.toMillis(pollInterval))
      }),
      Effect.timeoutOption(Duration.sum(callTimeout, listedWithin)),
      Effect.matchCauseEffect({
        onFailure: (cause) => {
          const found = cause.reasons.find((reason) => reason._tag === "Fail")
          if (found !== undefined) {
            return broken(`${what} failed unexpectedly: ${found.error.reason}: ${found.error.message}`)
          }
          return Cause.hasInterruptsOnly(cause)
            ? Effect.interrupt
            : Effect.fail(new Broken({ how: `${what} died instead of failing with a ProviderError`, cause }))
        },
        onSuccess: (ended) =>
          ended._tag === "Some"
            ? Effect.succeed(ended.value)
            : broken(`${what} did not end within ${Duration.format(callTimeout)}`)
      })
    )

const makeEventually = ({ pollInterval }: Settings): Subject["eventually"] =>
  Effect.fnUntraced(function* (within, look, how) {
    const end = (yield* currentMonotonicMillis) + Duration.toMillis(within)
    while (true) {
      const startedAt = yield* currentMonotonicMillis
      const found = yield* look
      if (found !== undefined) return found
      if (startedAt >= end) return yield* broken(`${how} within ${Duration.format(within)}`)
      yield* Effect.sleep(pollInterval)
    }
  })

/** Each listed agent must be one that was requested, once, and as it was requested. */
const checkListing = Effect.fnUntraced(function* (
  agents: ReadonlyArray<AgentProvider.Agent>,
  requests: ReadonlyMap<string, AgentProvider.AgentRequest>,
  stackKey: string
): Effect.fn.Return<void, Broken> {
  const seen = new Set<string>()
  for (const agent of agents) {
    const request = requests.get(agent.name)
    if (request === undefined) return yield* broken(`list has an agent that nobody created: ${agent.name}`)
    if (request.stackKey !== stackKey) {
      return yield* broken(`list of the stack ${stackKey} has an agent of the stack ${request.stackKey}: ${agent.name}`)
    }
    if (seen.has(agent.name)) return yield* broken(`list has two agents of one name: ${agent.name}`)
    seen.add(agent.name)
    const issue = issueOf(agent, request)
    if (issue !== undefined) return yield* broken(issue)
  }
})

/** What is wrong with a listed agent. */
const issueOf = (agent: AgentProvider.Agent, request: AgentProvider.AgentRequest): string | undefined => {
  if (agent.jobUuid !== request.job.id) {
    return `the agent of job "${request.job.id}" is listed with the job "${agent.jobUuid}"`
  }
  if (!phases.includes(agent.phase)) return `an agent is listed with the phase "${agent.phase}"`
  if (textsOf(agent).some((text) => text.includes(Redacted.value(request.token)))) {
    return "list shows the token of an agent"
  }
  if (agent.annotations === undefined) return undefined
  for (const [key, value] of Object.entries(request.annotations)) {
    const listed = agent.annotations[key]
    if (listed !== value) return `the annotation ${key} is "${listed}" in the listing, and was "${value}"`
  }
  return undefined
}

/** A request for an agent of a job that does not exist. */
const makeRequest = Effect.fnUntraced(function* (stackKey: string, jobUuid: string) {
  const name = agentName(stackKey, jobUuid)
  const token = Redacted.make(`bkjat_contract_${yield* randomHex(24)}`)
  const of = { name, jobUuid, queueKey: "contract", stackKey }
  const request: AgentProvider.AgentRequest = {
    name,
    job: {
      id: jobUuid,
      priority: 0,
      agentQueryRules: [],
      scheduledAt: yield* DateTime.now,
      pipeline: { slug: "contract", uuid: null },
      build: { uuid: null, number: 1, branch: "main" },
      step: { key: "contract" }
    },
    stackKey,
    queueKey: "contract",
    details: Effect.succeed({ id: jobUuid, env: { CONTRACT: "yes" }, command: "true" }),
    requests: {},
    token,
    // No service responds there, so the agent of a job that does not exist ends.
    env: environmentOf(of, token, "http://127.0.0.1:9/v3/"),
    labels: labelsOf(of),
    annotations: { "stacksapi/build": "contract#1", "stacksapi/step": `a "step" of 100 % Ünïcode` },
    notify: () => Effect.void
  }
  return request
})

/** All texts of an agent that people may see. */
const textsOf = ({ annotations = {}, message = "", name, problem }: AgentProvider.Agent): ReadonlyArray<string> => [
  name,
  message,
  problem?.message ?? "",
  ...Object.values(annotations)
]
