/** Debian's `docker-registry` on loopback, which asks for a password. Docker speaks HTTP with registries on 127.0.0.1. */
import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import * as Http from "node:http"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import type { Engine } from "./docker.ts"
import { endProcess } from "./endProcess.ts"
import { freePort } from "./freePort.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

export interface Registry {
  readonly address: string
  readonly username: string
  readonly password: string
  readonly stop: Effect.Effect<void>
}

const username = "puller"
const password = "registry-password"
/** Bcrypt of the password. */
const hash = "$2b$04$xe.O0hBE0BfS5U0FCRI4FeKK0zwXo.LbKQxnjxOiJ.C5CmgGoQK1i"

const answers = (port: number) =>
  Effect.callback<boolean>((resume) => {
    Http.get({ host: "127.0.0.1", port, path: "/v2/" }, (response) => {
      response.resume()
      resume(Effect.succeed(true))
    }).on("error", () => resume(Effect.succeed(false)))
  })

/** Until the scope closes. */
export const registry: Effect.Effect<Registry, never, Scope.Scope> = Effect.gen(function* () {
  const port = yield* freePort
  const folder = yield* temporaryFolder
  writeFileSync(join(folder, "users"), `${username}:${hash}\n`)
  writeFileSync(
    join(folder, "registry.yml"),
    JSON.stringify({
      version: 0.1,
      log: { level: "error" },
      storage: { filesystem: { rootdirectory: join(folder, "data") } },
      http: { addr: `127.0.0.1:${port}`, secret: "test" },
      auth: { htpasswd: { realm: "test", path: join(folder, "users") } }
    })
  )
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn("docker-registry", ["serve", join(folder, "registry.yml")], { stdio: "ignore" })),
    (child) => endProcess(child, "SIGKILL")
  )
  let isMissing = false
  child.once("error", () => {
    isMissing = true
  })
  while (!(yield* answers(port))) {
    if (isMissing) return yield* Effect.die("There is no docker-registry: run npx -y pnpm@12 services")
    yield* Effect.sleep("50 millis")
  }
  return { address: `127.0.0.1:${port}`, username, password, stop: endProcess(child, "SIGKILL") }
})

/** Moves an image of an Engine to the registry. Gives its name there. */
export const push = Effect.fnUntraced(function* (
  engine: Engine,
  { address, password, username }: Registry,
  image: string
) {
  const [repository = "", tag = ""] = image.split(":")
  const name = `${address}/${repository}`
  const auth = Buffer.from(JSON.stringify({ username, password, serveraddress: address })).toString("base64")
  yield* engine.api("POST", `/images/${image}/tag?repo=${encodeURIComponent(name)}&tag=${tag}`)
  const { text } = yield* engine.api("POST", `/images/${name}/push?tag=${tag}`, undefined, { "x-registry-auth": auth })
  if (text.includes('"error"')) return yield* Effect.die(text)
  yield* engine.api("DELETE", `/images/${name}:${tag}`)
  return `${name}:${tag}`
})
