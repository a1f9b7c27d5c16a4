// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are variables of pipelines
/** Random pipeline files, with everything that the agent's parser treats in a way of its own. */

import { numbers, plainTexts, variableTexts, words, wrongTexts } from "./pipelineTexts.ts"
import { make, type SeededRandom } from "./random.ts"
import { list, map, type Node, scalar, YamlWriter } from "./yamlWriter.ts"

/** The variables of the job that uploads the files. */
export const variables: Readonly<Record<string, string>> = {
  BUILDKITE_BRANCH: "main",
  BUILDKITE_PIPELINE_SLUG: "slug",
  ALPHA: "alpha",
  EMPTY: "",
  ACCENT: "é→ü",
  COUNT: "3",
  PLUGIN: "docker",
  DIMENSION: "os"
}

/** The file of a seed. */
export const pipelineFile = (seed: number): string => new Writer(make(seed)).file()

class Writer {
  readonly #random: SeededRandom
  readonly #yaml: YamlWriter
  #anchors: Array<{ readonly name: string; readonly isMap: boolean }> = []
  #count = 0

  constructor(random: SeededRandom) {
    this.#random = random
    this.#yaml = new YamlWriter(random)
  }

  file(): string {
    const documents = this.#random.chance(0.1) ? this.#random.between(2, 3) : 1
    const texts = Array.from({ length: documents }, () => this.#yaml.block(this.#pipeline(), 0))
    const start = documents > 1 || this.#random.chance(0.1) ? "---\n" : ""
    const text = start + texts.join("---\n")
    return this.#random.chance(0.1) ? text.replace(/\n$/, "") : text
  }

  // ---------------------------------------------------------------------------
  // Pipelines
  // ---------------------------------------------------------------------------

  #pipeline(): Node {
    const steps = this.#steps(0)
    if (this.#random.chance(0.06)) return steps
    const pairs: Array<readonly [string, Node]> = []
    if (this.#random.chance(0.4))
      pairs.push([
        "shared",
        this.#anchored(
          map([
            ["command", this.#text()],
            ["retry", this.#any(1)]
          ])
        )
      ])
    if (this.#random.chance(0.2)) pairs.push(["lists", this.#anchored(list([this.#text(), this.#number()]))])
    if (this.#random.chance(0.6)) {
      pairs.push(["env", map([["FILE_VARIABLE", this.#text()], ...this.#variables()])])
    }
    if (this.#random.chance(0.4)) pairs.push(["agents", this.#agents()])
    if (this.#random.chance(0.1)) pairs.push(["secrets", this.#secrets()])
    if (this.#random.chance(0.1)) pairs.push(["checkout", this.#checkout()])
    if (this.#random.chance(0.2))
      pairs.push([this.#random.pick(["notify", "priority", "x-$ALPHA", "image"]), this.#any(2)])
    pairs.push(["steps", this.#random.chance(0.02) ? scalar("~") : steps])
    return map(this.#random.chance(0.3) ? pairs.toReversed() : pairs)
  }

  #steps(depth: number): Node {
    return list(Array.from({ length: this.#random.between(1, 4) }, () => this.#step(depth)))
  }

  #step(depth: number): Node {
    const kind = this.#random.weighted([
      ["command", 12],
      ["wait", 2],
      ["bare", 2],
      ["block", 2],
      ["trigger", 1],
      ["group", depth === 0 ? 2 : 0],
      ["unknown", 0.4]
    ])
    switch (kind) {
      case "command":
        return this.#command()
      case "wait":
        return map([
          [this.#random.pick(["wait", "waiter"]), scalar("~")],
          ...this.#maybe(0.3, "continue_on_failure", scalar("true")),
          ...this.#rest()
        ])
      case "bare":
        return scalar(this.#random.pick(["wait", "waiter", "block", "input", "manual"]))
      case "block":
        return map([
          [this.#random.pick(["block", "input", "manual"]), this.#text()],
          ...this.#maybe(
            0.4,
            "fields",
            list([
              map([
                ["text", this.#text()],
                ["key", scalar("name")],
                ["default", this.#any(0)]
              ])
            ])
          ),
          ...this.#rest()
        ])
      case "trigger":
        return map([
          ["trigger", this.#text()],
          ...this.#maybe(0.5, "build", this.#any(2)),
          ...this.#maybe(0.3, "async", scalar("true"))
        ])
      case "group":
        return map([
          ["group", this.#random.chance(0.2) ? scalar("~") : this.#text()],
          ...this.#maybe(0.4, this.#random.pick(["key", "id", "label", "name"]), this.#text()),
          ["steps", this.#steps(depth + 1)],
          ...this.#rest()
        ])
      default:
        return this.#random.chance(0.5)
          ? scalar("something")
          : map([
              ["label", this.#text()],
              ["type", scalar("later")]
            ])
    }
  }

  #command(): Node {
    const { chance, pick } = this.#random
    const pairs: Array<readonly [string, Node]> = []
    const name = pick(["command", "command", "commands"])
    if (chance(0.92)) pairs.push([name, this.#commands()])
    if (pairs.length === 0 || chance(0.25)) pairs.push(["plugins", this.#plugins()])
    if (chance(0.05)) pairs.push([name === "command" ? "commands" : "command", this.#text()])
    if (chance(0.1)) pairs.unshift(["type", scalar(pick(["command", "script"]))])
    const optional: ReadonlyArray<readonly [number, string, () => Node]> = [
      [0.4, pick(["label", "name"]), () => this.#text()],
      [0.3, pick(["key", "id", "identifier"]), () => this.#text()],
      [0.3, "env", () => (chance(0.05) ? list([scalar("A=b")]) : map(this.#variables()))],
      [0.25, "agents", () => this.#agents()],
      [0.25, "matrix", () => this.#matrix()],
      [
        0.15,
        pick(["parallelism", "priority", "timeout_in_minutes"]),
        () => (chance(0.5) ? scalar('"$COUNT"') : this.#number())
      ],
      [0.1, "cache", () => this.#cache()],
      [0.08, "secrets", () => this.#secrets()],
      [0.08, "checkout", () => this.#checkout()],
      [
        0.06,
        "signature",
        () =>
          map([
            ["algorithm", this.#text()],
            ["signed_fields", list([this.#text()])],
            ["value", scalar("x$ALPHA")],
            ["more", scalar("1")]
          ])
      ],
      [0.1, "if", () => scalar('build.branch == "main"')],
      [0.1, "skip", () => this.#any(0)]
    ]
    for (const [probability, key, node] of optional) if (chance(probability)) pairs.push([key, node()])
    const merged = this.#anchors.filter(({ isMap }) => isMap)
    if (merged.length > 0 && chance(0.3))
      pairs.splice(this.#random.below(pairs.length + 1), 0, ["<<", scalar(`*${pick(merged).name}`)])
    if (merged.length > 1 && chance(0.2))
      pairs.push(["<<", list(merged.slice(0, 2).map((anchor) => scalar(`*${anchor.name}`)))])
    return this.#random.chance(0.05)
      ? this.#anchored(map([...pairs, ...this.#rest()]))
      : map([...pairs, ...this.#rest()])
  }

  /** Fields that the agent does not look into. */
  #rest(): ReadonlyArray<readonly [string, Node]> {
    const names = [
      "depends_on",
      "retry",
      "soft_fail",
      "notify",
      "concurrency_group",
      "artifact_paths",
      "0x10",
      "1.5",
      "True",
      "branches"
    ]
    const count = this.#random.weighted([
      [0, 5],
      [1, 3],
      [2, 1]
    ])
    return Array.from({ length: count }, () => [this.#random.pick(names), this.#any(2)] as const)
  }

  #maybe(probability: number, key: string, node: Node): ReadonlyArray<readonly [string, Node]> {
    return this.#random.chance(probability) ? [[key, node]] : []
  }

  #commands(): Node {
    const kind = this.#random.weighted([
      ["one", 6],
      ["several", 3],
      ["null", 0.3]
    ])
    if (kind === "null") return scalar("~")
    return kind === "one"
      ? this.#text()
      : list(Array.from({ length: this.#random.between(0, 3) }, () => this.#scalar()))
  }

  /** A variable in a name has a value without variables: it is not said whether that is expanded twice. */
  #variables(): ReadonlyArray<readonly [string, Node]> {
    return Array.from({ length: this.#random.between(0, 3) }, (_, index) =>
      this.#random.chance(0.05)
        ? ([`X${index}_$ALPHA`, scalar("plain")] as const)
        : ([`NAME_${index}`, this.#scalar()] as const)
    )
  }

  #agents(): Node {
    if (this.#random.chance(0.3))
      return list([scalar("queue=$ALPHA"), scalar('"os=linux"'), ...(this.#random.chance(0.2) ? [scalar("~")] : [])])
    return map([
      ["queue", this.#text()],
      ...this.#maybe(0.5, "memory", this.#scalar()),
      ...this.#maybe(0.3, "gpu", scalar(""))
    ])
  }

  #plugins(): Node {
    const names = [
      "docker#v5.0.0",
      "org/thing#v1",
      "$PLUGIN#$COUNT",
      "https://example.com/x.git#v1",
      "./local",
      "a/b/c#v1",
      "git@github.com:a/b.git#v2",
      "cache",
      '"x y#v 1"'
    ]
    const one = () => {
      const name = this.#random.pick(names)
      return this.#random.chance(0.4) ? scalar(name) : map([[name, this.#random.chance(0.2) ? map([]) : this.#any(2)]])
    }
    const kind = this.#random.weighted([
      ["list", 8],
      ["map", 1],
      ["null", 0.4]
    ])
    if (kind === "null") return scalar("~")
    return kind === "map"
      ? map([
          ["docker#v5", this.#any(1)],
          ["cache#v2", scalar("~")]
        ])
      : list(Array.from({ length: this.#random.between(1, 2) }, one))
  }

  #matrix(): Node {
    const values = () => list(Array.from({ length: this.#random.between(1, 3) }, () => this.#scalar()))
    const kind = this.#random.weighted([
      ["list", 4],
      ["setup", 3],
      ["named", 5],
      ["empty", 0.5]
    ])
    if (kind === "empty") return list([])
    if (kind === "list") return values()
    const withOne = () => (this.#random.chance(0.1) ? this.#number() : this.#text())
    const adjustment = (where: Node): Node =>
      map([
        ["with", where],
        ...this.#maybe(
          0.5,
          "skip",
          this.#random.pick([scalar("true"), scalar("false"), scalar("because"), scalar('""')])
        ),
        ...this.#maybe(0.3, "soft_fail", this.#any(1))
      ])
    if (kind === "setup")
      return map([["setup", values()], ...this.#maybe(0.5, "adjustments", list([adjustment(withOne())]))])
    return map([
      [
        "setup",
        map([
          ["os", values()],
          ["$DIMENSION.arch", this.#random.chance(0.2) ? this.#text() : values()]
        ])
      ],
      ...this.#maybe(
        0.6,
        "adjustments",
        list([adjustment(map([["os", withOne()], ...this.#maybe(0.6, "os.arch", withOne())]))])
      )
    ])
  }

  #cache(): Node {
    return this.#random.pick([
      scalar("false"),
      scalar("true"),
      this.#text(),
      list([this.#text(), this.#number()]),
      map([
        ["paths", list([this.#text()])],
        ["name", this.#text()],
        ["size", this.#number()],
        ["extra", this.#text()]
      ]),
      map([["disabled", scalar("true")]])
    ])
  }

  #secrets(): Node {
    return this.#random.pick([
      list([scalar("API_KEY"), scalar('"$ALPHA"')]),
      map([["TOKEN", scalar("deploy-token")]]),
      list([
        map([
          ["key", scalar("k")],
          ["environment_variable", scalar("V")]
        ]),
        map([["key", scalar("k2")]])
      ])
    ])
  }

  #checkout(): Node {
    return map([
      ...this.#maybe(0.4, "skip", scalar("true")),
      ...this.#maybe(0.4, "depth", scalar("10")),
      ...this.#maybe(0.3, "ssh_secret", this.#text()),
      ...this.#maybe(0.3, "sparse", map([["paths", list([this.#text()])]])),
      ...this.#maybe(0.3, "flags", map([["clone", scalar('"--depth $COUNT"')]])),
      ["other", this.#any(1)]
    ])
  }

  /** Anything at all. */
  #any(depth: number): Node {
    const kind =
      depth === 0
        ? "scalar"
        : this.#random.weighted([
            ["scalar", 5],
            ["list", 2],
            ["map", 3],
            ["alias", 1]
          ])
    const first = this.#anchors[0]
    if (kind === "alias" && first !== undefined) return scalar(`*${this.#random.pick(this.#anchors).name}`)
    if (kind === "list") return list(Array.from({ length: this.#random.between(0, 3) }, () => this.#any(depth - 1)))
    if (kind !== "map") return this.#scalar()
    const names = ["a", "b", "$ALPHA-key", "01", "1e2", "yes", "'quoted $COUNT'", "c d", "~x"]
    return map(
      Array.from(
        { length: this.#random.between(0, 3) },
        () => [this.#random.pick(names), this.#any(depth - 1)] as const
      )
    )
  }

  #anchored(node: Node): Node {
    if (node.kind === "scalar") return node
    const name = `anchor${this.#count++}`
    this.#anchors.push({ name, isMap: node.kind === "map" })
    return { ...node, anchor: name }
  }

  // ---------------------------------------------------------------------------
  // Scalars
  // ---------------------------------------------------------------------------

  #number(): Node {
    return scalar(this.#random.pick(numbers))
  }

  #scalar(): Node {
    return this.#random.weighted([
      [() => this.#text(), 6],
      [() => this.#number(), 3],
      [() => scalar(this.#random.pick(words)), 2]
    ])()
  }

  /** A text in one of the ways in which YAML writes it. */
  #text(): Node {
    const texts = this.#random.chance(0.002) ? wrongTexts : this.#random.chance(0.55) ? variableTexts : plainTexts
    const text = this.#random.pick(texts)
    const style = this.#random.weighted([
      ["plain", 3],
      ["single", 2],
      ["double", 3],
      ["literal", 1],
      ["folded", 0.5]
    ])
    if (style === "plain" && /^[A-Za-z$][\w$ ./-]*[\w}]$/.test(text)) return scalar(text)
    if (style === "single" && !text.includes("\t")) return scalar(`'${text.replaceAll("'", "''")}'`)
    if (style === "literal" || style === "folded") {
      const mark = style === "literal" ? "|" : ">"
      const chomping = this.#random.pick(["", "-", "+"])
      return scalar(`${mark}${chomping}\n${[text.trim(), this.#random.pick(["more $ALPHA", "last"])].join("\n")}`)
    }
    return scalar(JSON.stringify(text))
  }
}
