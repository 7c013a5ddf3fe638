package literllm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	llm "github.com/kreuzberg-dev/liter-llm/packages/go"
)

func TestTheCallbacksErrorStopsTheStreamAndComesBack(t *testing.T) {
	wanted := errors.New("enough")
	calls := 0
	err := client().ChatStream(background, ask("text=one two three&stall=2&id=go-stop"), func(*llm.ChatCompletionChunk) error {
		calls++
		return wanted
	})
	if err != wanted || calls != 1 {
		t.Error(err, calls)
	}
	saw(t, "go-stop", "left")
}

func TestTheFunctionRunsOnTheCallingGoroutine(t *testing.T) {
	defer func() {
		if recover() != "mine" {
			t.Error("a panic of the function is the caller's")
		}
		saw(t, "go-panic", "left")
	}()
	client().ChatStream(background, ask("text=one&stall=1&id=go-panic"), func(*llm.ChatCompletionChunk) error { panic("mine") })
}

func TestLeavingTheLoopClosesTheConnection(t *testing.T) {
	for chunk, err := range client().Stream(background, ask("text=one two three&stall=2&id=go-break")) {
		if chunk == nil || err != nil {
			t.Error(chunk, err)
		}
		break
	}
	saw(t, "go-break", "left")
	var last error
	chunks := 0
	for chunk, err := range client().Stream(background, ask("text=one two three&cut=3")) {
		if (chunk == nil) == (err == nil) {
			t.Error(chunk, err)
		}
		if chunk != nil {
			chunks++
		}
		last = err
	}
	if !errors.Is(last, llm.ErrTruncated) || chunks != 3 {
		t.Error(last, chunks)
	}
}

func TestTheEndOfTheContextClosesTheConnection(t *testing.T) {
	for _, test := range []struct {
		name, behaviour, partial string
		ctx                      func() (context.Context, context.CancelFunc)
	}{
		{"cancelled", "text=one two three&stall=3&id=go-cancel", "one two", func() (context.Context, context.CancelFunc) {
			return context.WithCancel(background)
		}},
		{"past its deadline", "text=one two three&stall=3&id=go-deadline", "one two", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(background, 300*time.Millisecond)
		}},
	} {
		ctx, cancel := test.ctx()
		chunks := 0
		err := client().ChatStream(ctx, ask(test.behaviour), func(*llm.ChatCompletionChunk) error {
			if chunks++; chunks == 3 && test.name == "cancelled" {
				cancel()
			}
			return nil
		})
		ended := time.Now()
		var failure *llm.Error
		if !errors.Is(err, ctx.Err()) || !errors.As(err, &failure) || failure.Partial.Text() != test.partial || !errors.Is(err, llm.ErrCancelled) {
			t.Errorf("%s: %v", test.name, err)
		}
		_, id, _ := strings.Cut(test.behaviour, "id=")
		saw(t, id, "left")
		if took := time.Since(ended); took > time.Second {
			t.Errorf("%s: the connection closed %s later", test.name, took)
		}
		cancel()
		if err := client().ChatStream(ctx, ask("text=hi"), nil); !errors.Is(err, ctx.Err()) {
			t.Errorf("%s before the call: %v", test.name, err)
		}
	}
	// Before the first chunk, and in a whole answer.
	ctx, cancel := context.WithCancel(background)
	go func() {
		mockAsk(t, "GET", "/_mock/wait?id=go-early&event=request&timeout_ms=10000")
		cancel()
	}()
	if _, err := client().Chat(ctx, ask("headers_after=20000&id=go-early")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	saw(t, "go-early", "left")
}

func TestTheEndOfTheContextIsHeardWhileTheFunctionRuns(t *testing.T) {
	ctx, cancel := context.WithCancel(background)
	chunks := 0
	err := client().ChatStream(ctx, ask("text=one two three&stall=2&id=go-inside"), func(*llm.ChatCompletionChunk) error {
		chunks++
		cancel()
		saw(t, "go-inside", "left")
		return nil
	})
	if !errors.Is(err, context.Canceled) || chunks != 1 {
		t.Error(err, chunks)
	}
}

func TestAnAnswerThatIsNotHandedOverIsNotWhole(t *testing.T) {
	for range 20 {
		ctx, cancel := context.WithCancel(background)
		chunks := 0
		err := client().ChatStream(ctx, ask("text=one two three&id=go-unread"), func(*llm.ChatCompletionChunk) error {
			chunks++
			saw(t, "go-unread", "done")
			cancel()
			return nil
		})
		var failure *llm.Error
		if !errors.Is(err, context.Canceled) || !errors.As(err, &failure) || failure.Kind != llm.ErrCancelled || chunks != 1 || failure.Partial == nil {
			t.Fatal(err, chunks)
		}
	}
}

func TestASlowReaderHoldsTheProviderBack(t *testing.T) {
	chunks := 0
	err := client().ChatStream(background, ask("chunks=40000&bytes=1000&id=go-slow"), func(*llm.ChatCompletionChunk) error {
		if chunks++; chunks == 1 {
			time.Sleep(300 * time.Millisecond)
			_, body := mockAsk(t, "GET", "/_mock/log?id=go-slow")
			var log []struct {
				Chunks int `json:"chunks"`
			}
			if err := json.Unmarshal(body, &log); err != nil || len(log) != 1 || log[0].Chunks > 30000 {
				t.Errorf("the mock has sent %+v (%v)", log, err)
			}
		}
		return nil
	})
	if err != nil || chunks < 40000 {
		t.Error(err, chunks)
	}
}

func TestAContextThatEndsWithTheAnswerLosesNothingSilently(t *testing.T) {
	c := client()
	var all sync.WaitGroup
	for range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			// About as long as an answer takes: half of the calls are in time.
			limit := float64(time.Millisecond)
			for call := range 500 {
				var text strings.Builder
				ctx, cancel := context.WithTimeout(background, time.Duration(limit*(0.7+float64(call%7)/10)))
				err := c.ChatStream(ctx, ask("text=one two three"), func(chunk *llm.ChatCompletionChunk) error {
					if len(chunk.Choices) > 0 && chunk.Choices[0].Delta.Content != nil {
						text.WriteString(*chunk.Choices[0].Delta.Content)
					}
					return nil
				})
				cancel()
				if err != nil {
					limit *= 1.02
				} else {
					limit *= 0.98
				}
				if err == nil && text.String() != "one two three" {
					t.Errorf("%q without an error", text.String())
					return
				}
			}
		}()
	}
	all.Wait()
}

func TestBurstsComeWholeAndInOrder(t *testing.T) {
	for _, burst := range []struct{ chunks, bytes int }{{20000, 320}, {2000, 9000}, {150, 200000}} {
		next, length := 0, 0
		behaviour := fmt.Sprintf("chunks=%d&bytes=%d", burst.chunks, burst.bytes)
		err := client().ChatStream(background, ask(behaviour), func(chunk *llm.ChatCompletionChunk) error {
			if len(chunk.Choices) == 0 || chunk.Choices[0].Delta.Content == nil || *chunk.Choices[0].Delta.Content == "" {
				return nil
			}
			text := *chunk.Choices[0].Delta.Content
			if length == 0 {
				length = len(text)
			}
			if !strings.HasPrefix(text, fmt.Sprintf(" %d ", next)) || len(text) != length {
				t.Fatalf("%s: chunk %d is %.20q of %d bytes, not %d", behaviour, next, text, len(text), length)
			}
			next++
			return nil
		})
		if err != nil || next != burst.chunks || length < burst.bytes-300 {
			t.Errorf("%s: %d chunks of %d bytes: %v", behaviour, next, length, err)
		}
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	c := client()
	endings := []string{"text=one two", "status=500", "text=one two&cut=2", "text=one two&error_at=2", "text=one two&stall=2", "hangup=1"}
	round := func() {
		for _, behaviour := range endings {
			ctx, cancel := context.WithCancel(background)
			chunks := 0
			c.ChatStream(ctx, ask(behaviour), func(*llm.ChatCompletionChunk) error {
				if chunks++; chunks == 2 && strings.Contains(behaviour, "stall") {
					cancel()
				}
				return nil
			})
			for range c.Stream(background, ask(behaviour+"&pace=1")) {
				break
			}
			cancel()
		}
	}
	round()
	goroutines := runtime.NumGoroutine()
	before := memory(t)
	for range 50 {
		round()
	}
	if after := settled(goroutines); after > goroutines {
		t.Errorf("%d goroutines before, %d after", goroutines, after)
	}
	if grown := memory(t) - before; grown > 20<<20 {
		t.Errorf("the process has grown by %d KiB", grown>>10)
	}
}

// settled waits until no more than this many goroutines are left, which net/http's own take a moment for.
func settled(goroutines int) int {
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	return runtime.NumGoroutine()
}

// memory is what the process holds, in bytes.
func memory(t *testing.T) int { return statusOf(t, "VmRSS:") << 10 }

func statusOf(t *testing.T, name string) int {
	t.Helper()
	runtime.GC()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("there is no /proc here")
	}
	_, rest, _ := strings.Cut(string(text), name)
	number, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func TestManyStreamsNeedFewThreads(t *testing.T) {
	const many = 1000
	c := client()
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	var begun, ended sync.WaitGroup
	begun.Add(many)
	for range many {
		ended.Add(1)
		go func() {
			defer ended.Done()
			chunks := 0
			c.ChatStream(ctx, ask("text=one two three&stall=3"), func(*llm.ChatCompletionChunk) error {
				if chunks++; chunks == 3 {
					begun.Done()
				}
				return nil
			})
		}()
	}
	begun.Wait()
	if threads := statusOf(t, "Threads:"); threads >= 40 {
		t.Errorf("%d streams run on %d threads", many, threads)
	}
	cancel()
	ended.Wait()
}

func TestTenThousandStreamsComplete(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	const many = 10000
	c := client()
	var ended sync.WaitGroup
	var mu sync.Mutex
	failed := map[string]int{}
	// The mock's side of each connection is a descriptor of this machine, too.
	open := make(chan struct{}, 2000)
	for range many {
		open <- struct{}{}
		ended.Add(1)
		go func() {
			defer func() { <-open; ended.Done() }()
			var text strings.Builder
			err := c.ChatStream(background, ask("text=one two three"), func(chunk *llm.ChatCompletionChunk) error {
				for _, choice := range chunk.Choices {
					if choice.Delta.Content != nil {
						text.WriteString(*choice.Delta.Content)
					}
				}
				return nil
			})
			if err != nil || text.String() != "one two three" {
				mu.Lock()
				failed[fmt.Sprint(text.String(), err)]++
				mu.Unlock()
			}
		}()
	}
	ended.Wait()
	if len(failed) > 0 {
		t.Error(failed)
	}
}

func TestCallsDoNotWaitForEachOther(t *testing.T) {
	c := client()
	began := time.Now()
	var ended sync.WaitGroup
	for range 8 {
		ended.Add(1)
		go func() {
			defer ended.Done()
			if _, err := c.Chat(background, ask("text=hi&headers_after=1000")); err != nil {
				t.Error(err)
			}
		}()
	}
	ended.Wait()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("8 calls of 1 s took %s", took)
	}
}
