/**
 * Responses are decoded by code that is generated from their schemas, for speed. It must never say anything else than the
 * schema: the same value, or the same refusal.
 */
import { assert, describe, it } from "@effect/vitest"
import { StacksSchema } from "@stacksapi/core"
import { Arbitrary, DateTime, Equal, Option, Result, Schema } from "effect"
import { giveUp, makeDecoder, makeDirect } from "../../packages/core/src/internal/schema/decoder.ts"
import { decodeTime } from "../../packages/core/src/internal/schema/time.ts"
import { edits, mutate, oddTimes, replacements } from "../support/mutate.ts"
import { answers, page, scheduledJob } from "../support/samples.ts"

type AnySchema = Schema.Codec<unknown, unknown>

const responses = {
  getTokenIdentity: StacksSchema.TokenIdentity,
  registerStack: StacksSchema.RegisteredStack,
  listScheduledJobs: StacksSchema.ScheduledJobsPage,
  batchReserveJobs: StacksSchema.BatchReserveJobsResult,
  getJob: StacksSchema.JobDetails,
  getJobStates: StacksSchema.JobStatesResult,
  createStackNotifications: StacksSchema.CreateStackNotificationsResult,
  issueJobAcquisitionTokens: StacksSchema.IssueJobAcquisitionTokensResult
} as const

const names = Object.keys(responses) as ReadonlyArray<keyof typeof responses>

const codecOf = (name: keyof typeof responses) => responses[name] as unknown as AnySchema

/** The same value, secrets and the keys that an object has included. */
const assertSame = (actual: unknown, expected: unknown) => {
  assert.isTrue(Equal.equals(actual, expected))
  assert.deepStrictEqual(actual, expected)
}

/** Whether the generated code took the value. */
const agree = (name: keyof typeof responses, wire: unknown): boolean => {
  const codec = codecOf(name)
  const bySchema = Schema.decodeUnknownResult(codec)(wire)
  const byDecoder = makeDecoderOf(name)(wire)
  assert.strictEqual(byDecoder._tag, bySchema._tag)
  if (Result.isSuccess(byDecoder) && Result.isSuccess(bySchema)) assertSame(byDecoder.success, bySchema.success)
  if (Result.isFailure(byDecoder) && Result.isFailure(bySchema)) {
    assert.strictEqual(byDecoder.failure.message, bySchema.failure.message)
  }
  const direct = directOf(name)(wire)
  if (direct === giveUp) return false
  assert.isTrue(Result.isSuccess(bySchema), "took what the schema refuses")
  if (Result.isSuccess(bySchema)) assertSame(direct, bySchema.success)
  return true
}

const compiled = new Map(
  names.map((name) => [name, { decoder: makeDecoder(responses[name]), direct: makeDirect(responses[name]) }] as const)
)
const makeDecoderOf = (name: keyof typeof responses) => compiled.get(name)?.decoder ?? assert.fail("no decoder")
const directOf = (name: keyof typeof responses) => compiled.get(name)?.direct ?? assert.fail("no generated code")

/** Valid bodies, as a service writes them. */
const bodies = (name: keyof typeof responses): Arbitrary.Arbitrary<unknown> =>
  Arbitrary.map(Arbitrary.schema(codecOf(name)), (value): unknown =>
    JSON.parse(JSON.stringify(Schema.encodeUnknownSync(codecOf(name))(value)))
  )

describe.each(names)("%s", (name) => {
  it("the generated code decodes a usual body", () => {
    assert.isTrue(agree(name, answers[name].body))
  })

  it("the generated code agrees with the schema on mutated bodies", () => {
    for (const body of replacements(answers[name].body)) agree(name, body)
  })

  it.prop("agrees on every valid body", [bodies(name)], ([body]) => void agree(name, body), {
    arbitrary: { runs: 200, seed: 41 }
  })

  it.prop(
    "agrees on bodies that are almost valid",
    [bodies(name), edits],
    ([body, changes]) => void agree(name, mutate(body, changes)),
    { arbitrary: { runs: 800, seed: 42 } }
  )

  it.prop(
    "agrees on the everyday body, changed",
    [edits],
    ([changes]) => void agree(name, mutate(answers[name].body, changes)),
    { arbitrary: { runs: 1500, seed: 43 } }
  )
})

describe("a page", () => {
  it("is decoded by the generated code with null or missing values", () => {
    const { runnable_at: _, ...unsaid } = scheduledJob
    const jobs = [
      unsaid,
      { ...unsaid, runnable_at: null },
      { ...scheduledJob, build: { uuid: null, number: null, branch: null } }
    ]
    assert.isTrue(agree("listScheduledJobs", { ...page, jobs }))
    assert.isTrue(agree("listScheduledJobs", { ...page, page_info: { has_next_page: false, end_cursor: null } }))
    assert.isTrue(agree("listScheduledJobs", { ...page, jobs: [], cluster_queue: { id: null, paused: true } }))
  })
})

describe("keys such as __proto__", () => {
  it("are decoded like any other key", () => {
    for (const key of ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", "prototype"]) {
      const text = (value: string) => `{${JSON.stringify(key)}:${value},"a":"b"}`
      agree("getJob", JSON.parse(`{"id":"j","env":${text('"x"')},"command":"c"}`))
      agree("getJob", JSON.parse(`{"id":"j","env":${text("null")},"command":"c"}`))
      agree("getJob", JSON.parse(`{"id":"j","env":${text("{}")},"command":"c"}`))
      agree("getJob", JSON.parse(`{"id":"j","env":{},"command":"c",${text('{"id":"other"}').slice(1)}`))
      agree("getJobStates", JSON.parse(`{"states":${text('"running"')}}`))
      agree("getJobStates", JSON.parse(`${text('{"states":{}}')}`))
      agree("registerStack", { ...Object(answers.registerStack.body), metadata: JSON.parse(text('"x"')) })
    }
  })
})

describe("times", () => {
  const bySchema = Schema.decodeUnknownOption(Schema.DateTimeUtcFromString)

  const agreeOnTime = (text: unknown) => {
    const direct = decodeTime(text)
    if (direct === giveUp) return false
    const expected = Option.getOrUndefined(bySchema(text))
    assert(expected !== undefined, `took ${text}`)
    assert.strictEqual(DateTime.toEpochMillis(direct), DateTime.toEpochMillis(expected), String(text))
    return true
  }

  it("of every day of some years decode to that day", () => {
    let taken = 0
    for (const year of [
      "0000",
      "0001",
      "0099",
      "0100",
      "0400",
      "1900",
      "1969",
      "1970",
      "2000",
      "2026",
      "2028",
      "2100",
      "9999"
    ]) {
      for (let month = 0; month <= 13; month++) {
        for (let day = 0; day <= 32; day++) {
          const date = `${year}-${String(month).padStart(2, "0")}-${String(day).padStart(2, "0")}`
          if (agreeOnTime(`${date}T12:34:56.789Z`)) taken++
          agreeOnTime(`${date}T23:59:59Z`)
        }
      }
    }
    // All days of the ten years from 100 on do not need the schema, except leap days.
    assert.strictEqual(taken, 10 * 365)
  })

  it("of every second of a day decode to that second", () => {
    const two = (n: number) => String(n).padStart(2, "0")
    for (let hour = 0; hour <= 25; hour++) {
      for (let minute = 0; minute <= 61; minute++) {
        const second = (hour * 7 + minute * 3) % 62
        agreeOnTime(`2026-10-01T${two(hour)}:${two(minute)}:${two(second)}Z`)
      }
    }
  })

  it("in unusual forms are rejected by both decoders or decode to the same time", () => {
    for (const text of oddTimes) agreeOnTime(text)
    for (const other of [undefined, null, 0, 1_759_322_096_789, {}, [], new Date(0)]) assert.isFalse(agreeOnTime(other))
  })

  it.prop(
    "changed in a character or two",
    [
      Schema.Literals(["2026-10-01T12:34:56.789Z", "2026-10-01T12:34:56Z"]),
      Arbitrary.array(
        Arbitrary.schema(
          Schema.Tuple([
            Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 23 })),
            Schema.Literals([..."0123456789TZtz:.-+/ ;٣"])
          ])
        ),
        { maxLength: 3 }
      )
    ],
    ([time, changes]) => {
      const characters = Array.from(time)
      for (const [at, character] of changes) characters[at % characters.length] = character
      agreeOnTime(characters.join(""))
    },
    { arbitrary: { runs: 3000, seed: 44 } }
  )
})

describe("If code can't be generated", () => {
  it("the schema decodes everything", () => {
    const original = globalThis.Function
    try {
      globalThis.Function = class {
        constructor() {
          throw new EvalError("Refused to evaluate a string as JavaScript")
        }
      } as unknown as FunctionConstructor
      assert.isUndefined(makeDirect(StacksSchema.ScheduledJobsPage))
      const decoded = makeDecoder(StacksSchema.ScheduledJobsPage)(answers.listScheduledJobs.body)
      assert.isTrue(Result.isSuccess(decoded))
    } finally {
      globalThis.Function = original
    }
  })
})
