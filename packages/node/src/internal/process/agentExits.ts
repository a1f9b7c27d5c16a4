/** What an agent's exit status means if it has not run its job. */
export const agentExits: Readonly<Record<number, string>> = {
  0: "it could not acquire the job",
  1: "it could not register, or its settings are wrong",
  27: "the service would not let it acquire the job",
  28: "the job is locked"
}
