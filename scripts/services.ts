/** Provides the servers that tests start for themselves: those that are installed, or Debian's, which root can install. */
import { canInstall, findProgram, install } from "./debian.ts"

interface Server {
  readonly program: string
  readonly debianPackage: string
}

const servers: ReadonlyArray<Server> = [{ program: "redis-server", debianPackage: "redis-server" }]

const missing = servers.filter(({ program }) => findProgram(program) === undefined)
if (missing.length > 0 && canInstall()) install(...missing.map(({ debianPackage }) => debianPackage))
for (const { debianPackage, program } of servers) {
  const path = findProgram(program)
  console.log(path ?? `There is no ${program}: install it (Debian, Ubuntu: apt-get install ${debianPackage}).`)
  if (path === undefined) process.exitCode = 1
}
