/**
 * @since 0.1.0
 */
export * as NodeStacksClient from "./NodeStacksClient.ts"
export * as NodeStacksEmulator from "./NodeStacksEmulator.ts"
