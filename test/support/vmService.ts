/**
 * An HTTP API of virtual machines, as far as `examples/vm-agents.ts` needs one. Its machines boot slowly, or never, and act as agents on
 * the emulator. They outlive whoever created them.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { text } from "node:stream/consumers"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Context, Effect, type Fiber, Redacted } from "effect"
import * as Random from "./random.ts"

/** What a machine does. */
type Fate = "works" | "failsToBoot" | "hangs"

export interface Options {
  readonly cpus: number
  readonly seed: number
  /** How likely a machine fails to boot, hangs, and an answer gets lost after the API has acted. Default 0. */
  readonly failing?: number
  readonly hanging?: number
  readonly losing?: number
  /** What an agent does with a job. */
  readonly work: (jobUuid: string) => { readonly millis: number; readonly exitStatus: number }
}

interface Machine {
  readonly name: string
  readonly cpus: number
  readonly labels: Readonly<Record<string, string>>
  readonly env: Readonly<Record<string, string>>
  readonly createdAt: string
  readonly fate: Fate
  status: "booting" | "running" | "off" | "failed"
  message: string | undefined
  /** Whether it is at work on a job. */
  isAtWork: boolean
  fiber: Fiber.Fiber<void> | undefined
}

export interface VmService {
  readonly url: string
  readonly token: string
  readonly machines: () => ReadonlyArray<Machine>
  /** How many agents acquired each job. */
  readonly acquired: ReadonlyMap<string, number>
  /** What nobody should have done. */
  readonly mistakes: ReadonlyArray<string>
  readonly counts: {
    readonly created: number
    readonly lost: number
    readonly refused: number
    readonly mostCpus: number
  }
  readonly fates: Readonly<Record<Fate, number>>
}

const hash = (text: string): number =>
  Array.from(text).reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) | 0, 7)

/** Serves until the scope closes; then the machines are gone, too. */
export const start = Effect.fnUntraced(function* ({ cpus, failing = 0, hanging = 0, losing = 0, seed, work }: Options) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const runFork = Effect.runForkWith(Context.empty())
  const token = "vm-token"
  const machines = new Map<string, Machine>()
  /** How often a machine of this name was made: its fate does not depend on what others do meanwhile. */
  const incarnations = new Map<string, number>()
  const acquired = new Map<string, number>()
  const mistakes: Array<string> = []
  const counts = { created: 0, lost: 0, refused: 0, mostCpus: 0 }
  const fates: Record<Fate, number> = { works: 0, failsToBoot: 0, hangs: 0 }
  const network = Random.make(seed)

  const live = (machine: Machine, bootMillis: number): Effect.Effect<void> =>
    Effect.gen(function* () {
      if (machine.fate === "hangs") return
      yield* Effect.sleep(bootMillis)
      if (machine.fate === "failsToBoot") {
        machine.status = "failed"
        machine.message = "The machine did not boot"
        return
      }
      machine.status = "running"
      const { id } = yield* emulator.acquireJob(Redacted.make(machine.env["BUILDKITE_AGENT_TOKEN"] ?? ""))
      machine.isAtWork = true
      acquired.set(id, (acquired.get(id) ?? 0) + 1)
      const { exitStatus, millis } = work(id)
      yield* Effect.sleep(millis)
      yield* emulator.completeJob(id, exitStatus)
      machine.isAtWork = false
      machine.status = "off"
    }).pipe(
      Effect.catch(({ message }) =>
        Effect.sync(() => {
          machine.status = "failed"
          machine.message = message
        })
      )
    )

  const inUse = () => Array.from(machines.values(), (machine) => machine.cpus).reduce((sum, one) => sum + one, 0)

  const create = (body: Pick<Machine, "name" | "cpus" | "labels" | "env">): number => {
    if (machines.has(body.name)) return 409
    if (inUse() + body.cpus > cpus) {
      counts.refused++
      return 507
    }
    const incarnation = (incarnations.get(body.name) ?? 0) + 1
    incarnations.set(body.name, incarnation)
    const random = Random.make(hash(`${seed} ${body.labels["stacksapi-job"]} ${incarnation}`))
    const chance = random.next()
    const fate = chance < failing ? "failsToBoot" : chance < failing + hanging ? "hangs" : "works"
    fates[fate]++
    const machine: Machine = {
      ...body,
      createdAt: new Date().toISOString(),
      fate,
      status: "booting",
      message: undefined,
      isAtWork: false,
      fiber: undefined
    }
    machines.set(body.name, machine)
    counts.created++
    counts.mostCpus = Math.max(counts.mostCpus, inUse())
    machine.fiber = runFork(live(machine, random.between(200, 800)))
    return 201
  }

  const remove = (name: string): number => {
    const machine = machines.get(name)
    if (machine === undefined) return 404
    if (machine.isAtWork) mistakes.push(`${name} was deleted while it was at work`)
    machine.fiber?.interruptUnsafe()
    machines.delete(name)
    return 204
  }

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? "/", "http://localhost")
    const body = await text(request)
    const answer = (status: number, value?: unknown) => {
      if (network.chance(losing)) {
        counts.lost++
        request.socket.destroy()
        return
      }
      response.writeHead(status, { "content-type": "application/json" })
      response.end(value === undefined ? undefined : JSON.stringify(value))
    }
    if (request.headers.authorization !== `Bearer ${token}`) return answer(401)
    // What is asked for takes its time.
    await new Promise((resolve) => setTimeout(resolve, network.between(5, 55)))
    if (request.method === "POST" && url.pathname === "/machines") return answer(create(JSON.parse(body)))
    if (request.method === "DELETE") return answer(remove(decodeURIComponent(url.pathname.slice("/machines/".length))))
    const label = url.searchParams.get("label") ?? ""
    const [key = "", value = ""] = [label.slice(0, label.indexOf("=")), label.slice(label.indexOf("=") + 1)]
    const found = Array.from(machines.values()).filter(({ labels }) => labels[key] === value)
    return answer(200, {
      machines: found.map(({ createdAt, labels, message, name, status }) => ({
        name,
        status,
        labels,
        createdAt,
        message
      }))
    })
  }

  const server = yield* Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer((request, response) => {
            handle(request, response).catch((error) => {
              mistakes.push(`the API failed: ${error}`)
              response.destroy()
            })
          })
          server.listen(0, "127.0.0.1", () => resolve(server))
        })
    ),
    (server) =>
      Effect.promise(async () => {
        server.closeAllConnections()
        server.close()
        for (const machine of machines.values()) machine.fiber?.interruptUnsafe()
      })
  )
  const service: VmService = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token,
    machines: () => Array.from(machines.values()),
    acquired,
    mistakes,
    counts,
    fates
  }
  return service
})
