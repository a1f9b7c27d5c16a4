/**
 * Tools for testing programs that use the Stacks API.
 *
 * @since 0.1.0
 */
export * as AgentProviderContract from "./AgentProviderContract.ts"
export * as AgentProviderEmulator from "./AgentProviderEmulator.ts"
export * as StacksEmulator from "./StacksEmulator.ts"
