/** A cluster's database in memory, on `Clock`: it keeps what PostgreSQL keeps, and can fail, be slow, and lose answers. */

import type { JobRunner, JobStore, StacksSchema } from "@stacksapi/core"
import { Clock, DateTime, Effect, Queue } from "effect"
import { Hint } from "../../packages/node/src/internal/cluster/hints.ts"
import { encodeOutcome, type Outcome } from "../../packages/node/src/internal/cluster/outcome.ts"
import {
  type ClaimedJob,
  type Member,
  type NewMember,
  type Phase,
  type Storage,
  StorageError,
  type Term
} from "../../packages/node/src/internal/cluster/storage.ts"

interface MemberRow extends NewMember, Pick<Member, "id" | "free" | "phase" | "demands"> {
  beat: number
  until: number
}

interface LeaderRow {
  readonly stackKey: string
  leader: number | null
  fence: number
  freedAt: number | undefined
}

export interface JobRow {
  readonly id: number
  readonly stackKey: string
  readonly job: StacksSchema.ScheduledJob
  phase: Phase
  dispatch: number
  owner: number | null
  stop: JobRunner.StopReason | null
  outcome: Outcome | undefined
  finish: JobStore.SavedOutcome | undefined
}

/** What becomes of one statement. */
export type Fault =
  /** It does not reach the database. */
  | "notDone"
  /** It takes effect, and its answer is lost. */
  | "notTold"
  /** There is no answer for a long time, and then it takes effect. */
  | "late"

export interface Faults {
  /** What becomes of the next statement of this name. */
  readonly next: (operation: keyof Storage) => Fault | undefined
  /** How many milliseconds a statement takes on its way there, and back. */
  readonly latency: () => number
}

const noFaults: Faults = { next: () => undefined, latency: () => 0 }

/** Longer than any process waits. */
const lateAfter = "20 seconds"

const notReached = (operation: keyof Storage) =>
  new StorageError({ message: `${operation} did not reach the database`, isRetryable: true })

/** A job of the queue `q`. */
export const jobOf = (id: string): StacksSchema.ScheduledJob => ({
  id,
  priority: 0,
  agentQueryRules: ["queue=q"],
  scheduledAt: DateTime.makeUnsafe(0),
  runnableAt: null,
  pipeline: { slug: "p", uuid: "u" },
  build: { uuid: "b", number: 1, branch: "main" },
  step: { key: null }
})

export class Database {
  readonly members = new Map<number, MemberRow>()
  readonly leaders = new Map<string, LeaderRow>()
  readonly jobs = new Map<string, JobRow>()
  readonly listeners = new Set<Queue.Queue<Hint>>()
  /** What has taken effect, and when. */
  readonly statements: Array<{ readonly operation: keyof Storage; readonly at: number }> = []
  /** The members that have claimed each job. */
  readonly claimants = new Map<string, Set<number>>()
  /** The members whose rows have expired. */
  readonly expired = new Set<number>()
  readonly expiration: number
  #lastMember = 0
  #lastJob = 0
  #lastDispatch = 0

  constructor(expirationMillis: number) {
    this.expiration = expirationMillis
  }

  /** How one process reaches it, whose rows expire after so many milliseconds. */
  connect(faults: Faults = noFaults, expiration = this.expiration): Storage {
    const statement = <A>(operation: keyof Storage, run: (now: number) => A): Effect.Effect<A, StorageError> =>
      Effect.gen({ self: this }, function* () {
        const latency = faults.latency()
        if (latency > 0) yield* Effect.sleep(latency)
        const effect = Effect.map(Clock.currentTimeMillis, (now) => {
          this.statements.push({ operation, at: now })
          return run(now)
        })
        switch (faults.next(operation)) {
          case "notDone":
            return yield* notReached(operation)
          case "notTold":
            yield* effect
            return yield* new StorageError({ message: `the answer to ${operation} was lost`, isRetryable: true })
          case "late":
            yield* Effect.forkDetach(Effect.delay(effect, lateAfter))
            return yield* Effect.never
          default: {
            const answer = yield* effect
            if (latency > 0) yield* Effect.sleep(latency)
            return answer
          }
        }
      })
    return {
      ...this.#membership(statement, expiration),
      ...this.#ledJobs(statement),
      ...this.#ownJobs(statement),
      ...this.#hints(statement, faults)
    }
  }

  jobOf(stackKey: string, jobUuid: string): JobRow | undefined {
    return this.jobs.get(`${stackKey}/${jobUuid}`)
  }

  hint(hint: Hint): void {
    for (const listener of this.listeners) Queue.offerUnsafe(listener, hint)
  }

  #isLed({ fence, memberId, stackKey }: Term): boolean {
    const row = this.leaders.get(stackKey)
    return row?.leader === memberId && row.fence === fence
  }

  #drop(memberId: number): void {
    if (!this.members.delete(memberId)) return
    for (const row of this.leaders.values()) if (row.leader === memberId) row.leader = null
    for (const row of this.jobs.values()) if (row.owner === memberId) row.owner = null
    this.hint(Hint.Look({ memberId: undefined }))
  }

  #membership(statement: Statement, expiration: number): Membership {
    return {
      join: (member) =>
        statement("join", (now) => {
          for (const stackKey of member.stackKeys) {
            if (!this.leaders.has(stackKey)) {
              this.leaders.set(stackKey, { stackKey, leader: null, fence: 0, freedAt: undefined })
            }
          }
          const foreign = Array.from(this.members.values()).find(
            ({ clusterKey, until }) => clusterKey !== member.clusterKey && until > now
          )
          if (foreign !== undefined) return { foreignKey: foreign.clusterKey }
          const memberId = ++this.#lastMember
          this.members.set(memberId, {
            ...member,
            id: memberId,
            free: member.slots,
            phase: "open",
            demands: {},
            beat: now,
            until: now + expiration
          })
          this.hint(Hint.Look({ memberId: undefined }))
          return { memberId }
        }),
      heartbeat: (memberId, report) =>
        statement("heartbeat", (now) => {
          const row = this.members.get(memberId)
          if (row === undefined) return false
          Object.assign(row, report, { beat: now, until: now + expiration })
          return true
        }),
      leave: (memberId) => statement("leave", () => this.#drop(memberId)),
      deleteExpired: statement("deleteExpired", (now) => {
        for (const { id, until } of Array.from(this.members.values())) {
          if (until > now) continue
          this.expired.add(id)
          this.#drop(id)
        }
      }),
      snapshot: (memberId) =>
        statement("snapshot", (now) => ({
          members: Array.from(this.members.values(), ({ beat, clusterKey: _, until, ...member }) => ({
            ...member,
            silentMillis: now - beat,
            expiresInMillis: until - now
          })),
          queues: Array.from(this.leaders.values(), ({ fence, leader, stackKey }) => ({ fence, leader, stackKey })),
          owned: Array.from(this.jobs.values()).flatMap(({ dispatch, owner, phase, stop }) =>
            owner === memberId && phase === "running" ? [{ dispatch, stop }] : []
          ),
          turn: Math.floor(now / 10_000)
        })),
      take: (memberId, stackKeys) =>
        statement("take", (now) =>
          stackKeys.flatMap((stackKey) => {
            const row = this.leaders.get(stackKey)
            if (row === undefined || row.leader !== null || !this.members.has(memberId)) return []
            const leaderlessMillis = row.fence === 0 ? 1e9 : row.freedAt === undefined ? undefined : now - row.freedAt
            Object.assign(row, { leader: memberId, fence: row.fence + 1, freedAt: undefined })
            return [{ stackKey, fence: row.fence, leaderlessMillis }]
          })
        ),
      resign: (term) =>
        statement("resign", (now) => {
          const row = this.leaders.get(term.stackKey)
          if (row === undefined || !this.#isLed(term)) return
          Object.assign(row, { leader: null, freedAt: now })
          this.hint(Hint.Look({ memberId: undefined }))
        }),
      collectGarbage: statement("collectGarbage", () => {})
    }
  }

  #hints(statement: Statement, faults: Faults): Hints {
    return {
      listen: (onHint) =>
        Effect.gen({ self: this }, function* () {
          const fault = faults.next("listen")
          if (fault === "notDone") return yield* notReached("listen")
          if (fault === "notTold") return yield* Effect.never
          if (fault === "late") yield* Effect.sleep(lateAfter)
          const queue = yield* Queue.unbounded<Hint>()
          yield* Effect.acquireRelease(
            Effect.sync(() => this.listeners.add(queue)),
            () => Effect.sync(() => this.listeners.delete(queue))
          )
          while (true) onHint(yield* Queue.take(queue))
        }),
      notify: (hint) => statement("notify", () => this.hint(hint))
    }
  }

  #ledJobs(statement: Statement): LedJobs {
    return {
      load: (term) =>
        statement("load", () =>
          this.#isLed(term)
            ? Array.from(this.jobs.values())
                .filter(({ stackKey }) => stackKey === term.stackKey)
                .toSorted((a, b) => (a.job.id < b.job.id ? -1 : 1))
                .map(({ finish, id, job, outcome, phase }) => ({ id, job, phase, outcome, finish }))
            : []
        ),
      save: (term, saved) =>
        statement("save", () => {
          if (!this.#isLed(term)) return undefined
          return new Map(
            saved.map(({ finish, job }) => {
              const row = this.jobOf(term.stackKey, job.id) ?? this.#insert(term.stackKey, job)
              row.finish = finish ?? row.finish
              return [job.id, row.id] as const
            })
          )
        }),
      remove: (term, removed) =>
        statement("remove", () => {
          if (!this.#isLed(term)) return
          for (const { id, jobUuid } of removed) {
            const row = this.jobOf(term.stackKey, jobUuid)
            if (row === undefined || (id === undefined ? row.phase !== "saved" : row.id !== id)) continue
            this.jobs.delete(`${term.stackKey}/${jobUuid}`)
            if (row.phase === "running" && row.owner !== null) this.hint(Hint.Look({ memberId: row.owner }))
          }
        }),
      offer: (term, offered, hint) =>
        statement("offer", () => {
          const found = new Map<string, { readonly isNew: boolean }>()
          if (!this.#isLed(term)) return found
          for (const { after, jobUuid } of offered) {
            const row = this.jobOf(term.stackKey, jobUuid)
            if (row === undefined) continue
            const isDone = row.phase === "ended" || (row.phase === "running" && row.owner === null)
            const isNew = row.phase === "saved" || (row.dispatch === after && isDone)
            if (isNew) this.#makeReady(row)
            found.set(jobUuid, { isNew })
          }
          if (Array.from(found.values()).some(({ isNew }) => isNew)) this.hint(hint)
          return found
        }),
      requestStop: (term, { dispatch, id, jobUuid }, reason) =>
        statement("requestStop", () => {
          const row = this.jobOf(term.stackKey, jobUuid)
          if (!this.#isLed(term) || row?.id !== id || row.phase !== "running" || row.owner === null) return undefined
          const isTold = row.dispatch === dispatch
          if (isTold) {
            row.stop = reason
            this.hint(Hint.Look({ memberId: row.owner }))
          }
          return { dispatch: row.dispatch, isTold }
        }),
      ended: (memberId) =>
        statement("ended", () =>
          Array.from(this.jobs.values()).flatMap(({ dispatch, job, outcome, owner, phase, stackKey }) =>
            this.leaders.get(stackKey)?.leader === memberId &&
            (phase === "ended" || (phase === "running" && owner === null))
              ? [{ stackKey, jobUuid: job.id, dispatch, owner, outcome: phase === "ended" ? outcome : undefined }]
              : []
          )
        )
    }
  }

  #ownJobs(statement: Statement): OwnJobs {
    const ready = () => Array.from(this.jobs.values()).filter(({ phase }) => phase === "ready")
    return {
      claim: (memberId, stackKeys, limit, share) =>
        statement("claim", (): ReadonlyArray<ClaimedJob> => {
          if (this.members.get(memberId)?.phase !== "open") return []
          return ready()
            .filter(({ stackKey }) => stackKeys.includes(stackKey))
            .toSorted((a, b) => a.dispatch - b.dispatch)
            .slice(0, Math.min(limit, Math.ceil(ready().length * share)))
            .map((row) => {
              Object.assign(row, { phase: "running", owner: memberId })
              this.claimants.set(row.job.id, (this.claimants.get(row.job.id) ?? new Set()).add(memberId))
              return { stackKey: row.stackKey, dispatch: row.dispatch, job: row.job }
            })
        }),
      end: (memberId, ended) => {
        // As PostgreSQL, it is told texts.
        for (const { outcome } of ended) if (outcome !== undefined) encodeOutcome(outcome)
        return statement("end", () => {
          for (const { dispatch, outcome } of ended) {
            const row = this.#owned(memberId, dispatch)
            if (row === undefined) continue
            Object.assign(row, outcome === undefined ? { owner: null } : { phase: "ended", outcome })
            const leader = this.leaders.get(row.stackKey)?.leader
            if (leader !== undefined && leader !== null) this.hint(Hint.Ended({ memberId: leader }))
          }
          return ready().length > 0
        })
      },
      giveBack: (memberId, dispatches) =>
        statement("giveBack", () => {
          for (const dispatch of dispatches) {
            const row = this.#owned(memberId, dispatch)
            if (row !== undefined) this.#makeReady(row)
          }
          this.hint(Hint.Look({ memberId: undefined }))
        })
    }
  }

  #owned(memberId: number, dispatch: number): JobRow | undefined {
    return Array.from(this.jobs.values()).find(
      (row) => row.owner === memberId && row.dispatch === dispatch && row.phase === "running"
    )
  }

  #makeReady(row: JobRow): void {
    Object.assign(row, {
      phase: "ready",
      dispatch: ++this.#lastDispatch,
      owner: null,
      stop: null,
      outcome: undefined,
      finish: undefined
    })
  }

  #insert(stackKey: string, job: StacksSchema.ScheduledJob): JobRow {
    const row: JobRow = {
      id: ++this.#lastJob,
      stackKey,
      job,
      phase: "saved",
      dispatch: 0,
      owner: null,
      stop: null,
      outcome: undefined,
      finish: undefined
    }
    this.jobs.set(`${stackKey}/${job.id}`, row)
    return row
  }
}

type Statement = <A>(operation: keyof Storage, run: (now: number) => A) => Effect.Effect<A, StorageError>
type LedJobs = Pick<Storage, "load" | "save" | "remove" | "offer" | "requestStop" | "ended">
type OwnJobs = Pick<Storage, "claim" | "end" | "giveBack">
type Hints = Pick<Storage, "listen" | "notify">
type Membership = Omit<Storage, keyof LedJobs | keyof OwnJobs | keyof Hints>
