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

  it("asks for nothing more where a key has to have a value and any", () => {
    assert.isTrue(matches(["gpu=", "gpu=a100"], ["gpu=a100"]))
    assert.isFalse(matches(["gpu=", "gpu=a100"], ["gpu=v100"]))
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

  it("reads a tag without `=` as short for `key=true`", () => {
    assert.isTrue(matches(["docker=true"], ["docker"]))
    assert.isFalse(matches(["docker=false"], ["docker"]))
    assert.isFalse(matches(["docker=true"], ["docker=false"]))
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
    for (const rule of ["queue=*", "queue=", "queue"]) assert.isTrue(matches([rule], []))
  })

  it("compares the queue where the tags name one", () => {
    assert.isTrue(matches(["queue=linux"], ["queue=linux"]))
    assert.isFalse(matches(["queue=linux"], ["queue=mac"]))
    assert.isFalse(matches(["queue=linux"], { queue: "mac" }))
    for (const rule of ["queue=*", "queue=", "queue"]) assert.isTrue(matches([rule], ["queue=mac"]))
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
