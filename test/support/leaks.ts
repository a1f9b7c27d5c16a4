/** Leaks to plant in the work for a job, to see that they are found. They end with their scope. */
import { createServer } from "node:net"
import { Effect, type Scope } from "effect"

export type Leak = (jobUuid: string) => Effect.Effect<void, never, Scope.Scope>

const everyFiftieth = (leak: Effect.Effect<unknown, never, Scope.Scope>): Leak => {
  let jobs = 0
  return () => Effect.suspend(() => (++jobs % 50 === 0 ? Effect.asVoid(leak) : Effect.void))
}

const kept = new Set<string>()

export const leaks = {
  memory: (jobUuid) => Effect.sync(() => void kept.add(jobUuid)),
  fiber: everyFiftieth(Effect.forkScoped(Effect.never)),
  timer: everyFiftieth(
    Effect.acquireRelease(
      Effect.sync(() => setInterval(() => {}, 60_000)),
      (timer) => Effect.sync(() => clearInterval(timer))
    )
  ),
  socket: everyFiftieth(
    Effect.acquireRelease(
      Effect.sync(() => createServer().listen(0, "127.0.0.1")),
      (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
    )
  )
} satisfies Record<string, Leak>

/** The leak of a name, for a command's option; none where it is empty. */
export const leakNamed = (name: string): Leak | undefined => {
  const leak = Object.entries(leaks).find(([known]) => known === name)?.[1]
  if (leak === undefined && name !== "")
    throw new Error(`--leak is one of ${Object.keys(leaks).join(", ")}, not ${name}`)
  return leak
}
