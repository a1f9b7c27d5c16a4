/** The services at the other end, in the host's process. What a case does to them goes over a channel of its own. */
import type { StacksEmulator } from "@stacksapi/core/testing"
import { Context, Effect, type Scope } from "effect"
import { CurrentPlatform } from "./platform.ts"

/** Asks the host, always with the platform's fetch, whatever the client sends its requests with. */
const ask = Effect.fnUntraced(function* (path: string, argument?: unknown) {
  const { host } = yield* CurrentPlatform
  return yield* Effect.promise(async (signal) => {
    const body = JSON.stringify(argument ?? null)
    const response = await fetch(new URL(path, host), { method: "POST", body, signal })
    const text = await response.text()
    if (response.status !== 200) throw new Error(`${path}: ${response.status} ${text}`)
    return text === "" ? undefined : JSON.parse(text)
  })
})

/** Opens a service of the host until the scope closes. */
const open = Effect.fnUntraced(function* (kind: string, argument?: unknown) {
  const platform = yield* CurrentPlatform
  const call = (path: string, argument?: unknown) =>
    Effect.provideService(ask(path, argument), CurrentPlatform, platform)
  const { id, port } = yield* Effect.acquireRelease(call(kind, argument), ({ id }) => call(`${id}/close`))
  return {
    baseUrl: platform.isBrowser ? `${platform.host}proxy/${port}/v3/` : `http://127.0.0.1:${port}/v3/`,
    call: (method: string, argument?: unknown) => call(`${id}/${method}`, argument)
  }
})

interface Job {
  readonly id: string
  readonly state: string
  readonly exitStatus?: number
  readonly detail?: string
  readonly signalReason?: string
}

interface Request {
  readonly operation?: string
  readonly status?: number
}

/** The emulator from behind: the part of `StacksEmulator.Service` that the cases need. */
interface Service {
  readonly baseUrl: string
  readonly addJobs: (jobs: ReadonlyArray<StacksEmulator.NewJob>) => Effect.Effect<ReadonlyArray<Job>>
  readonly pauseQueue: (queueKey: string, paused: boolean) => Effect.Effect<void>
  readonly setFaults: (faults: ReadonlyArray<StacksEmulator.Fault>) => Effect.Effect<void>
  readonly jobs: Effect.Effect<ReadonlyArray<Job>>
  readonly notifications: Effect.Effect<ReadonlyArray<{ readonly jobUuid: string; readonly detail: string }>>
  readonly requests: Effect.Effect<ReadonlyArray<Request>>
}

export class Emulator extends Context.Service<Emulator, Service>()("test/compat/Emulator") {}

/** An emulator of one's own. */
export const emulator: Effect.Effect<Service, never, CurrentPlatform | Scope.Scope> = Effect.map(
  open("emulator"),
  ({ baseUrl, call }) => ({
    baseUrl,
    addJobs: (jobs) => call("addJobs", [jobs]),
    pauseQueue: (queueKey, paused) => call("pauseQueue", [queueKey, paused]),
    setFaults: (faults) => call("setFaults", [faults]),
    jobs: call("jobs"),
    notifications: call("notifications"),
    requests: call("requests")
  })
)

/** The job as the emulator knows it. */
export const jobOf = Effect.fnUntraced(function* (jobUuid: string) {
  const emulator = yield* Emulator
  const job = (yield* emulator.jobs).find(({ id }) => id === jobUuid)
  return job ?? (yield* Effect.die(`there is no job ${jobUuid}`))
})

/** How many requests of an operation the emulator got. */
export const countOf = Effect.fnUntraced(function* (operation: string) {
  const { requests } = yield* Emulator
  return (yield* requests).filter((request) => request.operation === operation).length
})

/** What a raw server says to every request; with `half` only the beginning of that. */
export interface RawAnswer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly half?: boolean
}

interface RawRequest {
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
}

/** A server on a bare socket. Without an answer it says nothing. */
export const rawServer = Effect.fnUntraced(function* (answer?: RawAnswer) {
  const { baseUrl, call } = yield* open("raw", answer)
  const request: Effect.Effect<RawRequest> = call("request")
  /** Waits until the connection of the first request is closed. */
  const closed: Effect.Effect<void> = call("closed")
  return { baseUrl, request, closed }
})

/** A base URL where nobody listens any more. */
export const nowhere: Effect.Effect<string, never, CurrentPlatform> = Effect.scoped(
  Effect.map(open("raw"), ({ baseUrl }) => baseUrl)
)
