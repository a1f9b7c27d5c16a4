/** Starts builds, which pipelines are uploaded to. */
import type { Build } from "./builds.ts"
import type { State } from "./state.ts"

/** A build to start. */
export interface NewBuild {
  /** The slug of its pipeline. Default `emulated-pipeline`. */
  readonly pipelineSlug?: string | undefined
  /** Default `main`. */
  readonly branch?: string | undefined
  /** Default: the number after the last one of the pipeline, from 1. */
  readonly number?: number | undefined
  /**
   * Its variables. Those that begin with `BUILDKITE_` replace the service's own, and decide conditions: for example
   * `BUILDKITE_TAG`, `BUILDKITE_MESSAGE` and `BUILDKITE_PULL_REQUEST`. Variables of pipelines and steps override the others.
   */
  readonly env?: Readonly<Record<string, string>> | undefined
}

export const startBuild = (state: State, build: NewBuild): Build => register(state, makeBuild(state, build))

/** A build that is not registered yet. */
export const makeBuild = (state: State, { branch = "main", env = {}, number, pipelineSlug }: NewBuild): Build => {
  const slug = pipelineSlug ?? "emulated-pipeline"
  const earlier = Array.from(state.pipelineBuilds.values()).filter((build) => build.pipelineSlug === slug)
  const pipelineUuid =
    earlier[0]?.pipelineUuid ?? (pipelineSlug === undefined ? state.pipelineUuid : state.random.uuid())
  return fromInfo(state, {
    uuid: state.random.uuid(),
    number: number ?? Math.max(0, ...earlier.map((build) => build.number)) + 1,
    branch: env["BUILDKITE_BRANCH"] ?? branch,
    pipelineSlug: slug,
    pipelineUuid,
    env
  })
}

interface BuildInfo {
  readonly uuid: string
  readonly number: number
  readonly branch: string
  readonly pipelineSlug: string
  readonly pipelineUuid: string
  readonly env: Readonly<Record<string, string>>
}

export const addBuild = (state: State, info: BuildInfo): Build => register(state, fromInfo(state, info))

export const register = (state: State, build: Build): Build => {
  state.pipelineBuilds.set(build.uuid, build)
  return build
}

const fromInfo = (state: State, { env, ...info }: BuildInfo): Build => {
  const custom = Object.entries(env)
  const isOwn = ([name]: readonly [name: string, value: string]) => name.startsWith("BUILDKITE_")
  return {
    ...info,
    variables: Object.fromEntries(custom.filter((variable) => !isOwn(variable))),
    env: {
      CI: "true",
      BUILDKITE: "true",
      BUILDKITE_BRANCH: info.branch,
      BUILDKITE_BUILD_ID: info.uuid,
      BUILDKITE_BUILD_NUMBER: String(info.number),
      BUILDKITE_COMMIT: "HEAD",
      BUILDKITE_MESSAGE: "",
      BUILDKITE_ORGANIZATION_ID: state.organizationUuid,
      BUILDKITE_ORGANIZATION_SLUG: state.tokenIdentity.organizationSlug,
      BUILDKITE_PIPELINE_DEFAULT_BRANCH: "main",
      BUILDKITE_PIPELINE_ID: info.pipelineUuid,
      BUILDKITE_PIPELINE_NAME: info.pipelineSlug,
      BUILDKITE_PIPELINE_SLUG: info.pipelineSlug,
      BUILDKITE_PULL_REQUEST: "false",
      BUILDKITE_SOURCE: "api",
      BUILDKITE_TAG: "",
      ...Object.fromEntries(custom.filter(isOwn))
    },
    steps: [],
    stepsByKey: new Map(),
    isFailing: false
  }
}
