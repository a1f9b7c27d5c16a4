import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 20_000,
    // Most of what takes long waits for processes, so that two share even a single core well.
    maxWorkers: 2
  }
})
