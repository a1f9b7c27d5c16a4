/**
 * @since 0.1.0
 */
export * as AgentRunner from "./AgentRunner.ts"
export * as CommandRunner from "./CommandRunner.ts"
export * as FileJobStore from "./FileJobStore.ts"
export * as HealthServer from "./HealthServer.ts"
export * as JobOutput from "./JobOutput.ts"
export * as NodeStacksClient from "./NodeStacksClient.ts"
export * as NodeStacksEmulator from "./NodeStacksEmulator.ts"
export * as StackView from "./StackView.ts"
