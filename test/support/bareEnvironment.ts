/** What a program needs of the tests' own surroundings to run; nothing that decides what it does. */
export const bareEnvironment: Readonly<Record<string, string>> = Object.fromEntries(
  ["PATH", "HOME", "NODE_COMPILE_CACHE"].flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value]]
  })
)
