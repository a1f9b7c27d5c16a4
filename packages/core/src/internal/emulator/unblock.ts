/** Unblocks steps: block and input steps, and steps that are held. */
import * as Result from "effect/Result"
import * as BuildData from "./buildData.ts"
import { isOver, type Step } from "./builds.ts"
import { type InputField, problemOf } from "./pipeline/inputFields.ts"
import type { State } from "./state.ts"

/** The values of a block step's fields, by their keys. */
export type FieldValues = Readonly<Record<string, string>>

/** Unblocks a step, found by its id, its key or its label. Required fields need a value, unless they have a default. */
export const unblock = (state: State, name: string, values: FieldValues): Result.Result<Step, string> =>
  Result.gen(function* () {
    const step = yield* find(state, name)
    const all = yield* valuesOf(step, values)
    const { metaData } = BuildData.open(state, step.build.uuid)
    for (const [key, value] of all) metaData.set(key, value)
    const [reason] = step.holds
    removeHold(step, reason)
    return step
  })

/** Removes the reason from the steps of a group too, where it is the first one. */
const removeHold = (step: Step, reason: string | undefined): void => {
  if (step.holds[0] !== reason) return
  step.holds.shift()
  for (const child of step.children) removeHold(child, reason)
}

const find = (state: State, name: string): Result.Result<Step, string> => {
  const held = Array.from(state.openSteps).filter(({ holds }) => holds.length > 0)
  for (const nameOf of [({ id }: Step) => id, ({ key }: Step) => key, ({ label }: Step) => label]) {
    const [found, ...others] = held.filter((step) => nameOf(step) === name)
    if (found === undefined) continue
    return others.length === 0
      ? Result.succeed(found)
      : Result.fail(
          `several steps are named ${name}; their ids are ${[found, ...others].map(({ id }) => id).join(", ")}`
        )
  }
  const known = Array.from(state.pipelineSteps.values()).find(({ id, key, label }) => [id, key, label].includes(name))
  if (known !== undefined) return Result.fail(`the step ${name} ${whyNot(known)}`)
  return Result.fail(`there is no step ${name}; ${describe(held)}`)
}

/** Why a step does not wait for anybody. */
const whyNot = (step: Step): string => {
  if (!isOver(step)) return "is not blocked: it waits for nobody"
  switch (step.state) {
    case "skipped":
      return "is left out of the build"
    case "canceled":
      return "was canceled"
    case "failed":
      return step.hasFailedNeed ? "has failed, because a step before it failed" : "has failed"
    default:
      return "has already passed"
  }
}

/** Few enough for a sentence. */
const maxNames = 10

const describe = (held: ReadonlyArray<Step>): string => {
  if (held.length === 0) return "no step waits for anybody"
  const names = held.slice(0, maxNames).map(({ id, key, label }) => key ?? label ?? id)
  const others = held.length - names.length
  return `these wait: ${names.join(", ")}${others === 0 ? "" : ` and ${others} more`}`
}

const valuesOf = ({ fields }: Step, values: FieldValues): Result.Result<ReadonlyMap<string, string>, string> =>
  Result.gen(function* () {
    const all = new Map<string, string>()
    const unknown = Object.keys(values).find((key) => !fields.some((field) => field.key === key))
    if (unknown !== undefined) {
      const keys = fields.length === 0 ? "it has none" : `it has ${fields.map(({ key }) => key).join(", ")}`
      return yield* Result.fail(`the step has no field ${unknown}: ${keys}`)
    }
    for (const field of fields) {
      const given = Object.hasOwn(values, field.key) ? values[field.key] : field.defaultValue
      const value = given?.replaceAll("\r\n", "\n")
      if (value === undefined || (value === "" && field.options?.includes("") !== true)) {
        if (field.isRequired) return yield* Result.fail(`the field ${field.key} needs a value: ${wanted(field)}`)
        continue
      }
      const problem = problemOf(value, field)
      if (problem !== undefined) return yield* Result.fail(`the field ${field.key} ${problem}`)
      all.set(field.key, value)
    }
    return all
  })

const wanted = ({ format, hint, isMultiple, label, options }: InputField): string =>
  [
    ...(hint === undefined ? [label] : [`${label} (${hint})`]),
    ...(options === undefined ? [] : [`${isMultiple ? "one or more" : "one"} of ${options.join(", ")}`]),
    ...(format === undefined ? [] : [`a text that matches ${format}`])
  ].join("; ")
