/** Reads and checks an uploaded pipeline: plain data, as an agent sends it. */
import * as Result from "effect/Result"
import * as Fields from "./fields.ts"
import { type Combination, combinations } from "./matrix.ts"
import { type Fields as FieldMap, first, optional, Part, type Read, readFlag, readSkip, readText } from "./part.ts"

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

/** A field that a person fills in. Its value becomes meta-data of the build. */
/** A field of a block or input step. */
export interface InputField {
  /** The key of the meta-data. */
  readonly key: string
  readonly label: string
  readonly isRequired: boolean
  readonly defaultValue: string | undefined
  /** The values to choose from; undefined for a text. */
  readonly options: ReadonlyArray<string> | undefined
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
  /** The fields that mean nothing to the emulator, with the paths where they are. */
  readonly ignored: ReadonlyMap<string, ReadonlyArray<string>>
}

type Ignored = Map<string, Array<string>>

export const readDocument = (value: unknown): Read<Document> =>
  Result.gen(function* () {
    const at = new Part(value, "")
    const ignored: Ignored = new Map()
    if (at.isList) {
      return { env: {}, rules: [], priority: undefined, steps: yield* readSteps(at, ignored, false), ignored }
    }
    const fields = yield* at.fields()
    const steps = fields.get("steps")
    if (steps === undefined) return yield* at.fail("There are no `steps`. A pipeline has a list of them.")
    noteIgnored(fields, pipelineFields, ignored)
    return {
      at,
      env: yield* Fields.readEnv(fields.get("env")),
      rules: yield* Fields.readRules(fields),
      priority: yield* optional(fields.get("priority"), (part) => part.integer()),
      steps: yield* readSteps(steps, ignored, false),
      ignored
    }
  })

const pipelineFields = new Set(["steps", "env", "agents", "agent_query_rules", "priority"])

const readSteps = (list: Part, ignored: Ignored, isInGroup: boolean): Read<ReadonlyArray<Step>> =>
  Result.flatMap(list.isNull ? Result.succeed([]) : list.list(), (steps) =>
    Result.all(steps.map((step) => readStep(step, ignored, isInGroup)))
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

const readStep = (step: Part, ignored: Ignored, isInGroup: boolean): Read<Step> =>
  Result.gen(function* () {
    if (!step.isMap) return yield* readBareStep(step)
    const fields = yield* step.fields()
    const type = fields.get("type")?.value
    const kind = kinds.find(([field]) => field === type)?.[1] ?? kindOf(fields)
    if (kind === undefined) return yield* step.fail(`This step is of no known kind. ${stepKinds}`)
    if (kind === "group" && isInGroup) return yield* step.fail("A group can't have groups in it.")
    noteIgnored(fields, stepFields[kind], ignored)
    const common = yield* readCommon(step, fields)
    switch (kind) {
      case "group":
        return { ...common, kind, steps: yield* readGroup(step, fields.get("steps"), ignored) }
      case "wait":
        return { ...common, kind, continuesOnFailure: yield* readFlag(fields.get("continue_on_failure")) }
      case "block":
      case "input": {
        const label = common.label ?? (yield* optional(first(fields, "block", "manual", "input"), readText))
        const prompt = yield* optional(fields.get("prompt"), readText)
        return { ...common, kind, label, prompt, fields: yield* readInputFields(fields.get("fields")) }
      }
      case "trigger":
        return {
          ...common,
          kind,
          pipeline: (yield* optional(fields.get("trigger"), readText)) ?? "",
          isAsync: yield* readFlag(fields.get("async"))
        }
      case "command":
        return { ...common, kind, ...(yield* readCommandFields(fields)) }
    }
  })

const readCommon = (at: Part, fields: FieldMap): Read<Common> =>
  Result.gen(function* () {
    const branches = fields.get("branches")
    return {
      at,
      key: yield* optional(first(fields, "key", "identifier", "id"), readText),
      label: yield* optional(first(fields, "label", "name", "group"), readText),
      dependsOn: fields.has("depends_on") ? yield* readDependencies(fields.get("depends_on")) : undefined,
      allowsDependencyFailure: yield* readFlag(fields.get("allow_dependency_failure")),
      condition: yield* optional(fields.get("if"), readText),
      branches: branches === undefined ? [] : yield* Result.all(branches.some().map((branch) => branch.text())),
      skip: yield* readSkip(fields.get("skip")),
      hasIfChanged: first(fields, "if_changed") !== undefined
    }
  })

const readCommandFields = (fields: FieldMap): Read<Omit<CommandStep, keyof Common | "kind">> =>
  Result.gen(function* () {
    const plugins = first(fields, "plugins", "plugin")?.some() ?? []
    const paths = first(fields, "artifact_paths", "artifacts")?.some() ?? []
    const minutes = first(fields, "timeout_in_minutes", "timeout")
    return {
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
      artifactPaths: yield* Result.all(paths.map((path) => path.text()))
    }
  })

/** Steps without fields, such as `- wait`. */
const readBareStep = (step: Part): Read<Step> =>
  Result.gen(function* () {
    const text = step.isNull ? "" : yield* step.text()
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

const readGroup = (group: Part, steps: Part | undefined, ignored: Ignored): Read<ReadonlyArray<Step>> =>
  steps === undefined ? group.fail("A group has a list of `steps`.") : readSteps(steps, ignored, true)

const readDependencies = (part: Part | undefined): Read<ReadonlyArray<Dependency>> =>
  Result.gen(function* () {
    const dependencies: Array<Dependency> = []
    for (const at of part?.some() ?? []) {
      if (!at.isMap) {
        dependencies.push({ key: yield* at.text(), at, allowsFailure: false })
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

const readInputFields = (part: Part | undefined): Read<ReadonlyArray<InputField>> =>
  Result.all(
    (part?.some() ?? []).map((item) =>
      Result.gen(function* () {
        const fields = yield* item.fields()
        const key = yield* optional(fields.get("key"), readText)
        if (key === undefined) return yield* item.fail("A field has a `key`.")
        const options: Array<string> = []
        for (const option of fields.get("options")?.some() ?? []) {
          const value = option.isMap ? first(yield* option.fields(), "value", "label") : option
          if (value !== undefined) options.push(yield* value.text())
        }
        const defaults = fields.get("default")?.some() ?? []
        return {
          key,
          label: (yield* optional(first(fields, "text", "select", "label"), readText)) ?? key,
          isRequired: fields.get("required")?.boolean !== false,
          defaultValue:
            defaults.length === 0 ? undefined : (yield* Result.all(defaults.map((value) => value.text()))).join("\n"),
          options: fields.has("options") ? options : undefined
        }
      })
    )
  )

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

const noteIgnored = (fields: FieldMap, used: ReadonlySet<string>, ignored: Ignored): void => {
  for (const [name, { path }] of fields) {
    if (used.has(name)) continue
    const paths = ignored.get(name)
    if (paths === undefined) ignored.set(name, [path])
    else paths.push(path)
  }
}
