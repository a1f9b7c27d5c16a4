/** Stacks whose agents run in the emulated provider. */
import { AgentProvider, JobRunner, JobStore, Stack, type StackEvent } from "@stacksapi/core"
import { AgentProviderEmulator } from "@stacksapi/core/testing"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { emulated, within } from "./stacks.ts"

export const services = (options: AgentProviderEmulator.Options = {}) =>
  AgentProviderEmulator.layer(options).pipe(Layer.provideMerge(emulated()), Layer.provideMerge(JobStore.layerMemory))

/** Starts a stack over the emulated provider, or over one that answers differently. It can be closed, or killed. */
export const begin = Effect.fnUntraced(function* (
  runner: AgentProvider.RunnerOptions = {},
  options: Partial<Stack.Options> = {},
  change: (provider: AgentProvider.Service) => Partial<AgentProvider.Service> = () => ({})
) {
  const scope = yield* Scope.make()
  const events: Array<StackEvent.StackEvent> = []
  const provider = yield* AgentProvider.AgentProvider
  const context = yield* Layer.buildWithScope(AgentProvider.layerRunner(runner), scope).pipe(
    Effect.provideService(AgentProvider.AgentProvider, { ...provider, ...change(provider) })
  )
  const stack = yield* Stack.make({
    key: "s",
    queueKey: "q",
    onEvent: (event) => Effect.sync(() => void events.push(event)),
    ...options
  }).pipe(Effect.provideService(JobRunner.JobRunner, Context.get(context, JobRunner.JobRunner)), Scope.provide(scope))
  const close = within("2 minutes", Scope.close(scope, Exit.void))
  yield* Effect.addFinalizer(() => close)
  const names = () => events.map(({ _tag }) => _tag)
  return { ...stack, events, names, close }
})

export const emulator = AgentProviderEmulator.AgentProviderEmulator
export const agents = Effect.flatMap(emulator, ({ agents }) => agents)
export const calls = Effect.flatMap(emulator, ({ calls }) => calls)
