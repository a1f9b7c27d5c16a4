/** Compiles both packages to `dist`. */
import { build } from "./run.ts"

build()
