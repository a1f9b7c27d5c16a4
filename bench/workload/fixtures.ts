/** The server's responses: a job and a queue of scheduled jobs, with the shape and size of the service's. */

/** Jobs on a page, the maximum of the service. */
export const pageSize = 1000

/** Pages in the queue: 200,000 jobs. */
export const pageCount = 200

export const stackKey = "bench-stack"

/** The key of a stack whose queue has this many pages, each with this latency in milliseconds. */
export const stackKeyOf = (pages: number, latency: number): string => `bench-${pages}-${latency}`

/** Parses such a key. */
export const queueOf = (path: string): { readonly pages: number; readonly latency: number } => {
  const [, pages = pageCount, latency = 0] = /\/bench-(\d+)-(\d+)\//.exec(path) ?? []
  return { pages: Number(pages), latency: Number(latency) }
}
export const queueKey = "default"
export const token = "bkct_00000000000000000000000000000000"

export const jobUuid = (index: number): string => `0192c5a0-7e11-4b52-9c3d-${index.toString(16).padStart(12, "0")}`

/** The cursor at the end of a page, with which to request the next one. */
const cursorOf = (page: number): string => `eyJzY2hlZHVsZWRfYXQi-${page}`

export const pageAfter = (cursor: string): number => Number(cursor.slice(cursor.lastIndexOf("-") + 1)) + 1

const variables: Record<string, string> = {
  CI: "true",
  BUILDKITE: "true",
  BUILDKITE_AGENT_META_DATA_QUEUE: queueKey,
  BUILDKITE_ARTIFACT_PATHS: "coverage/**/*;log/*.log",
  BUILDKITE_BRANCH: "feature/rework-the-checkout-flow",
  BUILDKITE_BUILD_AUTHOR: "Robin Example",
  BUILDKITE_BUILD_AUTHOR_EMAIL: "robin@example.com",
  BUILDKITE_BUILD_CREATOR: "Robin Example",
  BUILDKITE_BUILD_CREATOR_EMAIL: "robin@example.com",
  BUILDKITE_BUILD_CREATOR_TEAMS: "everyone:platform:checkout",
  BUILDKITE_BUILD_ID: "0192c59f-11aa-4d0e-8a43-9f6d0f0c7c11",
  BUILDKITE_BUILD_NUMBER: "48213",
  BUILDKITE_BUILD_URL: "https://buildkite.com/example/storefront/builds/48213",
  BUILDKITE_CLUSTER_ID: "6f0f2a0e-5a3e-4d5f-8f5d-2f1b7f6f3a10",
  BUILDKITE_CLUSTER_NAME: "Default cluster",
  BUILDKITE_COMMAND: "bin/ci/prepare && bin/ci/test --shard 7 --of 24",
  BUILDKITE_COMMIT: "6b1f0c3e2d4a59687f8e9d0c1b2a394857665544",
  BUILDKITE_GIT_CLEAN_FLAGS: "-ffxdq",
  BUILDKITE_GROUP_LABEL: "Tests",
  BUILDKITE_JOB_ID: "0192c5a0-7e11-4b52-9c3d-000000000001",
  BUILDKITE_LABEL: ":rspec: Unit tests 7/24",
  BUILDKITE_MESSAGE: 'Rework the checkout flow\n\nThe basket is now kept by the service, and the "guest" path is gone.',
  BUILDKITE_ORGANIZATION_ID: "0b9f6d0f-0c7c-4d0e-8a43-11aa0192c59f",
  BUILDKITE_ORGANIZATION_SLUG: "example",
  BUILDKITE_PARALLEL_JOB: "6",
  BUILDKITE_PARALLEL_JOB_COUNT: "24",
  BUILDKITE_PIPELINE_DEFAULT_BRANCH: "main",
  BUILDKITE_PIPELINE_ID: "0192a111-2222-4333-8444-555566667777",
  BUILDKITE_PIPELINE_NAME: "Storefront",
  BUILDKITE_PIPELINE_PROVIDER: "github",
  BUILDKITE_PIPELINE_SLUG: "storefront",
  BUILDKITE_PLUGINS:
    '[{"github.com/buildkite-plugins/docker-compose-buildkite-plugin#v5.3.0":{"run":"app","config":["docker-compose.ci.yml"],"propagate-environment":true}}]',
  BUILDKITE_PROJECT_SLUG: "example/storefront",
  BUILDKITE_PULL_REQUEST: "9041",
  BUILDKITE_PULL_REQUEST_BASE_BRANCH: "main",
  BUILDKITE_PULL_REQUEST_REPO: "https://github.com/example/storefront.git",
  BUILDKITE_PULL_REQUEST_LABELS: "checkout,needs-review,size/L",
  BUILDKITE_REBUILT_FROM_BUILD_ID: "",
  BUILDKITE_REPO: "git@github.com:example/storefront.git",
  BUILDKITE_RETRY_COUNT: "0",
  BUILDKITE_SCRIPT_PATH: "bin/ci/prepare && bin/ci/test --shard 7 --of 24",
  BUILDKITE_SOURCE: "webhook",
  BUILDKITE_STEP_ID: "0192c5a0-0000-4aaa-8bbb-ccccddddeeee",
  BUILDKITE_STEP_KEY: "unit-tests",
  BUILDKITE_TAG: "",
  BUILDKITE_TIMEOUT: "30",
  BUILDKITE_TRIGGERED_FROM_BUILD_ID: ""
}

const command = [
  "set -euo pipefail",
  "bin/ci/prepare",
  "bin/ci/test --shard 7 --of 24 --format junit --output log/junit.xml",
  "bin/ci/annotate log/junit.xml",
  'if [[ "$BUILDKITE_RETRY_COUNT" -gt 0 ]]; then buildkite-agent artifact upload "log/*.log"; fi',
  "bin/ci/report --pipeline storefront --step unit-tests --of 24 --junit log/junit.xml --coverage coverage/.resultset.json",
  'buildkite-agent meta-data set "unit-tests-7-of-24" "done"',
  "bin/ci/clean --keep log --keep coverage --older-than 2d"
].join("\n")

/** A job's environment and command, about 3 kB. */
export const job: string = JSON.stringify({ id: jobUuid(1), env: variables, command })

/** A contender's count of a job, which proves that it has read it. */
export const countJob = (job: {
  readonly env: { readonly [name: string]: string }
  readonly command: string
}): number => job.command.length + (job.env["BUILDKITE_PLUGINS"]?.length ?? 0)

const scheduledJob = (index: number) => ({
  id: jobUuid(index),
  priority: index % 7 === 0 ? 10 : 0,
  agent_query_rules: [`queue=${queueKey}`, "os=linux"],
  scheduled_at: new Date(Date.UTC(2026, 0, 5, 9) + index * 37).toISOString(),
  pipeline: { slug: "storefront", uuid: "0192a111-2222-4333-8444-555566667777" },
  build: {
    uuid: `0192c59f-11aa-4d0e-8a43-${(index >> 5).toString(16).padStart(12, "0")}`,
    number: 48_000 + (index >> 5),
    branch: index % 3 === 0 ? "main" : "feature/rework-checkout"
  },
  step: { key: index % 5 === 0 ? null : `unit-tests-${index % 24}` }
})

/** The jobs of a page, about 360 kB. */
export const pageJobs = (number: number): string =>
  JSON.stringify(Array.from({ length: pageSize }, (_, index) => scheduledJob(number * pageSize + index)))

/** One page of a queue. */
export const page = (number: number, jobs = pageJobs(number), pages = pageCount): string => {
  const clusterQueue = JSON.stringify({ id: "0192b000-1111-4222-8333-444455556666", dispatch_paused: false })
  const pageInfo = JSON.stringify({ has_next_page: number + 1 < pages, end_cursor: cursorOf(number) })
  return `{"jobs":${jobs},"cluster_queue":${clusterQueue},"page_info":${pageInfo}}`
}
