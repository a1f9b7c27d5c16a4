/** What the agent makes of a pipeline before it expands variables: known fields in one form, everything else as it is. */
import type { List, Mapping, Scalar } from "./value.ts"

export type Shape = Scalar | List | Mapping | Struct | Shapes | Plugin | Matrix

/** A field of a struct. */
export interface Field {
  readonly name: string
  readonly at: number
  readonly value: Shape
  /** Whether variables in it are not expanded. */
  readonly isFixed?: boolean
  /** Whether the agent sends it even if it is empty. */
  readonly isAlwaysSent?: boolean
}

/** Known fields, and others that stay as they are. */
export class Struct {
  readonly fields: ReadonlyArray<Field>
  readonly rest: Mapping
  /** Whether variables in the other fields are not expanded. */
  readonly isRestFixed: boolean

  constructor(fields: ReadonlyArray<Field>, rest: Mapping, isRestFixed = false) {
    this.fields = fields
    this.rest = rest
    this.isRestFixed = isRestFixed
  }
}

export class Shapes {
  readonly items: ReadonlyArray<{ readonly at: number; readonly value: Shape }>

  constructor(items: ReadonlyArray<{ readonly at: number; readonly value: Shape }>) {
    this.items = items
  }
}

export class Plugin {
  readonly source: string
  readonly config: Scalar | List | Mapping

  constructor(source: string, config: Scalar | List | Mapping) {
    this.source = source
    this.config = config
  }
}

export class Matrix {
  /** The values of each dimension; null where a dimension or the whole setup has none. */
  readonly setup: ReadonlyMap<string, ReadonlyArray<string> | null> | null
  readonly adjustments: Shapes
  readonly rest: Mapping

  constructor(setup: ReadonlyMap<string, ReadonlyArray<string> | null> | null, adjustments: Shapes, rest: Mapping) {
    this.setup = setup
    this.adjustments = adjustments
    this.rest = rest
  }
}
