/** A pgbouncer of the tests' own, in transaction mode: statements of one client run in any of its few sessions. */
import { spawn } from "node:child_process"
import { chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Schedule, type Scope } from "effect"
import { freePort } from "./freePort.ts"
import { user } from "./postgres.ts"

const accepts = (port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const socket = connect(port, "127.0.0.1")
    socket.once("connect", () => {
      socket.destroy()
      resume(Effect.succeed(true))
    })
    socket.once("error", () => resume(Effect.succeed(false)))
  })

/** The URL of a database, by way of a pooler that runs until the scope closes. */
export const inFrontOf = Effect.fnUntraced(function* (url: string): Effect.fn.Return<string, never, Scope.Scope> {
  const target = new URL(url)
  const port = yield* freePort
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "stacksapi-pgbouncer-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )
  const owner = user()
  const settings = join(folder, "pgbouncer.ini")
  writeFileSync(join(folder, "users"), '"postgres" ""\n')
  writeFileSync(
    settings,
    `[databases]
* = host=127.0.0.1 port=${target.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = ${join(folder, "users")}
pool_mode = transaction
default_pool_size = 6
max_client_conn = 200
`
  )
  if (owner.uid !== undefined && owner.gid !== undefined) {
    for (const path of [folder, settings, join(folder, "users")]) chownSync(path, owner.uid, owner.gid)
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => spawn("pgbouncer", [settings], { ...owner, cwd: folder, stdio: "ignore" })),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  yield* Effect.repeat(accepts(port), { schedule: Schedule.spaced("50 millis"), until: (isOpen) => isOpen })
  const pooled = new URL(url)
  pooled.port = String(port)
  return pooled.href
})
