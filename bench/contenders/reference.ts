/** The reference client, which is written in Go: a program of its own. */
import { execFileSync } from "node:child_process"
import { join } from "node:path"
import { type Built, findGo, Go } from "../../scripts/programs/go.ts"
import type { Benchmark } from "../benchmarks.ts"
import type { Measurement } from "../measure.ts"
import { concurrency } from "../workload/contender.ts"
import { pageSize, queueKey, stackKey, token } from "../workload/fixtures.ts"

/** Builds the program in a cache outside the repository, with the newest version of the client. */
export const build = async (): Promise<Built> => {
  const program = findGo()
  if (program === undefined) return { path: undefined, reason: "there is no Go" }
  return new Go(program).build({
    path: "github.com/buildkite/stacksapi",
    program: "bench",
    source: join(import.meta.dirname, "reference"),
    known: "v1.0.2"
  })
}

/** Runs it, on a core if there is one. */
export const measure = (
  path: string,
  name: string,
  { counted, times, warmup }: Benchmark,
  baseUrl: string,
  core: number | undefined
): Measurement => {
  const task = {
    ...{ benchmark: name, baseUrl, token, stackKey, queueKey, pageSize, concurrency },
    ...{ warmup, times, counted }
  }
  const command = core === undefined ? [path] : ["taskset", "-c", String(core), path]
  const [file = path, ...args] = command
  const output = execFileSync(file, [...args, JSON.stringify(task)], { encoding: "utf8" })
  const measured: Pick<Measurement, "allocated" | "cpu" | "resident" | "wall"> = JSON.parse(output)
  return { ...measured, memory: measured.resident, disturbed: 0 }
}
