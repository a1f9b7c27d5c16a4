/** What Buildkite documents as not allowed, or as limited. The emulator takes it, and says so. */
import type { Retry } from "./fields.ts"
import type { Combination } from "./matrix.ts"
import { type Fields, first, type Part } from "./part.ts"
import type { Remarks } from "./remarks.ts"

const uuid = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i

export const noteKey = (part: Part | undefined, remarks: Remarks): void => {
  if (part !== undefined && uuid.test(String(part.value))) {
    remarks.add(part, "Buildkite does not allow a key that looks like a UUID")
  }
}

export const noteFieldKey = (part: Part, key: string, remarks: Remarks): void => {
  if (/^[\w/-]*$/.test(key)) return
  const text = `Buildkite allows letters, digits, "/", "-" and "_" in the key of a field, not ${JSON.stringify(key)}`
  remarks.add(part, text)
}

export const noteConditions = (fields: Fields, remarks: Remarks): void => {
  const condition = first(fields, "if")
  if (condition === undefined || first(fields, "branches") === undefined) return
  remarks.add(condition, "Buildkite does not allow `if` and `branches` in one step; here both have to be met")
}

export const noteGroup = (steps: Part, count: number, remarks: Remarks): void => {
  if (count === 0) remarks.add(steps, "Buildkite requires at least one step in a group")
}

interface CommandFields {
  readonly combinations: ReadonlyArray<Combination>
  readonly retry: Retry
}

export const noteCommand = (fields: Fields, { combinations, retry }: CommandFields, remarks: Remarks): void => {
  const [limit, group] = [first(fields, "concurrency"), first(fields, "concurrency_group")]
  if (limit !== undefined && group === undefined) {
    remarks.add(limit, "Buildkite requires a `concurrency_group` with `concurrency`; here the step has no limit")
  } else if (limit === undefined && group !== undefined) {
    remarks.add(group, "Buildkite requires `concurrency` with a `concurrency_group`; here the step has no limit")
  }
  const matrix = first(fields, "matrix")
  const parallelism = first(fields, "parallelism")
  if (matrix !== undefined && parallelism !== undefined) {
    const text =
      "Buildkite does not allow `parallelism` and `matrix` in one step; here each combination has that many jobs"
    remarks.add(parallelism, text)
  }
  if (matrix !== undefined) noteMatrix(matrix, combinations, remarks)
  const statuses = retry.automatic.flatMap(({ exitStatuses = [] }) => exitStatuses)
  const automatic = first(fields, "retry")
  for (const status of new Set(statuses)) {
    if (automatic === undefined || (status >= -1 && status <= 255)) continue
    remarks.add(automatic, `Buildkite allows the exit statuses -1 and 0 to 255: ${status} never matches`)
  }
}

const maxMatrixJobs = 50
const maxDimensions = 6
const maxValues = 20
const maxAdjustments = 12

const noteMatrix = (matrix: Part, combinations: ReadonlyArray<Combination>, remarks: Remarks): void => {
  const note = (max: number, of: string, count: number) => {
    if (count > max) remarks.add(matrix, `Buildkite allows at most ${max} ${of}, not ${count}`)
  }
  const setup = matrix.get("setup") ?? matrix
  const dimensions = setup.isMap ? setup.entries : ([["", setup]] as const)
  note(maxDimensions, "dimensions of a matrix", dimensions.length)
  for (const [, values] of dimensions) note(maxValues, "values in a dimension of a matrix", values.some().length)
  note(maxAdjustments, "adjustments of a matrix", matrix.get("adjustments")?.some().length ?? 0)
  note(maxMatrixJobs, "jobs of a matrix", combinations.filter(({ isSkipped }) => !isSkipped).length)
}
