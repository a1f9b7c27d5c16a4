/**
 * Runs the cases of `test/compat` on all supported runtimes, against the emulator, with the oldest and the newest Effect that the
 * packages allow. The packages are installed from the packed tarballs with npm, as users install them.
 *
 *     node scripts/compat.ts [--packed] [--effect RANGE]
 *
 * `--packed` uses existing tarballs. `--effect` uses another range of Effect than the packages require.
 */
import { execFile } from "node:child_process"
import { randomUUID } from "node:crypto"
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { availableParallelism, tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { Effect, Equal, Result } from "effect"
import { build } from "esbuild"
import * as Host from "../test/compat/host.ts"
import type { Settings } from "../test/compat/process.ts"
import type { Outcome } from "../test/compat/suite.ts"
import { Browser } from "../test/support/browser.ts"
import { capture, pack, packages, root, run } from "./run.ts"

const { values: options } = parseArgs({
  options: { packed: { type: "boolean", default: false }, effect: { type: "string" } }
})

const temporary = mkdtempSync(join(tmpdir(), "stacksapi-compat-"))
process.on("exit", () => rmSync(temporary, { recursive: true, force: true }))

if (!options.packed) pack()

// -----------------------------------------------------------------------------
// Runtimes
// -----------------------------------------------------------------------------

interface Runtime {
  readonly name: string
  readonly program: string
  readonly args?: ReadonlyArray<string>
  readonly clients: ReadonlyArray<Settings["client"]>
  readonly platform?: Partial<Settings["platform"]>
}

const pinned = join(root, "test/compat/runtimes")

/** The pinned runtimes are installed here, from pnpm's store if it has them. Their lockfile has their digests. */
const installRuntimes = (): ReadonlyArray<Runtime> => {
  const node: Runtime = { name: `Node ${process.versions.node}`, program: process.execPath, clients: ["node", "fetch"] }
  const strict: Runtime = {
    name: `${node.name} that generates no code`,
    program: node.program,
    args: ["--disallow-code-generation-from-strings"],
    clients: ["node"],
    platform: { generatesCode: false }
  }
  const platform = `${process.platform}-${process.arch}`
  if (platform !== "linux-x64") {
    console.log(`On ${platform} only with Node ${process.versions.node} and Chromium: others are pinned for linux-x64`)
    return [node, strict]
  }
  run(
    "npx",
    ["-y", "pnpm@12", "install", "--ignore-workspace", "--frozen-lockfile", "--ignore-scripts", "--silent"],
    pinned
  )
  const { optionalDependencies } = JSON.parse(readFileSync(join(pinned, "package.json"), "utf8"))
  const installed = (title: string, name: string, program: string) => ({
    name: `${title} ${optionalDependencies[name].split("@").at(-1)}`,
    program: join(pinned, "node_modules", name, program)
  })
  return [
    { ...installed("Node", "node-22-linux-x64", "bin/node"), clients: ["node", "fetch"] },
    node,
    strict,
    { ...installed("Node", "node-26-linux-x64", "bin/node"), clients: ["node", "fetch"] },
    {
      ...installed("Bun", "bun-linux-x64", "bin/bun"),
      clients: ["node", "fetch"],
      platform: { resends: "reads" }
    },
    // The client needs only the network. The one of @stacksapi/node, over undici, also reads the environment.
    {
      ...installed("Deno", "deno-linux-x64", "deno"),
      args: ["run", "--no-prompt", "--node-modules-dir=manual", "--allow-net=127.0.0.1", "--allow-env"],
      clients: ["node"]
    },
    {
      ...installed("Deno", "deno-linux-x64", "deno"),
      args: ["run", "--no-prompt", "--node-modules-dir=manual", "--allow-net=127.0.0.1"],
      clients: ["fetch"],
      platform: { resends: "everything", tellsRefusal: false }
    }
  ]
}

// -----------------------------------------------------------------------------
// Projects
// -----------------------------------------------------------------------------

/** The range of Effect that the packages require. */
const effectRange = (): string => {
  const manifest = capture("tar", ["-xOzf", join(root, ".packed/core.tgz"), "package/package.json"])
  return JSON.parse(manifest.stdout).peerDependencies.effect
}

/** The versions of a package in a range, oldest first. */
const versionsOf = (name: string, range: string): ReadonlyArray<string> => {
  const { ok, output, stdout } = capture("npm", ["view", `${name}@${range}`, "version", "--json"])
  const versions: ReadonlyArray<string> = ok ? [JSON.parse(stdout)].flat() : []
  if (versions.length === 0) {
    console.error(`There is no ${name}@${range}: use another --effect\n${output}`)
    process.exit(1)
  }
  return versions
}

/** A version of each of Effect's packages. */
type Effects = Readonly<Record<string, string>>

/** The oldest and the newest versions in a range. They may be the same. */
const endsOf = (range: string): ReadonlyArray<Effects> => {
  const names = ["effect", "@effect/platform-node", "@effect/platform-node-shared"]
  const versions = names.map((name) => [name, versionsOf(name, range)] as const)
  return [0, -1].map((end) => Object.fromEntries(versions.map(([name, all]) => [name, all.at(end) ?? ""])))
}

/** A project with the tarballs and a version of Effect, ready to run the suite. */
const makeProject = async (effects: Effects): Promise<string> => {
  const project = mkdtempSync(join(temporary, "project-"))
  const write = (file: string, content: object) => writeFileSync(join(project, file), JSON.stringify(content))
  const tarballs = Object.fromEntries(packages.map(({ name, tarball }) => [name, `file:${tarball}`]))
  const dependencies = { ...tarballs, effect: effects["effect"] }
  write("package.json", { private: true, type: "module", dependencies, overrides: effects })
  run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"], project)

  // Check the types with this Effect too, but not the host, which depends on its platform.
  cpSync(join(root, "test/compat"), join(project, "suite"), {
    recursive: true,
    filter: (source) => !/runtimes|host\.ts$/.test(source)
  })
  write("tsconfig.json", {
    compilerOptions: {
      ...{ module: "nodenext", target: "es2024", lib: ["es2024", "dom", "dom.iterable"], strict: true, types: [] },
      ...{ exactOptionalPropertyTypes: true, allowImportingTsExtensions: true, noEmit: true }
    },
    include: ["suite/suite.ts"]
  })
  run("tsc", ["--project", project])

  const common = { bundle: true, splitting: true, format: "esm", target: "es2022", logLevel: "error" } as const
  const entry = (name: string) => [join(project, "suite", `${name}.ts`)]
  await build({ ...common, entryPoints: entry("process"), packages: "external", outdir: join(project, "run") })
  await build({ ...common, entryPoints: entry("browser"), platform: "browser", outdir: join(project, "web") })
  return project
}

// -----------------------------------------------------------------------------
// Runs
// -----------------------------------------------------------------------------

/** One run of the suite. */
interface Run {
  readonly name: string
  readonly outcomes: Effect.Effect<ReadonlyArray<Outcome>, string>
}

const clientNames = { node: "NodeStacksClient", fetch: "FetchHttpClient" }

const usual: Settings["platform"] = { resends: "nothing", tellsRefusal: true, generatesCode: true }

const inProcesses = (host: Host.Host, project: string, runtimes: ReadonlyArray<Runtime>): ReadonlyArray<Run> =>
  runtimes.flatMap(({ args = [], clients, name, platform, program }) =>
    clients.map((client) => {
      const run = randomUUID()
      const settings: Settings = { host: `${host.origin}/`, run, client, platform: { ...usual, ...platform } }
      const ended = Effect.callback<string, string>((resume) => {
        const child = execFile(
          program,
          [...args, join(project, "run/process.js"), JSON.stringify(settings)],
          { cwd: project },
          (error, stdout, stderr) =>
            resume(error === null ? Effect.succeed(stdout + stderr) : Effect.fail(`${error}\n${stdout}${stderr}`))
        )
        return Effect.sync(() => child.kill("SIGKILL"))
      })
      const outcomes = Effect.flatMap(ended, (output) =>
        Effect.timeoutOrElse(host.report(run), {
          duration: "1 second",
          orElse: () => Effect.fail(`It ended without a report\n${output}`)
        })
      )
      return { name: `${name}, ${clientNames[client]}`, outcomes }
    })
  )

const inBrowser = (host: Host.Host, browser: Browser["Service"]): ReadonlyArray<Run> =>
  [
    { name: "a page that generates no code", path: "page?" },
    { name: "a worker", path: "worker?generatesCode&" }
  ].map(({ name, path }) => {
    const run = randomUUID()
    const outcomes = Effect.gen(function* () {
      const page = yield* Effect.acquireRelease(
        Effect.promise(() => browser.newPage()),
        (page) => Effect.promise(() => page.close())
      )
      const broken = Effect.callback<never, string>((resume) => {
        page.on("pageerror", (error) => resume(Effect.fail(String(error.stack))))
      })
      yield* Effect.promise(() => page.goto(`${host.origin}/${path}run=${run}`))
      return yield* Effect.raceFirst(host.report(run), broken)
    })
    return { name: `Chromium ${browser.version()}, ${name}, ${clientNames.fetch}`, outcomes: Effect.scoped(outcomes) }
  })

let passed = 0
let failed = 0

const report = Effect.fnUntraced(function* ({ name, outcomes }: Run) {
  const start = performance.now()
  const result = yield* outcomes.pipe(
    Effect.timeoutOrElse({ duration: "10 minutes", orElse: () => Effect.fail("It did not end within 10 minutes") }),
    Effect.result
  )
  const all = Result.getOrElse(result, (problem): ReadonlyArray<Outcome> => [{ name: "The run itself", problem }])
  const problems = all.filter(({ problem }) => problem !== undefined)
  const counts = `${all.length - problems.length} passed, ${problems.length} failed`
  console.log(
    `${problems.length === 0 ? "ok  " : "FAIL"} ${name}: ${counts} ${((performance.now() - start) / 1000).toFixed(1)} s`
  )
  for (const { name, problem } of problems) console.log(`     ${name}\n${problem}`)
  passed += all.length - problems.length
  failed += problems.length
})

const withEffect = Effect.fnUntraced(function* (effects: Effects, runtimes: ReadonlyArray<Runtime>) {
  console.log(`Effect ${effects["effect"]}`)
  const project = yield* Effect.promise(() => makeProject(effects))
  const host = yield* Host.make(join(project, "web"))
  const runs = [...inProcesses(host, project, runtimes), ...inBrowser(host, yield* Browser)]
  yield* Effect.forEach(runs, report, { concurrency: availableParallelism() })
}, Effect.scoped)

const runtimes = installRuntimes()
const range = options.effect ?? effectRange()
const [oldest = {}, newest = {}] = endsOf(range)

const all = Effect.gen(function* () {
  if (Equal.equals(oldest, newest)) console.log(`${range} allows only one version of Effect`)
  else yield* withEffect(oldest, runtimes.slice(0, 1))
  yield* withEffect(newest, runtimes)
})

await Effect.runPromise(Effect.provide(all, Browser.layer))
console.log(`${passed} passed, ${failed} failed`)
// Exit explicitly: cases break connections, and a socket that is reset at a bad moment can keep Node running.
process.exit(failed === 0 ? 0 : 1)
