/**
 * Checks that programs which use the packages can publish their types: a program that exports one of everything compiles
 * with `declaration: true`, and its declarations and the hovers of editors have public names only.
 */
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Context from "effect/Context"
import { packages, root, run } from "../run.ts"

/** Types of every part of an export: what a function takes and returns, and how effects, streams and layers succeed and fail. */
const helpers = `import type { Effect } from "effect/Effect"
import type { Layer } from "effect/Layer"
import type { Stream } from "effect/Stream"
import type { ExcludeTag } from "effect/Types"
type Parts<A> = A extends Effect<infer S, infer E, infer _R> | Stream<infer S, infer E, infer _R> ? { success: S; failure: E }
  : A extends Layer<infer S, infer E, infer _R> ? { success: S; failure: E } : never
type Tags<E> = E extends { readonly _tag: infer Tag extends string } ? Tag : never
/** What is left of a failure when one of its tags is caught. */
type Without<E> = { readonly [Tag in Tags<E>]: ExcludeTag<E, Tag> }
declare const returned: <A>(f: A) => A extends (...args: never) => infer R ? R : never
declare const parameters: <A>(f: A) => A extends (...args: infer P) => unknown ? P : never
declare const instance: <A>(f: A) => A extends abstract new (...args: never) => infer I ? I : never
declare const success: <A>(a: A) => Parts<A>["success"]
declare const failure: <A>(a: A) => Parts<A>["failure"]
declare const caught: <A>(a: A) => Without<Parts<A>["failure"]>
declare const members: <A>(a: A) => { [K in keyof A]: A[K] }
`

/** Writes a program that exports everything of every module, and its parts. Returns how many names it takes. */
const writeEverything = async (project: string): Promise<number> => {
  const lines = [helpers]
  let count = 0
  for (const { name, path, modules } of packages) {
    for (const module of modules) {
      const exports: Readonly<Record<string, unknown>> = await import(join(path, "src", `${module}.ts`))
      const local = `${module}_`
      lines.push(`import * as ${local} from "${name}/${module}"`)
      for (const [exported, value] of Object.entries(exports)) {
        count++
        const it = `${local}${exported}`
        lines.push(
          `export const ${it} = ${local}.${exported}`,
          `export const ${it}_parameters = parameters(${it})`,
          `export const ${it}_returned = returned(${it})`,
          `export const ${it}_instance = instance(${it})`,
          ...(Context.isKey(value) && !Context.isReference(value)
            ? [`export const ${it}_members = members(success(${it}))`]
            : []),
          ...[it, `${it}_returned`].flatMap((part) => [
            `export const ${part}_success = success(${part})`,
            `export const ${part}_failure = failure(${part})`,
            `export const ${part}_caught = caught(${part})`
          ])
        )
      }
    }
  }
  writeFileSync(join(project, "everything.ts"), `${lines.join("\n")}\n`)
  return count
}

const compilerOptions = {
  ...{ module: "nodenext", target: "es2023", lib: ["es2023", "dom", "dom.iterable"], strict: true },
  ...{ exactOptionalPropertyTypes: true, declaration: true, emitDeclarationOnly: true, types: [], skipLibCheck: true }
}

const programs = ["everything", "portable"]
export const configuration = "tsconfig.declarations.json"
const output = "declarations"

/** Writes the programs into a project that has the packages and their optional peers. */
export const writeDeclarationPrograms = async (project: string): Promise<number> => {
  copyFileSync(join(root, "test/packaging/portable.ts"), join(project, "portable.ts"))
  const files = programs.map((program) => `${program}.ts`)
  writeFileSync(
    join(project, configuration),
    JSON.stringify({ compilerOptions: { ...compilerOptions, outDir: output }, files })
  )
  return writeEverything(project)
}

/** Compiles the programs with the TypeScript in a folder, and looks for names that are not public in their declarations. */
export const checkDeclarations = (project: string, typescript: string): void => {
  const { version } = JSON.parse(readFileSync(join(typescript, "package.json"), "utf8"))
  rmSync(join(project, output), { recursive: true, force: true })
  run(process.execPath, [join(typescript, "bin/tsc"), "--project", configuration], project)
  for (const program of programs) {
    const declarations = readFileSync(join(project, output, `${program}.d.ts`), "utf8")
    const [internal] = declarations.match(/"@stacksapi\/\w+\/internal[^;\n]*/) ?? []
    if (internal !== undefined)
      throw new Error(`TypeScript ${version}: a declaration of ${program}.ts names ${internal}`)
  }
  console.log(`TypeScript ${version} writes declarations with public names only`)
}
