/** A call of every method, and a valid answer for every endpoint. */
import { StacksApi, type StacksClient, type StacksError } from "@stacksapi/core"
import type { Effect } from "effect"

type AnyCall = (
  client: StacksClient.Service
) => Effect.Effect<unknown, StacksError.StacksError | StacksError.NotificationRejected>

export const jobUuid = "0193b1a6-6a2c-4f4e-9d1a-000000000001"

/** A plain call of each method. */
export const calls: { readonly [O in StacksApi.Operation]: AnyCall } = {
  getTokenIdentity: (client) => client.getTokenIdentity(),
  registerStack: (client) => client.registerStack({ key: "my-stack", type: "custom", queueKey: "default" }),
  deregisterStack: (client) => client.deregisterStack({ stackKey: "my-stack" }),
  listScheduledJobs: (client) => client.listScheduledJobs({ stackKey: "my-stack", clusterQueueKey: "default" }),
  batchReserveJobs: (client) => client.batchReserveJobs({ stackKey: "my-stack", jobUuids: [jobUuid] }),
  getJob: (client) => client.getJob({ stackKey: "my-stack", jobUuid }),
  getJobStates: (client) => client.getJobStates({ stackKey: "my-stack", jobUuids: [jobUuid] }),
  finishJob: (client) => client.finishJob({ stackKey: "my-stack", jobUuid, exitStatus: 0, detail: "done" }),
  failJob: (client) => client.failJob({ stackKey: "my-stack", jobUuid, detail: "no image" }),
  createStackNotifications: (client) =>
    client.createStackNotifications({ stackKey: "my-stack", notifications: [{ jobUuid, detail: "pulling" }] }),
  createStackNotification: (client) =>
    client.createStackNotification({ stackKey: "my-stack", jobUuid, detail: "pulling" }),
  issueJobAcquisitionTokens: (client) => client.issueJobAcquisitionTokens({ stackKey: "my-stack", jobUuids: [jobUuid] })
}

export const operations = Object.keys(calls) as ReadonlyArray<StacksApi.Operation>

/** A scheduled job as the service sends it. */
export const scheduledJob = {
  id: jobUuid,
  priority: -3,
  agent_query_rules: ["queue=default", "os=linux"],
  scheduled_at: "2026-10-01T12:34:56.789Z",
  runnable_at: "2026-10-01T12:40:00.000Z",
  pipeline: { slug: "web", uuid: "0193b1a6-6a2c-4f4e-9d1a-00000000000a" },
  build: { uuid: "0193b1a6-6a2c-4f4e-9d1a-00000000000b", number: 42, branch: "main" },
  step: { key: "test" }
}

/** A page of one job. */
export const page = {
  jobs: [scheduledJob],
  cluster_queue: { id: "0193b1a6-6a2c-4f4e-9d1a-00000000000c", dispatch_paused: false },
  page_info: { has_next_page: true, end_cursor: "MQ==" }
}

/** What the service answers to each endpoint when all is well; undefined where it has no body. */
export const answers: { readonly [E in StacksApi.Endpoint]: { readonly status: number; readonly body: unknown } } = {
  getTokenIdentity: {
    status: 200,
    body: {
      uuid: "0193b1a6-6a2c-4f4e-9d1a-0000000000cc",
      description: "Linux machines",
      token_type: "cluster",
      organization_slug: "acme",
      organization_uuid: "0193b1a6-6a2c-4f4e-9d1a-0000000000bb",
      cluster_uuid: "0193b1a6-6a2c-4f4e-9d1a-0000000000dd",
      cluster_name: "Production",
      organization_queue_uuid: "0193b1a6-6a2c-4f4e-9d1a-0000000000ee",
      organization_queue_key: "linux"
    }
  },
  registerStack: {
    status: 201,
    body: {
      id: "0193b1a6-6a2c-4f4e-9d1a-0000000000aa",
      organization_uuid: "0193b1a6-6a2c-4f4e-9d1a-0000000000bb",
      cluster_queue_key: "default",
      key: "my-stack",
      type: "custom",
      metadata: { zone: "a" },
      last_connected_on: "2026-10-01T12:00:00Z",
      state: "connected"
    }
  },
  deregisterStack: { status: 204, body: undefined },
  listScheduledJobs: { status: 200, body: page },
  batchReserveJobs: { status: 200, body: { reserved: [jobUuid], not_reserved: [] } },
  getJob: { status: 200, body: { id: jobUuid, env: { CI: "true" }, command: "make test" } },
  getJobStates: { status: 200, body: { states: { [jobUuid]: "reserved" } } },
  finishJob: { status: 200, body: undefined },
  createStackNotifications: { status: 200, body: { errors: [] } },
  issueJobAcquisitionTokens: {
    status: 201,
    body: {
      job_acquisition_tokens: [
        { job_uuid: jobUuid, job_acquisition_token: "bkjat_sample", expires_at: "2026-10-01T12:49:56.789Z" }
      ],
      not_issued: []
    }
  }
}

/** What the service answers to a method when all is well. */
export const answerTo = (operation: StacksApi.Operation) => answers[StacksApi.endpointOf(operation)]
