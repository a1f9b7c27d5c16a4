/** Reads and checks the steps of a pipeline file. */
import * as AgentQueryRules from "@stacksapi/core/AgentQueryRules"
import * as Result from "effect/Result"
import { type Fields, first, optional, type Read, readFlag, readSkip, readSoftFail, type SoftFail } from "./fields.ts"
import { type Combination, combinations } from "./matrix.ts"
import type { Node } from "./node.ts"

export interface Dependency {
  readonly key: string
  readonly at: Node
  readonly allowFailure: boolean
}

interface Common {
  readonly at: Node
  readonly key: string | undefined
  readonly label: string | undefined
  /** Undefined if the step has no `depends_on`: then it depends on the steps before the last `wait`. */
  readonly dependsOn: ReadonlyArray<Dependency> | undefined
  readonly allowDependencyFailure: boolean
}

export interface CommandStep extends Common {
  readonly kind: "command"
  readonly command: string
  readonly env: Readonly<Record<string, string>>
  readonly agents: ReadonlyArray<string> | undefined
  readonly priority: number | undefined
  readonly parallelism: number | undefined
  readonly combinations: ReadonlyArray<Combination>
  readonly softFail: SoftFail
  readonly isSkipped: boolean
}

export interface GroupStep extends Common {
  readonly kind: "group"
  readonly isSkipped: boolean
  readonly steps: ReadonlyArray<Step>
}

export interface WaitStep extends Common {
  readonly kind: "wait"
  readonly continueOnFailure: boolean
}

/** A step that is not a job, but done by a person or another pipeline. */
export interface OtherStep extends Common {
  readonly kind: "block" | "input" | "trigger"
}

export type Step = CommandStep | GroupStep | WaitStep | OtherStep

export interface PipelineFile {
  readonly env: Readonly<Record<string, string>>
  readonly agents: ReadonlyArray<string>
  readonly priority: number | undefined
  readonly steps: ReadonlyArray<Step>
}

/** The ignored fields of a file, with their lines. */
export type Ignored = Map<string, Array<number>>

export const readPipeline = (file: Node, ignored: Ignored): Read<PipelineFile> =>
  Result.gen(function* () {
    if (file.isList) {
      return { env: {}, agents: [], priority: undefined, steps: yield* readSteps(file, ignored, false) }
    }
    if (file.isNull) return yield* file.fail("The file is empty. A pipeline has a list of `steps`.")
    const fields = yield* file.fields()
    const steps = fields.get("steps")
    if (steps === undefined) return yield* file.fail("There are no `steps`. A pipeline has a list of them.")
    noteIgnored(fields, pipelineFields, ignored)
    return {
      env: yield* readEnv(fields.get("env")),
      agents: (yield* readAgents(fields.get("agents"))) ?? [],
      priority: yield* optional(fields.get("priority"), (node) => node.integer()),
      steps: yield* readSteps(steps, ignored, false)
    }
  })

const pipelineFields = new Set(["steps", "env", "agents", "priority"])

const readSteps = (list: Node, ignored: Ignored, isInGroup: boolean): Read<ReadonlyArray<Step>> =>
  Result.flatMap(list.list(), (steps) => Result.all(steps.map((step) => readStep(step, ignored, isInGroup))))

// -----------------------------------------------------------------------------
// Steps
// -----------------------------------------------------------------------------

/** The fields that determine the kind of a step. The first one counts. */
const kinds: ReadonlyArray<readonly [field: string, kind: Step["kind"]]> = [
  ["group", "group"],
  ["wait", "wait"],
  ["waiter", "wait"],
  ["block", "block"],
  ["manual", "block"],
  ["input", "input"],
  ["trigger", "trigger"],
  ["command", "command"],
  ["commands", "command"],
  ["script", "command"],
  ["plugins", "command"]
]

const kindOf = (fields: Fields): Step["kind"] | undefined => kinds.find(([field]) => fields.has(field))?.[1]

const stepKinds = "Write a step with a `command`, a `group` of steps, `wait`, `block`, `input` or `trigger`."

const readStep = (step: Node, ignored: Ignored, isInGroup: boolean): Read<Step> =>
  Result.gen(function* () {
    if (!step.isMap) return yield* readBareStep(step)
    const fields = yield* step.fields()
    const type = yield* optional(fields.get("type"), (node) => node.text())
    const kind = kinds.find(([field]) => field === type)?.[1] ?? kindOf(fields)
    if (kind === undefined) return yield* step.fail(`This step is of no known kind. ${stepKinds}`)
    if (kind === "group" && isInGroup) return yield* step.fail("A group can't have groups in it.")
    noteIgnored(fields, stepFields[kind], ignored)
    const common = {
      at: step,
      key: yield* optional(first(fields, "key", "identifier", "id"), (node) => node.text()),
      label: yield* optional(first(fields, "label", "name", "group"), (node) => node.text()),
      dependsOn: fields.has("depends_on") ? yield* readDependencies(fields.get("depends_on")) : undefined,
      allowDependencyFailure: yield* readFlag(fields.get("allow_dependency_failure"))
    }
    switch (kind) {
      case "group":
        return {
          ...common,
          kind,
          isSkipped: yield* readSkip(fields.get("skip")),
          steps: yield* readGroup(step, fields.get("steps"), ignored)
        }
      case "wait":
        return { ...common, kind, continueOnFailure: yield* readFlag(fields.get("continue_on_failure")) }
      case "block":
      case "input":
      case "trigger":
        return { ...common, kind }
      case "command":
        return {
          ...common,
          kind,
          command: yield* readCommand(first(fields, "command", "commands", "script")),
          env: yield* readEnv(fields.get("env")),
          agents: yield* readAgents(fields.get("agents")),
          priority: yield* optional(fields.get("priority"), (node) => node.integer()),
          parallelism: yield* optional(fields.get("parallelism"), readParallelism),
          combinations: yield* combinations(fields.get("matrix")),
          softFail: yield* readSoftFail(fields.get("soft_fail")),
          isSkipped: yield* readSkip(fields.get("skip"))
        }
    }
  })

/** Steps without fields, such as `- wait`. */
const readBareStep = (step: Node): Read<Step> =>
  Result.gen(function* () {
    const text = step.isNull ? "" : yield* step.text()
    const common = { at: step, key: undefined, label: undefined, dependsOn: undefined, allowDependencyFailure: false }
    if (text === "wait" || text === "waiter") return { ...common, kind: "wait", continueOnFailure: false }
    if (text === "block" || text === "manual" || text === "input") {
      return { ...common, kind: text === "input" ? "input" : "block" }
    }
    return yield* step.fail(`This step is of no known kind. ${stepKinds}`)
  })

const readGroup = (group: Node, steps: Node | undefined, ignored: Ignored): Read<ReadonlyArray<Step>> =>
  steps === undefined ? group.fail("A group has a list of `steps`.") : readSteps(steps, ignored, true)

const commonFields = ["type", "key", "identifier", "id", "label", "name", "depends_on", "allow_dependency_failure"]

/** The supported fields of each kind. */
const stepFields: Readonly<Record<Step["kind"], ReadonlySet<string>>> = {
  group: new Set([...commonFields, "group", "steps", "skip"]),
  wait: new Set([...commonFields, "wait", "waiter", "continue_on_failure"]),
  block: new Set([...commonFields, "block", "manual", "prompt", "fields"]),
  input: new Set([...commonFields, "input", "prompt", "fields"]),
  trigger: new Set([...commonFields, "trigger", "build", "async"]),
  command: new Set([
    ...commonFields,
    ...["command", "commands", "script", "env", "agents", "priority", "parallelism", "matrix", "soft_fail", "skip"]
  ])
}

const noteIgnored = (fields: Fields, used: ReadonlySet<string>, ignored: Ignored): void => {
  for (const [name, { line }] of fields) {
    if (used.has(name)) continue
    const lines = ignored.get(name)
    if (lines === undefined) ignored.set(name, [line])
    else lines.push(line)
  }
}

// -----------------------------------------------------------------------------
// Fields
// -----------------------------------------------------------------------------

/** One command, or several that become lines. */
const readCommand = (node: Node | undefined): Read<string> =>
  Result.gen(function* () {
    if (node === undefined) return ""
    const lines = node.isList
      ? yield* Result.all((yield* node.list()).map((line) => line.text()))
      : [yield* node.text()]
    return unescaped(lines.join("\n"))
  })

/** Unescapes the `$$` and `\\$` that protect variables from interpolation at upload. */
const unescaped = (text: string): string => text.replace(/[$\\]\$/g, "$")

const readEnv = (node: Node | undefined): Read<Readonly<Record<string, string>>> =>
  Result.gen(function* () {
    const env: Record<string, string> = {}
    if (node === undefined || node.isNull) return env
    if (node.isList) {
      for (const item of yield* node.list()) {
        const [name, value] = yield* readPair(item)
        env[name] = unescaped(value)
      }
      return env
    }
    for (const [name, value] of yield* node.fields()) env[name] = value.isNull ? "" : unescaped(yield* value.text())
    return env
  })

/** Rules: `key=value`, or `key=` and `key` for any value; undefined without `agents`. */
const readAgents = (node: Node | undefined): Read<ReadonlyArray<string> | undefined> =>
  Result.gen(function* () {
    if (node === undefined || node.isNull) return undefined
    const rules: Array<string> = []
    if (node.isList) for (const item of yield* node.list()) rules.push(yield* readRule(item))
    else {
      for (const [key, value] of yield* node.fields()) rules.push(`${key}=${value.isNull ? "" : yield* value.text()}`)
    }
    return rules
  })

const readRule = (node: Node): Read<string> =>
  Result.flatMap(node.text(), (text) =>
    AgentQueryRules.parse(text).key === ""
      ? node.fail(`Expected KEY=VALUE, or KEY for any value, not ${JSON.stringify(text)}.`)
      : Result.succeed(text)
  )

const readPair = (node: Node): Read<readonly [name: string, value: string]> =>
  Result.gen(function* () {
    const text = yield* node.text()
    const separator = text.indexOf("=")
    if (separator <= 0) return yield* node.fail(`Expected NAME=VALUE, not ${JSON.stringify(text)}.`)
    return [text.slice(0, separator), text.slice(separator + 1)]
  })

const maxParallelism = 1000

const readParallelism = (node: Node): Read<number> =>
  Result.flatMap(node.integer(), (count) =>
    count >= 0 && count <= maxParallelism
      ? Result.succeed(count)
      : node.fail(`\`parallelism\` is from 0 to ${maxParallelism}, not ${count}.`)
  )

const readDependencies = (node: Node | undefined): Read<ReadonlyArray<Dependency>> =>
  Result.gen(function* () {
    if (node === undefined || node.isNull) return []
    const items = node.isList ? yield* node.list() : [node]
    const dependencies: Array<Dependency> = []
    for (const at of items) {
      if (at.isMap) {
        const fields = yield* at.fields()
        const step = fields.get("step")
        if (step === undefined) return yield* at.fail("A dependency names the key of a `step`.")
        dependencies.push({
          key: yield* step.text(),
          at: step,
          allowFailure: yield* readFlag(fields.get("allow_failure"))
        })
      } else {
        dependencies.push({ key: yield* at.text(), at, allowFailure: false })
      }
    }
    return dependencies
  })
