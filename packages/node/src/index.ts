/**
 * @since 0.1.0
 */
export * as NodeStacksClient from "./NodeStacksClient.ts"
