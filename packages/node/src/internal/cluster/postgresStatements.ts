/** What the cluster's statements in PostgreSQL share. */

import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import { isSqlError } from "effect/sql/SqlError"
import type { Fragment, Identifier } from "effect/sql/Statement"
import { rootError } from "../rootError.ts"
import * as Hints from "./hints.ts"
import { StorageError, type Term } from "./storage.ts"

export interface Tables {
  readonly sql: SqlClient.SqlClient
  readonly members: Identifier
  readonly leaders: Identifier
  readonly jobs: Identifier
  /** The next dispatch number. */
  readonly nextDispatch: Fragment
  /** When a lease that is renewed now expires. */
  readonly expiresAt: Fragment
  readonly channel: string
}

export const run = <A, E extends Error, R>(statement: Effect.Effect<A, E, R>): Effect.Effect<A, StorageError, R> =>
  Effect.mapError(
    statement,
    (error) =>
      new StorageError({
        message: rootError(error).message,
        isRetryable: !isSqlError(error) || error.isRetryable,
        cause: error
      })
  )

/** Rows as one parameter, so that a statement is the same for any number of them. */
export const json = ({ sql }: Tables, rows: unknown): Fragment => sql`${JSON.stringify(rows)}::text::jsonb`

export const notify = ({ channel, sql }: Tables, hint: Hints.Hint): Fragment =>
  sql`pg_notify(${channel}, ${Hints.encode(hint)})`

/** The CTE `term`: one row if the term is not over. */
export const termOf = ({ leaders, sql }: Tables, { fence, memberId, stackKey }: Term): Fragment => sql`
  term AS (SELECT 1 FROM ${leaders} WHERE stack_key = ${stackKey} AND leader = ${memberId} AND fence = ${fence})`

/** The same for a statement that writes: the term can't end before the statement does. */
export const lockedTermOf = ({ leaders, sql }: Tables, { fence, memberId, stackKey }: Term): Fragment => sql`
  term AS (SELECT 1 FROM ${leaders} WHERE stack_key = ${stackKey} AND leader = ${memberId} AND fence = ${fence} FOR SHARE)`
