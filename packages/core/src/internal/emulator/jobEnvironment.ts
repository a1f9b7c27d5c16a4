/** The environment that an agent gets with its job. */
import type { Agent, Job, State } from "./state.ts"

const organizationSlug = "emulated-organization"

/** The job's variables override the service's, except for those that identify the job and the agent. */
export const make = (state: State, job: Job, agent: Agent): Readonly<Record<string, string>> => {
  const { build, id, pipeline, step } = job.listed
  const slug = pipeline.slug ?? "emulated-pipeline"
  const number = String(build.number ?? 1)
  const buildId = build.uuid ?? state.buildUuid
  const hasRepository = job.env["BUILDKITE_REPO"] !== undefined
  return {
    CI: "true",
    BUILDKITE: "true",
    BUILDKITE_ARTIFACT_PATHS: "",
    BUILDKITE_BRANCH: build.branch ?? "main",
    BUILDKITE_BUILD_URL: `http://buildkite.invalid/${organizationSlug}/${slug}/builds/${number}`,
    BUILDKITE_COMMAND: job.command,
    BUILDKITE_COMMIT: "HEAD",
    BUILDKITE_LABEL: "",
    BUILDKITE_MESSAGE: "",
    BUILDKITE_PIPELINE_DEFAULT_BRANCH: "main",
    BUILDKITE_PIPELINE_NAME: slug,
    BUILDKITE_PIPELINE_PROVIDER: "git",
    BUILDKITE_PROJECT_PROVIDER: "git",
    BUILDKITE_PULL_REQUEST: "false",
    BUILDKITE_RETRY_COUNT: "0",
    BUILDKITE_SCRIPT_PATH: job.command,
    BUILDKITE_SOURCE: "api",
    BUILDKITE_STEP_KEY: step.key ?? "",
    BUILDKITE_TAG: "",
    BUILDKITE_TIMEOUT: "false",
    // The agent requires a repository. There is nothing to check out of this one.
    ...(!hasRepository && { BUILDKITE_REPO: "file:///dev/null", BUILDKITE_SKIP_CHECKOUT: "true" }),
    ...job.env,
    ...tagVariables(agent.tags),
    BUILDKITE_AGENT_ID: agent.id,
    BUILDKITE_AGENT_META_DATA_QUEUE: job.queue.key,
    BUILDKITE_AGENT_NAME: agent.name,
    BUILDKITE_BUILD_ID: buildId,
    BUILDKITE_BUILD_NUMBER: number,
    BUILDKITE_JOB_ID: id,
    BUILDKITE_ORGANIZATION_ID: state.organizationUuid,
    BUILDKITE_ORGANIZATION_SLUG: organizationSlug,
    BUILDKITE_PIPELINE_ID: pipeline.uuid ?? state.pipelineUuid,
    BUILDKITE_PIPELINE_SLUG: slug,
    BUILDKITE_PROJECT_SLUG: `${organizationSlug}/${slug}`
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
