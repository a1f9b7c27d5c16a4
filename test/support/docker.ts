/** A Docker Engine for a test: the one that is there, or one that is started in a temporary folder, on its own socket. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import * as Http from "node:http"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { endProcess } from "./endProcess.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

export interface Engine {
  /** Its address, as `DOCKER_HOST` has it. */
  readonly host: string
  /** Whether the test has started it, and so may kill it. */
  readonly isOwn: boolean
  /** Where its data are, if it is the test's own. */
  readonly data: string
  /** Kills the daemon. Containers go on. */
  readonly kill: Effect.Effect<void>
  /** Starts the daemon again. */
  readonly start: Effect.Effect<void>
  /** A request of its API; gives the status and the body. */
  readonly api: (
    method: string,
    path: string,
    body?: object,
    headers?: Readonly<Record<string, string>>
  ) => Effect.Effect<Answer>
}

interface Answer {
  readonly status: number
  readonly text: string
}

const call = (
  socketPath: string,
  method: string,
  path: string,
  body?: object | NodeJS.ReadableStream,
  headers: Readonly<Record<string, string>> = {}
) =>
  Effect.callback<Answer, Error>((resume) => {
    const isStream = body !== undefined && "pipe" in body
    const request = Http.request(
      {
        socketPath,
        method,
        path,
        headers: { "content-type": isStream ? "application/x-tar" : "application/json", ...headers }
      },
      (response) => {
        let text = ""
        response.setEncoding("utf8").on("data", (part) => {
          text += part
        })
        response.on("end", () => resume(Effect.succeed({ status: response.statusCode ?? 0, text })))
      }
    )
    request.on("error", (error) => resume(Effect.fail(error)))
    if (isStream) (body as NodeJS.ReadableStream).pipe(request)
    else request.end(body === undefined ? undefined : JSON.stringify(body))
  })

const answers = (socket: string) =>
  call(socket, "GET", "/_ping").pipe(
    Effect.map(({ status }) => status === 200),
    Effect.orElseSucceed(() => false)
  )

const socketOf = (host: string) => host.replace(/^unix:\/\//, "")

const api =
  (socket: string): Engine["api"] =>
  (method, path, body, headers) =>
    Effect.orDie(call(socket, method, path, body, headers))

/** The Engine that this machine has already, if it answers. */
const present = Effect.gen(function* () {
  const host = process.env["DOCKER_HOST"] ?? "unix:///var/run/docker.sock"
  const socket = socketOf(host)
  if (!host.startsWith("unix://") || !existsSync(socket) || !(yield* answers(socket))) return undefined
  const engine: Engine = { host, isOwn: false, data: "", kill: Effect.void, start: Effect.void, api: api(socket) }
  return engine
})

const mount = (...args: ReadonlyArray<string>) => {
  const { status, stderr } = spawnSync("mount", args, { encoding: "utf8" })
  if (status !== 0) throw new Error(`mount ${args.join(" ")} failed: ${stderr}`)
}

/** Unmounts everything within a folder, the innermost first. */
const unmountAll = (folder: string) => {
  const mounts = readFileSync("/proc/mounts", "utf8").split("\n")
  const inside = mounts.map((line) => line.split(" ")[1] ?? "").filter((path) => path.startsWith(`${folder}/`))
  for (const path of inside.reverse()) spawnSync("umount", ["--lazy", path])
}

/**
 * Starts an Engine: its data are in memory, `megabytes` of them at most. It has a containerd of its own, which goes on without the
 * daemon, as on any machine with systemd.
 */
const own = Effect.fnUntraced(function* (megabytes: number, args: ReadonlyArray<string>) {
  const folder = yield* temporaryFolder
  yield* Effect.addFinalizer(() => Effect.sync(() => unmountAll(folder)))
  const data = join(folder, "data")
  mkdirSync(data)
  mount("-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", data)
  const run = (program: string, args: ReadonlyArray<string>) =>
    spawn(program, args, { stdio: "ignore", env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` } })
  const containerd = join(folder, "containerd.sock")
  const settings = join(folder, "containerd.toml")
  writeFileSync(settings, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
  yield* Effect.acquireRelease(
    Effect.sync(() =>
      run("containerd", [
        ...["--config", settings, "--address", containerd],
        ...["--root", join(data, "containerd"), "--state", join(folder, "containerd")]
      ])
    ),
    (child) => endProcess(child, "SIGKILL")
  )
  const socket = join(folder, "docker.sock")
  const pidFile = join(folder, "pid")
  let daemon: ChildProcess | undefined
  const start = Effect.gen(function* () {
    rmSync(pidFile, { force: true })
    let problem: string | undefined
    daemon = run("dockerd", [
      ...["--host", `unix://${socket}`, "--containerd", containerd, "--pidfile", pidFile],
      ...["--data-root", join(data, "docker"), "--exec-root", join(folder, "exec")],
      ...["--iptables=false", "--ip6tables=false", "--bridge=none", "--live-restore", ...args]
    ])
    daemon.once("error", () => {
      problem = "There is no dockerd: run npx -y pnpm@12 services"
    })
    daemon.once("exit", (status) => {
      if (status !== null) problem ??= `dockerd ended with exit status ${status}`
    })
    while (!(yield* answers(socket))) {
      if (problem !== undefined) return yield* Effect.die(problem)
      yield* Effect.sleep("50 millis")
    }
  })
  const engine: Engine = {
    host: `unix://${socket}`,
    isOwn: true,
    data,
    kill: Effect.suspend(() => endProcess(daemon, "SIGKILL")),
    start,
    api: api(socket)
  }
  yield* start
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      if (!(yield* answers(socket))) yield* start
      const { text } = yield* engine.api("GET", "/containers/json?all=1")
      const containers: ReadonlyArray<{ readonly Id: string }> = JSON.parse(text)
      yield* Effect.forEach(containers, ({ Id }) => engine.api("DELETE", `/containers/${Id}?force=1&v=1`), {
        concurrency: 8
      })
      yield* endProcess(daemon, "SIGTERM")
    })
  )
  return engine
})

/** Until the scope closes. With `megabytes` or `args` it is always one of its own. */
export const engine = Effect.fnUntraced(function* ({
  args,
  megabytes
}: {
  readonly args?: ReadonlyArray<string>
  readonly megabytes?: number
} = {}): Effect.fn.Return<Engine, never, Scope.Scope> {
  const there = args === undefined && megabytes === undefined ? yield* present : undefined
  return there ?? (yield* own(megabytes ?? 2048, args ?? []))
})

// -----------------------------------------------------------------------------
// Images
// -----------------------------------------------------------------------------

/** Makes an image of a folder. */
export const importImage = ({ host }: Engine, name: string, rootfs: string, changes: ReadonlyArray<string>) => {
  const [repo = "", tag = "latest"] = name.split(":")
  const query = new URLSearchParams({ fromSrc: "-", repo, tag })
  for (const change of changes) query.append("changes", change)
  const tar = spawn("tar", ["-C", rootfs, "-c", "."], { stdio: ["ignore", "pipe", "inherit"] })
  return Effect.flatMap(
    Effect.orDie(call(socketOf(host), "POST", `/images/create?${query}`, tar.stdout)),
    ({ status, text }) => (status === 200 && !text.includes('"error"') ? Effect.void : Effect.die(text))
  )
}

/** Containers of stacks. */
export const containers = (engine: Engine, stackKey: string) =>
  Effect.map(
    engine.api(
      "GET",
      `/containers/json?all=1&filters=${encodeURIComponent(JSON.stringify({ label: [`stacksapi-stack=${stackKey}`] }))}`
    ),
    ({ text }): ReadonlyArray<{ Id: string; State: string; Labels: Record<string, string> }> => JSON.parse(text)
  )
