/**
 * Provides the Chromium in which the tests use the emulator's web page: the one of CHROMIUM_PATH, one that is installed,
 * or Debian's, which root can install.
 */
import { canInstall, findProgram, install, isExecutable } from "./debian.ts"

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]

/** Where Chromium or Chrome is, if it is anywhere. */
export const findChromium = (): string | undefined => {
  const { CHROMIUM_PATH } = process.env
  if (CHROMIUM_PATH) return isExecutable(CHROMIUM_PATH) ? CHROMIUM_PATH : undefined
  return findProgram(...names)
}

const whatToDo =
  "The tests of the emulator's web page need Chromium or Chrome: install one (Debian, Ubuntu: apt-get install chromium), " +
  "or set CHROMIUM_PATH to where it is."

const fail = (output: string): never => {
  console.error(output)
  console.error(whatToDo)
  process.exit(1)
}

const provide = (): void => {
  if (process.env["CHROMIUM_PATH"] && findChromium() === undefined) fail("CHROMIUM_PATH is no program.")
  if (findChromium() === undefined) {
    if (!canInstall()) fail("There is no Chromium.")
    install("chromium")
  }
  console.log(findChromium() ?? fail("There is no Chromium, although it was installed."))
}

if (import.meta.main) provide()
