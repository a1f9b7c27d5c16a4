/** Paths and commands for the scripts. */
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs"
import { basename, delimiter, dirname, join, resolve } from "node:path"

export const root = resolve(import.meta.dirname, "..")

/** The modules that need an optional peer, and that peer. */
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
    /** The modules that users import by name, besides the package's root. Not `bin`, which runs when it is imported. */
    modules: readdirSync(join(path, "src"))
      .filter((file) => /^([A-Z].*|testing)\.ts$/.test(file))
      .map((file) => basename(file, ".ts"))
  }
})

// The tools of the workspace come first, so that scripts work without pnpm.
const env = {
  ...process.env,
  PATH: [join(root, "node_modules", ".bin"), process.env["PATH"]].join(delimiter)
}

/** Runs a command, shows its output, and exits if the command fails. */
export const run = (command: string, args: ReadonlyArray<string>, cwd = root): void => {
  const { error, status } = spawnSync(command, args, { cwd, env, stdio: "inherit" })
  if (error) throw error
  if (status !== 0) {
    console.error(`Failed: ${command} ${args.join(" ")}`)
    process.exit(1)
  }
}

/** Runs a command, and returns its output. */
export const capture = (command: string, args: ReadonlyArray<string>) => {
  const { error, status, stdout, stderr } = spawnSync(command, args, { cwd: root, env, encoding: "utf8" })
  if (error) throw error
  return { ok: status === 0, stdout, output: stdout + stderr }
}

/** Compiles both packages into empty folders, so that no output of a deleted module remains. */
export const build = (): void => {
  for (const { path } of packages) rmSync(join(path, "dist"), { recursive: true, force: true })
  run("tsc", ["-b", ...packages.map(({ path }) => join(path, "tsconfig.build.json"))])
  // The emulator's web page is not compiled.
  const page = "internal/page/static"
  cpSync(join(root, "packages/node/src", page), join(root, "packages/node/dist", page), { recursive: true })
  run("node", [join(root, "test/docs/helpTexts.ts")])
}

/** Builds both packages, and packs them as for publishing. */
export const pack = (): void => {
  build()
  for (const { path, tarball } of packages) {
    rmSync(tarball, { force: true })
    mkdirSync(dirname(tarball), { recursive: true })
    run("npx", ["-y", "pnpm@12", "pack", "--out", tarball], path)
    if (!existsSync(tarball)) throw new Error(`pnpm pack wrote no ${tarball}`)
  }
}
