/** The calls that the reference client and ours make, one after the other, against emulators in the same state. */

export interface Call {
  readonly method: string
  readonly args: Readonly<Record<string, unknown>>
  readonly token?: string
  /** Whether it lists the page after that of the call before: `after` is the end cursor of that page. */
  readonly follows?: boolean
  /** Calls with the same number are made at once. */
  readonly burst?: number
  /** Why the two clients differ on purpose. */
  readonly difference?: string
}

const stack_key = "interop"
const unknown = "00000000-0000-4000-8000-000000000000"

const register = (args: Readonly<Record<string, unknown>>): Call => ({
  method: "registerStack",
  args: { key: stack_key, type: "custom", queue_key: "q", metadata: { a: "1" }, ...args }
})

const list = (args: Readonly<Record<string, unknown>>): Call => ({
  method: "listScheduledJobs",
  args: { stack_key, queue_key: "q", ...args }
})

const call = (method: string, args: Readonly<Record<string, unknown>>): Call => ({
  method,
  args: { stack_key, ...args }
})

const times = <A>(count: number, make: (index: number) => A): ReadonlyArray<A> =>
  Array.from({ length: count }, (_, index) => make(index))

const detail = "Made by interop"

/** The detail of a notification that the service refuses. */
export const tooLong = "x".repeat(257)

/** The ids of the emulator's jobs, in the order in which they were added. */
export const jobs = times(7, (index) => `0193b1a6-6f3e-4e2a-8d47-2a1f4c1f9a1${index}`)

const [first = "", second = "", third = "", fourth = ""] = jobs

export const calls: ReadonlyArray<Call> = [
  // Before there is a stack.
  list({}),
  call("getJobStates", { job_uuids: [first] }),
  { ...register({}), token: "bkct_wrong" },
  register({ key: "" }),
  register({ key: "not valid!" }),
  register({ type: "homemade" }),
  register({ queue_key: "" }),
  register({}),
  register({ metadata: {} }),
  register({ queue_key: "other" }),
  register({ metadata: { name: "x".repeat(300) } }),
  register({ key: "second-stack" }),
  // Pages.
  list({}),
  list({ limit: 3 }),
  ...times(3, () => ({ ...list({ limit: 3 }), follows: true })),
  list({ limit: 3, after: "bm90IGEgY3Vyc29y" }),
  list({ limit: 1001 }),
  list({ queue_key: "empty" }),
  list({ queue_key: "" }),
  list({ stack_key: "unknown" }),
  // Reservations, states and details.
  call("batchReserveJobs", { job_uuids: [first, second, unknown], reservation_expiry_seconds: 60 }),
  call("batchReserveJobs", { job_uuids: [first], reservation_expiry_seconds: 600 }),
  call("batchReserveJobs", { stack_key: "second-stack", job_uuids: [first, third] }),
  call("batchReserveJobs", { job_uuids: [] }),
  call("batchReserveJobs", { job_uuids: [first], reservation_expiry_seconds: 3601 }),
  call("batchReserveJobs", { job_uuids: times(1001, (index) => `job-${index}`) }),
  call("batchReserveJobs", { stack_key: "unknown", job_uuids: [fourth] }),
  call("getJobStates", { job_uuids: [...jobs, unknown] }),
  call("getJobStates", { job_uuids: times(1001, (index) => `job-${index}`) }),
  call("getJob", { job_uuid: first }),
  call("getJob", { job_uuid: unknown }),
  call("getJob", { job_uuid: "with.a.dot" }),
  call("getJob", { job_uuid: "" }),
  // Notifications.
  call("createStackNotifications", { notifications: [{ job_uuid: first, detail }] }),
  call("createStackNotifications", {
    notifications: [
      { job_uuid: first, detail },
      { job_uuid: unknown, detail },
      { job_uuid: second, detail, timestamp: "2025-01-01T00:00:00Z" }
    ]
  }),
  {
    ...call("createStackNotifications", { notifications: [{ job_uuid: first, detail: tooLong }] }),
    difference: "our client crops a detail that is too long, where the service refuses that of the reference"
  },
  call("createStackNotifications", { notifications: [] }),
  // Finishing.
  call("finishJob", { job_uuid: first, exit_status: 3, detail }),
  call("finishJob", { job_uuid: first, exit_status: 3, detail }),
  call("finishJob", { job_uuid: second, exit_status: 1, detail: "x".repeat(5000) }),
  call("finishJob", { job_uuid: third, exit_status: 1, detail }),
  call("finishJob", { job_uuid: fourth, exit_status: 1, detail: "" }),
  call("finishJob", { job_uuid: unknown, exit_status: 1, detail }),
  call("getJobStates", { job_uuids: jobs }),
  // More than the limits of a second, and requests that are counted together.
  ...times(15, () => ({ ...list({ limit: 1 }), burst: 1 })),
  ...times(30, () => ({ ...call("getJobStates", { job_uuids: [fourth] }), burst: 2 })),
  // The end.
  call("deregisterStack", {}),
  call("deregisterStack", {}),
  call("getJob", { job_uuid: fourth }),
  call("deregisterStack", { stack_key: "second-stack" })
]
