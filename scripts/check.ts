/** Checks all types: TypeScript's errors, then Effect's diagnostics, where a warning is an error. */
import { join, relative } from "node:path"
import { capture, packages, root } from "./run.ts"

const projects = [...packages.map(({ path }) => path), root].map((path) => join(path, "tsconfig.json"))

for (const project of projects) {
  const types = capture("tsc", ["--project", project])
  const effect = capture("effect-tsgo", [
    "diagnostics",
    ...["--project", project, "--severity", "error,warning", "--format", "text", "--strict"]
  ])
  // Without its plugin in the tsconfig, the tool checks no files and succeeds.
  const [, checked, total] = /Checked (\d+) files out of (\d+) files/.exec(effect.output) ?? []
  const complete = checked !== undefined && checked !== "0" && checked === total

  const ok = types.ok && effect.ok && complete
  console.log(`${ok ? "ok  " : "FAIL"} ${relative(root, project)}: ${checked ?? 0} files`)
  if (!ok) {
    console.log(types.output + effect.output)
    process.exitCode = 1
  }
}
