import * as Command from "effect/cli/Command"
import { handledBy } from "./handledBy.ts"
import { runFlags } from "./runFlags.ts"

export const run = Command.make(
  "run",
  runFlags,
  handledBy(() => import("./runHandler.ts"))
).pipe(
  Command.withDescription(
    "Run a stack: take the jobs of one or several queues, and run each by an agent, in a container or in a shell. On SIGTERM or Ctrl-C it " +
      "takes no more jobs, waits for the running ones, and deregisters; with --runner docker it leaves them to the next process (see " +
      "--on-exit). A second signal ends the process at once"
  ),
  Command.withShortDescription("Run a stack: take the jobs of queues and run them"),
  Command.withExamples([
    { command: "stacksapi run --key my-stack --queue linux --build-path /var/lib/my-stack --max-in-flight 8" },
    { command: "stacksapi run --key try --runner command --directory . --until-idle" },
    {
      command: "stacksapi run --key my-stack --runner docker --image buildkite/agent:3 --store /var/lib/my-stack/jobs",
      description: "Run each job in a container of its own, which a restart of the stack does not end"
    },
    {
      command: "stacksapi run --cluster --key my-stack --queue linux --queue deploy --build-path /builds",
      description: "Run one of several processes that share the work"
    }
  ])
)
