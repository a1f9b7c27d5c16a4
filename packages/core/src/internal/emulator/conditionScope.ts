/** What the conditions of a build's steps can name. */
import type { Build } from "./builds.ts"
import type { Scope, Value } from "./pipeline/evaluate.ts"

const organization = {
  "organization.id": "BUILDKITE_ORGANIZATION_ID",
  "organization.slug": "BUILDKITE_ORGANIZATION_SLUG"
}

/** Variables that are texts of the build's environment. */
const texts: Readonly<Record<string, string>> = {
  ...organization,
  "build.branch": "BUILDKITE_BRANCH",
  "build.commit": "BUILDKITE_COMMIT",
  "build.id": "BUILDKITE_BUILD_ID",
  "build.message": "BUILDKITE_MESSAGE",
  "build.source": "BUILDKITE_SOURCE",
  "pipeline.id": "BUILDKITE_PIPELINE_ID",
  "pipeline.slug": "BUILDKITE_PIPELINE_SLUG"
}

/** Variables that are null where the environment has none, or an empty one. */
const nullableTexts: Readonly<Record<string, string>> = {
  "build.tag": "BUILDKITE_TAG",
  "pipeline.default_branch": "BUILDKITE_PIPELINE_DEFAULT_BRANCH",
  "pipeline.repository": "BUILDKITE_REPO"
}

/** The names of authors, creators and teams are unknown: what depends on them can't be evaluated. */
export const scopeOf = (build: Build, env: Readonly<Record<string, string>>): Scope => {
  const all: Readonly<Record<string, string>> = { ...build.variables, ...env, ...build.env }
  const nullable = (name: string): string | null => all[name] || null
  return {
    variable: (name) => {
      const text = texts[name]
      if (text !== undefined) return all[text] ?? ""
      const nullableText = nullableTexts[name]
      if (nullableText !== undefined) return nullable(nullableText)
      if (name === "build.number") return build.number
      return name.startsWith("build.pull_request.")
        ? pullRequest(name.slice("build.pull_request.".length), all)
        : undefined
    },
    // The service leaves out its own variables that have no value.
    env: (name) => (name.startsWith("BUILDKITE_") ? (nullable(name) ?? undefined) : all[name])
  }
}

const pullRequest = (name: string, env: Readonly<Record<string, string>>): Value | undefined => {
  const id = env["BUILDKITE_PULL_REQUEST"]
  const isOne = id !== undefined && id !== "" && id !== "false"
  if (name === "labels") {
    return isOne ? (env["BUILDKITE_PULL_REQUEST_LABELS"] ?? "").split(",").filter((label) => label !== "") : []
  }
  const known: Readonly<Record<string, () => Value>> = {
    id: () => id ?? null,
    base_branch: () => env["BUILDKITE_PULL_REQUEST_BASE_BRANCH"] || null,
    draft: () => env["BUILDKITE_PULL_REQUEST_DRAFT"] === "true",
    repository: () => env["BUILDKITE_PULL_REQUEST_REPO"] || null,
    "repository.fork": () => {
      const repository = env["BUILDKITE_PULL_REQUEST_REPO"]
      return repository !== undefined && repository !== "" && repository !== env["BUILDKITE_REPO"]
    }
  }
  const read = known[name]
  if (read === undefined) return undefined
  return isOne ? read() : null
}
