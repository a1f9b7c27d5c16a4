/**
 * Provides the Chromium in which the tests use the emulator's web page: the one of CHROMIUM_PATH, one that is installed,
 * or Debian's, which root can install.
 */
import { spawnSync } from "node:child_process"
import { accessSync, constants, existsSync } from "node:fs"
import { delimiter, join } from "node:path"

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Where Chromium or Chrome is, if it is anywhere. */
export const findChromium = (): string | undefined => {
  const { CHROMIUM_PATH, PATH = "" } = process.env
  if (CHROMIUM_PATH) return isExecutable(CHROMIUM_PATH) ? CHROMIUM_PATH : undefined
  const directories = PATH.split(delimiter).filter((directory) => directory !== "")
  return names.flatMap((name) => directories.map((directory) => join(directory, name))).find(isExecutable)
}

const whatToDo =
  "The tests of the emulator's web page need Chromium or Chrome: install one (Debian, Ubuntu: apt-get install chromium), " +
  "or set CHROMIUM_PATH to where it is."

const fail = (output: string): never => {
  console.error(output)
  console.error(whatToDo)
  process.exit(1)
}

/** Runs a command of Debian's package manager; its output is of interest only where it fails. */
const apt = (...args: ReadonlyArray<string>): void => {
  const { error, status, stderr, stdout } = spawnSync("apt-get", args, {
    encoding: "utf8",
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
  })
  if (status !== 0) fail(`apt-get ${args.join(" ")} failed\n${stdout ?? ""}${stderr ?? ""}${error ?? ""}`)
}

const provide = (): void => {
  if (process.env["CHROMIUM_PATH"] && findChromium() === undefined) fail("CHROMIUM_PATH is no program.")
  if (findChromium() === undefined) {
    const canInstall = existsSync("/etc/debian_version") && process.getuid?.() === 0
    if (!canInstall) fail("There is no Chromium.")
    apt("update")
    apt("install", "-y", "--no-install-recommends", "chromium")
  }
  console.log(findChromium() ?? fail("There is no Chromium, although it was installed."))
}

if (import.meta.main) provide()
