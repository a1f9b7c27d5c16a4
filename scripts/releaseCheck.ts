/**
 * Does a release without publishing: computes versions and changelogs in a copy of the repository, packs and checks both packages,
 * lets npm say what it would publish, builds the site, builds the container images where a container engine runs, and checks that
 * the workflows name scripts, jobs and files that exist.
 */
import { spawnSync } from "node:child_process"
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parse } from "yaml"
import { capture, packages, root, run } from "./run.ts"

const failures: Array<string> = []

const check = (what: string, problems: ReadonlyArray<string>): void => {
  console.log(`${problems.length === 0 ? "ok  " : "FAIL"} ${what}`)
  for (const problem of problems) console.log(`     ${problem}`)
  failures.push(...problems)
}

const manifestOf = (directory: string) => JSON.parse(readFileSync(join(directory, "package.json"), "utf8"))

// -----------------------------------------------------------------------------
// Versions and changelogs
// -----------------------------------------------------------------------------

const checkVersions = (): void => {
  const copy = mkdtempSync(join(tmpdir(), "stacksapi-release-"))
  try {
    run("git", ["clone", "--quiet", root, copy])
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"))
    const changed = spawnSync(process.execPath, [join(root, "node_modules/@changesets/cli/bin.js"), "version"], {
      cwd: copy,
      encoding: "utf8"
    })
    if (changed.status !== 0) {
      check("versions", [changed.stderr.trim() || changed.stdout.trim()])
      return
    }
    const next = packages.map(({ directory, name, path }) => {
      const version: string = manifestOf(join(copy, "packages", directory)).version
      const changelog = readFileSync(join(copy, "packages", directory, "CHANGELOG.md"), "utf8")
      const isNew = version !== manifestOf(path).version
      const hasEntry = changelog.includes(`\n## ${version}\n`)
      return { name, version, problems: isNew && !hasEntry ? [`${name}: no entry of ${version} in its changelog`] : [] }
    })
    const versions = new Set(next.map(({ version }) => version))
    check(`versions: ${[...versions].join(" and ")}`, [
      ...next.flatMap(({ problems }) => problems),
      ...(versions.size === 1 ? [] : ["both packages must have the same version"])
    ])
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

// -----------------------------------------------------------------------------
// Packages
// -----------------------------------------------------------------------------

const checkPackages = (): void => {
  run(process.execPath, [join(root, "scripts/pack.ts")])
  for (const { directory, name, path, tarball } of packages) {
    const { bugs, homepage, license, publishConfig, repository } = manifestOf(path)
    const isComplete = [bugs, homepage, license, repository?.url, publishConfig?.access].every((value) => value)
    const isFound = repository?.directory === `packages/${directory}`
    const published = capture("npm", [
      "publish",
      tarball,
      "--dry-run",
      "--provenance=false",
      "--ignore-scripts",
      "--tag",
      "next"
    ])
    check(`${name}: npm publish --dry-run`, [
      ...(isComplete && isFound ? [] : ["the manifest lacks bugs, homepage, license, repository or publishConfig"]),
      ...(published.ok ? [] : [published.output.trim()])
    ])
  }
}

// -----------------------------------------------------------------------------
// Images
// -----------------------------------------------------------------------------

const targets = ["stacksapi", "emulator"]

const checkImages = (): void => {
  const file = join(root, "images/Containerfile")
  const stages = Array.from(readFileSync(file, "utf8").matchAll(/^FROM \S+ AS (\w+)$/gm), ([, stage = ""]) => stage)
  check(
    "images: the targets exist",
    targets.filter((target) => !stages.includes(target)).map((target) => `no ${target}`)
  )
  if (spawnSync("docker", ["info"], { stdio: "ignore" }).status !== 0) {
    console.log("     no container engine runs here: the images were not built")
    return
  }
  for (const target of targets) {
    const { ok, output } = capture("docker", ["build", "--file", file, "--target", target, join(root, ".packed")])
    check(`image ${target}`, ok ? [] : [output])
  }
}

// -----------------------------------------------------------------------------
// Workflows
// -----------------------------------------------------------------------------

interface Job {
  readonly needs?: string | ReadonlyArray<string>
  readonly steps: ReadonlyArray<{
    readonly run?: string
    readonly uses?: string
    readonly with?: Record<string, unknown>
  }>
}

const checkWorkflows = (): void => {
  const { scripts } = manifestOf(root)
  for (const file of globSync(".github/workflows/*.yml", { cwd: root })) {
    const { jobs }: { readonly jobs: Readonly<Record<string, Job>> } = parse(readFileSync(join(root, file), "utf8"))
    check(
      file,
      Object.entries(jobs).flatMap(([name, { needs = [], steps }]) => [
        ...[needs].flat().flatMap((need) => (need in jobs ? [] : [`${name} needs ${need}, which is no job`])),
        ...steps.flatMap((step) => {
          const texts = [step.run ?? "", ...Object.values(step.with ?? {}).map(String)].join("\n")
          const commands = Array.from(texts.matchAll(/pnpm@12 ([\w:]+)/g), ([, script = ""]) => script)
          const containerFile = step.with?.["file"]
          return [
            ...commands
              .filter((script) => script !== "install" && !(script in scripts))
              .map((script) => `${name} runs ${script}, which is no script`),
            ...(typeof containerFile === "string" && !existsSync(join(root, containerFile))
              ? [`${name} builds ${containerFile}, which is not there`]
              : [])
          ]
        })
      ])
    )
  }
}

checkWorkflows()
checkVersions()
checkPackages()
run("vitest", ["run", "--project=site"])
checkImages()
console.log(failures.length === 0 ? "The release could go out." : `${failures.length} problems`)
process.exit(failures.length === 0 ? 0 : 1)
