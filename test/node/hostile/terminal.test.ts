/** Texts that would take a terminal over, wherever a service or a job can put them: none gets there raw. */
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect } from "effect"
import { environmentOf, stacksapi } from "../../support/cli.ts"
import * as RawServer from "../../support/rawServer.ts"
import { page, scheduledJob } from "../../support/samples.ts"

/** Colors, a title, a bell, the 8-bit form of an escape, a text that runs backwards, a line that was forged. */
const harm = "\u001b[31m\u001b]0;title\u0007\u009b2J\u202e\u2066\u2028\u007f\r\nstacksapi: forged\b"

const active = /(?!\n)[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u

const assertHarmless = (text: string) => {
  const found = active.exec(text)
  assert(found === null, `${JSON.stringify(found?.[0])} in ${JSON.stringify(text)}`)
  assert.notMatch(text, /^stacksapi: forged/m)
}

const lines = (text: string) => text.trimEnd().split("\n")

/** A service that has the worst to say to everything. */
const answerTo = ({ body, method, target }: RawServer.RawRequest): unknown => {
  if (target.includes("/register")) {
    return {
      id: harm,
      organization_uuid: harm,
      cluster_queue_key: harm,
      key: harm,
      type: "custom",
      metadata: { [harm]: harm },
      last_connected_on: null,
      state: harm
    }
  }
  if (target.includes("scheduled-jobs?")) {
    return {
      ...page,
      jobs: [
        {
          ...scheduledJob,
          id: harm,
          agent_query_rules: [harm],
          pipeline: { slug: harm, uuid: harm },
          build: { uuid: harm, number: 1, branch: harm },
          step: { key: harm }
        }
      ],
      page_info: { has_next_page: false, end_cursor: harm }
    }
  }
  if (target.includes("batch-reserve")) return { reserved: [harm], not_reserved: [harm] }
  if (target.includes("get-states")) return { states: { ...JSON.parse(body).job_uuids.map(() => harm), a: harm } }
  if (target.includes("notifications")) return { errors: [{ error: harm, indexes: [0] }] }
  if (target.includes("tokens")) {
    return {
      job_acquisition_tokens: [{ job_uuid: harm, job_acquisition_token: harm, expires_at: "2100-01-01T00:00:00Z" }],
      not_issued: [harm]
    }
  }
  return method === "GET" ? { id: harm, env: { [harm]: harm, PLAIN: harm }, command: harm } : { message: harm }
}

const wellMeaning: RawServer.Answer = (socket, request) =>
  void socket.write(
    RawServer.response({
      headers: { "retry-after": "0", "x-harm": "\u009b31m" },
      body: JSON.stringify(answerTo(request))
    })
  )

const commands: ReadonlyArray<ReadonlyArray<string>> = [
  ["register"],
  ["jobs", "list"],
  ["jobs", "get", "a"],
  ["jobs", "get", "a", "--show"],
  ["jobs", "states", "a"],
  ["jobs", "states", "constructor"],
  ["jobs", "reserve", "a"],
  ["jobs", "tokens", "a", "--show"],
  ["jobs", "notify", "a", "text"],
  ["jobs", "notify", "a", "text", "--log-level", "all"]
]

const call = (baseUrl: string, args: ReadonlyArray<string>, stdin?: string) =>
  stacksapi(args, {
    env: { BUILDKITE_AGENT_ENDPOINT: baseUrl, BUILDKITE_CLUSTER_TOKEN: "bkct_test", STACKSAPI_KEY: "s" },
    ...(stdin !== undefined && { stdin })
  })

describe("Texts of a service", () => {
  it.live.each(commands.map((args) => [args.join(" "), args] as const))("reaches no terminal raw: %s", ([, args]) =>
    Effect.gen(function* () {
      const server = yield* RawServer.make(wellMeaning)
      const { stderr, stdout } = yield* call(server.baseUrl, args)
      assertHarmless(stdout)
      assertHarmless(stderr)
      assert.notStrictEqual(stdout + stderr, "")
    })
  )

  it.live.each(commands.map((args) => [args.join(" "), args] as const))(
    "reaches no terminal raw as JSON, and means the same: %s",
    ([, args]) =>
      Effect.gen(function* () {
        const server = yield* RawServer.make(wellMeaning)
        const { stderr, stdout } = yield* call(server.baseUrl, [...args, "--json"])
        assertHarmless(stdout)
        assertHarmless(stderr)
        if (!["register", "list", "get", "tokens"].some((name) => args.includes(name))) return
        assert.include(JSON.stringify(lines(stdout).map((line) => JSON.parse(line))), JSON.stringify(harm).slice(1, -1))
      })
  )

  it.live.each([400, 404, 422, 302, 200])("reaches no terminal raw as a failure, with status %d", (status) =>
    Effect.gen(function* () {
      const server = yield* RawServer.make((socket, _, index) => {
        const bodies = [
          JSON.stringify({ message: harm, [harm]: { [harm]: 1 } }),
          harm,
          JSON.stringify({ id: "a", env: { [harm]: [harm] }, command: "c" })
        ]
        socket.write(RawServer.response({ status, body: bodies[index % 3] ?? "" }))
      })
      for (const level of ["info", "info", "info", "all", "all", "all"]) {
        const ended = yield* call(server.baseUrl, ["jobs", "get", "a", "--log-level", level])
        assert.strictEqual(ended.status, 1)
        assertHarmless(ended.stderr)
        assertHarmless(ended.stdout)
      }
    })
  )
})

describe("Texts in a file of ids", () => {
  it.live("do not reach a terminal unescaped", () =>
    Effect.gen(function* () {
      const server = yield* RawServer.make(wellMeaning)
      const stdin = `${harm.replaceAll(/[\r\n]/g, "")}\n`
      for (const args of [
        ["jobs", "states", "-"],
        ["jobs", "finish", "-", "--detail", "d"],
        ["jobs", "tokens", "-"]
      ]) {
        const { stderr, stdout } = yield* call(server.baseUrl, args, stdin)
        assertHarmless(stdout)
        assertHarmless(stderr)
      }
    })
  )
})

describe("Names and output of jobs", () => {
  it.live.each(["lines", "json"])("reaches no terminal raw while it is run: %s", (format) =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([
        {
          queueKey: "q",
          command: `printf %b '\\033[31mred\\033]0;title\\007\\0302\\0233' ; exit 3`,
          pipeline: { slug: harm },
          build: { branch: harm },
          step: { key: harm }
        }
      ])
      const args = [
        "run",
        "--queue",
        "q",
        "--runner",
        "command",
        "--until-idle",
        "--format",
        format,
        "--log-level",
        "all"
      ]
      const { stderr, stdout } = yield* stacksapi(args, { env: { ...environmentOf(emulator), STACKSAPI_KEY: "s" } })
      assertHarmless(stdout)
      assertHarmless(stderr)
      assert.match(stdout, /Finished/)
      assert.match(stdout, /red/)
    }).pipe(Effect.provide(NodeStacksEmulator.layer()))
  )
})
