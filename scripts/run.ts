/** What the scripts here share: where things are, and how to run a command. */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs"
import { delimiter, join, resolve } from "node:path"

export const root = resolve(import.meta.dirname, "..")

export const packages = ["core", "node"].map((directory) => ({
  directory,
  path: join(root, "packages", directory),
  name: `@stacksapi/${directory}`
}))

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

/** Compiles both packages from nothing, so that no output of a deleted module is left. */
export const build = (): void => {
  for (const { path } of packages) rmSync(join(path, "dist"), { recursive: true, force: true })
  run("tsc", ["-b", ...packages.map(({ path }) => join(path, "tsconfig.build.json"))])
}

/** Builds both packages and packs them as they would be published; returns the tarballs' paths. */
export const pack = (): ReadonlyArray<string> => {
  build()
  const directory = join(root, ".packed")
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory)
  return packages.map(({ directory: name, path }) => {
    const tarball = join(directory, `${name}.tgz`)
    run("npx", ["-y", "pnpm@12", "pack", "--out", tarball], path)
    if (!existsSync(tarball)) throw new Error(`pnpm pack wrote no ${tarball}`)
    return tarball
  })
}

export const readJson = (path: string) => JSON.parse(readFileSync(path, "utf8"))
