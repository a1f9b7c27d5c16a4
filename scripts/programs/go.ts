/** Gets programs as Go modules, and builds them in a cache outside the repository. */
import { execFile } from "node:child_process"
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { findProgram, isExecutable } from "./debian.ts"

const execute = promisify(execFile)

const cache = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "stacksapi-interop")

/** The path of Go; undefined if there is none. */
export const findGo = (): string | undefined =>
  findProgram("go") ?? ["/usr/local/go/bin/go", "/usr/lib/go/bin/go"].find(isExecutable)

export interface Module {
  /** The path of the module. */
  readonly path: string
  /** The name of the built program. */
  readonly program: string
  /** A folder with the main package, which uses the module; without it, the module is the program. */
  readonly source?: string
  /** The version to try where the proxy does not list versions. */
  readonly known?: string
}

export type Built =
  | { readonly path: string; readonly version: string; readonly note: string }
  | { readonly path: undefined; readonly reason: string }

const minute = 60_000

export class Go {
  readonly #program: string

  constructor(program: string) {
    this.#program = program
  }

  /** The output; fails with the last line of the errors. */
  async #run(directory: string, timeout: number, ...args: ReadonlyArray<string>): Promise<string> {
    mkdirSync(directory, { recursive: true })
    // A module may need a newer Go, which Go can get itself.
    const env = { GOTOOLCHAIN: "auto", ...process.env, GOWORK: "off" }
    try {
      return (await execute(this.#program, args, { cwd: directory, env, timeout, maxBuffer: 64 * 1024 * 1024 })).stdout
    } catch (error) {
      const text = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : ""
      const lines = text.split("\n").filter((line) => !line.startsWith("go: downloading"))
      throw new Error(lines.at(-1)?.trim() || String(error), { cause: error })
    }
  }

  /** Builds the newest version of a module that can be had. */
  async build(module: Module): Promise<Built> {
    const [newest, ...older] = await this.#versions(module)
    if (newest === undefined) return { path: undefined, reason: "the module proxy has no version of it" }
    const failure = await this.#prepare(module, newest)
    if (failure === undefined) return this.#finish(module, newest, "")
    const version = await this.#newestAvailable(module, older)
    return version === undefined
      ? { path: undefined, reason: `${newest}: ${failure}` }
      : this.#finish(module, version, `${newest} can't be had: ${failure}`)
  }

  /** Newest first. Pre-releases only if there is nothing else. */
  async #versions({ known, path }: Module): Promise<ReadonlyArray<string>> {
    const text = await this.#run(cache, minute, "list", "-m", "-versions", path).catch(() => "")
    const all = text.trim().split(" ").slice(1).reverse()
    const stable = all.filter((version) => !version.includes("-"))
    if (all.length > 0) return stable.length > 0 ? stable : all
    const latest = await this.#run(cache, minute, "list", "-m", `${path}@latest`).catch(() => "")
    return [latest.trim().split(" ")[1], known].filter((version) => version !== undefined)
  }

  /** Tries versions at growing distances, then between the last that failed and the first that did not: a proxy may have a few of hundreds. */
  async #newestAvailable(module: Module, versions: ReadonlyArray<string>): Promise<string | undefined> {
    let failed = -1
    let worked = versions.length
    for (let index = 0; index < versions.length; index = 2 * index + 1) {
      if ((await this.#prepare(module, versions[index] ?? "")) === undefined) {
        worked = index
        break
      }
      failed = index
    }
    while (worked < versions.length && worked - failed > 1) {
      const middle = (worked + failed) >> 1
      if ((await this.#prepare(module, versions[middle] ?? "")) === undefined) worked = middle
      else failed = middle
    }
    return versions[worked]
  }

  #directory({ program }: Module, version: string): string {
    return join(cache, `${program}@${version}`)
  }

  #target(module: Module, version: string): string {
    return join(this.#directory(module, version), "bin", module.program)
  }

  /** Downloads what the program consists of. Returns why that is not possible. */
  async #prepare(module: Module, version: string): Promise<string | undefined> {
    if (existsSync(this.#target(module, version)) && module.source === undefined) return undefined
    const directory = this.#directory(module, version)
    rmSync(directory, { recursive: true, force: true })
    try {
      await this.#run(directory, minute, "mod", "init", "interop")
      if (module.source !== undefined) {
        for (const file of readdirSync(module.source)) cpSync(join(module.source, file), join(directory, file))
      }
      await this.#run(directory, 5 * minute, "get", `${module.path}@${version}`)
      await this.#run(directory, 5 * minute, "list", "-deps", module.source === undefined ? module.path : ".")
      return undefined
    } catch (error) {
      rmSync(directory, { recursive: true, force: true })
      return error instanceof Error ? error.message : String(error)
    }
  }

  async #finish(module: Module, version: string, note: string): Promise<Built> {
    const target = this.#target(module, version)
    if (existsSync(target)) return { path: target, version, note }
    const main = module.source === undefined ? module.path : "."
    try {
      await this.#run(this.#directory(module, version), 60 * minute, "build", "-mod=mod", "-o", target, main)
      return { path: target, version, note }
    } catch (error) {
      return { path: undefined, reason: `${version} does not build: ${error instanceof Error ? error.message : error}` }
    }
  }
}
