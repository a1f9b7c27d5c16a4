/** Unblocks steps: block and input steps, and steps that are held. */
import * as Result from "effect/Result"
import * as BuildData from "./buildData.ts"
import { isOver, type Step } from "./builds.ts"
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
  if (known === undefined) return Result.fail(`there is no step ${name}`)
  return Result.fail(isOver(known) ? `the step ${name} is ${known.state}` : `the step ${name} is not blocked`)
}

const valuesOf = ({ fields }: Step, values: FieldValues): Result.Result<ReadonlyMap<string, string>, string> =>
  Result.gen(function* () {
    const all = new Map<string, string>()
    const unknown = Object.keys(values).find((key) => !fields.some((field) => field.key === key))
    if (unknown !== undefined) return yield* Result.fail(`the step has no field ${unknown}`)
    for (const { defaultValue, isRequired, key, options } of fields) {
      const value = Object.hasOwn(values, key) ? values[key] : defaultValue
      if (value === undefined || value === "") {
        if (isRequired) return yield* Result.fail(`the field ${key} needs a value`)
        continue
      }
      const wrong = options && value.split("\n").find((line) => !options.includes(line))
      if (wrong !== undefined) return yield* Result.fail(`the field ${key} has no option ${wrong}`)
      all.set(key, value)
    }
    return all
  })
