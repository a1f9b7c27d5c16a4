/**
 * The CPU time of starting the command and of importing the packed packages, compared with starting Node with undici loaded. No start has a
 * warm compile cache. `pnpm bench start [--packed] [--rounds N]`.
 */
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { parseArgs } from "node:util"
import { pack, packages, root, run } from "../scripts/run.ts"
import { type Spread, spread, table } from "./report.ts"

const { values: options } = parseArgs({
  allowPositionals: true,
  options: { packed: { type: "boolean", default: false }, rounds: { type: "string", default: "10" } }
})
const rounds = Number(options.rounds)

const project = mkdtempSync(join(tmpdir(), "stacksapi-start-"))
process.on("exit", () => rmSync(project, { recursive: true, force: true }))

/** Installs the tarballs, with links to their dependencies in the workspace. */
const install = (): void => {
  if (!options.packed) pack()
  const modules = join(project, "node_modules")
  for (const { name, tarball } of packages) {
    mkdirSync(join(modules, name), { recursive: true })
    run("tar", ["-xzf", tarball, "--strip-components=1", "-C", join(modules, name)])
  }
  const link = (name: string, workspace: string) => {
    mkdirSync(dirname(join(modules, name)), { recursive: true })
    symlinkSync(realpathSync(join(root, workspace, "node_modules", name)), join(modules, name))
  }
  for (const name of ["effect", "@effect/platform-node", "yaml"]) link(name, "packages/node")
  link("undici", "bench")
}

interface Start {
  readonly title: string
  /** The arguments of Node. */
  readonly args: ReadonlyArray<string>
  readonly atMost?: number
  /** The exit status. Default 0. */
  readonly status?: number
}

const importing = (module: string, name: string): ReadonlyArray<string> => {
  writeFileSync(join(project, `${name}.mjs`), `import "${module}"\n`)
  return [`${name}.mjs`]
}

const command = "node_modules/@stacksapi/node/dist/stacksapi.js"

install()
const starts: ReadonlyArray<Start> = [
  { title: "Node with undici", args: importing("undici", "undici") },
  { title: "Node alone", args: ["-e", ""] },
  { title: "stacksapi --version", args: [command, "--version"], atMost: 1.5 },
  { title: "stacksapi --help", args: [command, "--help"], atMost: 1.5 },
  { title: "stacksapi run --help", args: [command, "run", "--help"], atMost: 1.5 },
  {
    title: "import @stacksapi/node/NodeStacksClient",
    args: importing("@stacksapi/node/NodeStacksClient", "client"),
    atMost: 1.8
  },
  { title: "import @stacksapi/node", args: importing("@stacksapi/node", "node"), atMost: 2 },
  { title: "import @stacksapi/core", args: importing("@stacksapi/core", "root") },
  { title: "stacksapi jobs list --nope", args: [command, "jobs", "list", "--nope"], status: 2 },
  { title: "import effect/Schema", args: importing("effect/Schema", "schema") },
  { title: "import effect/http/HttpClient", args: importing("effect/http/HttpClient", "effect") },
  { title: "import @stacksapi/core/StacksClient", args: importing("@stacksapi/core/StacksClient", "core") }
]

writeFileSync(
  join(project, "usage.cjs"),
  `process.on("exit", () => require("node:fs").writeSync(3, JSON.stringify(process.cpuUsage())))`
)

/** User and system time in milliseconds, from the start of the process. */
const measure = ({ args, status: expected = 0, title }: Start): number => {
  const temporary = mkdtempSync(join(project, "cache-"))
  const { output, status, stderr } = spawnSync(process.execPath, ["--require", "./usage.cjs", ...args], {
    cwd: project,
    encoding: "utf8",
    env: { PATH: process.env["PATH"], TMPDIR: temporary },
    stdio: ["ignore", "ignore", "pipe", "pipe"]
  })
  rmSync(temporary, { recursive: true, force: true })
  if (status !== expected) throw new Error(`${title} failed: ${stderr}`)
  const { system, user }: NodeJS.CpuUsage = JSON.parse(output[3] ?? "")
  return (system + user) / 1000
}

const measured = starts.map((): Array<number> => [])
for (let round = 0; round < rounds; round++) {
  for (const [index, start] of starts.entries()) measured[index]?.push(measure(start))
}
const [baseline = []] = measured

const rows = starts.map(({ atMost, title }, index) => {
  const millis = spread(measured[index] ?? [])
  const ratio: Spread = spread((measured[index] ?? []).map((own, round) => own / (baseline[round] ?? Number.NaN)))
  return [
    title,
    ...[millis.min, millis.median].map((value) => value.toFixed(0)),
    ...[ratio.min, ratio.median].map((value) => value.toFixed(2)),
    ...(atMost === undefined ? ["", ""] : [`<= ${atMost}`, ratio.median <= atMost ? "yes" : "no"])
  ]
})
console.log(
  table(
    `start: user + system time without a warm compile cache, ${rounds} rounds, Node ${process.version}`,
    ["", "CPU ms min", "median", "× undici min", "median", "to reach", "reached"],
    rows
  )
)
