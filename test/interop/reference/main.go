// Reads calls as a JSON array from the standard input, makes them with the reference client of the Stacks API, and prints a JSON
// object with the methods of the client and the result of each call. Calls with the same "burst" are made at once. A call that
// "follows" lists the page after that of the call before.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"sync"

	"github.com/buildkite/stacksapi"
)

type call struct {
	Method string          `json:"method"`
	Args   json.RawMessage `json:"args"`
	Token  string          `json:"token"`
	Burst  int             `json:"burst"`

	Follows bool `json:"follows"`
}

type result struct {
	Value  any    `json:"value,omitempty"`
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
	Scope  string `json:"scope,omitempty"`
}

type stackArgs struct {
	StackKey string `json:"stack_key"`
	JobUUID  string `json:"job_uuid"`
	QueueKey string `json:"queue_key"`
	Limit    int    `json:"limit"`
	After    string `json:"after"`
}

func decode[T any](raw json.RawMessage) T {
	var value T
	if err := json.Unmarshal(raw, &value); err != nil {
		panic(err)
	}
	return value
}

func perform(ctx context.Context, client *stacksapi.Client, c call, before any) (any, http.Header, error) {
	stack := decode[stackArgs](c.Args)
	if page, ok := before.(*stacksapi.ListScheduledJobsResponse); ok && c.Follows {
		stack.After = page.PageInfo.EndCursor
	}
	switch c.Method {
	case "registerStack":
		return client.RegisterStack(ctx, decode[stacksapi.RegisterStackRequest](c.Args))
	case "deregisterStack":
		header, err := client.DeregisterStack(ctx, stack.StackKey)
		return nil, header, err
	case "listScheduledJobs":
		return client.ListScheduledJobs(ctx, stacksapi.ListScheduledJobsRequest{
			StackKey: stack.StackKey, ClusterQueueKey: stack.QueueKey, PageSize: stack.Limit, StartCursor: stack.After,
		})
	case "batchReserveJobs":
		request := decode[stacksapi.BatchReserveJobsRequest](c.Args)
		request.StackKey = stack.StackKey
		return client.BatchReserveJobs(ctx, request)
	case "getJob":
		return client.GetJob(ctx, stacksapi.GetJobRequest{StackKey: stack.StackKey, JobUUID: stack.JobUUID})
	case "getJobStates":
		request := decode[stacksapi.GetJobStatesRequest](c.Args)
		request.StackKey = stack.StackKey
		return client.GetJobStates(ctx, request)
	case "finishJob":
		request := decode[stacksapi.FinishJobRequest](c.Args)
		request.StackKey = stack.StackKey
		request.JobUUID = stack.JobUUID
		header, err := client.FinishJob(ctx, request)
		return nil, header, err
	case "createStackNotifications":
		request := decode[stacksapi.CreateStackNotificationsRequest](c.Args)
		request.StackKey = stack.StackKey
		return client.CreateStackNotifications(ctx, request)
	}
	return nil, nil, fmt.Errorf("unknown method %s", c.Method)
}

func run(base *url.URL, token string, c call, before any) result {
	if c.Token != "" {
		token = c.Token
	}
	client, err := stacksapi.NewClient(token, stacksapi.WithBaseURL(base))
	if err != nil {
		return result{Error: err.Error()}
	}
	value, header, err := perform(context.Background(), client, c, before)
	if err == nil {
		return result{Value: value, Scope: header.Get("RateLimit-Scope")}
	}
	var response *stacksapi.ErrorResponse
	if errors.As(err, &response) {
		return result{Status: response.Response.StatusCode, Error: response.Message}
	}
	return result{Error: err.Error()}
}

func main() {
	var calls []call
	if err := json.NewDecoder(os.Stdin).Decode(&calls); err != nil {
		panic(err)
	}
	base, err := url.Parse(os.Getenv("INTEROP_BASE_URL"))
	if err != nil {
		panic(err)
	}
	results := make([]result, len(calls))
	for start := 0; start < len(calls); {
		end := start + 1
		for calls[start].Burst != 0 && end < len(calls) && calls[end].Burst == calls[start].Burst {
			end++
		}
		var before any
		if start > 0 {
			before = results[start-1].Value
		}
		var wait sync.WaitGroup
		for index := start; index < end; index++ {
			wait.Add(1)
			go func() {
				defer wait.Done()
				results[index] = run(base, os.Getenv("INTEROP_TOKEN"), calls[index], before)
			}()
		}
		wait.Wait()
		start = end
	}
	client := reflect.TypeFor[*stacksapi.Client]()
	methods := make([]string, client.NumMethod())
	for index := range methods {
		methods[index] = client.Method(index).Name
	}
	output := map[string]any{"methods": methods, "results": results}
	if err := json.NewEncoder(os.Stdout).Encode(output); err != nil {
		panic(err)
	}
}
