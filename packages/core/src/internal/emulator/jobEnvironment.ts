/** The environment that an agent gets with its job. */
import * as BuildData from "./buildData.ts"
import type { Agent, Job, State } from "./state.ts"

const author = "Emulator"
const authorEmail = "emulator@example.com"

/** The job's variables override the service's, except for those that identify the job and the agent. */
export const make = (state: State, job: Job, agent: Agent): Readonly<Record<string, string>> => {
  const { build, id, pipeline } = job.listed
  const { clusterName, clusterUuid, organizationSlug } = state.tokenIdentity
  const slug = pipeline.slug ?? "emulated-pipeline"
  const number = String(build.number ?? 1)
  const hasRepository = job.env["BUILDKITE_REPO"] !== undefined
  return {
    CI: "true",
    BUILDKITE: "true",
    BUILDKITE_ARTIFACT_PATHS: "",
    BUILDKITE_BRANCH: build.branch ?? "main",
    BUILDKITE_BUILD_AUTHOR: author,
    BUILDKITE_BUILD_AUTHOR_EMAIL: authorEmail,
    BUILDKITE_BUILD_CREATOR: author,
    BUILDKITE_BUILD_CREATOR_EMAIL: authorEmail,
    BUILDKITE_BUILD_URL: `http://buildkite.invalid/${organizationSlug}/${slug}/builds/${number}`,
    BUILDKITE_COMMAND: job.command,
    BUILDKITE_COMMIT: "HEAD",
    BUILDKITE_COMPUTE_TYPE: "self-hosted",
    BUILDKITE_LABEL: job.step.label,
    BUILDKITE_MESSAGE: "",
    BUILDKITE_PIPELINE_DEFAULT_BRANCH: "main",
    BUILDKITE_PIPELINE_NAME: slug,
    BUILDKITE_PIPELINE_PROVIDER: "git",
    BUILDKITE_PROJECT_PROVIDER: "git",
    BUILDKITE_PULL_REQUEST: "false",
    BUILDKITE_PULL_REQUEST_BASE_BRANCH: "",
    BUILDKITE_PULL_REQUEST_REPO: "",
    BUILDKITE_REBUILT_FROM_BUILD_ID: "",
    BUILDKITE_REBUILT_FROM_BUILD_NUMBER: "",
    BUILDKITE_RETRY_COUNT: "0",
    BUILDKITE_SCRIPT_PATH: job.command,
    BUILDKITE_SOURCE: "api",
    BUILDKITE_STEP_KEY: job.step.key ?? "",
    BUILDKITE_TAG: "",
    BUILDKITE_TIMEOUT: job.timeout === undefined ? "false" : String(Math.ceil(job.timeout / 60_000)),
    BUILDKITE_TRIGGERED_FROM_BUILD_ID: "",
    BUILDKITE_TRIGGERED_FROM_BUILD_NUMBER: "",
    BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG: "",
    // The agent requires a repository. There is nothing to check out of this one.
    ...(!hasRepository && { BUILDKITE_REPO: "file:///dev/null", BUILDKITE_SKIP_CHECKOUT: "true" }),
    ...job.env,
    ...tagVariables(agent.tags),
    BUILDKITE_AGENT_ID: agent.id,
    BUILDKITE_AGENT_META_DATA_QUEUE: job.queue.key,
    BUILDKITE_AGENT_NAME: agent.name,
    BUILDKITE_BUILD_ID: BuildData.idOf(state, job),
    BUILDKITE_BUILD_NUMBER: number,
    BUILDKITE_CLUSTER_ID: clusterUuid,
    BUILDKITE_CLUSTER_NAME: clusterName,
    BUILDKITE_JOB_ID: id,
    BUILDKITE_ORGANIZATION_ID: state.organizationUuid,
    BUILDKITE_ORGANIZATION_SLUG: organizationSlug,
    BUILDKITE_PIPELINE_ID: pipeline.uuid ?? state.pipelineUuid,
    BUILDKITE_PIPELINE_SLUG: slug,
    BUILDKITE_PROJECT_SLUG: `${organizationSlug}/${slug}`,
    BUILDKITE_STEP_ID: job.step.id
  }
}

/** The tag `gpu-type=a100` becomes the variable `BUILDKITE_AGENT_META_DATA_GPU_TYPE`. */
const tagVariables = (tags: ReadonlyArray<string>): Record<string, string> =>
  Object.fromEntries(
    tags.map((tag) => {
      const [key = "", ...value] = tag.split("=")
      return [`BUILDKITE_AGENT_META_DATA_${key.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}`, value.join("=")]
    })
  )
