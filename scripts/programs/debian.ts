/** Finds programs that tests need and npm does not have, or installs them as root from Debian's packages. */
import { spawnSync } from "node:child_process"
import { accessSync, constants, existsSync } from "node:fs"
import { delimiter, join } from "node:path"

export const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** The path of the first of these programs that is on the PATH; undefined if none is. */
export const findProgram = (...names: ReadonlyArray<string>): string | undefined => {
  const directories = (process.env["PATH"] ?? "").split(delimiter).filter((directory) => directory !== "")
  return names.flatMap((name) => directories.map((directory) => join(directory, name))).find(isExecutable)
}

export const canInstall = (): boolean => existsSync("/etc/debian_version") && process.getuid?.() === 0

/** Installs packages. Shows the output only if that fails. */
export const install = (...packages: ReadonlyArray<string>): void => {
  for (const args of [["update"], ["install", "-y", "--no-install-recommends", ...packages]]) {
    const { error, status, stderr, stdout } = spawnSync("apt-get", args, {
      encoding: "utf8",
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
    })
    if (status !== 0) {
      throw new Error(`apt-get ${args.join(" ")} failed\n${stdout ?? ""}${stderr ?? ""}`, { cause: error })
    }
  }
}
