/** Checks what editors show: the hovers of programs that use the packages. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"
import { packages } from "../../scripts/run.ts"

/** The names in the packages' declarations that users can't import. */
const privateNames = (project: string): ReadonlySet<string> => {
  const privates = new Set<string>()
  const publics = new Set<string>()
  for (const { name } of packages) {
    const dist = join(project, "node_modules", name, "dist")
    for (const file of readdirSync(dist, { recursive: true, encoding: "utf8" })) {
      if (!file.endsWith(".d.ts")) continue
      const text = readFileSync(join(dist, file), "utf8").replace(/\/\*[\s\S]*?\*\//g, "")
      const isInternal = file.startsWith("internal")
      for (const [, isExported, declared = ""] of text.matchAll(
        /^(export )?(?:declare )?(?:abstract )?(?:const|class|interface|type|function) (\w+)/gm
      )) {
        if (isExported === undefined || isInternal) privates.add(declared)
        else publics.add(declared)
      }
      // Names that a public module takes from an internal one.
      for (const [, list = ""] of isInternal ? [] : text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)) {
        for (const taken of list.split(",")) publics.add(taken.trim().split(" as ").at(-1) ?? "")
      }
    }
  }
  return new Set(Array.from(privates).filter((name) => !publics.has(name)))
}

/** Looks at what an editor shows for each export of the programs of a project. */
export const checkHovers = (project: string, configuration: string): void => {
  const { config } = ts.readConfigFile(join(project, configuration), ts.sys.readFile)
  const { fileNames, options } = ts.parseJsonConfigFileContent(config, ts.sys, project)
  const service = ts.createLanguageService({
    ...{ fileExists: ts.sys.fileExists, readFile: ts.sys.readFile, directoryExists: ts.sys.directoryExists },
    getCompilationSettings: () => options,
    getCurrentDirectory: () => project,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    getScriptFileNames: () => fileNames,
    getScriptVersion: () => "1",
    getScriptSnapshot: (file) => {
      const text = ts.sys.readFile(file)
      return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text)
    }
  })
  const privates = privateNames(project)
  const isName = (kind: string) => /^(className|interfaceName|aliasName)$/.test(kind)
  let count = 0
  for (const file of fileNames) {
    const text = ts.sys.readFile(file) ?? ""
    for (const { 1: name = "", index } of text.matchAll(/(?<=^export const )(\w+)/gm)) {
      const parts = service.getQuickInfoAtPosition(file, index)?.displayParts ?? []
      const shown = parts.find((part) => isName(part.kind) && privates.has(part.text))
      if (shown !== undefined) throw new Error(`The hover of ${name} shows the private name ${shown.text}`)
      count++
    }
  }
  console.log(`${count} hovers show public names only`)
}
