/** Texts that are longer than the service takes are cut between characters, with a mark. */
import { assert, describe, it } from "@effect/vitest"
import { type StacksClient, StacksSchema } from "@stacksapi/core"
import { Effect, Logger, References } from "effect"
import { jobUuid } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"

const mark = "… (cropped)"
const stackKey = "my-stack"

const bytes = (text: string) => new TextEncoder().encode(text).length
const characters = (text: string) => Array.from(text).length

/** What arrives where a text is sent as a detail. */
const sent = Effect.fnUntraced(function* (
  details: ReadonlyArray<string>,
  call: (client: StacksClient.Service, detail: string) => Effect.Effect<unknown, unknown>
) {
  const service = Scripted.make((request, index) =>
    Scripted.json(200, request.url.endsWith("/notifications") ? { errors: [] } : {})(request, index)
  )
  const client = yield* Scripted.client(service)
  yield* Effect.forEach(details, (detail) => call(client, detail))
  return service.requests.map(({ body }) => {
    const json = JSON.parse(body ?? "")
    const detail: unknown = json.detail ?? json.notifications[0].detail
    assert(typeof detail === "string")
    return detail
  })
})

const finish = (client: StacksClient.Service, detail: string) => client.finishJob({ stackKey, jobUuid, detail })
const fail = (client: StacksClient.Service, detail: string) => client.failJob({ stackKey, jobUuid, detail })
const notify = (client: StacksClient.Service, detail: string) =>
  client.createStackNotification({ stackKey, jobUuid, detail })
const notifyAll = (client: StacksClient.Service, detail: string) =>
  client.createStackNotifications({ stackKey, notifications: [{ jobUuid, detail }] })

/** Characters of 1, 2, 3 and 4 bytes. */
const alphabet = ["a", "é", "€", "😀"]

describe("The detail of a finished job, at most 4096 bytes", () => {
  it.effect.each([
    ["finishJob", finish],
    ["failJob", fail]
  ] as const)("%s cuts between characters, wherever the limit falls", ([, call]) =>
    Effect.gen(function* () {
      for (const character of alphabet) {
        // Shifted byte by byte, the limit falls on every byte of a character.
        const details = Array.from({ length: 8 }, (_, shift) => "x".repeat(shift) + character.repeat(4200))
        const cropped = yield* sent(details, call)
        for (const [index, detail] of cropped.entries()) {
          const whole = details[index] ?? ""
          assert.isAtMost(bytes(detail), 4096)
          // No more than one character is given up for nothing.
          assert.isAbove(bytes(detail), 4096 - bytes(character))
          assert.isTrue(detail.isWellFormed())
          assert.isTrue(detail.endsWith(mark))
          assert.isTrue(whole.startsWith(detail.slice(0, -mark.length)))
        }
      }
    })
  )

  it.effect("is not changed if it has at most 4096 bytes", () =>
    Effect.gen(function* () {
      const details = [
        "a".repeat(4096),
        `${"€".repeat(1365)}a`,
        "😀".repeat(1024),
        "é".repeat(2048),
        " \n\t\u0000 ",
        "a".repeat(1365),
        "e\u0301"
      ]
      assert.deepStrictEqual(yield* sent(details, finish), details)
      const [cropped = ""] = yield* sent(["a".repeat(4097)], finish)
      assert.strictEqual(cropped, "a".repeat(4096 - bytes(mark)) + mark)
    })
  )

  it.effect("has unpaired surrogates replaced, because UTF-8 can't encode them", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* sent(["a\ud83db", "\udc00", "a\ud83d"], finish), ["a\ufffdb", "\ufffd", "a\ufffd"])
      const [long = ""] = yield* sent(["\ud83d".repeat(5000)], finish)
      assert.isTrue(long.startsWith("\ufffd\ufffd"))
      assert.isAtMost(bytes(long), 4096)
    })
  )

  it.effect("logs one warning if it is cropped", () =>
    Effect.gen(function* () {
      const lines: Array<{ readonly level: string; readonly text: string; readonly annotations: unknown }> = []
      const logger = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
        lines.push({
          level: logLevel,
          text: String(message),
          annotations: fiber.getRef(References.CurrentLogAnnotations)
        })
      })
      yield* sent(["fits", "a\ud83db", "x".repeat(5000)], finish).pipe(Effect.provide(Logger.layer([logger])))
      assert.strictEqual(lines.length, 1)
      assert.strictEqual(lines[0]?.level, "Warn")
      assert.match(lines[0]?.text ?? "", /cropped to 4096 bytes/)
      assert.deepInclude(lines[0]?.annotations, { operation: "finishJob", job_uuid: jobUuid })
    })
  )
})

describe("The detail of a notification, at most 256 characters", () => {
  it.effect.each([
    ["createStackNotification", notify],
    ["createStackNotifications", notifyAll]
  ] as const)("%s counts characters, not bytes or UTF-16 units", ([, call]) =>
    Effect.gen(function* () {
      for (const character of alphabet) {
        const [fits = "", cropped = ""] = yield* sent([character.repeat(256), character.repeat(257)], call)
        assert.strictEqual(fits, character.repeat(256))
        assert.strictEqual(cropped, character.repeat(256 - characters(mark)) + mark)
        assert.strictEqual(characters(cropped), 256)
      }
    })
  )

  it.effect("has unpaired surrogates replaced", () =>
    Effect.gen(function* () {
      const [short, long = ""] = yield* sent(["a\udc00", `${"x".repeat(300)}\ud83d`], notify)
      assert.strictEqual(short, "a\ufffd")
      assert.isTrue(long.isWellFormed())
    })
  )

  it("has its limit exported", () => {
    assert.strictEqual(StacksSchema.MaxFinishDetailBytes, 4096)
    assert.strictEqual(StacksSchema.MaxNotificationDetailLength, 256)
    assert.strictEqual(StacksSchema.MaxNotificationsPerJob, 100)
    assert.strictEqual(StacksSchema.MaxBatchSize, 1000)
  })
})
