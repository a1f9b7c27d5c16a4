/** Images for tests, made of this machine's programs: no registry is asked. */
import { spawnSync } from "node:child_process"
import { chmodSync, copyFileSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from "node:fs"
import { stripTypeScriptTypes } from "node:module"
import { dirname, join } from "node:path"
import { Effect } from "effect"
import { findProgram } from "../../scripts/programs/debian.ts"
import { type Engine, importImage } from "./docker.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

/** A shell with what it takes, and users. */
const base = (folder: string) => {
  for (const name of ["bin", "etc", "tmp", "run", "builds"]) mkdirSync(join(folder, name))
  chmodSync(join(folder, "tmp"), 0o1777)
  chmodSync(join(folder, "builds"), 0o1777)
  const busybox = findProgram("busybox") ?? "/bin/busybox"
  copyFileSync(busybox, join(folder, "bin/busybox"))
  for (const name of ["sh", "cat", "sleep", "ls", "wget", "id", "dd", "grep"])
    symlinkSync("busybox", join(folder, "bin", name))
  writeFileSync(join(folder, "etc/passwd"), "root:x:0:0::/:/bin/sh\nbuilder:x:1234:1234::/tmp:/bin/sh\n")
}

/** An agent in a few lines of shell: it can't acquire a job, and says what it finds. */
const shellAgent = `#!/bin/sh
echo "agent $BUILDKITE_AGENT_NAME starts as $(id -u)"
token=$(sed -n 's/^token="\\(.*\\)"$/\\1/p' "$BUILDKITE_AGENT_CONFIG") || exit 3
[ -n "$token" ] || exit 3
case "$1" in
  sleep) exec sleep 600 ;;
  print) for i in 1 2 3; do echo "line $i with $token"; done; echo "to stderr" >&2; exit 0 ;;
  config) grep -v token "$BUILDKITE_AGENT_CONFIG"; ls -ln "$BUILDKITE_AGENT_CONFIG"; exit 0 ;;
  memory) exec dd if=/dev/zero of=/dev/null bs=1000M ;;
esac
wget -q -O - --header "authorization: Token $token" --post-data "" "\${BUILDKITE_AGENT_ENDPOINT}register" || exit 1
`

/** A small image whose agent is a shell script: its arguments say what it does. */
export const importShellAgent = Effect.fnUntraced(function* (engine: Engine, name: string) {
  const folder = yield* temporaryFolder
  base(folder)
  symlinkSync("busybox", join(folder, "bin/sed"))
  writeFileSync(join(folder, "bin/buildkite-agent"), shellAgent)
  chmodSync(join(folder, "bin/buildkite-agent"), 0o755)
  mkdirSync(join(folder, "buildkite"))
  writeFileSync(join(folder, "buildkite/agent.cfg"), 'token="xxx"\nhooks-path="/buildkite/hooks"\n')
  yield* importImage(engine, name, folder, [
    'ENTRYPOINT ["/bin/buildkite-agent"]',
    "ENV PATH=/bin",
    "ENV BUILDKITE_AGENT_CONFIG=/buildkite/agent.cfg"
  ])
}, Effect.scoped)

/** Copies a program into a folder, with the libraries that it is linked with. */
const copyProgram = (folder: string, program: string, name: string) => {
  const { stdout } = spawnSync("ldd", [program], { encoding: "utf8" })
  for (const [library] of stdout.matchAll(/\/\S+/g)) {
    mkdirSync(join(folder, dirname(library)), { recursive: true })
    copyFileSync(library, join(folder, library))
  }
  copyFileSync(program, join(folder, "bin", name))
  chmodSync(join(folder, "bin", name), 0o755)
}

/** The stand-in agent in an image. What it does with a job is in the file `/plans/plans.json`. */
export const importStandIn = Effect.fnUntraced(function* (engine: Engine, name: string) {
  const folder = yield* temporaryFolder
  base(folder)
  copyProgram(folder, realpathSync(process.execPath), "node")
  const source = readFileSync(new URL("./standInAgent.ts", import.meta.url), "utf8")
  writeFileSync(join(folder, "bin/agent.mjs"), stripTypeScriptTypes(source))
  yield* importImage(engine, name, folder, [
    'ENTRYPOINT ["/bin/node", "/bin/agent.mjs"]',
    "ENV PATH=/bin",
    "ENV STAND_IN_PLANS=/plans/plans.json"
  ])
}, Effect.scoped)

const agentSettings = `token="xxx"
build-path="/builds"
hooks-path="/builds/hooks"
plugins-path="/builds/plugins"
shell="/bin/sh -e -c"
`

/** A real agent in an image, as a user that has a name. */
export const importRealAgent = Effect.fnUntraced(function* (engine: Engine, name: string, program: string) {
  const folder = yield* temporaryFolder
  base(folder)
  copyProgram(folder, program, "buildkite-agent")
  writeFileSync(join(folder, "etc/agent.cfg"), agentSettings)
  yield* importImage(engine, name, folder, [
    'ENTRYPOINT ["/bin/buildkite-agent"]',
    "ENV PATH=/bin",
    "ENV BUILDKITE_AGENT_CONFIG=/etc/agent.cfg",
    "USER builder"
  ])
}, Effect.scoped)
