/**
 * @since 0.1.0
 */
export * as HealthServer from "./HealthServer.ts"
export * as NodeStacksClient from "./NodeStacksClient.ts"
export * as NodeStacksEmulator from "./NodeStacksEmulator.ts"
