/** The fields that this library assumes in responses, and how a response differs from them. Values are never shown. */
import * as Predicate from "effect/Predicate"

type Kind = "string" | "number" | "boolean" | "null" | "list" | "object"

/** The kinds of a field's value, or the shape of an object or of a list's items. A field with `?` may be missing. */
export type Shape = { readonly [field: string]: ReadonlyArray<Kind> | { readonly items: Shape } | Shape }

const text: ReadonlyArray<Kind> = ["string"]
const nullableText: ReadonlyArray<Kind> = ["string", "null"]

export const tokenIdentity: Shape = {
  uuid: text,
  description: nullableText,
  token_type: text,
  organization_slug: text,
  organization_uuid: text,
  cluster_uuid: nullableText,
  cluster_name: nullableText,
  organization_queue_uuid: nullableText,
  organization_queue_key: nullableText
}

export const registeredStack: Shape = {
  id: text,
  organization_uuid: text,
  cluster_queue_key: text,
  key: text,
  type: text,
  metadata: ["object"],
  last_connected_on: nullableText,
  state: text
}

export const scheduledJobs: Shape = {
  jobs: {
    items: {
      id: text,
      priority: ["number"],
      agent_query_rules: ["list"],
      scheduled_at: text,
      "runnable_at?": nullableText,
      pipeline: { slug: nullableText, uuid: nullableText },
      build: { uuid: nullableText, number: ["number", "null"], branch: nullableText },
      step: { key: nullableText }
    }
  },
  page_info: { has_next_page: ["boolean"], end_cursor: nullableText },
  cluster_queue: { id: text, dispatch_paused: ["boolean"] }
}

export const jobDetails: Shape = { id: text, env: ["object"], command: text }

export const reservation: Shape = { reserved: ["list"], not_reserved: ["list"] }

export const jobStates: Shape = { states: ["object"] }

export const notifications: Shape = { errors: { items: { error: text, indexes: ["list"] } } }

export const tokens: Shape = {
  job_acquisition_tokens: { items: { job_uuid: text, job_acquisition_token: text, expires_at: text } },
  not_issued: ["list"]
}

export const errorBody: Shape = { message: text }

export interface Differences {
  /** Missing fields, and fields of other kinds. */
  readonly problems: ReadonlyArray<string>
  /** Fields that this library does not know. */
  readonly unknown: ReadonlyArray<string>
}

export const compare = (value: unknown, shape: Shape): Differences => {
  const problems = new Set<string>()
  const unknown = new Set<string>()
  compareObject("", value, shape, problems, unknown)
  return { problems: Array.from(problems), unknown: Array.from(unknown) }
}

const compareObject = (
  path: string,
  value: unknown,
  shape: Shape,
  problems: Set<string>,
  unknown: Set<string>
): void => {
  if (kindOf(value) !== "object" || !Predicate.isObject(value)) {
    problems.add(`${path === "" ? "the body" : path} is ${named(value)}, not an object`)
    return
  }
  const fields = new Map(Object.entries(value))
  for (const [name, expected] of Object.entries(shape)) {
    const field = name.replace(/\?$/, "")
    const fieldPath = path === "" ? field : `${path}.${field}`
    const actual = fields.get(field)
    if (actual === undefined) {
      if (!name.endsWith("?")) problems.add(`${fieldPath} is missing`)
    } else if (isKinds(expected)) {
      if (!expected.includes(kindOf(actual)))
        problems.add(`${fieldPath} is ${named(actual)}, not ${expected.map(withArticle).join(" or ")}`)
    } else if (isItems(expected)) {
      if (!Array.isArray(actual)) problems.add(`${fieldPath} is ${named(actual)}, not a list`)
      else for (const item of actual) compareObject(`${fieldPath}[]`, item, expected.items, problems, unknown)
    } else {
      compareObject(fieldPath, actual, expected, problems, unknown)
    }
  }
  const known = new Set(Object.keys(shape).map((name) => name.replace(/\?$/, "")))
  for (const field of fields.keys()) if (!known.has(field)) unknown.add(path === "" ? field : `${path}.${field}`)
}

const isKinds = (expected: Shape[string]): expected is ReadonlyArray<Kind> => Array.isArray(expected)

const isItems = (expected: Shape[string]): expected is { readonly items: Shape } =>
  !Array.isArray(expected) && Object.keys(expected).length === 1 && "items" in expected

const kindOf = (value: unknown): Kind =>
  value === null
    ? "null"
    : Array.isArray(value)
      ? "list"
      : typeof value === "string" || typeof value === "number" || typeof value === "boolean"
        ? (typeof value as "string" | "number" | "boolean")
        : "object"

const named = (value: unknown): string => {
  const kind = kindOf(value)
  return value === undefined ? "missing" : withArticle(kind)
}

const withArticle = (kind: Kind): string => (kind === "null" ? kind : `${kind === "object" ? "an" : "a"} ${kind}`)
