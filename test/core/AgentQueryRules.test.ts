import { assert, describe, it } from "@effect/vitest"
import { AgentQueryRules } from "@stacksapi/core"

const { matches } = AgentQueryRules

describe("AgentQueryRules.matches", () => {
  it("is true if every rule matches", () => {
    const tags = ["os=linux", "arch=amd64"]
    assert.isTrue(matches([], tags))
    assert.isTrue(matches(["os=linux"], tags))
    assert.isTrue(matches(["arch=amd64", "os=linux"], tags))
    assert.isFalse(matches(["os=linux", "arch=arm64"], tags))
    assert.isFalse(matches(["os=linux", "gpu=a100"], tags))
    assert.isFalse(matches(["os=linux"], []))
  })

  it.each(["gpu=*", "gpu=", "gpu", " gpu = * ", " gpu ", "gpu= "])(
    "takes any value for %j, but not a missing tag",
    (rule) => {
      for (const tags of [
        ["gpu=a100"],
        ["gpu="],
        ["gpu"],
        ["gpu=*"],
        ["os=linux", "gpu=a100"],
        { gpu: "" },
        { gpu: "x" }
      ]) {
        assert.isTrue(matches([rule], tags))
      }
      for (const tags of [[], ["os=linux"], ["gpus=a100"], { os: "gpu" }]) assert.isFalse(matches([rule], tags))
    }
  )

  it("accepts a rule for any value beside one for a value", () => {
    assert.isTrue(matches(["gpu=", "gpu=a100"], ["gpu=a100"]))
    assert.isFalse(matches(["gpu=", "gpu=a100"], ["gpu=v100"]))
  })

  it("has no other wildcards, and none in tags", () => {
    assert.isFalse(matches(["os=lin*"], ["os=linux"]))
    assert.isFalse(matches(["os=linux"], ["os=*"]))
  })

  it("accepts tags as texts or an object", () => {
    assert.isTrue(matches(["os=linux", "gpu=*"], { os: "linux", gpu: "a100" }))
    assert.isFalse(matches(["os=linux"], { os: "darwin" }))
    assert.isFalse(matches(["constructor=*"], { os: "linux" }))
  })

  it("is case-sensitive", () => {
    assert.isFalse(matches(["OS=linux"], ["os=linux"]))
    assert.isFalse(matches(["os=Linux"], ["os=linux"]))
  })

  it("trims keys and values", () => {
    assert.isTrue(matches(["  os = linux "], ["os=linux"]))
    assert.isTrue(matches(["os=linux"], [" os= linux"]))
    assert.isTrue(matches(["os=linux"], { " os": "linux " }))
    assert.isFalse(matches(["os=red hat"], ["os=redhat"]))
  })

  it("splits at the first `=`", () => {
    assert.isTrue(matches(["flags=a=b"], ["flags=a=b"]))
    assert.isFalse(matches(["flags=a"], ["flags=a=b"]))
  })

  it("reads a tag without `=` as short for `key=true`", () => {
    assert.isTrue(matches(["docker=true"], ["docker"]))
    assert.isFalse(matches(["docker=false"], ["docker"]))
    assert.isFalse(matches(["docker=true"], ["docker=false"]))
  })

  it("ignores an empty rule", () => {
    assert.isTrue(matches(["", "  "], []))
  })

  it("needs one of a key's values for each rule of the key", () => {
    const tags = ["xcode=15", "xcode=16"]
    assert.isTrue(matches(["xcode=15"], tags))
    assert.isTrue(matches(["xcode=15", "xcode=16"], tags))
    assert.isFalse(matches(["xcode=15", "xcode=14"], tags))
  })

  it("ignores a rule for the queue if the tags have no queue", () => {
    assert.isTrue(matches(["queue=linux", "os=linux"], ["os=linux"]))
    for (const rule of ["queue=*", "queue=", "queue"]) assert.isTrue(matches([rule], []))
  })

  it("compares a rule for the queue if the tags have a queue", () => {
    assert.isTrue(matches(["queue=linux"], ["queue=linux"]))
    assert.isFalse(matches(["queue=linux"], ["queue=mac"]))
    assert.isFalse(matches(["queue=linux"], { queue: "mac" }))
    for (const rule of ["queue=*", "queue=", "queue"]) assert.isTrue(matches([rule], ["queue=mac"]))
  })
})

describe("AgentQueryRules.matcher", () => {
  it("decides like matches, for many jobs with the same tags", () => {
    const isForUs = AgentQueryRules.matcher(["os=linux"])
    assert.isTrue(isForUs(["os=linux"]))
    assert.isTrue(isForUs(["os=*"]))
    assert.isFalse(isForUs(["os=darwin"]))
  })
})

describe("AgentQueryRules.parse", () => {
  it.each([
    ["os=linux", "os", "linux"],
    ["  os = linux ", "os", "linux"],
    ["flags=a=b", "flags", "a=b"],
    ["os=lin*", "os", "lin*"],
    ["os=*", "os", undefined],
    ["os=", "os", undefined],
    ["os", "os", undefined],
    ["", "", undefined],
    ["=linux", "", "linux"],
    ["os==", "os", "="]
  ] as const)("reads %j", (rule, key, value) => {
    assert.deepStrictEqual(AgentQueryRules.parse(rule), { key, value })
  })
})
