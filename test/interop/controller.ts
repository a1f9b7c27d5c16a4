/**
 * Runs the controller of agent-stack-k8s with a fake Kubernetes API that provides the controller's secret and rejects new jobs. The
 * controller then takes each step of a job that can't start: it registers, lists, reserves, reads the job, and finishes it.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import * as Http from "node:http"
import type * as Net from "node:net"
import { join } from "node:path"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Redacted } from "effect"
import { listen } from "../support/listen.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import type { Row } from "./table.ts"

const namespace = "default"
const secretName = "interop-token"

interface Answer {
  readonly status: number
  readonly body: unknown
  /** Whether it stays open, as a watch without changes does. */
  readonly isOpen?: boolean
}

/** What a cluster without anything but the secret responds. */
const respond = (token: string, { method, url = "" }: Http.IncomingMessage): Answer => {
  const [path = "", query = ""] = url.split("?", 2)
  if (path.endsWith(`/secrets/${secretName}`)) {
    const data = { BUILDKITE_AGENT_TOKEN: Buffer.from(token).toString("base64") }
    return { status: 200, body: { kind: "Secret", apiVersion: "v1", metadata: { name: secretName, namespace }, data } }
  }
  const list = /\/(pods|jobs|events)$/.exec(path)?.[1] ?? ""
  const kind = { pods: "Pod", jobs: "Job", events: "Event" }[list]
  if (method === "GET" && kind !== undefined) {
    const apiVersion = list === "jobs" ? "batch/v1" : "v1"
    const metadata = { resourceVersion: "1" }
    if (new URLSearchParams(query).get("watch") !== "true") {
      return { status: 200, body: { kind: `${kind}List`, apiVersion, metadata, items: [] } }
    }
    // Ends the list of what there is, for clients that list by watching.
    const object = { kind, apiVersion, metadata: { ...metadata, annotations: { "k8s.io/initial-events-end": "true" } } }
    return { status: 200, body: { type: "BOOKMARK", object }, isOpen: true }
  }
  // The controller fails a job whose pod is invalid. After other refusals it tries again.
  const [code, reason] = method === "POST" && kind === "Job" ? [422, "Invalid"] : [403, "Forbidden"]
  const message = "This cluster makes nothing"
  return { status: code, body: { kind: "Status", apiVersion: "v1", status: "Failure", reason, code, message } }
}

const kubernetes = (token: string) =>
  Effect.suspend(() => {
    const sockets = new Set<Net.Socket>()
    const server = Http.createServer((request, response) => {
      const { body, isOpen, status } = respond(token, request)
      response.writeHead(status, { "content-type": "application/json" })
      response.write(`${JSON.stringify(body)}\n`)
      if (isOpen !== true) response.end()
    })
    server.on("connection", (socket) => sockets.add(socket))
    return listen(server, sockets)
  })

const start = (path: string, endpoint: string, port: number) =>
  Effect.flatMap(temporaryFolder, (folder) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const kubeconfig = join(folder, "kubeconfig")
        writeFileSync(
          kubeconfig,
          JSON.stringify({
            apiVersion: "v1",
            kind: "Config",
            clusters: [{ name: "c", cluster: { server: `http://127.0.0.1:${port}` } }],
            users: [{ name: "u", user: {} }],
            contexts: [{ name: "x", context: { cluster: "c", user: "u", namespace } }],
            "current-context": "x"
          })
        )
        const config = join(folder, "config.yaml")
        writeFileSync(
          config,
          [
            `agent-token-secret: ${secretName}`,
            `namespace: ${namespace}`,
            "id: interop",
            "queue: kubernetes",
            "debug: true",
            "max-in-flight: 5",
            "agent-config:",
            `  endpoint: ${endpoint}`,
            ""
          ].join("\n")
        )
        const child = spawn(path, ["--config", config], {
          env: { PATH: process.env["PATH"] ?? "", HOME: folder, KUBECONFIG: kubeconfig, CONFIG: config },
          stdio: ["ignore", "pipe", "pipe"]
        })
        const output: Array<string> = []
        // The rows show it: a program that did not start makes no requests.
        child.on("error", ({ message }) => output.push(message))
        for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => output.push(String(chunk)))
        return { child, output }
      }),
      ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
    )
  )

const waitSeconds = 60

const isRunning = ({ exitCode, pid }: ChildProcess): boolean => pid !== undefined && exitCode === null

export const examine = (path: string, version: string): Effect.Effect<ReadonlyArray<Row>> =>
  Effect.gen(function* () {
    const emulator = yield* NodeStacksEmulator.make({ tokenIdentity: { queueKey: "kubernetes" } })
    yield* emulator.addJobs([
      { id: jobUuid, queueKey: "kubernetes", command: "echo hello", agentQueryRules: ["queue=kubernetes"] }
    ])
    const port = yield* kubernetes(Redacted.value(emulator.token))
    const { child, output } = yield* start(path, emulator.baseUrl, port)
    const isFinished = Effect.map(emulator.jobs, ([job]) => job?.state === "finished")
    for (let second = 0; second < waitSeconds && isRunning(child) && !(yield* isFinished); second++) {
      yield* Effect.sleep("1 second")
    }
    const requests = yield* emulator.requests
    const [job] = yield* emulator.jobs
    const row = (subject: string, problem: string | undefined): Row => ({
      program: "agent-stack-k8s",
      version,
      subject,
      verdict: problem === undefined ? "ok" : "deviates",
      detail: problem ?? ""
    })
    const log = output.join("").trim().split("\n").slice(-3).join(" | ")
    const made = (operation: string, ...statuses: ReadonlyArray<number>) => {
      const found = requests.filter((request) => request.operation === operation)
      return row(
        operation,
        found.length === 0
          ? `it made no such request: ${log}`
          : found.every(({ status = 0 }) => statuses.includes(status))
            ? undefined
            : `statuses ${found.map(({ status }) => status)}`
      )
    }
    const unknown = requests.filter(({ operation }) => operation === undefined)
    return [
      made("getTokenIdentity", 200),
      made("registerStack", 200, 201),
      made("listScheduledJobs", 200),
      made("batchReserveJobs", 200),
      made("getJob", 200),
      made("finishJob", 200),
      row("the job", job?.state === "finished" ? undefined : `it is ${job?.state}: ${log}`),
      row(
        "requests that the emulator does not know",
        unknown.length === 0 ? undefined : unknown.map(({ method, path }) => `${method} ${path}`).join(", ")
      )
    ]
  }).pipe(Effect.scoped, Effect.orDie)

const jobUuid = "0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9b01"
