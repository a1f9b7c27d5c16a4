/** Twenty queues over the processes of a cluster. */
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, type Scope } from "effect"
import * as Cluster from "../../test/support/cluster.ts"
import * as Postgres from "../../test/support/postgres.ts"
import { nameOf, requestsOfNonLeaders, stackKeyOf } from "../../test/support/runRecorder.ts"
import { maxFailover, type Order } from "./outcome.ts"
import * as Requests from "./requests.ts"

/** Each queue gets jobs all the time, while a process joins, leaves and is killed, and a queue is added and removed. */
export const spread = ({ lockExpiration }: Order) =>
  Effect.gen(function* () {
    const emulator = yield* StacksEmulator.StacksEmulator
    const database = yield* Postgres.make
    let queues = Array.from({ length: 20 }, (_, n) => `q${n}`)
    const { start, recorder } = yield* Cluster.make({
      databaseUrl: database.url,
      options: { key: "s", queues, slots: 20, lockExpiration, onProcessDeath: "retry" }
    })
    const collected = yield* Requests.collect
    yield* Effect.suspend(() => emulator.addJobs(queues.map((queueKey) => ({ queueKey, command: "500" })))).pipe(
      Effect.delay("1 second"),
      Effect.forever,
      Effect.forkScoped
    )
    const members = [yield* start(), yield* start(), yield* start()]
    const counts = () => members.map((member) => member.leading().length)
    const isWhole = Effect.sync(
      () =>
        new Set(members.flatMap((member) => member.leading())).size === queues.length &&
        counts().reduce((sum, count) => sum + count, 0) === queues.length
    )
    const figures: Record<string, string> = {}
    const problems: Array<string> = []
    const gapsSince = Effect.fnUntraced(function* (from: number) {
      const requests = (yield* collected).filter(({ operation }) => operation === "listScheduledJobs")
      const byQueue = new Map((yield* emulator.jobs).map(({ id, queueKey }) => [id, queueKey]))
      const now = Date.now()
      return queues.map((queueKey) => {
        const polls = Requests.timesOf(requests, (request) => stackKeyOf(request) === `s--${queueKey}`)
        const starts = recorder.starts.flatMap(({ at, jobUuid }) => (byQueue.get(jobUuid) === queueKey ? [at] : []))
        const gap = (times: ReadonlyArray<number>) =>
          Requests.longestGap([from, ...times.filter((time) => time > from), now])
        return { polls: gap(polls), starts: gap(starts) }
      })
    })
    const watch = Effect.fnUntraced(function* (what: string, act: Effect.Effect<void, never, Scope.Scope>) {
      const from = Date.now()
      yield* act
      yield* Effect.sleep("20 seconds")
      yield* Cluster.until(isWhole)
      const gaps = yield* gapsSince(from)
      const longest = {
        polls: Math.max(...gaps.map(({ polls }) => polls)),
        starts: Math.max(...gaps.map(({ starts }) => starts))
      }
      figures[what] =
        `queues by process ${counts().join(", ")}; longest pause of a queue: ` +
        `${longest.polls.toFixed(1)} s between polls, ${longest.starts.toFixed(1)} s between starts of jobs`
      for (const [kind, gap] of Object.entries(longest)) {
        if (gap > maxFailover) problems.push(`${what}: a queue's ${kind} paused for ${gap.toFixed(1)} s`)
      }
      const [least = 0, most = 0] = [Math.min(...counts()), Math.max(...counts())]
      if (most - least > 4) problems.push(`${what}: one process leads ${most} queues and another one ${least}`)
    })
    yield* Cluster.until(isWhole)
    yield* watch("three processes", Effect.void)
    yield* watch(
      "a fourth one joins",
      Effect.map(start(), (member) => void members.push(member))
    )
    yield* watch(
      "one is stopped",
      Effect.suspend(() => {
        const [leaving] = members.splice(0, 1)
        leaving?.kill("SIGTERM")
        return Effect.void
      })
    )
    yield* watch(
      "one is killed",
      Effect.suspend(() => {
        const [victim] = members.splice(0, 1)
        victim?.kill("SIGKILL")
        return Effect.void
      })
    )
    /** Replaces each process by one with other queues, as docs/cluster.md says. */
    const roll = (to: ReadonlyArray<string>) =>
      Effect.gen(function* () {
        queues = [...to]
        for (const former of members.splice(0)) {
          const successor = yield* start({ queues })
          members.push(successor)
          yield* Cluster.until(successor.isReady)
          former.kill("SIGTERM")
          yield* former.ended
        }
      })
    yield* watch("a queue is added", roll([...queues, "q20"]))
    yield* watch("a queue is removed", roll(queues.filter((queueKey) => queueKey !== "q0")))
    const requests = yield* collected
    const refused = requests.filter(({ status }) => status === 429)
    figures["answers 429"] = String(refused.length)
    return {
      figures,
      problems: [
        ...problems,
        ...refused.map((request) => `${request.operation} of ${nameOf(request)} was answered 429`),
        ...recorder.overlaps,
        ...requestsOfNonLeaders(requests)
      ]
    }
  })
