/** The flags for containers. */
import type * as Command from "effect/cli/Command"
import { forbidden } from "../process/environment.ts"
import * as Flag from "./flag.ts"

/** Where the Engines are: for all commands that need one. */
export const engineFlags = {
  dockerHosts: Flag.optional(
    Flag.texts("docker-host", {
      onlyWith: "--runner docker",
      description: "an Engine, unix:///path or tcp://host:port; may be repeated, for several",
      metavar: "URL",
      variable: true,
      otherwise: "DOCKER_HOST, else Docker's current context"
    })
  )
}

/** The values of {@link engineFlags}. */
export type EngineInput = Command.Command.Config.Infer<typeof engineFlags>

const texts = (name: string, description: string, metavar: string) =>
  Flag.optional(
    Flag.texts(name, {
      onlyWith: "--runner docker",
      description: `${description}; may be repeated`,
      metavar,
      variable: true
    })
  )

/** The container of each job. */
export const dockerFlags = {
  image: Flag.optional(
    Flag.text("image", {
      onlyWith: "--runner docker",
      description: "the image, which has a buildkite-agent; required",
      metavar: "IMAGE",
      variable: true
    })
  ),
  pull: Flag.withDefault(
    Flag.choice("pull", ["missing", "always", "never"], {
      onlyWith: "--runner docker",
      description: "pull the image if the Engine lacks it, before each job, or never",
      variable: true
    }),
    "missing"
  ),
  cpus: Flag.optional(
    Flag.positive("cpus", {
      onlyWith: "--runner docker",
      description: "how many CPUs a container may use, for example 1.5",
      variable: true,
      otherwise: "all"
    })
  ),
  memory: Flag.optional(
    Flag.check(
      Flag.text("memory", {
        onlyWith: "--runner docker",
        description: "how much memory a container may use, for example 512m or 4g",
        metavar: "SIZE",
        variable: true,
        otherwise: "all"
      }),
      (text) => bytesOf(text) !== undefined,
      "Expected a number with k, m or g, for example 512m"
    )
  ),
  networks: texts("network", "a network that containers join, or host, or none", "NAME"),
  volumes: texts("volume", "a volume or folder, as SOURCE:TARGET or SOURCE:TARGET:ro", "VOLUME"),
  addHosts: texts(
    "add-host",
    "a name for the containers, as NAME:ADDRESS or host.docker.internal:host-gateway",
    "HOST"
  ),
  capabilities: texts("cap-add", "a capability that containers keep, for example CHOWN", "CAPABILITY"),
  containerUser: Flag.optional(
    Flag.text("container-user", {
      onlyWith: "--runner docker",
      description: "the user in the container",
      metavar: "USER",
      variable: true,
      otherwise: "the image's"
    })
  ),
  containerEnv: Flag.optional(
    Flag.check(
      Flag.pairs("container-env", {
        onlyWith: "--runner docker",
        description: "a variable of the container, which is no secret; may be repeated",
        variable: true
      }),
      (variables) => Object.keys(variables).every((name) => !forbidden.includes(name)),
      `Expected another variable: containers do not get ${forbidden.join(", ")}`
    )
  )
}

/** The bytes of a size such as `512m`; undefined if it is none. */
export const bytesOf = (text: string): number | undefined => {
  const [, amount, unit = ""] = /^(\d+(?:\.\d+)?)([bkmg]?)b?$/i.exec(text.trim()) ?? []
  if (amount === undefined) return undefined
  const bytes = Math.round(Number(amount) * 1024 ** "bkmg".indexOf(unit.toLowerCase() || "b"))
  return bytes > 0 ? bytes : undefined
}
