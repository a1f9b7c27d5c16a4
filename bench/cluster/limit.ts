/** Three processes that list jobs as often as a shared limit allows. */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { StacksEmulator } from "@stacksapi/core/testing"
import { DateTime, Effect, Redacted, type Scope } from "effect"
import * as Redis from "../../test/support/redis.ts"
import type { Outcome } from "./outcome.ts"

const program = fileURLToPath(new URL("../../test/support/rateLimitedProcess.ts", import.meta.url))
const limit = 10
const seconds = 60

export const shareLimit: Effect.Effect<Outcome, never, StacksEmulator.StacksEmulator | Scope.Scope> = Effect.gen(
  function* () {
    const { baseUrl, requests, token } = yield* StacksEmulator.StacksEmulator
    const redis = yield* Redis.started
    const env = {
      ...process.env,
      BUILDKITE_AGENT_ENDPOINT: baseUrl,
      BUILDKITE_CLUSTER_TOKEN: Redacted.value(token),
      REDIS_URL: Redacted.value(redis.url),
      STACKSAPI_PROCESSES: "3"
    }
    const launch = Effect.acquireRelease(
      Effect.sync(() => fork(program, { env })),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const children = yield* Effect.all([launch, launch, launch])
    const isReady = (child: ChildProcess) =>
      Effect.callback<void>((resume) => {
        child.once("message", () => resume(Effect.void))
      })
    yield* Effect.forEach(children, isReady, { concurrency: "unbounded" })
    for (const child of children) child.send("start")
    // Leave out the first second, in which the bucket is full.
    yield* Effect.sleep("2 seconds")
    const from = Date.now()
    yield* Effect.sleep(`${seconds} seconds`)
    const listed = (yield* requests).filter(
      ({ operation, time }) => operation === "listScheduledJobs" && DateTime.toEpochMillis(time) >= from
    )
    const refused = listed.filter(({ status }) => status === 429).length
    const used = listed.length / limit / seconds
    return {
      figures: {
        "of the limit used": `${(used * 100).toFixed(1)} %, ${listed.length} requests in ${seconds} s`,
        "answers 429": refused
      },
      problems: [
        ...(used < 0.9 ? ["less than 90 % of the limit was used"] : []),
        ...(refused > 0 ? [`${refused} requests were answered 429`] : [])
      ]
    }
  }
)
