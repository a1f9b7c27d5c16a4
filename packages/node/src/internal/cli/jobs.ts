import * as Command from "effect/cli/Command"
import { fail, finish } from "./jobsFinish.ts"
import { get } from "./jobsGet.ts"
import { list } from "./jobsList.ts"
import { log } from "./jobsLog.ts"
import { notify } from "./jobsNotify.ts"
import { reserve } from "./jobsReserve.ts"
import { states } from "./jobsStates.ts"
import { tokens } from "./jobsTokens.ts"
import { watch } from "./jobsWatch.ts"

export const jobs = Command.make("jobs").pipe(
  Command.withDescription("List, reserve, finish and annotate jobs by hand"),
  Command.withSubcommands([list, watch, get, log, states, reserve, finish, fail, notify, tokens])
)
