/** The state of the emulated service. */
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { JobState, ScheduledJob } from "../../StacksSchema.ts"
import * as StacksSchema from "../../StacksSchema.ts"
import type * as Artifacts from "./artifacts.ts"
import type { BuildData, Step } from "./buildData.ts"
import type { Build, Step as PipelineStep } from "./builds.ts"
import { JobLogs } from "./jobLogs.ts"
import type { RetryRule } from "./pipeline/fields.ts"
import type { JobUpload } from "./pipelineUploads.ts"
import * as SeededRandom from "./seededRandom.ts"
import { Timeline } from "./timeline.ts"

export interface StateOptions {
  readonly queues: ReadonlyArray<string> | undefined
  readonly maxStacks: number | undefined
  readonly seed: number
  readonly tokenIdentity: Partial<StacksSchema.TokenIdentity> | undefined
  readonly secrets: Readonly<Record<string, Redacted.Redacted>>
}

export interface State {
  readonly random: SeededRandom.SeededRandom
  /** A generator of its own, because agents register at any time and must not change the ids of jobs. */
  readonly agentRandom: SeededRandom.SeededRandom
  /** A generator of its own for the ids of steps. */
  readonly stepRandom: SeededRandom.SeededRandom
  readonly organizationUuid: string
  /** The identity of the token that it accepts. */
  readonly tokenIdentity: StacksSchema.TokenIdentity
  readonly pipelineUuid: string
  readonly buildUuid: string
  readonly maxStacks: number
  /** Whether every queue exists. */
  readonly openQueues: boolean
  readonly queues: Map<string, Queue>
  readonly stacks: Map<string, Stack>
  readonly jobs: Map<string, Job>
  /** The reserved jobs, by the time at which their reservations lapse. */
  readonly reservations: Timeline<Job>
  /** The jobs with dependencies that have not ended. */
  readonly waiting: Set<Job>
  /** The acquisition tokens that have not expired, including those whose reservation is over. */
  readonly tokens: Map<string, AcquisitionToken>
  readonly notifications: Array<Notification>
  readonly agents: Map<string, Agent>
  /** The agents that are neither disconnected nor lost, in the order of `lastSeen`. */
  readonly liveAgents: Set<Agent>
  readonly accessTokens: Map<string, Agent>
  readonly logs: JobLogs
  /** The running jobs that end or time out by themselves, by that time. */
  readonly deadlines: Timeline<Job>
  readonly builds: Map<string, BuildData>
  /** The builds that pipelines were uploaded to, and their steps. */
  readonly pipelineBuilds: Map<string, Build>
  readonly pipelineSteps: Map<string, PipelineStep>
  /** The steps that are not over. */
  readonly openSteps: Set<PipelineStep>
  /** The jobs of each concurrency group that have not ended. */
  readonly concurrencyGroups: Map<string, Set<Job>>
  /** The agents of the tokens that came with jobs. */
  readonly jobTokens: Map<string, Agent>
  readonly artifacts: {
    readonly batches: Map<string, ReadonlyArray<Artifacts.Artifact>>
    readonly byKey: Map<string, Artifacts.Artifact>
    bytes: number
  }
  /** The results of pipeline uploads: an error, or undefined. */
  readonly pipelineUploads: Map<string, string | undefined>
  /** The pipelines that jobs have uploaded, in their order. */
  readonly jobUploads: Array<JobUpload>
  /** What jobs can read with `buildkite-agent secret get`. */
  readonly secrets: Readonly<Record<string, Redacted.Redacted>>
}

export interface Queue {
  readonly key: string
  readonly id: string
  paused: boolean
  /** The scheduled jobs, oldest first. */
  readonly scheduled: Timeline<Job>
}

export interface Stack {
  readonly id: string
  readonly key: string
  type: string
  queueKey: string
  metadata: Readonly<Record<string, string>>
  readonly registeredAt: number
  polledAt: number | undefined
}

export interface Job {
  readonly sequence: number
  readonly queue: Queue
  readonly queueKey: string
  readonly scheduledAt: number
  /** The job as `listScheduledJobs` shows it. */
  listed: ScheduledJob
  readonly env: Readonly<Record<string, string>>
  readonly command: string
  readonly step: Step
  state: JobState
  /** The ids of its dependencies. */
  readonly dependsOn: ReadonlyArray<string>
  /** The ids of its dependencies that have not ended. */
  readonly waitsFor: Set<string>
  /** Whether it waits for all jobs before a `wait`, so also for those that they upload. */
  readonly isAfterWait: boolean
  readonly allowsDependencyFailure: boolean
  readonly softFail: boolean | ReadonlyArray<number>
  /** The step of an uploaded pipeline that it belongs to. */
  pipelineStep: PipelineStep | undefined
  /** Its place among the jobs of its step and its concurrency group. A retry has the place of the job before it. */
  readonly order: number
  /** How many times it has been retried before. */
  readonly retryCount: number
  /** How many of these retries each rule has asked for. */
  readonly retriesByRule: ReadonlyMap<RetryRule, number>
  /** The job that retries it. */
  retriedBy: Job | undefined
  /** The key of the stack that reserved it. It is kept after an agent has acquired the job. */
  reservedBy: string | undefined
  /** When that stack first reserved it. */
  reservedAt: number | undefined
  /** When the reservation lapses, in milliseconds, if the job is reserved. */
  reservedUntil: number
  /** The acquisition tokens, which end with the reservation. */
  readonly tokens: Set<string>
  exitStatus: number | undefined
  detail: string | undefined
  signal: string | undefined
  signalReason: string | undefined
  /** The agent that acquired it. */
  agent: Agent | undefined
  /** How long it may run, in milliseconds. */
  timeout: number | undefined
  /** What happens to it while an agent owns it, and when. */
  deadline: { readonly at: number; readonly becomes: "timing_out" | "canceled" } | undefined
  /** An exit status that the job has promised to fail with. */
  promisedExitStatus: number | undefined
  startedAt: number | undefined
  finishedAt: number | undefined
  notifications: number
}

/** The fields of a job that nobody has reserved yet. */
export const unstarted = () =>
  ({
    retriedBy: undefined,
    reservedBy: undefined,
    reservedAt: undefined,
    reservedUntil: 0,
    tokens: new Set<string>(),
    exitStatus: undefined,
    detail: undefined,
    signal: undefined,
    signalReason: undefined,
    agent: undefined,
    deadline: undefined,
    promisedExitStatus: undefined,
    startedAt: undefined,
    finishedAt: undefined,
    notifications: 0
  }) satisfies Partial<Job>

interface AcquisitionToken {
  readonly job: Job
  readonly expiresAt: number
  /** Whether an agent has registered with it. */
  isUsed: boolean
  /** Whether the reservation that it was issued for is over. */
  isOver: boolean
}

export interface Agent {
  readonly id: string
  readonly name: string
  readonly hostname: string
  readonly version: string
  readonly tags: ReadonlyArray<string>
  readonly accessToken: string
  /** The token that came with its job. */
  jobToken: string | undefined
  /** The token that it registered with; undefined if that was the cluster's token. */
  readonly acquisitionToken: string | undefined
  state: "registered" | "connected" | "disconnected" | "lost"
  /** The job that it runs. */
  job: Job | undefined
  /** The job that it runs or has run last. */
  lastJobUuid: string | undefined
  /** Whether it was asked to stop. */
  isStopping: boolean
  readonly registeredAt: number
  lastSeen: number
}

export interface Notification {
  readonly jobUuid: string
  readonly stackKey: string
  readonly detail: string
  readonly timestamp: number
  readonly receivedAt: number
}

export const make = Effect.fnUntraced(function* (options: StateOptions): Effect.fn.Return<State> {
  const random = yield* SeededRandom.make(options.seed)
  const organizationUuid = random.uuid()
  const tokenIdentity = identityOf(
    options.tokenIdentity ?? {},
    organizationUuid,
    yield* SeededRandom.make(`${options.seed} token`)
  )
  const state: State = {
    random,
    agentRandom: yield* SeededRandom.make(`${options.seed} agents`),
    stepRandom: yield* SeededRandom.make(`${options.seed} steps`),
    organizationUuid: tokenIdentity.organizationUuid,
    tokenIdentity,
    pipelineUuid: random.uuid(),
    buildUuid: random.uuid(),
    maxStacks: options.maxStacks ?? Number.POSITIVE_INFINITY,
    openQueues: options.queues === undefined,
    queues: new Map(),
    stacks: new Map(),
    jobs: new Map(),
    reservations: new Timeline((job) => job.reservedUntil),
    waiting: new Set(),
    tokens: new Map(),
    notifications: [],
    agents: new Map(),
    liveAgents: new Set(),
    accessTokens: new Map(),
    logs: new JobLogs(),
    deadlines: new Timeline((job) => job.deadline?.at ?? 0),
    builds: new Map(),
    pipelineBuilds: new Map(),
    pipelineSteps: new Map(),
    openSteps: new Set(),
    concurrencyGroups: new Map(),
    jobTokens: new Map(),
    artifacts: { batches: new Map(), byKey: new Map(), bytes: 0 },
    pipelineUploads: new Map(),
    jobUploads: [],
    secrets: options.secrets
  }
  for (const key of options.queues ?? []) openQueue(state, key)
  return state
})

/** By default, the identity of a token for all queues of a cluster. */
const identityOf = (
  options: Partial<StacksSchema.TokenIdentity>,
  organizationUuid: string,
  random: SeededRandom.SeededRandom
): StacksSchema.TokenIdentity => {
  const identity: StacksSchema.TokenIdentity = {
    uuid: random.uuid(),
    description: "Emulator",
    tokenType: "cluster",
    organizationSlug: "emulator",
    organizationUuid,
    clusterUuid: random.uuid(),
    clusterName: options.clusterUuid === "" ? "" : "Emulator",
    queueUuid: "",
    queueKey: ""
  }
  return { ...identity, ...options }
}

// -----------------------------------------------------------------------------
// Queues
// -----------------------------------------------------------------------------

/** The queue of a key; undefined if it does not exist. */
export const findQueue = (state: State, key: string): Queue | undefined =>
  state.queues.get(canonicalKey(key)) ?? (state.openQueues ? openQueue(state, key) : undefined)

const openQueue = (state: State, key: string): Queue => {
  const queue: Queue = {
    key: canonicalKey(key),
    id: state.random.uuid(),
    paused: false,
    scheduled: new Timeline((job) => job.scheduledAt)
  }
  state.queues.set(queue.key, queue)
  return queue
}

/** The default queue has two spellings. */
const canonicalKey = (key: string): string => (key === "__default__" ? StacksSchema.DefaultQueue : key)

// -----------------------------------------------------------------------------
// Reservations
// -----------------------------------------------------------------------------

export const reserve = (state: State, job: Job, stackKey: string, until: number, now: number): void => {
  if (job.state === "reserved") state.reservations.remove(job)
  else job.queue.scheduled.remove(job)
  job.reservedAt ??= now
  job.state = "reserved"
  job.reservedBy = stackKey
  job.reservedUntil = until
  state.reservations.add(job)
}

const endReservation = (state: State, job: Job): void => {
  state.reservations.remove(job)
  for (const token of job.tokens) {
    const issued = state.tokens.get(token)
    if (issued !== undefined) issued.isOver = true
  }
  job.tokens.clear()
}

/** Returns jobs whose reservations have lapsed to their queues. */
export const lapse = (state: State, now: number): void => {
  for (let job = state.reservations.first; job !== undefined && job.reservedUntil <= now; ) {
    endReservation(state, job)
    job.state = "scheduled"
    job.reservedBy = undefined
    job.reservedAt = undefined
    job.queue.scheduled.add(job)
    job = state.reservations.first
  }
}

/** Removes a job from its queue, reservation or dependencies, because an agent has acquired it or it is over. */
export const release = (state: State, job: Job): void => {
  if (job.state === "reserved") endReservation(state, job)
  else if (job.state === "scheduled") job.queue.scheduled.remove(job)
  else if (job.state === "waiting") state.waiting.delete(job)
}

/** Ends a job of an agent: as canceled or timed out if it was being stopped for that. */
export const endJob = (job: Job, now: number): void => {
  job.state = job.state === "canceling" ? "canceled" : job.state === "timing_out" ? "timed_out" : "finished"
  job.finishedAt = now
  if (job.agent !== undefined) job.agent.job = undefined
}
