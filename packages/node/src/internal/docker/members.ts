/** One of the Engines, and the agents that it last listed. They count as they were while the Engine does not answer. */
import type { Agent } from "@stacksapi/core/AgentProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { JobOutputs } from "../process/jobOutputs.ts"
import * as Agents from "./agents.ts"
import type { Engine } from "./engine.ts"
import type { Outputs } from "./output.ts"
import { Details, Summary } from "./schemas.ts"

const listTimeout = Duration.seconds(10)

/** A container that has been created for so long was left by a process that ended before it could start it. */
const unfinishedFor = Duration.toSeconds("30 seconds")

const Summaries = Schema.Array(Summary)

export interface Member {
  readonly engine: Engine
  /** By stack, the agents of the last listing. */
  readonly listed: Map<string, ReadonlyArray<Agent>>
  /** By name, agents of which a call did not say whether it created them. */
  readonly doubtful: Map<string, { readonly stackKey: string; readonly agent: Agent }>
  /** By container, the agents that have ended: nothing about them changes. */
  readonly ended: Map<string, { readonly stackKey: string; readonly agent: Agent }>
  /** Names of agents that are placed here, and don't run yet. */
  readonly reserved: Set<string>
}

export const make = (engine: Engine): Member => ({
  engine,
  listed: new Map(),
  doubtful: new Map(),
  ended: new Map(),
  reserved: new Set()
})

/** All agents of an Engine, of all stacks. */
export const all = ({ engine }: Member) =>
  engine.json(Summaries, "GET", "/containers/json", {
    query: { all: "1", filters: Agents.filtersFor() },
    timeout: listTimeout
  })

/** Details of a container; undefined if it is gone. */
export const inspect = ({ engine }: Member, idOrName: string) =>
  engine.json(Details, "GET", `/containers/${idOrName}/json`).pipe(
    Effect.catchIf(
      (error) => error.status === 404,
      () => Effect.undefined
    )
  )

/** Deletes a container, whatever it does. */
export const remove = ({ engine }: Member, idOrName: string) =>
  engine.run("DELETE", `/containers/${idOrName}`, { query: { force: "1", v: "1" }, timeout: Duration.minutes(1) }).pipe(
    Effect.catchIf(
      ({ message, status }) => status === 404 || (status === 409 && /already in progress/.test(message)),
      () => Effect.void
    )
  )

export interface Watching {
  readonly outputs: Outputs
  readonly tail: JobOutputs["tail"]
  /** Whether this process creates the agent. Then `create` reads its output, and hides the token in it. */
  readonly isBeingCreated: (name: string) => boolean
}

/** An agent, with how it ended; undefined if it is gone, or being created. */
export const agentOf = Effect.fnUntraced(function* (
  member: Member,
  { isBeingCreated, outputs, tail }: Watching,
  id: string,
  stackKey: string
) {
  const known = member.ended.get(id)
  if (known !== undefined) return known.agent
  const details = yield* inspect(member, id)
  if (details === undefined || isBeingCreated(Agents.nameIn(details))) return undefined
  const jobUuid = details.Config.Labels?.[Agents.labels.job] ?? ""
  yield* outputs.follow({ engine: member.engine, id, jobUuid })
  if (!Agents.isEnded({ State: details.State.Status })) return Agents.inspected(details)
  yield* outputs.settled(id)
  const agent = Agents.inspected(details, yield* tail(jobUuid))
  member.ended.set(id, { stackKey, agent })
  return agent
})

/** The agents of a stack on one Engine. */
export const list = Effect.fnUntraced(function* (member: Member, watching: Watching, stackKey: string) {
  const { engine } = member
  const isBeingCreated = (summary: Summary) => watching.isBeingCreated(Agents.nameOf(summary))
  const response = yield* engine.send("GET", "/containers/json", {
    query: { all: "1", filters: Agents.filtersFor(stackKey) },
    timeout: listTimeout
  })
  const now = Date.parse(response.headers["date"] ?? "") / 1000
  const summaries = yield* engine.decode(Summaries, response)
  const agents = yield* Effect.forEach(
    summaries.filter((summary) => !Agents.isUnfinished(summary)),
    Effect.fnUntraced(function* (summary) {
      const jobUuid = summary.Labels?.[Agents.labels.job] ?? ""
      if (isBeingCreated(summary)) return Agents.running(summary)
      if (Agents.isEnded(summary)) return yield* agentOf(member, watching, summary.Id, stackKey)
      yield* watching.outputs.follow({ engine, id: summary.Id, jobUuid })
      return member.ended.get(summary.Id)?.agent ?? Agents.running(summary)
    }),
    { concurrency: 8 }
  )
  for (const [id, { stackKey: of }] of member.ended) {
    if (of !== stackKey || summaries.some(({ Id }) => Id === id)) continue
    member.ended.delete(id)
    watching.outputs.forget(id)
  }
  for (const [name, { stackKey: of }] of member.doubtful) if (of === stackKey) member.doubtful.delete(name)
  const left = summaries.filter(
    (summary) => Agents.isUnfinished(summary) && now - summary.Created > unfinishedFor && !isBeingCreated(summary)
  )
  yield* Effect.forEach(left, ({ Id }) => Effect.ignore(remove(member, Id)), { concurrency: 4, discard: true })
  const found = agents.filter((agent) => agent !== undefined)
  member.listed.set(stackKey, found)
  return found
})

/** The agents of a stack as they were when the Engine last answered; undefined if it has not answered yet. */
export const remembered = ({ doubtful, listed }: Member, stackKey: string): ReadonlyArray<Agent> | undefined => {
  const agents = listed.get(stackKey)
  if (agents === undefined) return undefined
  const more = Array.from(doubtful.values()).filter((one) => one.stackKey === stackKey)
  return [...agents, ...more.map(({ agent }) => agent).filter(({ name }) => !agents.some((one) => one.name === name))]
}
