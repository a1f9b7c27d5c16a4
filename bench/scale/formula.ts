/** The expected figures of stacks, computed from the service's limits, to compare with `simulation.ts`. */
import type { Cell } from "./simulation.ts"

/** The documented limits: requests in any one second, for one stack. */
const limits = { list: 10, reserve: 10, states: 20, finish: 100, getJob: 1000 }
/** Jobs in a request. */
const batch = 1000
const pollSeconds = 1
const stateSeconds = 5
/** The margin that the client adds to the service's second, because their clocks differ. */
const margin = 0.005
/** The delay between reserve requests if most slots are taken. */
const reservePause = 0.1

/** How many requests for states are in flight. */
const stateRequests = 5
/** A quarter of the 15 minutes of a reservation. */
const renewSeconds = 225

/** The usable requests of a limit: a request counts until a second after its response. */
const usable = (limit: number, roundTrip: number) => limit / (1 + margin + roundTrip)

export interface Expected {
  /** Jobs a second, for all queues together. */
  readonly done: number
  /** Whether more jobs arrive than can start. */
  readonly isOverloaded: boolean
  /** From scheduling to start, in milliseconds; undefined if the backlog grows. */
  readonly latency: { readonly p50: number; readonly p99: number } | undefined
  /** Requests a second, for all queues together. */
  readonly list: number
  readonly reserve: number
  readonly states: number
  readonly finish: number
  readonly getJob: number
}

export const expected = ({ jobSeconds, keys, queues, rate, roundTrip, runner, slots }: Cell): Expected => {
  const trip = roundTrip / 1000
  const stacks = queues * keys
  const comes = rate / stacks
  const most = {
    finish: usable(limits.finish, trip),
    agents: usable(limits.getJob, trip),
    handover: batch * usable(limits.list, trip)
  }[runner]
  const isOverloaded = comes > most
  const started = Math.min(comes, most)

  /** A poll finds the jobs that have arrived since the last one. */
  const isFull = isOverloaded && runner !== "handover"
  const pages = isFull ? 2 : Math.max(1, Math.ceil((started * pollSeconds) / batch))
  const list = pages / pollSeconds
  const reserve = isFull ? 1 / (reservePause + trip) : Math.min(started, list)

  const inFlight = runner === "handover" ? 0 : isFull ? slots / stacks : started * jobSeconds
  // With few jobs, each is watched alone, and looked up if it takes long enough.
  const polled =
    inFlight < 1 ? started * Math.floor(jobSeconds / stateSeconds) : Math.ceil(inFlight / batch) / (stateSeconds + trip)
  // One request at a time, for all jobs whose agents have ended meanwhile, or for the next one.
  const turn = Math.max(trip, 1 / usable(limits.states, trip))
  const ends = 2 * started
  const asked = {
    finish: 0,
    // At a job's end, both `AgentRunner` and the stack get its state.
    agents: 1 / (turn + Math.exp(-ends * turn) / ends),
    // Jobs that start together share requests, but not all of them.
    handover: 4 * reserve
  }[runner]
  const states = Math.min(usable(limits.states, trip), polled + asked)

  // Before a job starts: a poll, a reservation, and for agents the details and the token.
  const trips = { finish: 2, agents: 4, handover: 3 }[runner] * roundTrip
  const after = (part: number) => part * pollSeconds * 1000 + trips
  return {
    done: started * stacks,
    isOverloaded,
    latency: isOverloaded ? undefined : { p50: after(0.5), p99: after(0.99) },
    list: list * stacks,
    reserve: reserve * stacks,
    states: states * stacks,
    finish: runner === "finish" ? started * stacks : 0,
    getJob: runner === "agents" ? started * stacks : 0
  }
}

/** The figures of long jobs in one queue. */
export const expectedInFlight = ({ jobs = 0, roundTrip }: Cell) => {
  const trip = roundTrip / 1000
  const requests = Math.ceil(jobs / batch)
  const cycle = stateSeconds + Math.max(trip, requests / Math.min(usable(limits.states, trip), stateRequests / trip))
  return {
    /** Requests a second. */
    states: requests / cycle,
    reserve: requests / renewSeconds,
    /** The maximum delay until a cancellation is noticed, in milliseconds. */
    notice: cycle * 1000
  }
}
