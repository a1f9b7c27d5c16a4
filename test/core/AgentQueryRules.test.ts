import { assert, describe, it } from "@effect/vitest"
import { AgentQueryRules } from "@stacksapi/core"

const { matches } = AgentQueryRules

describe("AgentQueryRules.matches", () => {
  it("is met when every rule is", () => {
    const tags = ["os=linux", "arch=amd64"]
    assert.isTrue(matches([], tags))
    assert.isTrue(matches(["os=linux"], tags))
    assert.isTrue(matches(["arch=amd64", "os=linux"], tags))
    assert.isFalse(matches(["os=linux", "arch=arm64"], tags))
    assert.isFalse(matches(["os=linux", "gpu=a100"], tags))
    assert.isFalse(matches(["os=linux"], []))
  })

  it("takes any value for `*`, but not a missing tag", () => {
    assert.isTrue(matches(["gpu=*"], ["gpu=a100"]))
    assert.isTrue(matches(["gpu=*"], ["gpu="]))
    assert.isFalse(matches(["gpu=*"], ["os=linux"]))
  })

  it("knows no other wildcards, and none in tags", () => {
    assert.isFalse(matches(["os=lin*"], ["os=linux"]))
    assert.isFalse(matches(["os=linux"], ["os=*"]))
  })

  it("takes tags as texts and as an object", () => {
    assert.isTrue(matches(["os=linux", "gpu=*"], { os: "linux", gpu: "a100" }))
    assert.isFalse(matches(["os=linux"], { os: "darwin" }))
    assert.isFalse(matches(["constructor=*"], { os: "linux" }))
  })

  it("compares letter by letter, upper and lower case included", () => {
    assert.isFalse(matches(["OS=linux"], ["os=linux"]))
    assert.isFalse(matches(["os=Linux"], ["os=linux"]))
  })

  it("leaves out blanks around keys and values, not within", () => {
    assert.isTrue(matches(["  os = linux "], ["os=linux"]))
    assert.isTrue(matches(["os=linux"], [" os= linux"]))
    assert.isTrue(matches(["os=linux"], { " os": "linux " }))
    assert.isFalse(matches(["os=red hat"], ["os=redhat"]))
  })

  it("splits at the first `=`", () => {
    assert.isTrue(matches(["flags=a=b"], ["flags=a=b"]))
    assert.isFalse(matches(["flags=a"], ["flags=a=b"]))
  })

  it("reads a text without `=` as short for `key=true`", () => {
    assert.isTrue(matches(["docker"], ["docker"]))
    assert.isTrue(matches(["docker"], ["docker=true"]))
    assert.isTrue(matches(["docker=true"], ["docker"]))
    assert.isFalse(matches(["docker"], ["docker=false"]))
    assert.isFalse(matches(["docker"], []))
  })

  it("asks for nothing with an empty rule", () => {
    assert.isTrue(matches(["", "  "], []))
  })

  it("is met by any one of a key's values, and only if all rules about the key are", () => {
    const tags = ["xcode=15", "xcode=16"]
    assert.isTrue(matches(["xcode=15"], tags))
    assert.isTrue(matches(["xcode=15", "xcode=16"], tags))
    assert.isFalse(matches(["xcode=15", "xcode=14"], tags))
  })

  it("takes the queue as met, since the job was listed from it", () => {
    assert.isTrue(matches(["queue=linux", "os=linux"], ["os=linux"]))
    assert.isTrue(matches(["queue=*"], []))
  })

  it("compares the queue where the tags name one", () => {
    assert.isTrue(matches(["queue=linux"], ["queue=linux"]))
    assert.isFalse(matches(["queue=linux"], ["queue=mac"]))
    assert.isFalse(matches(["queue=linux"], { queue: "mac" }))
  })
})

describe("AgentQueryRules.matcher", () => {
  it("decides as matches does, for many jobs and the same tags", () => {
    const isForUs = AgentQueryRules.matcher(["os=linux"])
    assert.isTrue(isForUs(["os=linux"]))
    assert.isTrue(isForUs(["os=*"]))
    assert.isFalse(isForUs(["os=darwin"]))
  })
})
