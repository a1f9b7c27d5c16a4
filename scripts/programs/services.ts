/** Provides the servers and checkers that tests start: installed ones, or Debian's, which it installs as root. */
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { canInstall, findProgram, install } from "./debian.ts"

interface Server {
  readonly program: string
  /** Debian's folder with a folder for each version, if the program is not on the PATH. */
  readonly versions?: string
  /** What to install; the package of the program comes first. */
  readonly debianPackages: ReadonlyArray<string>
}

const servers: ReadonlyArray<Server> = [
  { program: "redis-server", debianPackages: ["redis-server"] },
  { program: "postgres", versions: "/usr/lib/postgresql", debianPackages: ["postgresql"] },
  { program: "pgbouncer", debianPackages: ["pgbouncer"] },
  { program: "dockerd", debianPackages: ["docker.io", "runc", "containerd", "iptables", "tini"] },
  { program: "docker-registry", debianPackages: ["docker-registry"] },
  // A shell for test images. It is linked statically, so the images need no libraries.
  { program: "busybox", debianPackages: ["busybox-static"] },
  { program: "promtool", debianPackages: ["prometheus"] },
  { program: "systemd-analyze", debianPackages: ["systemd"] }
]

const find = ({ program, versions }: Server): string | undefined =>
  findProgram(program) ??
  ["/usr/sbin", "/sbin"].map((folder) => join(folder, program)).find((path) => existsSync(path)) ??
  (versions !== undefined && existsSync(versions) ? readdirSync(versions) : [])
    .map((version) => join(versions ?? "", version, "bin", program))
    .find((path) => existsSync(path))

const missing = servers.filter((server) => find(server) === undefined)
if (missing.length > 0 && canInstall()) install(...missing.flatMap(({ debianPackages }) => debianPackages))
for (const server of servers) {
  const { debianPackages, program } = server
  const path = find(server)
  console.log(
    path ?? `There is no ${program}: install it (Debian, Ubuntu: apt-get install ${debianPackages.join(" ")}).`
  )
  if (path === undefined) process.exitCode = 1
}
