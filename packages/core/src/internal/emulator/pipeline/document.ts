/** Reads and checks an uploaded pipeline: plain data, as an agent sends it. */
import * as Result from "effect/Result"
import * as Fields from "./fields.ts"
import { type InputField, readInputFields } from "./inputFields.ts"
import * as Limits from "./limits.ts"
import { type Combination, combinations } from "./matrix.ts"
import {
  type Fields as FieldMap,
  first,
  optional,
  Part,
  type Read,
  readFlag,
  readSkip,
  readText,
  readTexts
} from "./part.ts"
import { type Remark, Remarks } from "./remarks.ts"

/** A dependency on a step of the same build. */
export interface Dependency {
  readonly key: string
  readonly at: Part
  readonly allowsFailure: boolean
}

interface Common {
  readonly at: Part
  readonly key: string | undefined
  readonly label: string | undefined
  /** Undefined if the step has no `depends_on`: then it depends on the `wait` or `block` before it. */
  readonly dependsOn: ReadonlyArray<Dependency> | undefined
  readonly allowsDependencyFailure: boolean
  /** A condition, as it is written. */
  readonly condition: string | undefined
  readonly branches: ReadonlyArray<string>
  /** Why the step is skipped; undefined if it is not. */
  readonly skip: string | undefined
  /** Whether the step depends on changed files. An agent decides that before it uploads a pipeline. */
  readonly hasIfChanged: boolean
}

export interface CommandStep extends Common {
  readonly kind: "command"
  readonly command: string
  readonly env: Readonly<Record<string, string>>
  readonly rules: ReadonlyArray<string>
  readonly priority: number | undefined
  readonly parallelism: number | undefined
  readonly combinations: ReadonlyArray<Combination>
  readonly softFail: Fields.SoftFail
  readonly retry: Fields.Retry
  readonly concurrency: Fields.Concurrency | undefined
  readonly timeoutMinutes: number | undefined
  readonly isCanceledOnBuildFailing: boolean
  /** JSON, as agents get it. */
  readonly plugins: string | undefined
  readonly artifactPaths: ReadonlyArray<string>
}

export interface GroupStep extends Common {
  readonly kind: "group"
  readonly steps: ReadonlyArray<Step>
}

interface WaitStep extends Common {
  readonly kind: "wait"
  readonly continuesOnFailure: boolean
}

/** A step that a person lets through. */
interface BlockStep extends Common {
  readonly kind: "block" | "input"
  readonly prompt: string | undefined
  readonly fields: ReadonlyArray<InputField>
}

export interface TriggerStep extends Common {
  readonly kind: "trigger"
  readonly pipeline: string
  readonly isAsync: boolean
}

export type Step = CommandStep | GroupStep | WaitStep | BlockStep | TriggerStep

export interface Document {
  readonly env: Readonly<Record<string, string>>
  readonly rules: ReadonlyArray<string>
  readonly priority: number | undefined
  readonly steps: ReadonlyArray<Step>
  readonly remarks: ReadonlyArray<Remark>
}

export const readDocument = (value: unknown): Read<Document> =>
  Result.gen(function* () {
    const at = new Part(value, "")
    const remarks = new Remarks()
    if (at.isList) {
      const steps = yield* readSteps(at, remarks, false)
      return { env: {}, rules: [], priority: undefined, steps, remarks: remarks.all }
    }
    const fields = yield* at.fields("a map with `steps`, or a list of steps")
    const steps = fields.get("steps")
    if (steps === undefined) return yield* at.fail("There are no `steps`. A pipeline has a list of them.")
    remarks.addIgnored(fields, pipelineFields)
    return {
      env: yield* Fields.readEnv(fields.get("env")),
      rules: yield* Fields.readRules(fields),
      priority: yield* optional(fields.get("priority"), (part) => part.integer()),
      steps: yield* readSteps(steps, remarks, false),
      remarks: remarks.all
    }
  })

const pipelineFields = new Set(["steps", "env", "agents", "agent_query_rules", "priority"])

const readSteps = (list: Part, remarks: Remarks, isInGroup: boolean): Read<ReadonlyArray<Step>> =>
  Result.flatMap(list.isNull ? Result.succeed([]) : list.list("a list of steps"), (steps) =>
    Result.all(steps.map((step) => readStep(step, remarks, isInGroup)))
  )

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
  ["plugins", "command"],
  ["plugin", "command"]
]

const kindOf = (fields: FieldMap): Step["kind"] | undefined => kinds.find(([field]) => fields.has(field))?.[1]

const stepKinds = "Write a step with a `command`, a `group` of steps, `wait`, `block`, `input` or `trigger`."

const readStep = (step: Part, remarks: Remarks, isInGroup: boolean): Read<Step> =>
  Result.gen(function* () {
    if (!step.isMap) return yield* readBareStep(step)
    const fields = yield* step.fields()
    const type = fields.get("type")?.value
    const kind = kinds.find(([field]) => field === type)?.[1] ?? kindOf(fields)
    if (kind === undefined) return yield* step.fail(`This step is of no known kind. ${stepKinds}`)
    if (kind === "group" && isInGroup) return yield* step.fail("A group can't have groups in it.")
    remarks.addIgnored(fields, stepFields[kind])
    const common = yield* readCommon(step, fields, remarks)
    switch (kind) {
      case "group":
        return { ...common, kind, steps: yield* readGroup(step, fields.get("steps"), remarks) }
      case "wait":
        return { ...common, kind, continuesOnFailure: yield* readFlag(fields.get("continue_on_failure")) }
      case "block":
      case "input": {
        const label = common.label ?? (yield* optional(first(fields, "block", "manual", "input"), readText))
        const prompt = yield* optional(fields.get("prompt"), readText)
        return { ...common, kind, label, prompt, fields: yield* readInputFields(fields.get("fields"), remarks) }
      }
      case "trigger":
        return {
          ...common,
          kind,
          pipeline: (yield* optional(fields.get("trigger"), readText)) ?? "",
          isAsync: yield* readFlag(fields.get("async"))
        }
      case "command":
        return { ...common, kind, ...(yield* readCommandFields(fields, remarks)) }
    }
  })

const readCommon = (at: Part, fields: FieldMap, remarks: Remarks): Read<Common> =>
  Result.gen(function* () {
    const key = first(fields, "key", "identifier", "id")
    Limits.noteKey(key, remarks)
    Limits.noteConditions(fields, remarks)
    return {
      at,
      key: yield* optional(key, readText),
      label: yield* optional(first(fields, "label", "name", "group"), readText),
      dependsOn: fields.has("depends_on") ? yield* readDependencies(fields.get("depends_on")) : undefined,
      allowsDependencyFailure: yield* readFlag(fields.get("allow_dependency_failure")),
      condition: yield* optional(fields.get("if"), readText),
      branches: yield* readTexts(fields.get("branches")),
      skip: yield* readSkip(fields.get("skip")),
      hasIfChanged: first(fields, "if_changed") !== undefined
    }
  })

const readCommandFields = (fields: FieldMap, remarks: Remarks): Read<Omit<CommandStep, keyof Common | "kind">> =>
  Result.gen(function* () {
    const plugins = first(fields, "plugins", "plugin")?.some() ?? []
    const minutes = first(fields, "timeout_in_minutes", "timeout")
    const command = {
      command: yield* Fields.readCommand(fields),
      env: yield* Fields.readEnv(fields.get("env")),
      rules: yield* Fields.readRules(fields),
      priority: yield* optional(fields.get("priority"), (part) => part.integer()),
      parallelism: yield* optional(fields.get("parallelism"), Fields.readParallelism),
      combinations: yield* combinations(fields.get("matrix")),
      softFail: yield* Fields.readSoftFail(fields.get("soft_fail")),
      retry: yield* Fields.readRetry(fields.get("retry")),
      concurrency: yield* Fields.readConcurrency(fields),
      timeoutMinutes: yield* optional(minutes, (part) => part.integer()),
      isCanceledOnBuildFailing: yield* readFlag(fields.get("cancel_on_build_failing")),
      plugins: plugins.length === 0 ? undefined : JSON.stringify(plugins.map(({ value }) => value)),
      artifactPaths: yield* readTexts(first(fields, "artifact_paths", "artifacts"))
    }
    Limits.noteCommand(fields, command, remarks)
    return command
  })

/** Steps without fields, such as `- wait`. */
const readBareStep = (step: Part): Read<Step> =>
  Result.gen(function* () {
    const text = step.isNull ? "" : yield* step.text("a step")
    const common: Common = {
      at: step,
      key: undefined,
      label: undefined,
      dependsOn: undefined,
      allowsDependencyFailure: false,
      condition: undefined,
      branches: [],
      skip: undefined,
      hasIfChanged: false
    }
    if (text === "wait" || text === "waiter") return { ...common, kind: "wait", continuesOnFailure: false }
    if (text === "block" || text === "manual" || text === "input") {
      return { ...common, kind: text === "input" ? "input" : "block", prompt: undefined, fields: [] }
    }
    return yield* step.fail(`This step is of no known kind. ${stepKinds}`)
  })

const readGroup = (group: Part, list: Part | undefined, remarks: Remarks): Read<ReadonlyArray<Step>> =>
  Result.gen(function* () {
    if (list === undefined) return yield* group.fail("A group has a list of `steps`.")
    const steps = yield* readSteps(list, remarks, true)
    Limits.noteGroup(list, steps.length, remarks)
    return steps
  })

const readDependencies = (part: Part | undefined): Read<ReadonlyArray<Dependency>> =>
  Result.gen(function* () {
    const dependencies: Array<Dependency> = []
    for (const at of part?.some() ?? []) {
      if (!at.isMap) {
        dependencies.push({
          key: yield* at.text("the key of a step, or a map with a `step`"),
          at,
          allowsFailure: false
        })
        continue
      }
      const fields = yield* at.fields()
      const step = fields.get("step")
      if (step === undefined) return yield* at.fail("A dependency names the key of a `step`.")
      const allowsFailure = yield* readFlag(fields.get("allow_failure"))
      dependencies.push({ key: yield* step.text(), at: step, allowsFailure })
    }
    return dependencies
  })

// -----------------------------------------------------------------------------
// Fields
// -----------------------------------------------------------------------------

const commonFields = [
  ...["type", "key", "identifier", "id", "label", "name", "depends_on", "allow_dependency_failure", "if", "branches"],
  ...["skip", "if_changed"]
]

/** The supported fields of each kind. */
const stepFields: Readonly<Record<Step["kind"], ReadonlySet<string>>> = {
  group: new Set([...commonFields, "group", "steps"]),
  wait: new Set([...commonFields, "wait", "waiter", "continue_on_failure"]),
  block: new Set([...commonFields, "block", "manual", "prompt", "fields", "blocked_state", "allowed_teams"]),
  input: new Set([...commonFields, "input", "prompt", "fields", "blocked_state", "allowed_teams"]),
  trigger: new Set([...commonFields, "trigger", "build", "async"]),
  command: new Set([
    ...commonFields,
    ...["command", "commands", "script", "env", "agents", "agent_query_rules", "priority", "parallelism", "matrix"],
    ...[
      "soft_fail",
      "retry",
      "concurrency",
      "concurrency_group",
      "concurrency_method",
      "timeout_in_minutes",
      "timeout"
    ],
    ...["cancel_on_build_failing", "plugins", "plugin", "artifact_paths", "artifacts", "signature"]
  ])
}
