/** The parts of Docker's formats that a provider reads and writes itself. */
import { spawnSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Stream } from "effect"
import { TestClock } from "effect/testing"
import { configArchive, uidIn } from "../../../packages/node/src/internal/docker/container.ts"
import { Frames } from "../../../packages/node/src/internal/docker/frames.ts"
import { parseImage } from "../../../packages/node/src/internal/docker/imageReference.ts"
import { follow } from "../../../packages/node/src/internal/docker/pull.ts"
import * as Tar from "../../../packages/node/src/internal/docker/tar.ts"

describe("The name of an image", () => {
  const digest = `sha256:${"a".repeat(64)}`
  for (const [image, repository, version, registry] of [
    ["agent", "agent", "latest", "https://index.docker.io/v1/"],
    ["buildkite/agent:3", "buildkite/agent", "3", "https://index.docker.io/v1/"],
    ["docker.io/buildkite/agent:3", "docker.io/buildkite/agent", "3", "https://index.docker.io/v1/"],
    ["registry.test/team/agent", "registry.test/team/agent", "latest", "registry.test"],
    ["registry.test:5000/agent", "registry.test:5000/agent", "latest", "registry.test:5000"],
    ["localhost/agent:1.2", "localhost/agent", "1.2", "localhost"],
    [`agent@${digest}`, "agent", digest, "https://index.docker.io/v1/"],
    [`registry.test:5000/agent:1@${digest}`, "registry.test:5000/agent", digest, "registry.test:5000"]
  ] as const) {
    it(`${image} has its registry and its version`, () => {
      assert.deepStrictEqual(parseImage(image), { repository, version, registry })
    })
  }
})

describe("The output of a container", () => {
  const frame = (type: number, text: string) => {
    const bytes = Buffer.from(text)
    const header = Buffer.from([type, 0, 0, 0, 0, 0, 0, 0])
    header.writeUInt32BE(bytes.length, 4)
    return Buffer.concat([header, bytes])
  }

  it("is taken apart, wherever the pieces are cut", () => {
    const whole = Buffer.concat([frame(1, "out 1\n"), frame(2, "err ü\n"), frame(1, ""), frame(1, "out 2\n")])
    for (let size = 1; size <= whole.length; size++) {
      const frames = new Frames()
      const text = { stdout: "", stderr: "" }
      for (let at = 0; at < whole.length; at += size) {
        for (const { bytes, channel } of frames.push(whole.subarray(at, at + size))) {
          text[channel] += Buffer.from(bytes).toString("latin1")
        }
      }
      assert.strictEqual(text.stdout, "out 1\nout 2\n", `in pieces of ${size}`)
      assert.strictEqual(Buffer.from(text.stderr, "latin1").toString(), "err ü\n", `in pieces of ${size}`)
    }
  })
})

describe("The agent's configuration", () => {
  const own = 'name="x"\n  token = "xxx"\nhooks-path="/hooks"'
  const archive = configArchive(1234, own, Redacted.make("bkjat_1"))

  it("is an archive that tar reads, with its user's file in it", () => {
    const { stdout } = spawnSync("tar", ["--list", "--verbose", "--numeric-owner"], {
      input: archive,
      encoding: "utf8"
    })
    assert.match(
      stdout,
      /^dr-x------ 1234\/0 .* run\/stacksapi\/?\n-r-------- 1234\/0 .* run\/stacksapi\/agent\.cfg\n$/
    )
  })

  it("has the settings of the image's file, and the new token alone", () => {
    assert.strictEqual(Tar.readFirst(archive), 'name="x"\nhooks-path="/hooks"\ntoken="bkjat_1"\n')
  })

  it("is read from an archive of a real tar, also with long headers", () => {
    const folder = "/proc/self"
    const { stdout } = spawnSync("tar", ["--create", "--format=pax", "--directory", folder, "comm"])
    assert.isDefined(Tar.readFirst(stdout))
    assert.isUndefined(Tar.readFirst(new Uint8Array(1024)))
    assert.isUndefined(Tar.readFirst(new TextEncoder().encode("no archive")))
  })

  it("belongs to a user by the numbers of the image", () => {
    const passwd = "root:x:0:0::/:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\nnode2:x:1001:1::/:/bin/sh\n"
    assert.strictEqual(uidIn(passwd, "node"), 1000)
    assert.isUndefined(uidIn(passwd, "nod"))
    assert.isUndefined(uidIn("", "node"))
  })
})

describe("A pull", () => {
  const line = (id: string, current: number, total: number) => ({
    status: "Downloading",
    id,
    progressDetail: { current, total }
  })

  it.effect("tells its progress on the job's page, at most every 15 seconds", () =>
    Effect.gen(function* () {
      const notes: Array<string> = []
      const lines = Stream.fromIterable([
        { status: "Pulling from team/agent", id: "1" },
        line("a", 0, 40e6),
        line("b", 0, 80e6),
        line("a", 20e6, 40e6),
        { status: "Download complete", id: "a" },
        line("b", 40e6, 80e6),
        { status: "Pull complete", id: "b" },
        { status: "Status: Downloaded newer image" }
      ]).pipe(Stream.tap(() => TestClock.adjust("5 seconds")))
      yield* follow("unix:///d", "team/agent:1", lines, (text) => Effect.sync(() => void notes.push(text)))
      assert.deepStrictEqual(notes, [
        "Pulling the image team/agent:1",
        "Pulling the image team/agent:1: 0.0 of 120 MB",
        "Pulling the image team/agent:1: 80 of 120 MB",
        "Pulled the image team/agent:1 in 40 s (120 of 120 MB)"
      ])
    })
  )

  it.effect("fails with the error among its lines", () =>
    Effect.gen(function* () {
      const lines = Stream.fromIterable([{ status: "Pulling", id: "1" }, { error: "manifest unknown" }])
      const error = yield* Effect.flip(follow("unix:///d", "agent", lines, () => Effect.void))
      assert.strictEqual(error.message, "manifest unknown")
    })
  )
})
