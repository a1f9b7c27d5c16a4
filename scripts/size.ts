/** The size budget: what an import adds to a bundle, minified and gzipped, including what it needs of Effect. */
import { gzipSync } from "node:zlib"
import { build } from "esbuild"
import { root } from "./run.ts"

const budgets: Record<string, number> = {
  "@stacksapi/core/StacksClient": 55_000,
  // All public modules, including the runtime and the HttpApi. A bundler removes what a program does not use.
  "@stacksapi/core": 120_000
}

/** The bytes of an import in a bundle. */
export const sizeOf = async (entry: string): Promise<number> => {
  const { outputFiles } = await build({
    stdin: { contents: `export * from "${entry}"`, resolveDir: `${root}/test` },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2023",
    platform: "neutral",
    mainFields: ["module", "main"],
    write: false,
    logLevel: "error"
  })
  return outputFiles.reduce((sum, file) => sum + gzipSync(file.contents, { level: 9 }).length, 0)
}

if (import.meta.main) {
  for (const [entry, budget] of Object.entries(budgets)) {
    const size = await sizeOf(entry)
    console.log(`${entry}: ${(size / 1000).toFixed(1)} kB of ${budget / 1000} kB`)
    if (size > budget) {
      console.error(`${entry} is over its budget`)
      process.exitCode = 1
    }
  }
}
