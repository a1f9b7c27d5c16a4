/** Packs both packages and checks the tarballs: publint for their manifests, attw for the types of every module. */
import { pack, packages, run } from "./run.ts"

pack()
for (const { modules, tarball } of packages) {
  run("publint", ["run", tarball, "--strict"])
  // attw leaves out what is exported by a pattern, unless it is named.
  run("attw", [tarball, "--profile", "esm-only", "--format", "table-flipped", "--entrypoints", ".", ...modules])
}
