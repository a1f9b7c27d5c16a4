/**
 * Promises, for programs that do not use Effect: a ManagedRuntime holds the client.
 *
 *     node examples/promises.ts
 */
import { StacksClient, StacksError } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { ManagedRuntime } from "effect"

// Against Buildkite: ManagedRuntime.make(NodeStacksClient.layerConfig), with BUILDKITE_CLUSTER_TOKEN set.
const runtime = ManagedRuntime.make(StacksEmulator.layerTest())

const stackKey = "promises"

try {
  const emulator = await runtime.runPromise(StacksEmulator.StacksEmulator)
  await runtime.runPromise(emulator.addJobs([{ queueKey: "examples", command: "make test", env: { CI: "true" } }]))

  const client = await runtime.runPromise(StacksClient.StacksClient)
  await runtime.runPromise(client.registerStack({ key: stackKey, type: "custom", queueKey: "examples" }))

  const page = await runtime.runPromise(client.listScheduledJobs({ stackKey, clusterQueueKey: "examples" }))
  for (const { id } of page.jobs) {
    const job = await runtime.runPromise(client.getJob({ stackKey, jobUuid: id }))
    console.log(`${job.command} with CI=${job.env["CI"]}`)
  }

  // A failure rejects with the typed error.
  const missing = await runtime.runPromise(client.getJob({ stackKey, jobUuid: "no-such-job" })).catch((error) => error)
  if (missing instanceof StacksError.ErrorResponse) {
    console.log(`failed: ${missing.reason._tag}, retryable: ${missing.isRetryable}`)
  }

  // An AbortSignal interrupts a call, its retries and its request.
  const signal = AbortSignal.timeout(50)
  await runtime.runPromise(emulator.setFaults([StacksEmulator.Fault.Stall({})]))
  await runtime
    .runPromise(client.deregisterStack({ stackKey }), { signal })
    .catch(() => console.log(`aborted: ${signal.aborted}`))
} finally {
  await runtime.dispose()
}
