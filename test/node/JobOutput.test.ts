/** What people see of the output of jobs. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { JobOutput } from "@stacksapi/node"
import { Deferred, Effect, Exit, Fiber, Redacted, Scope, Stream } from "effect"
import { commandRunner, jobWith, runCommand } from "../support/commands.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

/** Prints the parts of a text, of which each character is a byte, a moment apart: they arrive one by one. */
const printing = (...parts: ReadonlyArray<string>) =>
  parts.map((part) => `echo ${Buffer.from(part, "latin1").toString("base64")} | base64 -d`).join("; sleep 0.05; ")

const linesOf = (command: string, options?: Parameters<typeof runCommand>[1]) =>
  Effect.map(runCommand(command, options), ({ lines }) => lines)

describe("A line", () => {
  const cases: ReadonlyArray<readonly [what: string, command: string, lines: ReadonlyArray<string>]> = [
    ["has no end", printing("one\n\ntwo\r\nthree"), ["one", "", "two", "three"]],
    ["is one, although it came in parts", printing("on", "e\nt", "wo\r", "\n"), ["one", "two"]],
    ["of a progress bar is its last version", printing("10%\r50%\r", "100%\ndone\n"), ["100%", "done"]],
    ["of a progress bar that erases is its last version", printing("10%\x1b[2K\x1b[1G100%\n"), ["100%"]],
    ["has no colors", printing("\x1b[1;31mred\x1b[0m \x1b[38;5;9mtoo\x1b[m\n"), ["red too"]],
    [
      "has no links, titles and time stamps",
      printing("\x1b]8;;http://x\x1b\\a\x1b]0;t\x07b\x1b_bk;t=1\x07c\n"),
      ["abc"]
    ],
    ["has no control characters but tabs", printing("a\x00b\x08c\td\x7f\n"), ["abc\td"]],
    [
      "keeps characters whose bytes came apart",
      printing("gr\xc3", "\xbc\xc3\x9fe \xf0\x9f", "\x91\x8d\n"),
      ["grüße 👍"]
    ],
    ["shows where bytes are no text", printing("a\xffb\n"), ["a\ufffdb"]]
  ]
  for (const [what, command, lines] of cases) {
    it.live(what, () => Effect.map(linesOf(command), (seen) => assert.deepStrictEqual(seen, lines)))
  }

  it.live("that is too long is cropped, with a mark", () =>
    Effect.gen(function* () {
      const [line = "", next] = yield* linesOf(`head -c 1000000 /dev/zero | tr '\\0' x; echo; echo next`)
      assert.strictEqual(line, `${"x".repeat(JobOutput.maxLineLength - 1)}…`)
      assert.strictEqual(next, "next")
    })
  )

  it.live("has its job, its channel and its time", () =>
    Effect.gen(function* () {
      const { lines, run } = yield* commandRunner()
      const context = jobWith("echo out; sleep 0.1; echo err >&2")
      const reader = yield* lines.pipe(Stream.take(2), Stream.runCollect, Effect.forkChild({ startImmediately: true }))
      yield* run(context)
      const [out, err] = yield* Fiber.join(reader)
      assert.deepStrictEqual([out?.jobUuid, out?.channel, out?.text], [context.job.id, "stdout", "out"])
      assert.deepStrictEqual([err?.jobUuid, err?.channel, err?.text], [context.job.id, "stderr", "err"])
      assert.isTrue(out !== undefined && err !== undefined && out.time.epochMilliseconds <= err.time.epochMilliseconds)
    }).pipe(Effect.scoped)
  )
})

describe("A secret", () => {
  const env = { MY_PASSWORD: "open sesame", MY_TOKEN: "short", PLAIN: "nothing to hide" }

  it.live("in a variable with a secret's name is redacted, except for short values", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf('echo "<$MY_PASSWORD> <$MY_TOKEN> <$PLAIN>"', { env })
      assert.deepStrictEqual(lines, ["<[REDACTED]> <short> <nothing to hide>"])
    })
  )

  it.live("in a variable of redactedVars is redacted", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf('echo "<$MY_PASSWORD> <$PLAIN>"', { env, redactedVars: ["PL*N"] })
      assert.deepStrictEqual(lines, ["<open sesame> <[REDACTED]>"])
    })
  )

  it.live("that has the form of a Buildkite token is redacted", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf("echo a bkct_0123456789 b bkaat_AbCdEf123456,", { redactedVars: [] })
      assert.deepStrictEqual(lines, ["a [REDACTED] b [REDACTED],"])
    })
  )

  it.live("in the option secrets is redacted, even if it is short", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf("echo a x+y b", { secrets: [Redacted.make("x+y")] })
      assert.deepStrictEqual(lines, ["a [REDACTED] b"])
    })
  )

  it.live("is redacted if it arrives in chunks or with colors", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf(printing("<open", " ses", "ame>\n<op\x1b[1men sesame>\n"), { env })
      assert.deepStrictEqual(lines, ["<[REDACTED]>", "<[REDACTED]>"])
    })
  )

  it.live("of several lines is redacted as a whole, and its longer lines by themselves", () =>
    Effect.gen(function* () {
      const key = "-----BEGIN-----\nfirst line\n1234\n-----END-----\n"
      const lines = yield* linesOf(
        'echo "$DEPLOY_PRIVATE_KEY"; echo that was it; echo "<first line> <1234>"; echo "<$DEPLOY_PRIVATE_KEY>"',
        { env: { DEPLOY_PRIVATE_KEY: key } }
      )
      assert.deepStrictEqual(lines, ["[REDACTED]", "", "that was it", "<[REDACTED]> <1234>", "<[REDACTED]", ">"])
    })
  )

  for (const width of [JobOutput.maxLineLength - 5, 65_536 - 5]) {
    it.live(`is hidden where a line is cut in it, after ${width} characters`, () =>
      Effect.gen(function* () {
        const command = `head -c ${width} /dev/zero | tr '\\0' '${width < 10_000 ? "x" : "\\r"}'; echo "$MY_PASSWORD"`
        const lines = yield* linesOf(command, { env })
        assert.notInclude(lines.join(""), "open")
      })
    )
  }

  it.live("is not in the detail of its job, and not in its file", () =>
    Effect.gen(function* () {
      const logDirectory = yield* temporaryFolder
      const { detail, jobUuid } = yield* runCommand('echo "it is $MY_PASSWORD"', { env, logDirectory })
      assert.isTrue(detail.endsWith("\n\nit is [REDACTED]"), detail)
      assert.strictEqual(readFileSync(join(logDirectory, `${jobUuid}.log`), "utf8"), "it is [REDACTED]\n")
    }).pipe(Effect.scoped)
  )
})

describe("A subscriber", () => {
  it.live("that is slow blocks no job, and misses the oldest lines", () =>
    Effect.gen(function* () {
      const { lines, run } = yield* commandRunner()
      const mayGoOn = yield* Deferred.make<void>()
      const seen: Array<string> = []
      const reader = yield* lines.pipe(
        Stream.tap(({ text }) => Effect.as(Deferred.await(mayGoOn), seen.push(text))),
        Stream.takeUntil(({ text }) => text === "20000"),
        Stream.runDrain,
        Effect.forkChild({ startImmediately: true })
      )
      yield* run(jobWith("seq 20000"))
      yield* Deferred.succeed(mayGoOn, undefined)
      yield* Fiber.join(reader)
      assert.isBelow(seen.length, 20_000)
      assert.isAtLeast(seen.length, JobOutput.maxWaitingLines)
      assert.deepStrictEqual(seen.slice(-2), ["19999", "20000"])
    }).pipe(Effect.scoped)
  )

  it.live("ends with the runner", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { lines } = yield* Scope.provide(commandRunner(), scope)
      const reader = yield* Stream.runDrain(lines).pipe(Effect.forkChild({ startImmediately: true }))
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(reader)))
    })
  )
})

describe("The last lines", () => {
  it.live("of a job are kept while it runs and afterwards, except for the oldest jobs", () =>
    Effect.gen(function* () {
      const { run, tail } = yield* commandRunner({ shell: ["/bin/sh", "-c"] })
      const jobs = Array.from({ length: JobOutput.maxEndedJobs + 1 }, (_, index) => jobWith(`echo ${index}`))
      const [first, ...others] = jobs
      assert.isEmpty(yield* tail(first?.job.id ?? ""))
      yield* Effect.forEach(jobs.slice(0, 1), run)
      assert.deepStrictEqual(yield* tail(first?.job.id ?? ""), ["0"])
      yield* Effect.forEach(others, run, { concurrency: 8 })
      assert.isEmpty(yield* tail(first?.job.id ?? ""))
      assert.deepStrictEqual(yield* tail(others[0]?.job.id ?? ""), ["1"])
    }).pipe(Effect.scoped)
  )
})
