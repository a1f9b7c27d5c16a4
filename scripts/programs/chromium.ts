/**
 * Provides the Chromium for the tests of the emulator's web page: CHROMIUM_PATH, an installed one, or Debian's, which it installs as
 * root.
 */
import { canInstall, findProgram, install, isExecutable } from "./debian.ts"

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]

/** The path of Chromium or Chrome; undefined if there is none. */
export const findChromium = (): string | undefined => {
  const { CHROMIUM_PATH } = process.env
  if (CHROMIUM_PATH) return isExecutable(CHROMIUM_PATH) ? CHROMIUM_PATH : undefined
  return findProgram(...names)
}

const instructions =
  "The tests of the emulator's web page need Chromium or Chrome: install one (Debian, Ubuntu: apt-get install chromium), " +
  "or set CHROMIUM_PATH to its path."

const fail = (output: string): never => {
  console.error(output)
  console.error(instructions)
  process.exit(1)
}

const provide = (): void => {
  if (process.env["CHROMIUM_PATH"] && findChromium() === undefined) fail("CHROMIUM_PATH is not an executable file.")
  if (findChromium() === undefined) {
    if (!canInstall()) fail("There is no Chromium.")
    install("chromium")
  }
  console.log(findChromium() ?? fail("Chromium was installed but not found."))
}

if (import.meta.main) provide()
