/** Compares the reference client with ours, call by call. */
import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Redacted } from "effect"
import { type Call, calls, jobs, tooLong } from "./calls.ts"
import * as OurClient from "./ourClient.ts"
import type { Row } from "./table.ts"

/** An emulator in the state that the calls begin with. */
export const emulator = Effect.gen(function* () {
  const emulator = yield* NodeStacksEmulator.make({ queues: ["q", "other", "empty"], seed: 7 })
  yield* emulator.addJobs(
    jobs.map((id, index) => ({
      id,
      queueKey: "q",
      priority: index,
      command: `make ${index}`,
      env: { NUMBER: String(index) },
      agentQueryRules: ["queue=q"],
      scheduledAt: "2026-01-01T00:00:00Z",
      step: { key: index === 0 ? null : `step-${index}` }
    }))
  )
  return emulator
})

/** What the reference program prints. */
interface Output {
  /** The methods of the reference client. */
  readonly methods: ReadonlyArray<string>
  readonly results: ReadonlyArray<OurClient.Result>
}

const runReference = (program: string, baseUrl: string, token: string) =>
  Effect.callback<Output, string>((resume) => {
    const child = spawn(program, [], {
      env: { PATH: process.env["PATH"] ?? "", INTEROP_BASE_URL: baseUrl, INTEROP_TOKEN: token },
      stdio: ["pipe", "pipe", "inherit"]
    })
    const output: Array<Buffer> = []
    child.stdout.on("data", (chunk) => output.push(chunk))
    child.on("error", ({ message }) => resume(Effect.fail(message)))
    child.on("close", (code) =>
      resume(
        code === 0
          ? Effect.sync(() => JSON.parse(Buffer.concat(output).toString()))
          : Effect.fail(`it ended with ${code}`)
      )
    )
    child.stdin.end(JSON.stringify(calls))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** What each side left in its emulator. */
const leftIn = ({ jobs, notifications, stacks }: Effect.Success<typeof emulator>) =>
  Effect.map(Effect.all([jobs, notifications, stacks]), ([jobs, notifications, stacks]) => ({
    jobs: jobs.map(({ detail, exitStatus, id, state }) => ({ id, state, exitStatus, detail: detail?.slice(0, 4000) })),
    notifications: notifications
      .filter(({ detail }) => !tooLong.startsWith(detail.slice(0, 100)))
      .map(({ detail, jobUuid, stackKey }) => ({ detail, jobUuid, stackKey })),
    stacks: stacks.map(({ clusterQueueKey, key }) => ({ clusterQueueKey, key }))
  }))

/** Fields that only one of the clients has. `paused` is what older references read instead of `dispatch_paused`. */
const notCompared = new Set(["runnable_at", "paused", "dispatch_paused", "undecodable_jobs", "last_connected_on"])

/** Go has zero values for null, and may omit empty maps and lists. */
const normal = (value: unknown): unknown => {
  if (value === null || value === undefined || value === "" || value === 0) return undefined
  if (typeof value === "string") return /^\d{4}-\d\d-\d\dT/.test(value) ? new Date(value).toISOString() : value
  if (Array.isArray(value)) return value.map(normal)
  if (typeof value !== "object") return value
  const entries = Object.entries(value).flatMap(([name, field]) => {
    const kept = notCompared.has(name) ? undefined : normal(field)
    return kept === undefined ? [] : [[name, kept] as const]
  })
  return Object.fromEntries(entries.toSorted(([one], [other]) => (one < other ? -1 : 1)))
}

/** A request that our client refuses without sending it is one that the service refuses. */
export const isSame = (theirs: OurClient.Result, ours: OurClient.Result): boolean => {
  if (ours.error === "InvalidRequest") {
    return theirs.status === undefined ? theirs.error !== undefined : [400, 404, 422].includes(theirs.status)
  }
  const { scope: ourScope, ...us } = ours
  const { scope: theirScope, ...them } = theirs
  return (ourScope ?? "") === (theirScope ?? "") && JSON.stringify(normal(us)) === JSON.stringify(normal(them))
}

const titleOf = ({ args, method }: Call, index: number): string =>
  `call ${index + 1}, ${method} ${JSON.stringify(args).slice(0, 80)}`

/** The results of the reference, for tests that run without it. */
export const recorded = new URL("reference.json", import.meta.url)

export const compare = (program: string, version: string, isRecording: boolean): Effect.Effect<ReadonlyArray<Row>> =>
  Effect.gen(function* () {
    const theirService = yield* emulator
    const { methods, results: theirs } = yield* runReference(
      program,
      theirService.baseUrl,
      Redacted.value(theirService.token)
    )
    if (isRecording) yield* Effect.sync(() => writeFileSync(recorded, `${JSON.stringify(theirs, null, 2)}\n`))
    const ourService = yield* emulator
    const ours = yield* OurClient.run(calls, ourService.baseUrl, Redacted.value(ourService.token))
    const row = (subject: string, problem: string | undefined): Row => ({
      program: "stacksapi (Go)",
      version,
      subject,
      verdict: problem === undefined ? "ok" : "deviates",
      detail: problem ?? ""
    })
    const different = calls.flatMap((call, index): ReadonlyArray<Row> => {
      const them = theirs[index] ?? {}
      const us = ours[index] ?? {}
      if (isSame(them, us)) return []
      const subject = titleOf(call, index)
      return call.difference !== undefined
        ? [{ ...row(subject, call.difference), verdict: "known" }]
        : [
            row(
              titleOf(call, index),
              `reference ${JSON.stringify(them).slice(0, 300)}, ours ${JSON.stringify(us).slice(0, 300)}`
            )
          ]
    })
    const called = new Set(calls.map(({ method }) => method.toLowerCase()))
    const uncalled = methods.filter((name) => !called.has(name.toLowerCase()))
    const deviating = different.filter(({ verdict }) => verdict === "deviates")
    const [left, right] = [yield* leftIn(theirService), yield* leftIn(ourService)]
    const sameEnd = JSON.stringify(left) === JSON.stringify(right)
    return [
      row(`${calls.length} calls`, deviating.length === 0 ? undefined : `${deviating.length} differ`),
      row(`${methods.length} methods`, uncalled.length === 0 ? undefined : `no call of ${uncalled.join(", ")}`),
      row(
        "what the calls leave",
        sameEnd ? undefined : `reference ${JSON.stringify(left)}, ours ${JSON.stringify(right)}`
      ),
      ...different
    ]
  }).pipe(
    Effect.scoped,
    Effect.catch((error) =>
      Effect.succeed<ReadonlyArray<Row>>([
        { program: "stacksapi (Go)", version, subject: "calls", verdict: "deviates", detail: `${error}` }
      ])
    )
  )
