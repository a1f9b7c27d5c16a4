/** What the emulated service remembers, and how reservations lapse. */
import type { JobState, ScheduledJob } from "../../StacksSchema.ts"
import * as StacksSchema from "../../StacksSchema.ts"
import * as Dice from "./dice.ts"
import { JobLogs } from "./jobLogs.ts"
import { Timeline } from "./timeline.ts"

export interface StateOptions {
  readonly queues: ReadonlyArray<string> | undefined
  readonly maxStacks: number | undefined
  readonly seed: number
  readonly tokenIdentity: Partial<StacksSchema.TokenIdentity> | undefined
}

export interface State {
  readonly dice: Dice.Dice
  /** Dice of their own: agents come when they like, and must not change the ids of jobs. */
  readonly agentDice: Dice.Dice
  readonly organizationUuid: string
  /** What the service knows of the token that it accepts. */
  readonly tokenIdentity: StacksSchema.TokenIdentity
  readonly pipelineUuid: string
  readonly buildUuid: string
  readonly maxStacks: number
  /** Whether a queue comes to exist by being named. */
  readonly openQueues: boolean
  readonly queues: Map<string, Queue>
  readonly stacks: Map<string, Stack>
  readonly jobs: Map<string, Job>
  /** The reserved jobs, in the order in which their reservations lapse. */
  readonly reservations: Timeline<Job>
  /** The jobs that wait for others. */
  readonly waiting: Set<Job>
  /** The acquisition tokens that have not expired, also those whose reservation is over. */
  readonly tokens: Map<string, AcquisitionToken>
  readonly notifications: Array<Notification>
  readonly agents: Map<string, Agent>
  /** The agents that have neither left nor been lost, in the order of their last signs of life. */
  readonly presentAgents: Set<Agent>
  readonly accessTokens: Map<string, Agent>
  readonly logs: JobLogs
  /** What jobs have written down for the others of their build. */
  readonly metaData: Map<string, Map<string, string>>
}

export interface Queue {
  readonly key: string
  readonly id: string
  paused: boolean
  /** The jobs that are listed: the scheduled ones, oldest first. */
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
  /** The job as lists show it. */
  listed: ScheduledJob
  readonly env: Readonly<Record<string, string>>
  readonly command: string
  state: JobState
  /** The jobs that it still waits for. */
  readonly waitsFor: Set<string>
  readonly allowsDependencyFailure: boolean
  readonly softFail: boolean | ReadonlyArray<number>
  /** The key of the stack that reserved it; kept once an agent has it. */
  reservedBy: string | undefined
  /** When that stack reserved it for the first time. */
  reservedAt: number | undefined
  /** When the reservation lapses, in milliseconds; meaningful while it is reserved. */
  reservedUntil: number
  /** The acquisition tokens that end with the reservation. */
  readonly tokens: Set<string>
  exitStatus: number | undefined
  detail: string | undefined
  signal: string | undefined
  signalReason: string | undefined
  /** The agent that has it, or had. */
  agent: Agent | undefined
  startedAt: number | undefined
  finishedAt: number | undefined
  notifications: number
}

interface AcquisitionToken {
  readonly job: Job
  readonly expiresAt: number
  /** Whether an agent has registered with it. */
  isUsed: boolean
  /** Whether the reservation is over that it was issued for. */
  isOver: boolean
}

export interface Agent {
  readonly id: string
  readonly name: string
  readonly hostname: string
  readonly version: string
  readonly tags: ReadonlyArray<string>
  readonly accessToken: string
  /** The token that it registered with, unless that was the cluster's. */
  readonly acquisitionToken: string | undefined
  state: "registered" | "connected" | "disconnected" | "lost"
  /** The job that it has now. */
  job: Job | undefined
  /** Whether it was asked to leave. */
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

export const make = (options: StateOptions): State => {
  const dice = Dice.make(options.seed)
  const organizationUuid = dice.uuid()
  const tokenIdentity = identify(options.tokenIdentity ?? {}, organizationUuid, Dice.make(options.seed ^ 0x746f6b65))
  const state: State = {
    dice,
    agentDice: Dice.make(~options.seed),
    organizationUuid: tokenIdentity.organizationUuid,
    tokenIdentity,
    pipelineUuid: dice.uuid(),
    buildUuid: dice.uuid(),
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
    presentAgents: new Set(),
    accessTokens: new Map(),
    logs: new JobLogs(),
    metaData: new Map()
  }
  for (const key of options.queues ?? []) openQueue(state, key)
  return state
}

/** A token of a cluster, for all of its queues, unless the options say otherwise. */
const identify = (
  options: Partial<StacksSchema.TokenIdentity>,
  organizationUuid: string,
  dice: Dice.Dice
): StacksSchema.TokenIdentity => {
  const identity: StacksSchema.TokenIdentity = {
    uuid: dice.uuid(),
    description: "Emulator",
    tokenType: "cluster",
    organizationSlug: "emulator",
    organizationUuid,
    clusterUuid: dice.uuid(),
    clusterName: options.clusterUuid === "" ? "" : "Emulator",
    queueUuid: "",
    queueKey: ""
  }
  return { ...identity, ...options }
}

// -----------------------------------------------------------------------------
// Queues
// -----------------------------------------------------------------------------

/** The queue of a key; undefined where only the named queues exist and this is none of them. */
export const findQueue = (state: State, key: string): Queue | undefined =>
  state.queues.get(canonicalKey(key)) ?? (state.openQueues ? openQueue(state, key) : undefined)

const openQueue = (state: State, key: string): Queue => {
  const queue: Queue = {
    key: canonicalKey(key),
    id: state.dice.uuid(),
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

/** Lists the jobs again whose reservations have lapsed. */
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

/** Takes a job that waits, scheduled or reserved, out of the service's hands: an agent has it, or it is over. */
export const release = (state: State, job: Job): void => {
  if (job.state === "reserved") endReservation(state, job)
  else if (job.state === "scheduled") job.queue.scheduled.remove(job)
  else if (job.state === "waiting") state.waiting.delete(job)
}
