/** The variables and labels that every agent is created with. */
import type * as Redacted from "effect/Redacted"
import type { AgentRequest } from "../../AgentProvider.ts"

interface Agent extends Pick<AgentRequest, "name" | "stackKey" | "queueKey"> {
  readonly jobUuid: string
}

/** The variables with which an agent acquires its job. */
export const environmentOf = (
  { jobUuid, name, queueKey }: Agent,
  token: Redacted.Redacted,
  endpoint: string,
  tags: ReadonlyArray<string> = []
): AgentRequest["env"] => ({
  BUILDKITE_AGENT_ACQUIRE_JOB: jobUuid,
  BUILDKITE_AGENT_ENDPOINT: endpoint,
  BUILDKITE_AGENT_NAME: name,
  BUILDKITE_AGENT_TAGS: [`queue=${queueKey}`, ...tags].join(","),
  BUILDKITE_AGENT_TOKEN: token
})

/** The labels by which a stack's agents are found. */
export const labelsOf = ({ jobUuid, queueKey, stackKey }: Agent): AgentRequest["labels"] => ({
  "stacksapi-stack": stackKey,
  "stacksapi-queue": queueKey,
  "stacksapi-job": jobUuid
})
