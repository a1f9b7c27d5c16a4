/**
 * Loads the suite, and the client with it. Nothing here imports either: so that the functions can be counted that are
 * generated meanwhile.
 */
export const load = async () => {
  let generated = 0
  const plain = globalThis.Function
  const generate = (parameters: ReadonlyArray<string>) => {
    const made = plain(...parameters)
    generated++
    return made
  }
  // Bun leaves the `new` away.
  globalThis.Function = new Proxy(plain, {
    construct: (_, parameters) => generate(parameters),
    apply: (_, __, parameters: ReadonlyArray<string>) => generate(parameters)
  })
  const { report } = await import("./suite.ts")
  globalThis.Function = plain
  return { report, generated }
}
