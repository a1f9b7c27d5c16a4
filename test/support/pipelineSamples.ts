// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are variables of pipelines
/** Pipeline files about one thing each. */

export const samples: Readonly<Record<string, string>> = {
  "variables with defaults": `
env:
  FIRST: "\${ALPHA:-x}"
  SECOND: "$FIRST-$UNSET"
agents: { queue: "\${QUEUE:-small}" }
steps:
  - label: "$SECOND for $$HOME and \\\\$USER"
    command: echo '\${BUILDKITE_BRANCH}' "\${EMPTY:-e}" "\${EMPTY-e}" "\${ALPHA:1:2}" "\${ACCENT:0:1}" $(date) $1 $
`,
  "a variable that must be set": "steps: [{ command: '${UNSET?set it}' }]",
  "an unknown operator": "steps: [{ command: '${ALPHA:+x}' }]",
  "a name that begins with a digit": "steps: [{ command: '${1}' }]",
  "numbers as texts": `
env: { A: 0777, B: 0x1F, C: 1_000, D: 3.10, E: 1e3, F: 1000000.0, G: 08, H: 0o17, I: -0b11, J: 1e21, K: .5, L: +12 }
steps: [{ command: 0777, label: 3.10, key: 1e6 }]
`,
  "numbers that stay numbers": `
numbers: [0777, 0x1F, 1_000, 3.10, 1e3, 08, 0o17, -0b11, 18446744073709551615, 1e999, 1.5e-7, 1_, 0_7]
steps: []
`,
  "booleans and nulls": `
env: { A: true, B: False, C: yes, D: off, E: null, F: ~, G: , H: "true", I: Null }
other: { a: True, b: y, c: NULL, "d": ~ }
steps: [{ command: true, label: no }]
`,
  times:
    "other: [2001-12-14, 2001-12-14T21:59:43.10-05:00, 2001-12-14 21:59:43, 2001-02-30]\nsteps: [{ command: 2001-1-2, x: 2001-1-2 }]",
  "a time in the environment": "env: { A: 2001-12-14 }\nsteps: []",
  tags: 'other: [!!str 5, !!int "5", !!float 5, !own x, ! 5, !!binary aGk=]\nsteps: []',
  "a tag that does not fit": "other: !!int five\nsteps: []",
  "a number that JSON has not": "other: .inf\nsteps: []",
  "keys that are no texts": "other: { 0x10: a, 1.5: b, True: c, 2001-12-14: d, 1_000: e }\nsteps: []",
  "a key that is null": "other: { ~: a }\nsteps: []",
  "duplicate keys":
    "steps:\n  - command: a\n    label: x\n    command: b\nsteps:\n  - command: c\n    env: { A: 1, A: 2 }",
  "anchors and merges": `
common: &common { command: a, retry: { automatic: true }, env: &env { A: "1", B: "$ALPHA" } }
more: &more { label: more, command: b }
steps:
  - <<: *common
    label: own
  - { <<: [*more, *common] }
  - <<: *common
    <<: *more
    env: { <<: *env, B: "3" }
  - *common
`,
  "a merge of a text": "steps: [{ <<: text, command: a }]",
  "an anchor that is used before it exists": "steps: [{ command: *later }, { command: &later x }]",
  "an anchor of an earlier document": "steps: [{ command: &one x }]\n---\nsteps: [{ command: *one }]",
  "an anchor with a second meaning": "steps: [{ command: &a x }, { command: *a }, { command: &a y }, { command: *a }]",
  "a value in itself": "steps: [{ command: a, other: &a [*a] }]",
  "several documents": "env: { SHARED: one }\nsteps: [{ command: a }]\n---\nsteps: [{ command: $SHARED }]\n",
  "a document with nothing in it": "---\n---\nsteps: []\n",
  "only comments": "# nothing\n",
  "a list of steps": "- command: a\n- wait\n- { block: Go }\n",
  "no steps": "env: { A: b }",
  "steps that are null": "steps: ~",
  "a step that is null": "steps: [~]",
  "steps in words": "steps: [wait, waiter, block, input, manual, other, $ALPHA]",
  "types of steps": `
steps:
  - { type: script, command: a }
  - { type: wait }
  - { type: block, label: x }
  - { type: trigger, trigger: t }
  - { type: group, label: g, steps: [{ command: a }] }
  - { type: later, label: $ALPHA }
  - { label: nothing else }
`,
  "a type that is no text": "steps: [{ type: 1, command: a }]",
  "commands in all forms": `
steps:
  - { command: [a, 2, true, ~] }
  - { commands: b }
  - { commands: [c], command: d }
  - { command: ~ }
  - { command: { a: b } }
  - { command: [[a]] }
`,
  "names of fields":
    "steps: [{ command: a, id: i, name: n }, { command: b, key: k, id: i, label: l, name: n }, { command: c, key: ~, id: i }, { command: d, key: $UNSET }]",
  "plugins in all forms": `
steps:
  - plugins: [docker#v5, { "org/name#v1": { a: [$ALPHA] } }, { a/b/c: 1, d#v2: {} }, "./local", "https://x.y/z.git#v1", "git@x.y:a/b.git", "$PLUGIN#$COUNT", ""]
  - { command: a, plugins: { docker#v5: , cache: [] } }
  - { command: a, plugins: ~ }
  - { command: a, plugins: text }
  - { command: a, plugins: [[a]] }
  - { command: a, plugins: ["x%20y#v%201", "x%zz", "a b", "x?y#z", "c:d"] }
`,
  "rules without a value":
    "agents: [queue=a, ~]\nsteps: [{ command: a, agents: { postgres: , os: ~ } }, { command: b, agent_query_rules: [x] }]",
  "a matrix of values":
    "steps: [{ command: a, matrix: [a, 1, 3.10, true, $ALPHA] }, { command: b, matrix: [] }, { command: c, matrix: ~ }, { command: d, matrix: text }]",
  "a matrix with a setup": `
steps:
  - { command: a, matrix: { setup: [a, b], adjustments: [{ with: c, skip: false }, { with: 1, skip: true, soft_fail: true }] } }
  - { command: b, matrix: { setup: [a, b] } }
  - { command: c, matrix: { setup: { os: [a], "x.$DIMENSION": b, none: ~ }, adjustments: [{ with: { os: c }, skip: "" }, ~] } }
  - { command: d, matrix: { adjustments: [] } }
  - { command: e, matrix: { setup: [a], adjustments: [{ with: 1.5 }] } }
  - { command: f, matrix: { setup: { os: [a] }, adjustments: [{ skip: why }], more: $ALPHA } }
`,
  caches:
    "steps: [{ command: a, cache: false }, { command: b, cache: true }, { command: c, cache: p }, { command: d, cache: [p, 1] }, { command: e, cache: { paths: p, name: $ALPHA, x: $ALPHA } }, { command: f, cache: { disabled: true } }, { command: g, cache: 1 }]",
  secrets:
    "secrets: [A, { key: b }]\nsteps: [{ command: a, secrets: { A: b } }, { command: b, secrets: [$ALPHA] }, { command: c, secrets: ~ }, { command: d, secrets: [1] }]",
  "secrets that are null": "secrets: ~\nsteps: []",
  checkouts: `
checkout: { skip: false, depth: 5 }
steps:
  - { command: a, checkout: { skip: true, submodules: ~, ssh_secret: 1, depth: 10, sparse: { paths: [a, $ALPHA], x: 1 }, flags: { clone: "$ALPHA", fetch: "", x: 1 }, y: $ALPHA } }
  - { command: b, checkout: true }
  - { command: c, checkout: { skip: "true" } }
  - { command: d, checkout: { depth: 1.5 } }
  - { command: e, checkout: { flags: { clone: true } } }
  - { command: f, checkout: {} }
`,
  signatures:
    "steps: [{ command: a, signature: { algorithm: $ALPHA, value: x, more: y } }, { command: b, signature: ~ }, { command: c, signature: text }]",
  groups: `
steps:
  - { group: ~, label: l, steps: [{ command: a, name: $ALPHA }, wait] }
  - { group: $ALPHA, id: i, name: n, steps: ~ }
  - { group: g }
  - { group: g, steps: [{ group: h, steps: [] }] }
  - { group: g, steps: [{ label: $ALPHA }] }
  - { group: g, steps: text }
`,
  "blocks and triggers":
    "steps: [{ block: $ALPHA, fields: [{ text: $ALPHA, key: k, default: 0777 }] }, { input: ~ }, { trigger: $ALPHA, build: { env: { A: $$B } } }, { wait: ~, continue_on_failure: true }]",
  "an environment that is a list": "steps: [{ command: a, env: [A=$ALPHA] }]",
  "an environment that is a list, of the pipeline": "env: [A=b]\nsteps: []",
  "an environment with nothing in it": "env: {}\nsteps: [{ command: a, env: {} }, { command: b, env: ~ }]",
  "variables in names":
    'env: { "X_$ALPHA": a, X_alpha: b }\nsteps: [{ command: a, other: { "$ALPHA": 1, alpha: 2, "k-$ALPHA": 3 } }]',
  "changed files":
    "steps: [{ command: a, if_changed: x }, { group: g, if_changed: [a], steps: [{ command: b, if_changed: { include: x } }] }, { trigger: t, if_changed: x }, { block: b, if_changed: x }]",
  "block scalars":
    'steps:\n  - command: |\n      echo $ALPHA\n        more\n\n      last\n  - command: >-\n      one\n      two\n\n      three\n  - label: |+\n      kept\n\n    command: "a\\tb\\u00e9\\x41\\\n      c"',
  "no line break at the end": "steps:\n  - label: x\n    command: |\n      echo a\n      echo b",
  "a folded text without a line break at the end": "steps:\n  - command: >+\n      echo a\n      echo b",
  "spaces at the end": "steps:\n  - command: |\n      echo a\n    ",
  "flow collections over lines": "steps: [\n  { command: a,\n    agents: { queue: x } },\n  { command: b,\n  }\n]\n"
}
