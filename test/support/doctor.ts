/** Runs `stacksapi doctor` and reads its report. */
import { assert } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Schema } from "effect"
import * as Altered from "./altered.ts"
import { environmentOf, stacksapi } from "./cli.ts"

const Report = Schema.fromJsonString(
  Schema.Struct({
    queue: Schema.String,
    problems: Schema.Int,
    findings: Schema.Array(
      Schema.Struct({
        check: Schema.String,
        verdict: Schema.String,
        detail: Schema.String,
        advice: Schema.optional(Schema.String)
      })
    )
  })
)

/** Runs the doctor against the emulator, with altered responses if a test alters some. */
export const examined = Effect.fnUntraced(function* (
  { alter, token }: { readonly alter?: Altered.Alter; readonly token?: string } = {},
  ...args: ReadonlyArray<string>
) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const env = environmentOf(emulator)
  if (alter !== undefined) env["BUILDKITE_AGENT_ENDPOINT"] = yield* Altered.serve(alter)
  if (token !== undefined) env["BUILDKITE_CLUSTER_TOKEN"] = token
  const { status, stderr, stdout } = yield* stacksapi(["doctor", "--json", "--queue", "q", ...args], { env })
  const { findings, problems, queue } = yield* Schema.decodeUnknownEffect(Report)(stdout)
  const bad = findings.filter(({ verdict }) => verdict === "differs" || verdict === "failed")
  assert.strictEqual(problems, bad.length)
  return { status, stdout, stderr, queue, findings, bad }
})

export const served = <A, E, R>(effect: Effect.Effect<A, E, R>, options?: NodeStacksEmulator.Options) =>
  effect.pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer(options)))
