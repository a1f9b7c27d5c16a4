/** Gets programs as Go modules, and builds them in a cache outside the repository. */
import { execFile } from "node:child_process"
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs"
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

interface RunOptions {
  readonly directory: string
  /** In milliseconds. */
  readonly timeout: number
  readonly signal: AbortSignal | undefined
}

interface Versions {
  /** Newest first. */
  readonly versions: ReadonlyArray<string>
  /** Why the module proxy did not list them. */
  readonly failure: string | undefined
}

export class Go {
  readonly #program: string

  constructor(program: string) {
    this.#program = program
  }

  /** The output; fails with the last line of the errors. */
  async #run({ directory, signal, timeout }: RunOptions, ...args: ReadonlyArray<string>): Promise<string> {
    mkdirSync(directory, { recursive: true })
    // A module may need a newer Go, which Go can get itself.
    const env = { GOTOOLCHAIN: "auto", ...process.env, GOWORK: "off" }
    const options = { cwd: directory, env, timeout, maxBuffer: 64 * 1024 * 1024, ...(signal && { signal }) }
    try {
      return (await execute(this.#program, args, options)).stdout
    } catch (error) {
      const text = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : ""
      const lines = text.split("\n").filter((line) => !line.startsWith("go: downloading"))
      throw new Error(lines.at(-1)?.trim() || String(error), { cause: error })
    }
  }

  /** Builds the newest version of a module that is available. */
  async build(module: Module, signal?: AbortSignal): Promise<Built> {
    const { failure, versions } = await this.#versions(module, signal)
    const [newest, ...older] = versions
    if (newest === undefined) return { path: undefined, reason: failure ?? "the module proxy has no version of it" }
    const problem = await this.#prepare(module, newest, signal)
    if (problem === undefined) return this.#finish(module, newest, "", signal)
    const version = await this.#newestAvailable(module, older, signal)
    return version === undefined
      ? { path: undefined, reason: `${newest}: ${problem}` }
      : this.#finish(module, version, `${newest} is not available: ${problem}`, signal)
  }

  /** The stable versions, or pre-releases if there is nothing else. Without the module proxy, those that were built before. */
  async #versions(module: Module, signal: AbortSignal | undefined): Promise<Versions> {
    const { known, path } = module
    const list = (...args: ReadonlyArray<string>) =>
      this.#run({ directory: cache, timeout: minute, signal }, "list", "-m", ...args).then(
        (text) => ({ words: text.trim().split(" ").slice(1), failure: undefined }),
        (error: unknown) => ({ words: [], failure: messageOf(error) })
      )
    const { failure, words } = await list("-versions", path)
    const all = words.toReversed()
    const stable = all.filter((version) => !version.includes("-"))
    if (all.length > 0) return { versions: stable.length > 0 ? stable : all, failure }
    const latest = await list(`${path}@latest`)
    const versions = [...latest.words.slice(0, 1), ...this.#built(module), ...(known === undefined ? [] : [known])]
    return { versions: Array.from(new Set(versions)), failure: failure ?? latest.failure }
  }

  /** The versions of a module in the cache. */
  #built(module: Module): ReadonlyArray<string> {
    const prefix = `${module.program}@`
    const major = /\/(v\d+)$/.exec(module.path)?.[1]
    return (existsSync(cache) ? readdirSync(cache) : [])
      .flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []))
      .filter((version) => major === undefined || version.startsWith(`${major}.`))
      .filter((version) => this.#isBuilt(module, version))
      .toSorted((one, other) => other.localeCompare(one, "en", { numeric: true }))
  }

  /** Searches the versions, newest first, in growing steps, then by bisection: a proxy may have only a few of hundreds. */
  async #newestAvailable(
    module: Module,
    versions: ReadonlyArray<string>,
    signal: AbortSignal | undefined
  ): Promise<string | undefined> {
    let failed = -1
    let worked = versions.length
    for (let index = 0; index < versions.length; index = 2 * index + 1) {
      if ((await this.#prepare(module, versions[index] ?? "", signal)) === undefined) {
        worked = index
        break
      }
      failed = index
    }
    while (worked < versions.length && worked - failed > 1) {
      const middle = (worked + failed) >> 1
      if ((await this.#prepare(module, versions[middle] ?? "", signal)) === undefined) worked = middle
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

  /** Whether the program is in the cache, made of the present source. */
  #isBuilt(module: Module, version: string): boolean {
    const { source } = module
    const isCurrent = (file: string) => {
      const copy = join(this.#directory(module, version), file)
      return existsSync(copy) && readFileSync(copy).equals(readFileSync(join(source ?? "", file)))
    }
    return existsSync(this.#target(module, version)) && (source === undefined || readdirSync(source).every(isCurrent))
  }

  /** Downloads the sources of the program. Returns why that is not possible. */
  async #prepare(module: Module, version: string, signal: AbortSignal | undefined): Promise<string | undefined> {
    if (this.#isBuilt(module, version)) return undefined
    const directory = this.#directory(module, version)
    const { source } = module
    rmSync(directory, { recursive: true, force: true })
    const run = (minutes: number, ...args: ReadonlyArray<string>) =>
      this.#run({ directory, timeout: minutes * minute, signal }, ...args)
    try {
      await run(1, "mod", "init", "interop")
      if (source !== undefined)
        for (const file of readdirSync(source)) cpSync(join(source, file), join(directory, file))
      await run(5, "get", `${module.path}@${version}`)
      await run(5, "list", "-deps", source === undefined ? module.path : ".")
      return undefined
    } catch (error) {
      rmSync(directory, { recursive: true, force: true })
      return messageOf(error)
    }
  }

  async #finish(module: Module, version: string, note: string, signal: AbortSignal | undefined): Promise<Built> {
    const path = this.#target(module, version)
    if (this.#isBuilt(module, version)) return { path, version, note }
    const main = module.source === undefined ? module.path : "."
    const options = { directory: this.#directory(module, version), timeout: 60 * minute, signal }
    try {
      await this.#run(options, "build", "-mod=mod", "-o", path, main)
      return { path, version, note }
    } catch (error) {
      return { path: undefined, reason: `${version} does not build: ${messageOf(error)}` }
    }
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
