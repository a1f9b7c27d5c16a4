/** Provides the servers that tests start: installed ones, or Debian's, which it installs as root. */
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { canInstall, findProgram, install } from "./debian.ts"

interface Server {
  readonly program: string
  /** Debian's folder with a folder for each version, if the program is not on the PATH. */
  readonly versions?: string
  readonly debianPackage: string
}

const servers: ReadonlyArray<Server> = [
  { program: "redis-server", debianPackage: "redis-server" },
  { program: "postgres", versions: "/usr/lib/postgresql", debianPackage: "postgresql" }
]

const find = ({ program, versions }: Server): string | undefined =>
  findProgram(program) ??
  (versions !== undefined && existsSync(versions) ? readdirSync(versions) : [])
    .map((version) => join(versions ?? "", version, "bin", program))
    .find((path) => existsSync(path))

const missing = servers.filter((server) => find(server) === undefined)
if (missing.length > 0 && canInstall()) install(...missing.map(({ debianPackage }) => debianPackage))
for (const server of servers) {
  const { debianPackage, program } = server
  const path = find(server)
  console.log(path ?? `There is no ${program}: install it (Debian, Ubuntu: apt-get install ${debianPackage}).`)
  if (path === undefined) process.exitCode = 1
}
