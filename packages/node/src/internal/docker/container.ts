/** The container of an agent: what the Engine is told to create, and the file with the token. */
import type { AgentRequest } from "@stacksapi/core/AgentProvider"
import * as Redacted from "effect/Redacted"
import type * as DockerProvider from "../../DockerProvider.ts"
import { withoutTokens } from "../process/environment.ts"
import type { Image } from "./schemas.ts"
import * as Tar from "./tar.ts"

/** A container whose image is known. */
export interface Container extends DockerProvider.Container {
  readonly image: string
}

/** The agent's configuration: that of the image, if it has one, and the token. It goes with the container. */
const configFile = "/run/stacksapi/agent.cfg"

const annotationsLabel = "stacksapi-annotations"

/** How much of the output the Engine keeps: two files of this size. */
const logFiles = { "max-size": "10m", "max-file": "2" }

const defaultPids = 4096

/** The texts that are stored with an agent for people. */
export const annotationsIn = (labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(labels).flatMap(([label, value]) =>
      label.startsWith(`${annotationsLabel}/`) ? [[label.slice(annotationsLabel.length + 1), value]] : []
    )
  )

/** The body of `POST /containers/create`. It must not hold secrets: every user of the Engine can read it. */
export const bodyOf = (request: AgentRequest, container: Container): object => {
  const { annotations, env, labels, requests } = request
  const cpus = requests["cpus"] ?? container.cpus
  const memory = requests["memory"] ?? container.memory
  const variables: Record<string, string> = {
    ...Object.fromEntries(
      Object.entries(env).flatMap(([name, value]) => (Redacted.isRedacted(value) ? [] : [[name, value]]))
    ),
    BUILDKITE_WRITE_JOB_LOGS_TO_STDOUT: "true",
    ...withoutTokens(container.env ?? {}),
    BUILDKITE_AGENT_CONFIG: configFile
  }
  return {
    Image: container.image,
    Cmd: container.command ?? ["start"],
    ...(container.entrypoint !== undefined && { Entrypoint: container.entrypoint }),
    ...(container.user !== undefined && { User: container.user }),
    Env: Object.entries(variables).map(([name, value]) => `${name}=${value}`),
    Labels: {
      ...Object.fromEntries(Object.entries(annotations).map(([key, text]) => [`${annotationsLabel}/${key}`, text])),
      ...labels
    },
    Tty: false,
    HostConfig: {
      Init: true,
      CapDrop: ["ALL"],
      CapAdd: container.capabilities ?? [],
      SecurityOpt: ["no-new-privileges:true"],
      PidsLimit: container.pids ?? defaultPids,
      ...(cpus !== undefined && { NanoCpus: Math.round(cpus * 1e9) }),
      // Equal limits leave no swap.
      ...(memory !== undefined && { Memory: Math.round(memory), MemorySwap: Math.round(memory) }),
      ...(container.networks?.[0] !== undefined && { NetworkMode: container.networks[0] }),
      Binds: container.volumes ?? [],
      ExtraHosts: container.extraHosts ?? [],
      RestartPolicy: { Name: "no" },
      LogConfig: { Type: "local", Config: logFiles },
      ...container.hostConfig
    }
  }
}

/** The user of a container: that of the options, or of its image. Empty for root. */
export const userOf = (container: Container, image: Image): string =>
  (container.user ?? image.Config?.User ?? "").split(":", 1)[0] ?? ""

/** The number of a user by `/etc/passwd`; undefined if it does not have the name. */
export const uidIn = (passwd: string, user: string): number | undefined => {
  const line = passwd.split("\n").find((line) => line.startsWith(`${user}:`))
  const uid = Number.parseInt(line?.split(":")[2] ?? "", 10)
  return Number.isNaN(uid) ? undefined : uid
}

/** The path of the agent's configuration in an image; undefined if it has none. */
export const ownConfigFile = (image: Image): string | undefined =>
  image.Config?.Env?.find((variable) => variable.startsWith("BUILDKITE_AGENT_CONFIG="))?.split("=")[1]

/** The archive with the agent's configuration, which only the user with this number can read. */
export const configArchive = (uid: number, own: string, token: Redacted.Redacted): Uint8Array => {
  const kept = own.split("\n").filter((line) => !/^\s*token\s*=/.test(line))
  const content = `${[...kept, `token="${Redacted.value(token)}"`].join("\n")}\n`
  const path = configFile.slice(1)
  return Tar.write([
    { path: path.slice(0, path.lastIndexOf("/")), mode: 0o500, uid },
    { path, mode: 0o400, uid, content }
  ])
}
