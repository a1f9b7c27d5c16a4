/** Type check of everything: TypeScript's own errors, then Effect's diagnostics (a warning is an error). */
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { packages, root, run } from "./run.ts"

const projects = [...packages.map(({ path }) => path), root].map((path) => join(path, "tsconfig.json"))

for (const project of projects) {
  run("tsc", ["--project", project])
  const { status, stdout, stderr } = spawnSync(
    join(root, "node_modules", ".bin", "effect-tsgo"),
    ["diagnostics", "--project", project, "--strict", "--severity", "error,warning", "--format", "text"],
    { cwd: root, encoding: "utf8" }
  )
  console.log(`${project.slice(root.length + 1)}: ${stdout.trim()}${stderr}`)
  // Without its plugin in the tsconfig the tool checks no file and is content.
  const [, checked, total] = /Checked (\d+) files out of (\d+) files/.exec(stdout) ?? []
  if (status !== 0 || checked === undefined || checked === "0" || checked !== total) {
    console.error(`Failed: Effect's diagnostics of ${project.slice(root.length + 1)}`)
    process.exit(1)
  }
}
