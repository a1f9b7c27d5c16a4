// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are variables of pipelines
/** Scalars that agents read in ways of their own. */

export const numbers = [
  ...["0", "7", "-3", "+4", "0777", "0o17", "0x1F", "-0x10", "0b101", "1_000", "08", "0_7", "1__0", "1_"],
  ...["12345678901234", "3.10", "1.0", "1e3", "1e21", ".5", "-0.0", "1.5e-7", "123456789.5", "6.02E23", "1."]
]

export const words = [
  ...["true", "True", "FALSE", "yes", "no", "on", "Off", "y", "null", "~", "Null", "NULL", "nan", "<<a", "1.2.3"],
  ...["v1.0", "1:30", "_1", "0x", "0xZZ", "1e", "+", "-a", ".a", "a_b", "2001-12-14", "2001-02-30", "2001-1-2T3:4:5Z"],
  ...["2001-12-14T21:59:43.10-05:00", "12e03", "0b2", "0o8", "1e999", "main"]
]

export const variableTexts = [
  ...["$ALPHA", "${ALPHA}", "x-$EMPTY-y", "${UNSET}", "${UNSET:-a b}", "${EMPTY:-fallback}", "${EMPTY-kept}"],
  ...["${UNSET-plain}", "${ALPHA:1:3}", "${ALPHA:2}", "${ALPHA: -2}", "${ALPHA:0:-1}", "${ALPHA:9}", "${ACCENT:1:4}"],
  ...["$$ALPHA", "\\$ALPHA", "a\\\\b $ALPHA", "$(date) $ALPHA", "costs $5", "end $", "${UNSET:-${ALPHA:-x}}"],
  ...["${UNSET:-$$HOME}", "${ALPHA?must be set}", "'$ALPHA'", '"${ALPHA}"', "$ALPHA$COUNT", "${ALPHA}_1", "$ALPHA_1"],
  ...["$$$$X", "$$(x)", "{{matrix}} $ALPHA", "$_x", "$ACCENT", "$FILE_VARIABLE", "${FILE_VARIABLE:-none}", "#$ALPHA"]
]

export const plainTexts = [
  ...[
    "make test",
    "echo hello",
    "a: b",
    "- c",
    "# no comment",
    "x # y",
    "{a}",
    "[b]",
    "*c",
    "&d",
    "!e",
    "%f",
    "@g",
    "`h`"
  ],
  ...[
    "it's",
    'say "hi"',
    "back\\slash",
    "tab\there",
    "é ü 日本",
    "😀",
    " spaces ",
    "a,b",
    "{{matrix.os}}",
    "?",
    ":",
    "a:b"
  ]
]

/** What would make a pipeline invalid, which is seldom. */
export const wrongTexts = ["${1}", "${ALPHA:?x}", "${ALPHA", "${UNSET?}", "${ALPHA:a}", "${}", "${ALPHA+x}"]
