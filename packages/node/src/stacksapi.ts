#!/usr/bin/env node
/** The command `stacksapi`. Its modules are loaded unless it is only asked for help or its version. */
import { enableCompileCache } from "node:module"
import { instantAnswer } from "./internal/cli/helpTexts.ts"

const run = (): void => {
  enableCompileCache()
  void import("./bin.ts")
}

const answer = instantAnswer(process.argv.slice(2), process.stdout.isTTY === true)

if (answer === undefined) run()
else {
  // The command says why it can't write.
  process.stdout.once("error", run)
  process.stdout.write(`${answer}\n`)
}
