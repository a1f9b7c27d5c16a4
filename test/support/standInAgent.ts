/**
 * A stand-in for `buildkite-agent start` with one job to acquire. It speaks the agent's own API as the real one does, starts in a
 * moment, and ends in any way that it is told to. Plain Node, nothing else: hundreds of them run in a test.
 */
import { spawn } from "node:child_process"
import { appendFileSync, readFileSync } from "node:fs"
import * as Http from "node:http"

/** What an agent does with its job. */
export interface Plan {
  /** Ends with this status before it acquires the job: 0, 1, 27, 28, 255. */
  readonly quits?: number
  /** Ends by this signal before it acquires the job. */
  readonly fallsBefore?: NodeJS.Signals
  /** Prints these lines; `$NAME` is a variable of the agent or of the job. */
  readonly prints?: ReadonlyArray<string>
  /** Prints so many long lines, as fast as it can. */
  readonly shouts?: number
  /** Starts a process in another session, and leaves it; one that is deaf ends by SIGKILL only. It prints `left <pid>`. */
  readonly leavesBehind?: "deaf" | "plain"
  /** The job takes all memory that there is, until it is killed; then it exits with 137, as a shell's would. */
  readonly hogs?: boolean
  /** How long the job takes. Default 0. */
  readonly millis?: number
  /** Ends with this status, or by this signal, while its job runs. */
  readonly breaks?: number | NodeJS.Signals
  /** Takes no notice of so many SIGTERMs. */
  readonly isDeafTo?: number
  /** The exit status of the job. Default 0. */
  readonly jobExits?: number
}

const environment = process.env
const [command] = process.argv.slice(2)
if (command === "--version") {
  process.stdout.write("buildkite-agent version 3.137.0, build stand-in\n")
  process.exit(0)
}

const jobUuid = environment["BUILDKITE_AGENT_ACQUIRE_JOB"] ?? ""
const endpoint = new URL(`${environment["BUILDKITE_AGENT_ENDPOINT"] ?? ""}/`)
const plans: Record<string, Plan> = JSON.parse(readFileSync(environment["STAND_IN_PLANS"] ?? "", "utf8"))
const plan = plans[jobUuid] ?? plans["*"] ?? {}

const connections = new Http.Agent({ keepAlive: true, maxSockets: 1 })

const send = (method: string, path: string, token: string, body: string | object = "") =>
  new Promise<{ status: number; body: Record<string, unknown> }>((resolve, reject) => {
    const text = typeof body === "string" ? body : JSON.stringify(body)
    const request = Http.request(
      new URL(path, endpoint),
      {
        method,
        agent: connections,
        headers: {
          authorization: `Token ${token}`,
          "content-type": "application/json",
          "content-length": Buffer.byteLength(text),
          "x-buildkite-lock-acquire-job": "1"
        }
      },
      (response) => {
        let answer = ""
        response.setEncoding("utf8")
        response.on("data", (part) => {
          answer += part
        })
        response.on("end", () => {
          const isJson = response.headers["content-type"]?.includes("json") === true && answer !== ""
          resolve({ status: response.statusCode ?? 0, body: isJson ? JSON.parse(answer) : {} })
        })
      }
    )
    request.on("error", reject)
    request.end(text)
  })

const say = (line: string) => new Promise<void>((resolve) => process.stdout.write(`${line}\n`, () => resolve()))

const pause = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

const fall = async (signal: NodeJS.Signals): Promise<never> => {
  process.kill(process.pid, signal)
  return pause(60_000).then(() => process.exit(99))
}

const interrupts = { count: 0, onCancel: () => {} }
process.on("SIGTERM", () => {
  const count = ++interrupts.count - (plan.isDeafTo ?? 0)
  if (count < 1) return
  if (count === 2) interrupts.onCancel()
  if (count === 3) process.exit(1)
})

/** Ends when the job's time is over, or it is canceled. */
const work = (token: string) =>
  new Promise<"done" | "canceled">((resolve) => {
    const watch = setInterval(async () => {
      const { body } = await send("GET", `jobs/${jobUuid}`, token)
      if (body["state"] === "canceling" || body["state"] === "canceled") end("canceled")
    }, 500)
    const end = (how: "done" | "canceled") => {
      clearInterval(watch)
      clearTimeout(over)
      resolve(how)
    }
    const over = setTimeout(() => end("done"), plan.millis ?? 0)
    interrupts.onCancel = () => end("canceled")
    // As the real one: a job that has been canceled once is not to be had for longer.
    if (interrupts.count - (plan.isDeafTo ?? 0) >= 2) end("canceled")
  })

/** The token of the environment, or of the configuration file, as the real one has it. */
const acquisitionToken = (): string => {
  const { BUILDKITE_AGENT_CONFIG: file, BUILDKITE_AGENT_TOKEN: token } = environment
  if (token !== undefined || file === undefined) return token ?? ""
  return /^token="(.*)"$/m.exec(readFileSync(file, "utf8"))?.[1] ?? ""
}

/** Takes memory in a process of its own until that is killed. */
const hog = () =>
  new Promise<void>((resolve) => {
    const code = "const all = []; for (;;) all.push(Buffer.alloc(1024 * 1024, 1))"
    spawn(process.execPath, ["--eval", code], { stdio: "ignore" }).on("exit", () => resolve())
  })

const main = async (): Promise<number> => {
  const { BUILDKITE_AGENT_NAME: name = "" } = environment
  await say(`Starting ${name}`)
  if (plan.fallsBefore !== undefined) return fall(plan.fallsBefore)
  if (plan.quits !== undefined) {
    for (const line of plan.prints ?? []) await say(expand(line, {}))
    return plan.quits
  }
  const registered = await send("POST", "register", acquisitionToken(), {
    name,
    hostname: "stand-in",
    version: "3.137.0",
    pid: process.pid,
    meta_data: (environment["BUILDKITE_AGENT_TAGS"] ?? "").split(",").filter((tag) => tag !== "")
  })
  if (registered.status !== 200) {
    await say(`Can't register: ${registered.status} ${registered.body["message"]}`)
    return 1
  }
  const token = String(registered.body["access_token"])
  await send("POST", "connect", token)
  const acquired = await send("PUT", `jobs/${jobUuid}/acquire`, token)
  if (acquired.status !== 200) {
    await say(`Can't acquire the job: ${acquired.status} ${acquired.body["message"]}`)
    await send("POST", "disconnect", token)
    return acquired.status === 422 ? 27 : acquired.status === 423 ? 28 : 0
  }
  const { STAND_IN_ACQUIRED: acquiredFile } = environment
  if (acquiredFile !== undefined) appendFileSync(acquiredFile, `${jobUuid}\n`)
  await send("PUT", `jobs/${jobUuid}/start`, token, { started_at: new Date().toISOString() })
  const jobEnvironment = Object(acquired.body["env"])
  const lines = (plan.prints ?? []).map((line) => expand(line, jobEnvironment))
  for (const line of lines) await say(line)
  for (let line = 0; line < (plan.shouts ?? 0); line++) await say(`${line} ${"loud ".repeat(200)}`)
  if (plan.leavesBehind !== undefined) {
    // Jobs do not get the agent's token: the real one keeps it from them too.
    const { BUILDKITE_AGENT_TOKEN: _, ...env } = environment
    const left = spawn(
      "/bin/sh",
      ["-c", plan.leavesBehind === "deaf" ? "trap '' HUP TERM; sleep 600" : "exec sleep 600"],
      { detached: true, stdio: "ignore", env }
    )
    left.unref()
    await say(`left ${left.pid}`)
  }
  const log = `${lines.join("\n")}\n`
  await send("POST", `jobs/${jobUuid}/chunks?sequence=1&offset=0&size=${Buffer.byteLength(log)}`, token, log)
  if (plan.hogs === true) await hog()
  const how = await work(token)
  if (typeof plan.breaks === "string") return fall(plan.breaks)
  if (plan.breaks !== undefined) return plan.breaks
  const status = how === "canceled" ? -1 : (plan.jobExits ?? (plan.hogs === true ? 137 : 0))
  await send("PUT", `jobs/${jobUuid}/finish`, token, {
    exit_status: String(status),
    signal_reason: how === "canceled" ? "cancel" : "",
    finished_at: new Date().toISOString(),
    chunks_failed_count: 0
  })
  await send("POST", "disconnect", token)
  if (interrupts.count >= 2) return 1
  return environment["BUILDKITE_AGENT_REFLECT_EXIT_STATUS"] === "true" ? status & 0xff : 0
}

const expand = (line: string, jobEnvironment: Record<string, string>) =>
  line.replace(/\$(\w+)/g, (_, variable: string) => jobEnvironment[variable] ?? environment[variable] ?? "")

main().then(
  (status) => process.exit(status),
  (cause) => {
    process.stderr.write(`${cause}\n`)
    process.exit(1)
  }
)
