/** Names of images, as far as a pull needs their parts. */

export interface ImageReference {
  /** The name without tag and digest, as it was given. */
  readonly repository: string
  /** The tag, or the digest if there is one. */
  readonly version: string
  /** Where Docker's configuration has the credentials. */
  readonly registry: string
}

/** Docker's configuration names the registry of images without a host by this address. */
const defaultRegistry = "https://index.docker.io/v1/"

export const parseImage = (image: string): ImageReference => {
  const [named = "", digest] = image.split("@", 2)
  const colon = named.lastIndexOf(":")
  const hasTag = colon > named.lastIndexOf("/")
  const repository = hasTag ? named.slice(0, colon) : named
  return {
    repository,
    version: digest ?? (hasTag ? named.slice(colon + 1) : "latest"),
    registry: registryOf(repository)
  }
}

/** The first part is a host if it has a dot or a port, or is this machine. */
const registryOf = (repository: string): string => {
  const [first = "", ...others] = repository.split("/")
  if (others.length === 0 || !(/[.:]/.test(first) || first === "localhost")) return defaultRegistry
  return first === "docker.io" || first === "index.docker.io" ? defaultRegistry : first
}
