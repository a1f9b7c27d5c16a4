/** What the service's limits let be expected of stacks, on paper: `simulation.ts` is held against it. */
import type { Cell } from "./simulation.ts"

/** The documented limits: requests in any one second, for one stack. */
const limits = { list: 10, reserve: 10, states: 20, finish: 100, getJob: 1000 }
/** Jobs in a request. */
const batch = 1000
const pollSeconds = 1
const stateSeconds = 5
/** What the client adds to the service's second, since its clock is not the service's. */
const margin = 0.005
/** How long a request that reserves has the next one wait, where most slots are taken. */
const reservePause = 0.1

/** How many requests for states are under way at a time. */
const stateRequests = 5
/** Every quarter of the 15 minutes that a reservation lasts. */
const renewSeconds = 225

/** How many requests of a limit can be used: one counts until a second after its answer. */
const usable = (limit: number, roundTrip: number) => limit / (1 + margin + roundTrip)

export interface Expected {
  /** Jobs a second, of all queues together. */
  readonly done: number
  /** Whether more jobs come than can be started. */
  readonly isOverloaded: boolean
  /** From scheduling to start, in milliseconds; none where more and more wait. */
  readonly latency: { readonly p50: number; readonly p99: number } | undefined
  /** Requests a second, of all queues together. */
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

  /** A poll finds what has come since the last one. */
  const isFull = isOverloaded && runner !== "handover"
  const pages = isFull ? 2 : Math.max(1, Math.ceil((started * pollSeconds) / batch))
  const list = pages / pollSeconds
  const reserve = isFull ? 1 / (reservePause + trip) : Math.min(started, list)

  const inFlight = runner === "handover" ? 0 : isFull ? slots / stacks : started * jobSeconds
  // Where there is mostly no job, each is watched by itself, and asked about if it takes long enough.
  const polled =
    inFlight < 1 ? started * Math.floor(jobSeconds / stateSeconds) : Math.ceil(inFlight / batch) / (stateSeconds + trip)
  // One request at a time, with all whose agents have ended meanwhile; where none has, the next one is waited for.
  const turn = Math.max(trip, 1 / usable(limits.states, trip))
  const ends = 2 * started
  const asked = {
    finish: 0,
    // At a job's end `AgentRunner` asks, and the stack once more.
    agents: 1 / (turn + Math.exp(-ends * turn) / ends),
    // Jobs that start together ask together, though not all at one moment.
    handover: 4 * reserve
  }[runner]
  const states = Math.min(usable(limits.states, trip), polled + asked)

  // The poll, the reservation, and for agents the details and the token, travel before a job starts.
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

/** Of jobs that run for long, in one queue. */
export const expectedInFlight = ({ jobs = 0, roundTrip }: Cell) => {
  const trip = roundTrip / 1000
  const requests = Math.ceil(jobs / batch)
  const cycle = stateSeconds + Math.max(trip, requests / Math.min(usable(limits.states, trip), stateRequests / trip))
  return {
    /** Requests a second. */
    states: requests / cycle,
    reserve: requests / renewSeconds,
    /** After how many milliseconds the cancellation of a job is noticed at the latest. */
    notice: cycle * 1000
  }
}
