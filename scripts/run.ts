/** What the scripts here share: where things are, and how to run a command. */
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs"
import { basename, delimiter, dirname, join, resolve } from "node:path"

export const root = resolve(import.meta.dirname, "..")

/** The modules that can be imported only where a package is installed that not everybody needs, and that package. */
export const optionalPeers: Readonly<Record<string, string>> = {
  ClusterStack: "@effect/sql-pg",
  RedisRateLimit: "redis"
}

export const packages = ["core", "node"].map((directory) => {
  const path = join(root, "packages", directory)
  return {
    directory,
    path,
    name: `@stacksapi/${directory}`,
    tarball: join(root, ".packed", `${directory}.tgz`),
    /** The modules that users import by name, next to the package's root; not `bin`, which runs when it is imported. */
    modules: readdirSync(join(path, "src"))
      .filter((file) => /^([A-Z].*|testing)\.ts$/.test(file))
      .map((file) => basename(file, ".ts"))
  }
})

// The tools of the workspace come first, so that a script works without pnpm around it as well.
const env = {
  ...process.env,
  PATH: [join(root, "node_modules", ".bin"), process.env["PATH"]].join(delimiter)
}

/** Runs a command, shows its output, and ends the script when the command fails. */
export const run = (command: string, args: ReadonlyArray<string>, cwd = root): void => {
  const { error, status } = spawnSync(command, args, { cwd, env, stdio: "inherit" })
  if (error) throw error
  if (status !== 0) {
    console.error(`Failed: ${command} ${args.join(" ")}`)
    process.exit(1)
  }
}

/** Runs a command and keeps its output. */
export const capture = (command: string, args: ReadonlyArray<string>) => {
  const { error, status, stdout, stderr } = spawnSync(command, args, { cwd: root, env, encoding: "utf8" })
  if (error) throw error
  return { ok: status === 0, stdout, output: stdout + stderr }
}

/** Compiles both packages from nothing, so that no output of a deleted module is left. */
export const build = (): void => {
  for (const { path } of packages) rmSync(join(path, "dist"), { recursive: true, force: true })
  run("tsc", ["-b", ...packages.map(({ path }) => join(path, "tsconfig.build.json"))])
  // The emulator's web page is served as it is written.
  const page = "internal/page/static"
  cpSync(join(root, "packages/node/src", page), join(root, "packages/node/dist", page), { recursive: true })
}

/** Builds both packages and packs them as they would be published. */
export const pack = (): void => {
  build()
  for (const { path, tarball } of packages) {
    rmSync(tarball, { force: true })
    mkdirSync(dirname(tarball), { recursive: true })
    run("npx", ["-y", "pnpm@12", "pack", "--out", tarball], path)
    if (!existsSync(tarball)) throw new Error(`pnpm pack wrote no ${tarball}`)
  }
}
