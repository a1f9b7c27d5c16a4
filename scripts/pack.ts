/** Packs both packages and checks the tarballs: publint for their manifests, attw for their types. */
import { pack, run } from "./run.ts"

for (const tarball of pack()) {
  run("publint", ["run", tarball, "--strict"])
  run("attw", [tarball, "--profile", "esm-only"])
}
