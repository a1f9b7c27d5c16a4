/** The JSON Schema of the command's configuration file, for editors. It is in the package. */
import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { settingsOf } from "../../packages/node/src/internal/cli/flag.ts"
import { runFlags } from "../../packages/node/src/internal/cli/runFlags.ts"
import { jsonSchema } from "../../packages/node/src/internal/cli/setting.ts"

export const schemaFile = join(import.meta.dirname, "../../packages/node/stacksapi.schema.json")

export const schema = jsonSchema(settingsOf(runFlags))

export const write = (): void => {
  writeFileSync(schemaFile, JSON.stringify(schema, null, 2))
  execFileSync("npx", ["biome", "format", "--write", schemaFile])
}
