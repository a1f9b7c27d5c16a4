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

  const call: Subject["call"] = (what, run) =>
    Effect.suspend(run).pipe(
      Effect.retry({
        while: ({ reason }) => reason === "Unavailable",
        schedule: Schedule.spaced(settings.pollInterval),
        times: Math.ceil(Duration.toMillis(settings.listedWithin) / Duration.toMillis(settings.pollInterval))
      }),
      Effect.timeoutOption(Duration.sum(settings.callTimeout, settings.listedWithin)),
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
            : broken(`${what} did not end within ${Duration.format(settings.callTimeout)}`)
      })
    )

  const eventually: Subject["eventually"] = Effect.fnUntraced(function* (within, look, how) {
    const end = (yield* currentMonotonicMillis) + Duration.toMillis(within)
    while (true) {
      const startedAt = yield* currentMonotonicMillis
      const found = yield* look
      if (found !== undefined) return found
      if (startedAt >= end) return yield* broken(`${how} within ${Duration.format(within)}`)
      yield* Effect.sleep(settings.pollInterval)
    }
  })

  const list: Subject["list"] = Effect.fnUntraced(function* (key = stackKey) {
    const agents = yield* call("list", () => provider.list(key))
    const seen = new Set<string>()
    for (const agent of agents) {
      const request = requests.get(agent.name)
      if (request === undefined) return yield* broken(`list has an agent that nobody created: ${agent.name}`)
      if (request.stackKey !== key) {
        return yield* broken(`list of the stack ${key} has an agent of the stack ${request.stackKey}: ${agent.name}`)
      }
      if (seen.has(agent.name)) return yield* broken(`list has two agents of one name: ${agent.name}`)
      seen.add(agent.name)
      if (agent.jobUuid !== request.job.id) {
        return yield* broken(`the agent of job "${request.job.id}" is listed with the job "${agent.jobUuid}"`)
      }
      if (!phases.includes(agent.phase)) return yield* broken(`an agent is listed with the phase "${agent.phase}"`)
      for (const text of textsOf(agent)) {
        if (text.includes(Redacted.value(request.token))) return yield* broken("list shows the token of an agent")
      }
      for (const [key, value] of Object.entries(agent.annotations === undefined ? {} : request.annotations)) {
        if (agent.annotations?.[key] !== value) {
          return yield* broken(
            `the annotation ${key} is "${agent.annotations?.[key]}" in the listing, and was "${value}"`
          )
        }
      }
    }
    return agents
  })

  const request: Subject["request"] = Effect.fnUntraced(function* (job = {}) {
    const id = job.id ?? (yield* randomUuid)
    const key = job.stackKey ?? stackKey
    const name = agentName(key, id)
    const token = Redacted.make(`bkjat_contract_${yield* randomHex(24)}`)
    const of = { name, jobUuid: id, queueKey: "contract", stackKey: key }
    const made = settings.adapt({
      name,
      job: {
        id,
        priority: 0,
        agentQueryRules: [],
        scheduledAt: yield* DateTime.now,
        pipeline: { slug: "contract", uuid: null },
        build: { uuid: null, number: 1, branch: "main" },
        step: { key: "contract" }
      },
      stackKey: key,
      queueKey: "contract",
      details: Effect.succeed({ id, env: { CONTRACT: "yes" }, command: "true" }),
      requests: {},
      token,
      // No service responds there, so the agent of a job that does not exist ends.
      env: environmentOf(of, token, "http://127.0.0.1:9/v3/"),
      labels: labelsOf(of),
      annotations: { "stacksapi/build": "contract#1", "stacksapi/step": `a "step" of 100 % Ünïcode` },
      notify: () => Effect.void
    })
    requests.set(name, made)
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

/** All texts of an agent that people may see. */
const textsOf = ({ annotations = {}, message = "", name, problem }: AgentProvider.Agent): ReadonlyArray<string> => [
  name,
  message,
  problem?.message ?? "",
  ...Object.values(annotations)
]
