/** Reads a pipeline and its steps into the forms that the agent uploads. */
import * as Result from "effect/Result"
import * as Fields from "./fields.ts"
import { type Field, type Shape, Shapes, Struct } from "./shape.ts"
import { fail, type Item, kindOf, List, Mapping, type Problem, type Read } from "./value.ts"

/** A pipeline, and its environment apart: its variables are expanded first. */
export interface PipelineShape {
  readonly env: Mapping | undefined
  readonly envAt: number
  readonly body: Struct
  /** What the agent warns about, and uploads anyway. */
  readonly warnings: ReadonlyArray<Problem>
}

export const readPipeline = (document: Item): Read<PipelineShape> =>
  Result.gen(function* () {
    const warnings: Array<Problem> = []
    if (document.value instanceof List) {
      const steps = yield* readSteps(document, warnings)
      return {
        env: undefined,
        envAt: document.at,
        body: new Struct([stepsField(steps, document.at)], Fields.none),
        warnings
      }
    }
    if (document.value === null) return yield* fail(document.at, "The file is empty. A pipeline has a list of `steps`.")
    if (!(document.value instanceof Mapping)) {
      return yield* fail(
        document.at,
        `Expected a map with \`steps\`, or a list of steps, not ${kindOf(document.value)}.`
      )
    }
    const known = new Fields.Known(document.value)
    const steps = known.find("steps")
    const env = known.find("env")
    const variables = env === undefined ? undefined : yield* Fields.env(env)
    yield* known.add(["secrets"], Fields.secrets, { isFixed: true })
    yield* known.add(["checkout"], Fields.checkout, { isAlwaysSent: true })
    if (steps === undefined) warnings.push({ at: document.at, problem: "There are no `steps`." })
    const list = steps === undefined ? new Shapes([]) : yield* readSteps(steps, warnings)
    return {
      env: variables instanceof Mapping ? variables : undefined,
      envAt: env?.at ?? document.at,
      body: new Struct([stepsField(list, steps?.at ?? document.at), ...known.fields], known.rest),
      warnings
    }
  })

const stepsField = (value: Shapes, at: number): Field => ({ name: "steps", at, value, isAlwaysSent: true })

const readSteps = ({ at, value }: Item, warnings: Array<Problem>): Read<Shapes> =>
  Result.gen(function* () {
    if (value === null) return new Shapes([])
    if (!(value instanceof List)) return yield* fail(at, `Expected a list of steps, not ${kindOf(value)}.`)
    const steps: Array<{ readonly at: number; readonly value: Shape }> = []
    for (const item of value.items) steps.push({ at: item.at, value: yield* readStep(item, warnings) })
    return new Shapes(steps)
  })

type Kind = "command" | "wait" | "input" | "trigger" | "group"

/** The names of other kinds than `command`: as a type, and as a field that tells the kind of a step. */
const otherKinds: ReadonlyArray<readonly [name: string, kind: Kind]> = [
  ["wait", "wait"],
  ["waiter", "wait"],
  ["block", "input"],
  ["input", "input"],
  ["manual", "input"],
  ["trigger", "trigger"],
  ["group", "group"]
]

const types: ReadonlyMap<string, Kind> = new Map([["command", "command"], ["script", "command"], ...otherKinds])

/** The fields that tell the kind of a step. The first one counts. */
const inferred: ReadonlyArray<readonly [field: string, kind: Kind]> = [
  ["command", "command"],
  ["commands", "command"],
  ["plugins", "command"],
  ...otherKinds
]
const bareSteps: ReadonlySet<string> = new Set(["wait", "waiter", "block", "input", "manual"])

const readStep = (item: Item, warnings: Array<Problem>): Read<Shape> =>
  Result.gen(function* () {
    const { at, value } = item
    if (typeof value === "string") {
      if (!bareSteps.has(value)) warnings.push({ at, problem: `${JSON.stringify(value)} is no step.` })
      return value
    }
    if (!(value instanceof Mapping)) return yield* fail(at, `Expected a step, not ${kindOf(value)}.`)
    const type = value.entries.get("type")
    if (type !== undefined && typeof type.value !== "string") {
      return yield* fail(type.at, `The type of a step is a text, not ${kindOf(type.value)}.`)
    }
    const kind =
      type === undefined ? inferred.find(([field]) => value.entries.has(field))?.[1] : types.get(String(type.value))
    if (kind === undefined) {
      warnings.push({ at, problem: "The agent does not know this kind of step." })
      return value
    }
    return yield* readKnownStep(value, kind, warnings)
  })

/** A step with a field that the agent does not understand stays as it is. */
const readKnownStep = (step: Mapping, kind: Kind, warnings: Array<Problem>): Read<Shape> => {
  switch (kind) {
    case "command":
      return orAsIs(readCommandStep(step), step, warnings)
    case "group":
      return orAsIs(readGroup(step), step, warnings)
    case "wait":
    case "input":
    case "trigger":
      return Result.succeed(step)
  }
}

const orAsIs = (read: Read<Struct>, step: Mapping, warnings: Array<Problem>): Read<Shape> =>
  Result.match(read, {
    onFailure: (problem): Read<Shape> => {
      warnings.push(problem)
      return Result.succeed(step)
    },
    onSuccess: (shape) => Result.succeed(shape)
  })

const readCommandStep = (step: Mapping): Read<Struct> =>
  Result.gen(function* () {
    const known = new Fields.Known(step)
    const commands = known.find("commands", "command")
    const lines = commands === undefined ? [] : yield* Fields.texts(commands)
    // Of both fields `commands` counts, but the other one must be a text.
    const other = known.find("command")
    if (other !== undefined && other !== commands) yield* Fields.text(other)
    yield* known.add(["key", "id", "identifier"], Fields.text)
    yield* known.add(["label", "name"], Fields.text)
    yield* known.add(["plugins"], Fields.plugins)
    yield* known.add(["secrets"], Fields.secrets, { isFixed: true })
    yield* known.add(["env"], Fields.env)
    yield* known.add(["signature"], Fields.signature, { isFixed: true, isAlwaysSent: true })
    yield* known.add(["matrix"], Fields.matrix, { isAlwaysSent: true })
    yield* known.add(["cache"], Fields.cache, { isAlwaysSent: true })
    yield* known.add(["checkout"], Fields.checkout, { isAlwaysSent: true })
    const command: Field = { name: "command", at: commands?.at ?? 0, value: lines.join("\n"), isAlwaysSent: true }
    return new Struct([command, ...known.fields], known.rest)
  })

/**
 * A group with a step that the agent does not know is one that it does not know itself, unless the group has other fields: then the
 * agent forgets its warnings about the steps.
 */
const readGroup = (step: Mapping): Read<Struct> =>
  Result.gen(function* () {
    const known = new Fields.Known(step)
    yield* known.add(["key", "id", "identifier"], Fields.text)
    const group = known.find("group", "label", "name")
    const label = group === undefined || group.value === null ? null : yield* Fields.text(group)
    const steps = known.find("steps")
    const warnings: Array<Problem> = []
    const list = steps === undefined ? new Shapes([]) : yield* readSteps(steps, warnings)
    const [warning] = warnings
    if (warning !== undefined && known.rest.entries.size === 0) return yield* Result.fail(warning)
    return new Struct(
      [
        { name: "group", at: group?.at ?? 0, value: label ?? null, isAlwaysSent: true },
        stepsField(list, steps?.at ?? 0),
        ...known.fields
      ],
      known.rest
    )
  })
