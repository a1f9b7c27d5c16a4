import { join } from "node:path"
import { defineConfig } from "vitest/config"

// Tests start this repository's programs a few hundred times: what Node has compiled once need not be compiled again.
process.env["NODE_COMPILE_CACHE"] ??= join(import.meta.dirname, "node_modules/.cache/node")

const slow = "test/**/*.slow.test.ts"

export default defineConfig({
  test: {
    // Ends what hangs. It decides nothing else: no machine is too slow for a test.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    // Most of what takes long waits for processes, so that two share even a single core well.
    maxWorkers: 2,
    projects: [
      // The files of a worker share the modules that they import, and nothing else: no test leaves anything behind.
      {
        extends: true,
        test: { name: "quick", include: ["test/**/*.test.ts"], exclude: ["test/site/**", slow], isolate: false }
      },
      // Builds the site: `release:check` runs it.
      { extends: true, test: { name: "site", include: ["test/site/**/*.test.ts"] } },
      // What takes long: `test:slow` runs it.
      { extends: true, test: { name: "slow", include: [slow] } }
    ]
  }
})
