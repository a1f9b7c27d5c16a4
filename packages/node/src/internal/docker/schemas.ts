/** The parts of the Engine's responses that the provider uses. */
import * as Schema from "effect/Schema"

const labels = Schema.NullOr(Schema.Record(Schema.String, Schema.String))

/** A container, as a listing has it. */
export const Summary = Schema.Struct({
  Id: Schema.String,
  Names: Schema.NullOr(Schema.Array(Schema.String)),
  State: Schema.String,
  Labels: labels,
  /** Seconds. */
  Created: Schema.Finite
})

export type Summary = typeof Summary.Type

/** A container by itself. */
export const Details = Schema.Struct({
  Id: Schema.String,
  Name: Schema.String,
  Created: Schema.DateTimeUtcFromString,
  State: Schema.Struct({
    Status: Schema.String,
    ExitCode: Schema.Int,
    OOMKilled: Schema.Boolean,
    Error: Schema.String
  }),
  Config: Schema.Struct({ Labels: labels }),
  HostConfig: Schema.Struct({ Memory: Schema.Finite })
})

export type Details = typeof Details.Type

export const Created = Schema.Struct({ Id: Schema.String })

export const Image = Schema.Struct({
  Config: Schema.optional(
    Schema.NullOr(
      Schema.Struct({
        User: Schema.optional(Schema.String),
        Env: Schema.optional(Schema.NullOr(Schema.Array(Schema.String)))
      })
    )
  )
})

export type Image = typeof Image.Type

/** An event of a container. */
export const Event = Schema.Struct({
  Actor: Schema.Struct({ ID: Schema.String }),
  time: Schema.Finite
})
