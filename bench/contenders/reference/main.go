// A contender: the reference client of the Stacks API. It does the work of the other contenders, and prints its costs as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/buildkite/stacksapi"
)

// The task: see `Task` and the workload in the TypeScript around this program.
type task struct {
	Benchmark   string `json:"benchmark"`
	BaseURL     string `json:"baseUrl"`
	Token       string `json:"token"`
	StackKey    string `json:"stackKey"`
	QueueKey    string `json:"queueKey"`
	PageSize    int    `json:"pageSize"`
	Concurrency int    `json:"concurrency"`
	Warmup      int    `json:"warmup"`
	Times       int    `json:"times"`
	Counted     int    `json:"counted"`
}

// The costs. Times are microseconds, sizes are bytes.
type measurement struct {
	CPU       int64 `json:"cpu"`
	Wall      int64 `json:"wall"`
	Resident  int64 `json:"resident"`
	Allocated int64 `json:"allocated"`
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func getJobs(client *stacksapi.Client, t task, times int) int {
	var next, sum atomic.Int64
	var workers sync.WaitGroup
	for range t.Concurrency {
		workers.Go(func() {
			for index := next.Add(1) - 1; index < int64(times); index = next.Add(1) - 1 {
				job, _, err := client.GetJob(context.Background(), stacksapi.GetJobRequest{
					StackKey: t.StackKey, JobUUID: fmt.Sprintf("0192c5a0-7e11-4b52-9c3d-%012x", index),
				})
				check(err)
				sum.Add(int64(len(job.Command) + len(job.Env["BUILDKITE_PLUGINS"])))
			}
		})
	}
	workers.Wait()
	return int(sum.Load())
}

func list(client *stacksapi.Client, t task, times int) int {
	jobs := 0
	for range times {
		cursor := ""
		for {
			page, _, err := client.ListScheduledJobs(context.Background(), stacksapi.ListScheduledJobsRequest{
				StackKey: t.StackKey, ClusterQueueKey: t.QueueKey, PageSize: t.PageSize, StartCursor: cursor,
			})
			check(err)
			jobs += len(page.Jobs)
			if !page.PageInfo.HasNextPage {
				break
			}
			cursor = page.PageInfo.EndCursor
		}
	}
	return jobs
}

func usage() syscall.Rusage {
	var used syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return used
}

func main() {
	var t task
	check(json.Unmarshal([]byte(os.Args[1]), &t))
	base, err := url.Parse(t.BaseURL + "/v3/")
	check(err)
	// Go's default keeps only two connections open, and would make a new one for most calls.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = t.Concurrency
	client, err := stacksapi.NewClient(t.Token, stacksapi.WithBaseURL(base), stacksapi.WithHTTPClient(&http.Client{Transport: transport}))
	check(err)
	run := map[string]func(*stacksapi.Client, task, int) int{"getJob": getJobs, "list": list}[t.Benchmark]
	runChecked := func(times int) {
		if counted := run(client, t, times); counted != times*t.Counted {
			check(fmt.Errorf("counted %d in place of %d", counted, times*t.Counted))
		}
	}

	runChecked(t.Warmup)
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	allocated := memory.TotalAlloc
	before, start := usage(), time.Now()
	runChecked(t.Times)
	after, wall := usage(), time.Since(start)
	runtime.ReadMemStats(&memory)
	micros := func(used syscall.Rusage) int64 { return (used.Utime.Nano() + used.Stime.Nano()) / 1000 }
	check(json.NewEncoder(os.Stdout).Encode(measurement{
		CPU:       micros(after) - micros(before),
		Wall:      wall.Microseconds(),
		Resident:  after.Maxrss * 1024,
		Allocated: int64(memory.TotalAlloc - allocated),
	}))
}
