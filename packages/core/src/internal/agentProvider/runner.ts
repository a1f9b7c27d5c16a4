/**
 * The `JobRunner` over an `AgentProvider`. A job's run:
 *
 *     list ──> is there an agent? ── no ──> create ──> list …
 *                     │ yes
 *                     v
 *                   watch ── acquired and ended ──────────────> AgentOwned
 *                     ├───── not acquired by startDeadline ───> delete, create once more, then Released
 *                     ├───── no capacity ─────────────────────> wait without a slot, then Released
 *                     └───── interrupted ─────────────────────> (detached: the agent stays)
 *
 * However it ends, the agent is deleted in the end, and the run ends when it is gone.
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type * as AgentProvider from "../../AgentProvider.ts"
import * as JobRunner from "../../JobRunner.ts"
import { DefaultBaseUrl } from "../../StacksClient.ts"
import type { InvalidOptions, StacksError } from "../../StacksError.ts"
import { isAgentOwned, isFinal } from "../../StacksSchema.ts"
import { monotonicMillis } from "../monotonicMillis.ts"
import * as Check from "../options.ts"
import * as AgentList from "./agentList.ts"
import { agentName } from "./agentName.ts"
import { CapacityWaits } from "./capacity.ts"
import { deleteAgent } from "./deleteAgent.ts"
import * as Metrics from "./metrics.ts"
import * as ProviderHealth from "./providerHealth.ts"
import * as Sweep from "./sweep.ts"

/** How often an agent is created that does not acquire its job. */
const maxStarts = 2
const maxRetryMillis = 30_000

interface Settings {
  readonly startDeadline: number
  readonly maxLifetime: number
  readonly cancelGrace: Duration.Duration | undefined
  readonly capacityTimeout: number
  readonly listInterval: Duration.Duration
  readonly createConcurrency: number
  readonly endpoint: string
  readonly tags: ReadonlyArray<string>
}

const resolve = Effect.fnUntraced(function* (
  options: AgentProvider.RunnerOptions
): Effect.fn.Return<Settings, InvalidOptions> {
  const { endpoint = DefaultBaseUrl, tags = [] } = options
  const second = { min: Check.second }
  yield* Check.tags("tags", tags)
  if (!/^https?:$/.test(URL.canParse(endpoint) ? new URL(endpoint).protocol : "")) {
    return yield* Check.invalid("endpoint", `must be a URL such as ${DefaultBaseUrl}`)
  }
  return {
    startDeadline: Duration.toMillis(
      yield* Check.duration("startDeadline", options.startDeadline ?? "15 minutes", second)
    ),
    maxLifetime: Duration.toMillis(
      yield* Check.duration("maxLifetime", options.maxLifetime ?? Duration.infinity, second)
    ),
    cancelGrace:
      options.cancelGrace === undefined ? undefined : yield* Check.duration("cancelGrace", options.cancelGrace),
    capacityTimeout: Duration.toMillis(
      yield* Check.duration("capacityTimeout", options.capacityTimeout ?? "5 minutes")
    ),
    listInterval: yield* Check.duration("listInterval", options.listInterval ?? "1 second", {
      min: [100, "100 milliseconds"]
    }),
    createConcurrency: yield* Check.count("createConcurrency", options.createConcurrency ?? 8, 1),
    endpoint,
    tags
  }
})

/** The agents of one stack, while a stack is attached or a job runs. */
interface Fleet {
  readonly list: AgentList.AgentList
  readonly scope: Scope.Closeable
  /** Names of agents that runs watch. */
  readonly watched: Set<string>
  users: number
  /** Of the attached stack. */
  sweep: Sweep.Sweep | undefined
}

interface Run {
  readonly context: JobRunner.JobContext
  readonly agent: AgentProvider.AgentRef
  readonly list: AgentList.AgentList
  /** Whether there may be an agent. */
  mayExist: boolean
}

/** Where a run stands. Times are monotonic milliseconds. */
interface Progress {
  /** Only listings that began then or later tell what is there. */
  listedSince: number
  /** Calls of `create` since the agent was last seen. */
  creates: number
  /** Agents that were seen, or should have been. */
  starts: number
  /** Calls of `create` that failed in a row. */
  troubles: number
  /** When the agent must have acquired its job. */
  deadline: number
  refreshAt: number
  endOfLife: number
  isSeen: boolean
  hasAcquired: boolean
}

export const make = Effect.fnUntraced(function* (
  provider: AgentProvider.Service,
  options: AgentProvider.RunnerOptions
): Effect.fn.Return<JobRunner.Service, InvalidOptions> {
  const settings = yield* resolve(options)
  const clock = yield* Clock.Clock
  const layerContext = yield* Effect.context<never>()
  const now = () => monotonicMillis(clock)
  const health = ProviderHealth.make()
  const capacity = new CapacityWaits(clock)
  const creating = yield* Semaphore.make(settings.createConcurrency)
  const fleets = new Map<string, Fleet>()
  const joining = yield* Semaphore.make(1)

  // ---------------------------------------------------------------------------
  // Fleets
  // ---------------------------------------------------------------------------

  /** The stack's agents, listed for as long as somebody looks at them. */
  const fleetOf = (stackKey: string): Effect.Effect<Fleet, never, Scope.Scope> =>
    Effect.acquireRelease(
      joining.withPermit(
        Effect.gen(function* () {
          const known = fleets.get(stackKey)
          if (known !== undefined) {
            known.users++
            return known
          }
          const scope = Scope.makeUnsafe()
          const list = yield* AgentList.make(provider, stackKey, settings.listInterval, health).pipe(
            Scope.provide(scope),
            Effect.provideContext(layerContext)
          )
          const fleet: Fleet = { list, scope, watched: new Set(), users: 1, sweep: undefined }
          fleets.set(stackKey, fleet)
          return fleet
        })
      ),
      (fleet) =>
        Effect.suspend(() => {
          fleet.users--
          if (fleet.users > 0) return Effect.void
          fleets.delete(stackKey)
          return Scope.close(fleet.scope, Exit.void)
        })
    )

  // ---------------------------------------------------------------------------
  // Creating
  // ---------------------------------------------------------------------------

  const requestFor = ({ agent: { name }, context }: Run, { token }: JobRunner.AcquisitionToken) => {
    const { details, job, notify, queueKey, requests, stackKey } = context
    const request: AgentProvider.AgentRequest = {
      name,
      job,
      stackKey,
      queueKey,
      details,
      requests,
      token,
      notify,
      env: {
        BUILDKITE_AGENT_ACQUIRE_JOB: job.id,
        BUILDKITE_AGENT_ENDPOINT: settings.endpoint,
        BUILDKITE_AGENT_NAME: name,
        BUILDKITE_AGENT_TAGS: [`queue=${queueKey}`, ...settings.tags].join(","),
        BUILDKITE_AGENT_TOKEN: token
      },
      labels: { "stacksapi-stack": stackKey, "stacksapi-queue": queueKey, "stacksapi-job": job.id },
      annotations: {
        "stacksapi/build": `${job.pipeline.slug}#${job.build.number}`,
        ...(job.step.key !== null && { "stacksapi/step": job.step.key })
      }
    }
    return request
  }

  /** Calls `create` once. Succeeds with when the token has to be refreshed, or with why there is no agent. */
  const createOnce = (run: Run) =>
    creating.withPermit(
      Effect.gen(function* () {
        const issued = yield* run.context.issueToken
        run.mayExist = true
        const refreshAt = refreshTime(issued)
        return yield* health.watch(Effect.suspend(() => provider.create(requestFor(run, issued)))).pipe(
          Effect.timeoutOption(settings.startDeadline),
          Effect.matchEffect({
            onSuccess: (answer) =>
              Effect.as(Metric.update(Metrics.createsBy(Option.isSome(answer) ? "created" : "timeout"), 1), {
                _tag: "Created",
                refreshAt
              } as const),
            onFailure: (error) =>
              Effect.as(Metric.update(Metrics.createsBy(error.reason), 1), { _tag: "Failed", error } as const)
          })
        )
      })
    )

  /** A token is renewed when four fifths of its life are over. */
  const refreshTime = ({ lifetime }: JobRunner.AcquisitionToken) =>
    provider.refreshToken === undefined ? Number.POSITIVE_INFINITY : now() + 0.8 * Duration.toMillis(lifetime)

  const refused = ({ message }: AgentProvider.ProviderError) =>
    new JobRunner.JobRunnerError({ message: `The provider refuses the agent: ${message}` })

  // ---------------------------------------------------------------------------
  // Waiting for capacity
  // ---------------------------------------------------------------------------

  /** Ends the run: the job waits without a slot, or is given back if it has waited long enough. */
  const awaitCapacity = Effect.fnUntraced(function* ({ context }: Run, message: string) {
    const { job, notify, requests, stackKey } = context
    const waited = capacity.wait(job, requests, stackKey)
    if (waited >= settings.capacityTimeout) {
      capacity.end(job.id)
      const reason = `There was no capacity for ${Duration.format(Duration.millis(settings.capacityTimeout))}: ${message}`
      yield* notify(reason)
      return JobRunner.Released({ reason })
    }
    if (waited === 0) yield* notify(`Waiting for capacity: ${message}`)
    return yield* new JobRunner.JobRunnerError({
      message: `No capacity: ${message}`,
      isRetryable: true,
      waitsForCapacity: true
    })
  })

  // ---------------------------------------------------------------------------
  // A run
  // ---------------------------------------------------------------------------

  const remove = ({ agent, list }: Run, reason: string) => deleteAgent(provider, health, list, agent, reason)

  /** Finds the job's agent, or creates it, and waits until it has ended. */
  const runAgent = Effect.fnUntraced(function* (
    run: Run
  ): Effect.fn.Return<JobRunner.JobOutcome, JobRunner.JobRunnerError | StacksError> {
    const { agent, context, list } = run
    const progress: Progress = {
      listedSince: now(),
      creates: 0,
      starts: 0,
      troubles: 0,
      deadline: Number.POSITIVE_INFINITY,
      refreshAt: Number.POSITIVE_INFINITY,
      endOfLife: Number.POSITIVE_INFINITY,
      isSeen: false,
      hasAcquired: false
    }
    while (true) {
      // What is there now? Nothing but a listing tells.
      const { listedSince } = progress
      const found = yield* list.await(agent.name, (_, listedAt) => listedAt >= listedSince)
      const outcome = found === undefined ? yield* onMissing(run, progress) : yield* watchAgent(run, progress, found)
      if (outcome !== undefined) return outcome
      if (!progress.hasAcquired && now() >= progress.deadline) {
        if (yield* isOver(context)) {
          acquired(run, progress)
          continue
        }
        const reason = `No agent acquired the job within ${Duration.format(Duration.millis(settings.startDeadline))}`
        const end = yield* restart(run, progress, reason)
        if (end !== undefined) return end
      }
    }
  })

  /** No agent is listed: it is created, unless it was there and the job is over. */
  const onMissing = Effect.fnUntraced(function* (run: Run, progress: Progress) {
    const { context } = run
    if (progress.isSeen) {
      if (progress.hasAcquired || (yield* isOver(context))) return JobRunner.AgentOwned
      return yield* restart(run, progress, "The agent went away before it had acquired the job")
    }
    // It was created and is not listed: the provider may be slow.
    if (progress.creates > 0) yield* Effect.sleep(delayAfter(progress.creates))
    if (now() >= progress.deadline) return undefined
    // What is about to be deleted takes up room.
    while (fleets.get(run.agent.stackKey)?.sweep?.isPending() === true) yield* run.list.next
    const created = yield* createOnce(run)
    progress.listedSince = now()
    if (created._tag === "Created") {
      progress.creates++
      progress.troubles = 0
      progress.refreshAt = created.refreshAt
      progress.deadline = Math.min(progress.deadline, now() + settings.startDeadline)
      return undefined
    }
    const { error } = created
    if (error.reason === "Refused") return yield* refused(error)
    if (error.reason === "NoCapacity") return yield* awaitCapacity(run, error.message)
    progress.troubles++
    if (progress.troubles === 1) {
      yield* context.notify(`The agent can't be created now, trying again: ${error.message}`)
    }
    yield* Effect.sleep(delayAfter(progress.troubles))
    return undefined
  })

  /** The agent is there: waits until it ends, or until a time has come. */
  const watchAgent = Effect.fnUntraced(function* (run: Run, progress: Progress, found: AgentProvider.Agent) {
    const { agent, context, list } = run
    run.mayExist = true
    if (!progress.isSeen) {
      progress.isSeen = true
      progress.starts++
      // An agent of an earlier process has its time from here on.
      progress.deadline = Math.min(progress.deadline, now() + settings.startDeadline)
      progress.endOfLife = now() + settings.maxLifetime - ageOf(found)
    }
    if (found.phase === "Running") capacity.found(context.job, context.requests, context.stackKey)
    const { listedSince } = progress
    const until = Math.min(
      progress.hasAcquired ? Number.POSITIVE_INFINITY : Math.min(progress.deadline, progress.refreshAt),
      progress.endOfLife
    )
    const seen = yield* Effect.timeoutOption(
      list.await(
        agent.name,
        (next, listedAt) =>
          listedAt >= listedSince && (next === undefined || next.phase !== found.phase || isStuck(next))
      ),
      Math.max(0, until - now())
    )
    if (Option.isSome(seen)) {
      const next = seen.value
      if (next === undefined) return undefined
      if (isEnded(next)) {
        if (progress.hasAcquired || (yield* isOver(context))) return JobRunner.AgentOwned
        return yield* restart(run, progress, `The agent ended before it had acquired the job${suffix(next.message)}`)
      }
      if (next.problem?.reason === "Refused") return yield* refused(next.problem)
      if (next.problem?.reason !== "NoCapacity" || progress.hasAcquired) return undefined
      if (!(yield* isOver(context))) return yield* awaitCapacity(run, next.problem.message)
      acquired(run, progress)
      return undefined
    }
    if (now() >= progress.endOfLife) {
      const reason = `The agent has lived for ${Duration.format(Duration.millis(settings.maxLifetime))}, and is deleted`
      yield* context.notify(reason)
      return (yield* isOver(context)) ? JobRunner.AgentOwned : JobRunner.Released({ reason })
    }
    if (now() >= progress.refreshAt) {
      if (yield* isOver(context)) acquired(run, progress)
      else yield* refresh(run, progress, found)
    }
    return undefined
  })

  const acquired = ({ context: { job, requests, stackKey } }: Run, progress: Progress) => {
    progress.hasAcquired = true
    capacity.found(job, requests, stackKey)
  }

  const refresh = Effect.fnUntraced(function* ({ context }: Run, progress: Progress, agent: AgentProvider.Agent) {
    progress.refreshAt = now() + 10_000
    const issued = yield* Effect.option(context.issueToken)
    if (Option.isNone(issued) || provider.refreshToken === undefined) return
    const given = yield* Effect.option(health.watch(provider.refreshToken(agent, issued.value.token)))
    if (Option.isSome(given)) progress.refreshAt = refreshTime(issued.value)
  })

  /** Deletes an agent that did not acquire its job, so that another one is created; gives the job back after the second. */
  const restart = Effect.fnUntraced(function* (run: Run, progress: Progress, reason: string) {
    yield* run.context.notify(reason)
    // One that was never listed counts, too.
    if (!progress.isSeen) progress.starts++
    if (progress.starts >= maxStarts) return JobRunner.Released({ reason })
    yield* remove(run, reason)
    progress.listedSince = now()
    progress.isSeen = false
    progress.creates = 0
    progress.deadline = Number.POSITIVE_INFINITY
    progress.refreshAt = Number.POSITIVE_INFINITY
    progress.endOfLife = Number.POSITIVE_INFINITY
    return undefined
  })

  /** How long an agent has lived before it was seen here. */
  const ageOf = ({ createdAt }: AgentProvider.Agent): number =>
    createdAt === undefined ? 0 : Math.max(0, clock.currentTimeMillisUnsafe() - DateTime.toEpochMillis(createdAt))

  const run = (context: JobRunner.JobContext): Effect.Effect<JobRunner.JobOutcome, JobRunner.JobRunnerError> =>
    Effect.gen(function* () {
      const { job, stackKey } = context
      const agent = { stackKey, jobUuid: job.id, name: agentName(stackKey, job.id) }
      const fleet = yield* fleetOf(stackKey)
      fleet.watched.add(agent.name)
      yield* Effect.addFinalizer(() => Effect.sync(() => void fleet.watched.delete(agent.name)))
      const ofRun: Run = { context, agent, list: fleet.list, mayExist: false }
      return yield* runAgent(ofRun).pipe(
        settings.cancelGrace === undefined ? (effect) => effect : endedByCancel(context, settings.cancelGrace),
        Effect.onExit(
          Effect.fnUntraced(function* (exit) {
            if (Exit.isSuccess(exit)) capacity.end(job.id)
            if (!ofRun.mayExist || (yield* staysBehind(context, exit))) return
            yield* remove(ofRun, reasonOf(exit))
          })
        )
      )
    }).pipe(
      Effect.scoped,
      Effect.mapError((error) =>
        error instanceof JobRunner.JobRunnerError
          ? error
          : new JobRunner.JobRunnerError({ message: error.message, cause: error })
      )
    )

  return {
    outlivesStack: true,
    run,
    mayReserve: (job, requests, stackKey) =>
      !health.isInTrouble() &&
      fleets.get(stackKey)?.sweep?.isPending() !== true &&
      !capacity.isWaiting(job, requests, stackKey),
    hasAgent: (jobUuid, stackKey) => fleets.get(stackKey)?.list.agents()?.has(agentName(stackKey, jobUuid)),
    attach: Effect.fnUntraced(function* (stack) {
      const fleet = yield* fleetOf(stack.stackKey)
      fleet.sweep = Sweep.make(clock, provider, health, fleet.list, stack, (name) => fleet.watched.has(name))
      yield* Effect.forkScoped(Effect.provideContext(fleet.sweep.loop, layerContext))
    })
  }
})

// -----------------------------------------------------------------------------
// What is known of a job
// -----------------------------------------------------------------------------

const delayAfter = (tries: number): number => Math.min(maxRetryMillis, 1000 * 2 ** Math.min(10, tries - 1))

const suffix = (message: string | undefined): string => (message === undefined || message === "" ? "" : `: ${message}`)

const isEnded = ({ phase }: AgentProvider.Agent): boolean => phase === "Succeeded" || phase === "Failed"

/** Whether the agent does not get on by itself, or has ended. */
const isStuck = (agent: AgentProvider.Agent): boolean =>
  isEnded(agent) || agent.problem?.reason === "NoCapacity" || agent.problem?.reason === "Refused"

/** Whether the job is an agent's, or over. Then nothing is left to start. */
const isOver = ({ state }: JobRunner.JobContext): Effect.Effect<boolean> =>
  Effect.map(state, (jobState) => jobState !== undefined && (isAgentOwned(jobState) || isFinal(jobState)))

/** Whether the agent is left alone when its run ends: the next process goes on with it, or it waits for capacity where it is. */
const staysBehind = (
  { stopRequested }: JobRunner.JobContext,
  exit: Exit.Exit<JobRunner.JobOutcome, JobRunner.JobRunnerError | StacksError>
): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    if (Exit.isFailure(exit)) {
      const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
      if (error instanceof JobRunner.JobRunnerError && error.waitsForCapacity === true) return true
    }
    const reason = yield* Effect.raceFirst(stopRequested, Effect.andThen(Effect.yieldNow, Effect.undefined))
    return reason === "Detach"
  })

const reasonOf = (exit: Exit.Exit<JobRunner.JobOutcome, unknown>): string =>
  Exit.isSuccess(exit) ? (exit.value._tag === "Released" ? exit.value.reason : "its job is over") : "its job ends here"

/** Ends a run before the stack's own `cancelGrace` does. */
const endedByCancel =
  ({ stopRequested }: JobRunner.JobContext, grace: Duration.Duration) =>
  <A, E>(run: Effect.Effect<A | JobRunner.JobOutcome, E>): Effect.Effect<A | JobRunner.JobOutcome, E> =>
    Effect.raceFirst(
      run,
      Effect.flatMap(stopRequested, (reason) =>
        reason === "Canceled" || reason === "TimedOut"
          ? Effect.as(Effect.sleep(grace), JobRunner.AgentOwned)
          : Effect.never
      )
    )
