/** The file in which stacks save their jobs: what it keeps, whatever happens to the process, the disk and the file. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { crc32 } from "node:zlib"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { assert, describe, it } from "@effect/vitest"
import * as JobStore from "@stacksapi/core/JobStore"
import * as FileJobStore from "@stacksapi/node/FileJobStore"
import { Effect, Exit, Fiber, FileSystem, Layer, Logger, PlatformError, Schema, Scope } from "effect"
import { after, change, savedJob, shown } from "../support/savedJobs.ts"

const program = fileURLToPath(new URL("../support/jobStoreProcess.ts", import.meta.url))

/** Where files need no disk: for what opens thousands of them. */
const memory = Fs.existsSync("/dev/shm") ? "/dev/shm" : tmpdir()

const services = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, Logger.layer([]))

/** A new folder for each test. */
const makeFolderIn = (parent: string) =>
  Effect.acquireRelease(
    Effect.sync(() => Fs.mkdtempSync(join(parent, "stacksapi-store-"))),
    (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
  )
const makeFolder = makeFolderIn(tmpdir())

/** Uses the store in a file, from opening it to closing it. */
const using = <A, E, R>(path: string, use: (store: JobStore.Service) => Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.flatMap(FileJobStore.make({ path }), use))

const load = (path: string, stackKey = "s") => using(path, (store) => store.load(stackKey))

/** Makes the first changes of a history, one after the other. */
const changeTimes = (store: JobStore.Service, count: number, stackKey = "s") =>
  Effect.forEach(
    Array.from({ length: count }).keys(),
    (n) => {
      const { removed, saved } = change(n)
      return saved.length > 0 ? store.save(stackKey, saved) : store.remove(stackKey, removed)
    },
    { discard: true }
  )

const checksumOf = (text: string, id = "") => crc32(text, crc32(id)).toString(16).padStart(8, "0")

/** Changes the only line of a file, and its checksum. */
const edit = (path: string, change: (line: string) => string) => {
  const [header = "", line = ""] = Fs.readFileSync(path, "utf8").split("\n")
  const changed = change(line.slice(8))
  Fs.writeFileSync(path, `${header}\n${checksumOf(changed, header.split(" ")[2])}${changed}\n`)
}

const reasonOf = (path: string) =>
  Effect.map(Effect.flip(load(path)), (error) => (error._tag === "FileJobStoreError" ? error.reason : error._tag))

// -----------------------------------------------------------------------------
// Processes
// -----------------------------------------------------------------------------

interface StoreProcess {
  readonly child: ChildProcess
  readonly nextLine: Effect.Effect<string>
  readonly lines: ReadonlyArray<string>
  readonly kill: Effect.Effect<void>
}

const launch = (...args: ReadonlyArray<string>) => launchProgram(process.execPath, [program, ...args])

const launchProgram = (command: string, args: ReadonlyArray<string>): Effect.Effect<StoreProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] })
      const lines: Array<string> = []
      let read = 0
      const wakers: Array<() => void> = []
      const closed = once(child, "close")
      readline.createInterface({ input: child.stdout }).on("line", (line) => {
        lines.push(line)
        for (const wake of wakers.splice(0)) wake()
      })
      return {
        child,
        lines,
        nextLine: Effect.callback<string>((resume) => {
          const take = () => {
            const line = lines[read]
            if (line === undefined) return void wakers.push(take)
            read++
            resume(Effect.succeed(line))
          }
          take()
        }),
        kill: Effect.promise(() => {
          child.kill("SIGKILL")
          return closed
        }).pipe(Effect.asVoid)
      }
    }),
    ({ kill }) => kill
  )

// -----------------------------------------------------------------------------
// What is saved
// -----------------------------------------------------------------------------

describe("A file job store", () => {
  it.live("loads the saved jobs and outcomes of each stack in the next process", () =>
    Effect.gen(function* () {
      const path = join(yield* makeFolder, "deep", "er", "jobs")
      const canceled = savedJob("b", { exitStatus: -1, detail: "no\ndisk \ud800 ü", signalReason: "stack_error" })
      const odd = savedJob("c", { exitStatus: Number.NaN, detail: "" })
      const full = { job: { ...savedJob("d").job, runnableAt: savedJob("d").job.scheduledAt, step: { key: "test" } } }
      yield* using(path, (store) =>
        Effect.gen(function* () {
          yield* store.save("one", [savedJob("a"), savedJob("b"), odd])
          yield* store.save("two", [savedJob("a", { exitStatus: 7, detail: "seven" }), full])
          yield* store.save("one", [canceled])
          yield* store.remove("one", ["a", "never there"])
          yield* store.remove("three", ["a"])
          yield* store.save("one", [])
        })
      )
      assert.deepStrictEqual(yield* load(path, "one"), [canceled, odd])
      assert.deepStrictEqual(yield* load(path, "two"), [savedJob("a", { exitStatus: 7, detail: "seven" }), full])
      assert.isEmpty(yield* load(path, "three"))
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("provides stacks with a JobStore by its layer", () =>
    Effect.gen(function* () {
      const path = join(yield* makeFolder, "jobs")
      const stack = <A, E>(use: (store: JobStore.Service) => Effect.Effect<A, E>) =>
        Effect.flatMap(JobStore.JobStore, use).pipe(Effect.provide(FileJobStore.layer({ path })))
      yield* stack((store) => store.save("s", [savedJob("a")]))
      assert.deepStrictEqual(yield* stack((store) => store.load("s")), [savedJob("a")])
    }).pipe(Effect.scoped)
  )

  it.live("is readable by its user only, and contains no token", () =>
    Effect.gen(function* () {
      const path = join(yield* makeFolder, "jobs")
      const { job } = savedJob("a")
      const secret = { job: { ...job, token: "bkjat_secret" }, token: "bkjat_secret", env: { A: "bkjat_secret" } }
      yield* using(path, (store) => store.save("s", [secret]))
      assert.strictEqual(Fs.statSync(path).mode & 0o777, 0o600)
      assert.notInclude(Fs.readFileSync(path, "utf8"), "secret")

      Fs.chmodSync(path, 0o644)
      assert.deepStrictEqual(yield* load(path), [savedJob("a")])
      assert.strictEqual(Fs.statSync(path).mode & 0o777, 0o600)
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("leaves no other file when it is closed", () =>
    Effect.gen(function* () {
      const folder = yield* makeFolder
      yield* using(join(folder, "jobs"), (store) => store.save("s", [savedJob("a")]))
      assert.deepStrictEqual(Fs.readdirSync(folder), ["jobs"])
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("completes pending writes before it closes, even if their callers were interrupted", () =>
    Effect.gen(function* () {
      const path = join(yield* makeFolder, "jobs")
      yield* using(path, (store) =>
        Effect.gen(function* () {
          const saves = yield* Effect.forEach(Array.from({ length: 50 }).keys(), (n) =>
            Effect.forkChild(store.save("s", [savedJob(`job-${n}`)]), { startImmediately: true })
          )
          yield* Effect.forEach(saves, Fiber.interrupt)
        })
      )
      assert.lengthOf(yield* load(path), 50)
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("fails calls after it is closed", () =>
    Effect.gen(function* () {
      const path = join(yield* makeFolder, "jobs")
      const store = yield* Effect.scoped(FileJobStore.make({ path }))
      const error = yield* Effect.flip(store.save("s", [savedJob("a")]))
      assert.strictEqual(error._tag, "JobStoreError")
      assert.include(error.message, "is closed")
      assert.isEmpty(yield* load(path))
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  const Id = Schema.Literals(["a", "b", "c", "d", "e", "f"])
  const Step = Schema.Union([
    Schema.Struct({
      _tag: Schema.tag("Save"),
      stack: Schema.Literals(["s", "t"]),
      jobs: Schema.Array(Schema.Struct({ id: Id, exitStatus: Schema.NullOr(Schema.Int) }))
    }),
    Schema.Struct({ _tag: Schema.tag("Remove"), stack: Schema.Literals(["s", "t"]), ids: Schema.Array(Id) }),
    Schema.Struct({ _tag: Schema.tag("Restart") })
  ])

  it.live.prop(
    "keeps what a store in memory keeps, whatever is saved, removed, and restarted between",
    [Schema.Array(Step)],
    ([steps]) =>
      Effect.gen(function* () {
        const path = join(yield* makeFolder, "jobs")
        const model = yield* JobStore.makeMemory
        let scope = yield* Scope.make()
        let store = yield* Scope.provide(FileJobStore.make({ path }), scope)
        for (const step of [...steps, { _tag: "Restart" as const }]) {
          if (step._tag === "Restart") {
            yield* Scope.close(scope, Exit.void)
            scope = yield* Scope.make()
            store = yield* Scope.provide(FileJobStore.make({ path }), scope)
          } else {
            for (const each of [model, store]) {
              yield* step._tag === "Remove"
                ? each.remove(step.stack, step.ids)
                : each.save(
                    step.stack,
                    step.jobs.map(({ exitStatus, id }) =>
                      savedJob(id, exitStatus === null ? undefined : { exitStatus, detail: `${exitStatus}` })
                    )
                  )
            }
          }
          for (const stackKey of ["s", "t"])
            assert.deepStrictEqual(yield* store.load(stackKey), Array.from(yield* model.load(stackKey)))
        }
        yield* Scope.close(scope, Exit.void)
      }).pipe(Effect.scoped, Effect.provide(services)),
    { arbitrary: { runs: 60, seed: 20261129 } }
  )
})

// -----------------------------------------------------------------------------
// Damage
// -----------------------------------------------------------------------------

describe("A file job store that a crash or a fault has left damaged", () => {
  const changes = 4

  /** A file with a history, and where its lines end. */
  const history = Effect.gen(function* () {
    const folder = yield* makeFolderIn(memory)
    const path = join(folder, "jobs")
    yield* using(path, (store) => changeTimes(store, changes))
    const bytes = Fs.readFileSync(path)
    const ends = Array.from(bytes.entries()).flatMap(([index, byte]) => (byte === 10 ? [index + 1] : []))
    assert.lengthOf(ends, 1 + changes)
    return { folder, bytes, ends }
  })

  it.live("loads earlier data if the file was truncated at any byte, and accepts new data", () =>
    Effect.gen(function* () {
      const { bytes, ends, folder } = yield* history
      yield* Effect.forEach(
        Array.from({ length: bytes.length + 1 }).keys(),
        Effect.fnUntraced(function* (length) {
          const path = join(folder, `cut-${length}`)
          Fs.writeFileSync(path, bytes.subarray(0, length))
          const whole = Math.max(0, ends.filter((end) => end <= length).length - 1)
          yield* using(path, (store) =>
            Effect.gen(function* () {
              assert.deepStrictEqual(shown(yield* store.load("s")), after(whole), `cut at ${length}`)
              yield* store.save("s", [savedJob("next")])
            })
          )
          // Opening takes its time.
          if (length % 10 === 0)
            assert.deepStrictEqual(shown(yield* load(path)), { ...after(whole), next: null }, `cut at ${length}`)
          Fs.rmSync(path)
        }),
        { concurrency: 8, discard: true }
      )
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("loads earlier data if the last write was replaced by any bytes", () =>
    Effect.gen(function* () {
      const { bytes, ends, folder } = yield* history
      const start = ends.at(-2) ?? 0
      const last = bytes.subarray(start)
      const flipped = Array.from(last.keys()).flatMap((index) =>
        [0x01, 0x80].map((bits) => last.map((byte, at) => (at === index ? byte ^ bits : byte)))
      )
      // Blocks of the disk that were never written, before and after some that were.
      const partly = [0, 1, 40, 200].flatMap((length) => [
        last.map((byte, at) => (at < length ? 0 : byte)),
        last.map((byte, at) => (at >= length ? 0 : byte)),
        last.map((byte, at) => (at >= length ? 10 : byte))
      ])
      yield* Effect.forEach(
        [...flipped, ...partly.filter((bytes) => !last.equals(bytes))].entries(),
        Effect.fnUntraced(function* ([index, tail]) {
          const path = join(folder, `tail-${index}`)
          Fs.writeFileSync(path, Buffer.concat([bytes.subarray(0, start), tail]))
          assert.deepStrictEqual(shown(yield* load(path)), after(changes - 1), `tail ${index}`)
          Fs.rmSync(path)
        }),
        { concurrency: 8, discard: true }
      )
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("is rejected and not changed if bytes before the last valid write are damaged", () =>
    Effect.gen(function* () {
      const { bytes, ends, folder } = yield* history
      const path = join(folder, "middle")
      const lastStart = ends.at(-2) ?? 0
      const flipped = Array.from({ length: 60 }).map((_, n) => Math.floor((lastStart * n) / 60) + 20)
      const without = (line: number) =>
        Buffer.concat([bytes.subarray(0, ends[line - 1]), bytes.subarray(ends[line] ?? 0)])
      const damaged = [
        ...flipped.map((index) => bytes.map((byte, at) => (at === index ? byte ^ 0x04 : byte))),
        without(1),
        without(2),
        // Twice.
        Buffer.concat([bytes.subarray(0, ends[2]), bytes.subarray(ends[1])])
      ]
      for (const content of damaged) {
        Fs.writeFileSync(path, content)
        const error = yield* Effect.flip(load(path))
        assert.isTrue(error._tag === "FileJobStoreError" && error.reason === "Damaged", error.message)
        assert.include(error.message, "Restore it from a copy")
        assert.isTrue(Fs.readFileSync(path).equals(content))
      }
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("is rejected and not changed if it is newer, of another program, or not a file", () =>
    Effect.gen(function* () {
      const { bytes, folder } = yield* history
      const path = join(folder, "other")
      const newerHeader = "stacksapi-job-store 2 more in it "
      const newer = `${newerHeader}${checksumOf(newerHeader)}\n${bytes.toString().split("\n")[1]}\n`
      for (const [content, reason] of [
        [newer, "NewerVersion"],
        ["export PATH=/bin\n", "NotAJobStore"],
        ["PATH", "NotAJobStore"],
        ["\0".repeat(100), "NotAJobStore"]
      ] as const) {
        Fs.writeFileSync(path, content)
        assert.strictEqual(yield* reasonOf(path), reason)
        assert.strictEqual(Fs.readFileSync(path, "utf8"), content)
      }
      Fs.symlinkSync("/dev/full", join(folder, "device"))
      assert.strictEqual(yield* reasonOf(join(folder, "device")), "NotAJobStore")
      assert.strictEqual(yield* reasonOf(folder), "NotAJobStore")
      assert.strictEqual(yield* reasonOf(join(path, "below")), "Unusable")
      assert.strictEqual(yield* reasonOf("/proc/none/jobs"), "Unusable")
      assert.strictEqual(yield* reasonOf(join(folder, "x".repeat(300))), "Unusable")
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("keeps fields that another version has added", () =>
    Effect.gen(function* () {
      const { folder } = yield* history
      const path = join(folder, "newer")
      yield* using(path, (store) => store.save("s", [savedJob("a")]))
      edit(path, (line) => line.replace('"id":"a"', '"id":"a","added":[1]').replace('"stack"', '"more":{},"stack"'))
      assert.deepStrictEqual(yield* load(path), [savedJob("a")])
      yield* using(path, (store) => compact(store, path))
      assert.include(Fs.readFileSync(path, "utf8"), '"added":[1]')
      assert.deepStrictEqual((yield* load(path)).slice(0, 1), [savedJob("a")])
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("skips a job that does not decode, and loads the others", () =>
    Effect.gen(function* () {
      const { folder } = yield* history
      const path = join(folder, "odd")
      const odd = { job: { ...savedJob("odd").job, priority: 1.5 } }
      yield* using(path, (store) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(store.save("s", [odd]))
          assert.include(error.message, "Job odd can't be saved")
          yield* store.save("s", [savedJob("a")])
        })
      )
      edit(path, (line) =>
        line.replace(/"save":\[(.*)\]\}\]$/, (_, job: string) => {
          const odd = job.replace('"a"', '"odd"').replace('"priority":3', '"priority":null')
          return `"save":[${odd},${job}]}]`
        })
      )
      assert.deepStrictEqual(yield* load(path), [savedJob("a")])
    }).pipe(Effect.scoped, Effect.provide(services))
  )
})

// -----------------------------------------------------------------------------
// Growth
// -----------------------------------------------------------------------------

const inodeOf = (path: string) => Fs.statSync(path).ino

/** Saves and removes until the file has been written anew. */
const compact = Effect.fnUntraced(function* (store: JobStore.Service, path: string) {
  const inode = inodeOf(path)
  const many = Array.from({ length: 500 }, (_, n) => savedJob(`filler-${n}`))
  while (inodeOf(path) === inode) {
    yield* store.save("filler", many)
    yield* store.remove(
      "filler",
      many.map(({ job }) => job.id)
    )
    yield* store.load("filler")
  }
})

describe("A file job store in long use", () => {
  it.live("is compacted while calls continue, and loses none of them", () =>
    Effect.gen(function* () {
      const folder = yield* makeFolder
      const path = join(folder, "jobs")
      const inodes = new Set<number>()
      let largest = 0
      yield* using(path, (store) =>
        Effect.gen(function* () {
          const stays = Array.from({ length: 100 }, (_, n) => savedJob(`stays-${n}`))
          yield* store.save("old", stays)
          yield* Effect.forEach(
            Array.from({ length: 8 }).keys(),
            Effect.fnUntraced(function* (worker) {
              const many = Array.from({ length: 50 }, (_, n) => savedJob(`${worker}-${n}`))
              for (let round = 0; round < 30; round++) {
                yield* store.save("s", many)
                yield* store.remove(
                  "s",
                  many.slice(worker).map(({ job }) => job.id)
                )
                inodes.add(inodeOf(path))
                largest = Math.max(largest, Fs.statSync(path).size)
              }
            }),
            { concurrency: "unbounded", discard: true }
          )
        })
      )
      assert.isAtLeast(inodes.size, 2)
      assert.isBelow(largest, 2 * 1024 * 1024)
      assert.lengthOf(yield* load(path, "old"), 100)
      const left = Array.from({ length: 8 }).flatMap((_, worker) =>
        Array.from({ length: worker }, (_, n) => `${worker}-${n}`)
      )
      assert.deepStrictEqual((yield* load(path)).map(({ job }) => job.id).sort(), left.sort())
      assert.deepStrictEqual(Fs.readdirSync(folder), ["jobs"])
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("rewrites all its jobs if another program removes, moves or truncates its file", () =>
    Effect.gen(function* () {
      const path = join(yield* makeFolder, "jobs")
      yield* using(path, (store) =>
        Effect.gen(function* () {
          yield* store.save("s", [savedJob("a")])
          Fs.rmSync(path)
          yield* store.save("s", [savedJob("b")])
          Fs.renameSync(path, `${path}.1`)
          yield* store.save("s", [savedJob("c")])
          Fs.truncateSync(path)
          yield* store.save("s", [savedJob("d")])
        })
      )
      assert.deepStrictEqual(Object.keys(shown(yield* load(path))), ["a", "b", "c", "d"])
    }).pipe(Effect.scoped, Effect.provide(services))
  )
})

// -----------------------------------------------------------------------------
// Crashes
// -----------------------------------------------------------------------------

describe("A process that is killed", () => {
  it.live("loses no confirmed save", () =>
    Effect.gen(function* () {
      const path = join(yield* makeFolder, "jobs")
      const stacks = 4
      let confirmedOnce = 0
      for (let kill = 0; kill < 6; kill++) {
        Fs.rmSync(path, { force: true })
        const { child, kill: die, lines, nextLine } = yield* launch("append", path, String(stacks))
        assert.strictEqual(yield* nextLine, "ready")
        for (let n = 0; n < 20 + 67 * kill; n++) yield* nextLine
        child.kill("SIGKILL")
        yield* die

        const confirmed = Array.from({ length: stacks }, () => 0)
        for (const line of lines.slice(1)) {
          const [stack, n] = line.slice(1).split(" ").map(Number)
          confirmed[stack ?? -1] = 1 + (n ?? 0)
        }
        confirmedOnce += lines.length - 1
        for (const [stack, count] of confirmed.entries()) {
          const found = shown(yield* load(path, `stack-${stack}`))
          // A call whose answer did not come any more may have been written.
          const expected = [after(count), after(count + 1)].find(
            (jobs) => JSON.stringify(jobs) === JSON.stringify(found)
          )
          assert.deepStrictEqual(found, expected ?? after(count), `${count} changes of stack ${stack}, kill ${kill}`)
        }
      }
      assert.isAbove(confirmedOnce, 1000)
    }).pipe(Effect.scoped, Effect.provide(services))
  )
})

// -----------------------------------------------------------------------------
// The lock
// -----------------------------------------------------------------------------

describe("The lock of a file job store", () => {
  it.live("rejects a second process at once, and names the process that has it", () =>
    Effect.gen(function* () {
      const path = join(yield* makeFolder, "jobs")
      const holder = yield* launch("hold", path)
      assert.strictEqual(yield* holder.nextLine, "held")
      const error = yield* Effect.flip(load(path))
      assert.isTrue(error._tag === "FileJobStoreError" && error.reason === "Locked" && error.pid === holder.child.pid)
      assert.include(error.message, `process ${holder.child.pid}`)

      // Stopped, it can't answer, but may go on.
      holder.child.kill("SIGSTOP")
      assert.strictEqual(yield* reasonOf(path), "Locked")
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("rejects a second layer of this process, even through another path of the file", () =>
    Effect.gen(function* () {
      const folder = yield* makeFolder
      const path = join(folder, "real", "jobs")
      const link = join(folder, "link")
      const linkToFolder = join(folder, "folder")
      Fs.symlinkSync("real/jobs", link)
      Fs.symlinkSync(join(folder, "real"), linkToFolder)
      for (const [first, second] of [
        [path, path],
        [link, path],
        [path, join(linkToFolder, "jobs")],
        [link, join(folder, "real", "..", "link")]
      ] as const) {
        const error = yield* using(first, () => Effect.flip(load(second)))
        assert.isTrue(error._tag === "FileJobStoreError" && error.reason === "Locked" && error.pid === process.pid)
        assert.include(error.message, "another layer of this process")
        assert.isEmpty(yield* load(second))
      }
      assert.isTrue(Fs.lstatSync(link).isSymbolicLink())
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("works in folders with long names, and for files with long names", () =>
    Effect.gen(function* () {
      const folder = yield* makeFolder
      for (const path of [
        join(folder, "x".repeat(200), "y".repeat(200), "jobs"),
        join(folder, "the-jobs-of-a-stack-with-a-very-long-name.job-store")
      ]) {
        yield* using(path, (store) =>
          Effect.gen(function* () {
            yield* store.save("s", [savedJob("a")])
            assert.strictEqual(yield* reasonOf(path), "Locked")
          })
        )
        assert.deepStrictEqual(yield* load(path), [savedJob("a")])
      }
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("is independent of the lock of another file in the same folder", () =>
    Effect.gen(function* () {
      const folder = yield* makeFolder
      yield* using(join(folder, "a"), () => using(join(folder, "b"), () => load(join(folder, "a.lock-x"))))
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("is free after its process was killed", () =>
    Effect.gen(function* () {
      const folder = yield* makeFolder
      const path = join(folder, "jobs")
      const holder = yield* launch("hold", path)
      yield* holder.nextLine
      yield* holder.kill
      assert.isEmpty(yield* load(path))
      assert.deepStrictEqual(Fs.readdirSync(folder), ["jobs"])
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("goes to exactly one of several concurrent processes, also after one was killed", () =>
    Effect.gen(function* () {
      const path = join(yield* makeFolder, "jobs")
      const contenders = yield* Effect.forEach(Array.from({ length: 4 }), () => launch("contend", path))
      for (const { nextLine } of contenders) assert.strictEqual(yield* nextLine, "ready")
      const tellAll = Effect.sync(() => {
        for (const { child } of contenders) child.stdin?.write("go\n")
      })
      const answers = Effect.forEach(contenders, ({ nextLine }) => nextLine, { concurrency: "unbounded" })
      const holder = yield* launch("hold", path)
      yield* holder.nextLine
      yield* holder.kill
      for (let round = 0; round < 25; round++) {
        yield* tellAll
        const given = yield* answers
        const winners = given.flatMap((answer, index) => (answer === "held" ? [contenders[index]?.child.pid] : []))
        assert.lengthOf(winners, 1, given.join(", "))
        assert.isTrue(
          given.every((answer) => answer === "held" || /^locked \d+$/.test(answer)),
          given.join(", ")
        )
        yield* tellAll
        assert.deepStrictEqual(
          yield* answers,
          contenders.map(() => "free")
        )
      }
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("goes to exactly one of many concurrent layers", () =>
    Effect.gen(function* () {
      const path = join(yield* makeFolder, "jobs")
      for (let round = 0; round < 20; round++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const exits = yield* Effect.forEach(
              Array.from({ length: 12 }),
              () => Effect.exit(FileJobStore.make({ path })),
              { concurrency: "unbounded" }
            )
            assert.lengthOf(exits.filter(Exit.isSuccess), 1)
          })
        )
      }
    }).pipe(Effect.scoped, Effect.provide(services))
  )
})

// -----------------------------------------------------------------------------
// Trouble with the disk
// -----------------------------------------------------------------------------

describe("A file job store on a failing disk", () => {
  it.live("fails writes to a full disk, keeps earlier data, and accepts later writes", () =>
    Effect.gen(function* () {
      const path = join(yield* makeFolder, "jobs")
      const quote = (text: string) => `'${text}'`
      // Files of this process can't grow beyond some 50 kB: a write ends half way.
      const limited = `ulimit -f 97; exec ${[process.execPath, program, "fill", path].map(quote).join(" ")}`
      const { nextLine } = yield* launchProgram("/bin/sh", ["-c", limited])
      const told: Readonly<Record<string, unknown>> = JSON.parse(yield* nextLine)
      assert.include(String(told["error"]), "EFBIG")
      assert.include(String(told["error"]), "another attempt may succeed")
      assert.isAbove(Number(told["saved"]), 100)
      assert.isTrue(told["isWhole"])
      assert.isTrue(told["isRemoved"])
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  /** A file system whose files fail as they are told. */
  const faulty = (faults: Set<"write" | "sync" | "truncate">) =>
    Layer.effect(
      FileSystem.FileSystem,
      Effect.map(FileSystem.FileSystem, (fs): FileSystem.FileSystem => {
        const failing = <A>(operation: "sync" | "truncate", effect: Effect.Effect<A, PlatformError.PlatformError>) =>
          Effect.suspend(() => (faults.has(operation) ? Effect.fail(inputOutputError) : effect))
        return {
          ...fs,
          open: (path, options) =>
            Effect.map(fs.open(path, options), (file) => ({
              [FileSystem.FileTypeId]: FileSystem.FileTypeId as typeof FileSystem.FileTypeId,
              stat: file.stat,
              sync: failing("sync", file.sync),
              seek: (offset, from) => file.seek(offset, from),
              read: (buffer, options) => file.read(buffer, options),
              readAlloc: (size, options) => file.readAlloc(size, options),
              write: (buffer) => file.write(buffer),
              // Half of it is written.
              writeAll: (buffer) =>
                faults.has("write")
                  ? Effect.andThen(file.writeAll(buffer.subarray(0, buffer.length / 2)), Effect.fail(inputOutputError))
                  : file.writeAll(buffer),
              truncate: (length) => failing("truncate", file.truncate(length))
            }))
        }
      })
    ).pipe(Layer.provide(NodeFileSystem.layer))

  const inputOutputError = PlatformError.systemError({
    _tag: "Unknown",
    module: "FileSystem",
    method: "write",
    cause: Object.assign(new Error("EIO: i/o error, write"), { code: "EIO" })
  })

  it.live.each(["write", "sync", "write, truncate", "sync, truncate"])(
    "fails the calls meanwhile with a typed error, and loses nothing: %s",
    (operations) => {
      const faults: Parameters<typeof faulty>[0] = new Set()
      return Effect.gen(function* () {
        const path = join(yield* makeFolder, "jobs")
        yield* using(path, (store) =>
          Effect.gen(function* () {
            yield* store.save("s", [savedJob("a")])
            for (const operation of ["write", "sync", "truncate"] as const)
              if (operations.includes(operation)) faults.add(operation)
            for (let times = 0; times < 3; times++) {
              const error = yield* Effect.flip(store.save("s", [savedJob("never")]))
              assert.strictEqual(error._tag, "JobStoreError")
              assert.include(error.message, "EIO")
            }
            assert.deepStrictEqual(Object.keys(shown(yield* store.load("s"))), ["a"])
            faults.clear()
            yield* store.save("s", [savedJob("b")])
          })
        )
        assert.deepStrictEqual(Object.keys(shown(yield* load(path))), ["a", "b"])
      }).pipe(Effect.scoped, Effect.provide([faulty(faults), NodePath.layer, Logger.layer([])]))
    }
  )

  it.live("continues in the old file if it can't be compacted", () =>
    Effect.gen(function* () {
      const folder = yield* makeFolder
      const path = join(folder, "jobs")
      // Where the new file would be.
      yield* using(path, (store) =>
        Effect.gen(function* () {
          Fs.mkdirSync(`${path}.new`)
          Fs.writeFileSync(join(`${path}.new`, "file"), "")
          const inode = inodeOf(path)
          const many = Array.from({ length: 500 }, (_, n) => savedJob(`job-${n}`))
          for (let round = 0; round < 20; round++) yield* store.save("s", many)
          assert.strictEqual(inodeOf(path), inode)
          Fs.rmSync(`${path}.new`, { recursive: true })
          yield* compact(store, path)
        })
      )
      assert.lengthOf(yield* load(path), 500)
    }).pipe(Effect.scoped, Effect.provide(services))
  )
})

// -----------------------------------------------------------------------------
// Options
// -----------------------------------------------------------------------------

it.live.each(["", " ", "a\0b"])("A file job store needs the path of a file, not %j", (path) =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(Layer.build(FileJobStore.layer({ path })))
    assert.isTrue(error._tag === "InvalidOptions" && error.option === "path")
  }).pipe(Effect.scoped)
)
