/** The tables of the library: endpoints, options, status, events and metrics, from their declarations and doc comments. */
import { globSync } from "node:fs"
import { StacksApi } from "@stacksapi/core"
import { Context, Schema } from "effect"
import { HttpApi } from "effect/http-api"
import { declarations } from "../../packages/core/src/internal/api/declaration.ts"
import { levels } from "../../packages/core/src/internal/stack/events.ts"
import { firstSentence, type Member, membersOf, read, sentencesOf, textOf, withoutStop } from "./declarations.ts"
import { code, table } from "./markdown.ts"
import { root } from "./snippets.ts"

/** An option's meaning, default and valid values: sentences of its doc comment. */
const optionOf = ({ comment, name }: Member) => {
  const sentences = sentencesOf(comment)
  const find = (start: RegExp) => {
    const sentence = sentences.find((it) => start.test(it)) ?? ""
    return withoutStop(sentence.replace(start, ""))
  }
  const isMeaning = (sentence: string) => !/^(?:Default|Must be)\b/.test(sentence)
  return {
    name: code(name),
    meaning: withoutStop(sentences.filter(isMeaning).join(" ")),
    default: find(/^Default:? /),
    valid: find(/^Must be /)
  }
}

const stackOptions = membersOf("packages/core/src/Stack.ts", "export interface Options {").map(optionOf)

const agentOptions = membersOf("packages/core/src/AgentProvider.ts", "export interface RunnerOptions {").map(optionOf)

const meaningTable = (heading: string, members: ReadonlyArray<Member>) =>
  table(
    [heading, "meaning"],
    members.map(({ comment, name }) => [code(name), withoutStop(comment)])
  )

/** The fields of an endpoint's result. */
const resultOf = (endpoint: StacksApi.Endpoint): string => {
  const declaration = declarations[endpoint]
  if (!("success" in declaration)) return ""
  const { ast } = Schema.toType(declaration.success)
  if (!("propertySignatures" in ast)) throw new Error(`${endpoint} has no fields`)
  return ast.propertySignatures.map(({ name }) => code(String(name))).join(", ")
}

/** A row for every method of the client. */
const endpoints = () => {
  const requests = new Map<string, readonly [request: string, limit: string]>()
  HttpApi.reflect(StacksApi.StacksApi, {
    onGroup() {},
    onEndpoint({ endpoint }) {
      const { limit } = Context.getUnsafe(endpoint.annotations, StacksApi.Limit)
      requests.set(endpoint.identifier, [code(`${endpoint.method} ${endpoint.path.slice(1)}`), String(limit)])
    }
  })
  return membersOf("packages/core/src/StacksClient.ts", "export interface Service {").map(({ comment, name }) => {
    const endpoint = StacksApi.endpointOf(name as StacksApi.Operation)
    const [request = "", limit = ""] = requests.get(endpoint) ?? []
    return [
      code(name),
      name === endpoint ? request : `calls ${code(endpoint)}`,
      withoutStop(firstSentence(comment)),
      name === endpoint ? resultOf(endpoint) : "",
      name === endpoint ? limit : ""
    ]
  })
}

/** A row for every event, with its fields and the level of its log line. */
const events = () =>
  membersOf("packages/core/src/StackEvent.ts", "export type StackEvent = Data.TaggedEnum<{").map(
    ({ comment, name, type }) => [
      code(name),
      Array.from(type.matchAll(/readonly (\w+)/g), ([, field = ""]) => code(field)).join(", "),
      withoutStop(comment),
      levels[name as keyof typeof levels]
    ]
  )

const isRuntime = (file: string): boolean => file.includes("/internal/stack/")

/**
 * A row for every metric, those of the runtime first. The labels are in the doc comment, and the meaning is the metric's own
 * description.
 */
const metrics = (): ReadonlyArray<ReadonlyArray<string>> =>
  globSync("packages/*/src/**/*.ts", { cwd: root })
    .sort((a, b) => Number(isRuntime(b)) - Number(isRuntime(a)) || a.localeCompare(b))
    .flatMap((file) =>
      Array.from(
        read(file).matchAll(
          /(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n)?(?:export )?const \w+ = Metric\.(\w+)\("(stacksapi_\w+)", \{\s*description: (["'`])(.*)\4/g
        ),
        ([, comment = "", type = "", name = "", , description = ""]) => [
          code(name),
          type,
          withoutStop(sentencesOf(textOf(comment)).find((it) => it.startsWith("Labels: ")) ?? "").replace(
            "Labels: ",
            ""
          ),
          description
        ]
      )
    )

/** Every table by its name. */
export const tables = (): Readonly<Record<string, string>> => ({
  endpoints: table(["method", "request", "what it does", "result", "limit"], endpoints()),
  "options of a stack": table(
    ["option", "default", "valid values", "meaning"],
    stackOptions.map((option) => [option.name, option.default, option.valid, option.meaning])
  ),
  "options of a stack in short": table(
    ["option", "default", "meaning"],
    stackOptions.map((option) => [option.name, option.default, option.meaning])
  ),
  "options of AgentProvider.layerRunner": table(
    ["option", "default", "valid values", "meaning"],
    agentOptions.map((option) => [option.name, option.default, option.valid, option.meaning])
  ),
  "status of a stack": meaningTable("field", membersOf("packages/core/src/Stack.ts", "export interface Status {")),
  "events of a stack": table(["event", "fields", "meaning", "log level"], events()),
  metrics: table(["metric", "type", "labels", "meaning"], metrics()),
  "metrics of agents elsewhere": table(
    ["metric", "type", "labels", "meaning"],
    metrics().filter(([name = ""]) => /stacksapi_(?:agent|amount)/.test(name))
  )
})
