/**
 * @since 0.1.0
 */
export * as AgentQueryRules from "./AgentQueryRules.ts"
export * as JobRunner from "./JobRunner.ts"
export * as JobStates from "./JobStates.ts"
export * as Notifications from "./Notifications.ts"
export * as RateLimit from "./RateLimit.ts"
export * as Reservations from "./Reservations.ts"
export * as RetryPolicy from "./RetryPolicy.ts"
export * as ScheduledJobs from "./ScheduledJobs.ts"
export * as SlotPool from "./SlotPool.ts"
export * as Stack from "./Stack.ts"
export * as StackEvent from "./StackEvent.ts"
export * as StackLedger from "./StackLedger.ts"
export * as StacksApi from "./StacksApi.ts"
export * as StacksClient from "./StacksClient.ts"
export * as StacksError from "./StacksError.ts"
export * as StacksSchema from "./StacksSchema.ts"
