/** Puts a stand-in agent on this machine, as a program that knows what to do with each job. */
import { readFileSync } from "node:fs"
import { stripTypeScriptTypes } from "node:module"
import { NodeFileSystem, NodePath } from "@effect/platform-node"
import { Effect, FileSystem, Layer, Path } from "effect"
import type { Plan } from "./standInAgent.ts"

const source = readFileSync(new URL("./standInAgent.ts", import.meta.url), "utf8")

export interface StandIn {
  readonly agentPath: string
  readonly buildPath: string
  /** For the runner's options. */
  readonly env: Record<string, string>
  /** What agents do from now on, by job; `*` for any other. Default: they run a job that passes. */
  readonly setPlans: (plans: Record<string, Plan>) => Effect.Effect<void>
}

/** The stand-in agent in a folder for the PATH, for programs that pass nothing on to it; until the scope closes. */
export const standInOnPath = Effect.fnUntraced(
  function* (plans: Record<string, Plan>) {
    const fileSystem = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const { agentPath, buildPath, env, setPlans } = yield* standIn
    yield* setPlans(plans)
    const folder = path.join(path.dirname(agentPath), "bin")
    const program = path.join(folder, "buildkite-agent")
    yield* fileSystem.makeDirectory(folder)
    yield* fileSystem.writeFileString(
      program,
      `#!/bin/sh\nSTAND_IN_PLANS='${env["STAND_IN_PLANS"]}' exec '${agentPath}' "$@"\n`
    )
    yield* fileSystem.chmod(program, 0o755)
    return { folder, path: program, buildPath, setPlans }
  },
  Effect.provide(Layer.merge(NodeFileSystem.layer, NodePath.layer))
)

/** Until the scope closes. */
export const standIn = Effect.gen(function* () {
  const fileSystem = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = yield* fileSystem.makeTempDirectoryScoped({ prefix: "stand-in-" })
  // Stripped once: each of hundreds of starts would take twice as long otherwise.
  const program = path.join(folder, "agent.mjs")
  yield* fileSystem.writeFileString(program, stripTypeScriptTypes(source))
  const agentPath = path.join(folder, "buildkite-agent")
  yield* fileSystem.writeFileString(agentPath, `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`)
  yield* fileSystem.chmod(agentPath, 0o755)
  const plans = path.join(folder, "plans.json")
  const setPlans = (all: Record<string, Plan>) =>
    Effect.orDie(
      Effect.andThen(
        // In one step: an agent may be reading them.
        fileSystem.writeFileString(`${plans}.next`, JSON.stringify(all)),
        fileSystem.rename(`${plans}.next`, plans)
      )
    )
  yield* setPlans({})
  const made: StandIn = {
    agentPath,
    buildPath: path.join(folder, "builds"),
    env: { STAND_IN_PLANS: plans },
    setPlans
  }
  return made
}).pipe(Effect.provide(Layer.merge(NodeFileSystem.layer, NodePath.layer)))
