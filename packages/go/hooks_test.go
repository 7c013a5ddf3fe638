package literllm_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	llm "github.com/kreuzberg-dev/liter-llm/packages/go"
)

func TestHooksAreAskedAtEveryStage(t *testing.T) {
	var mu sync.Mutex
	var stages []string
	var end *llm.HookEvent
	watch := func(event *llm.HookEvent) error {
		mu.Lock()
		defer mu.Unlock()
		if len(stages) == 0 || stages[len(stages)-1] != event.Stage {
			stages = append(stages, event.Stage)
		}
		if event.Attempt != 1 || event.Provider != "openai" || !strings.HasPrefix(event.Model, "demo") || event.Call == 0 {
			t.Errorf("%+v", event)
		}
		switch event.Stage {
		case "before_request":
			if event.Request.Messages[0].Text() != "hi" {
				t.Errorf("%+v", event.Request)
			}
		case "after_headers":
			if event.Status != 200 || event.RequestID != "req_5" || event.Headers["content-type"] == "" {
				t.Errorf("%+v", event)
			}
		case "on_chunks":
			if len(event.Chunks) == 0 {
				t.Error("no chunks")
			}
		case "on_end":
			end = event
		}
		return nil
	}
	c := client(llm.WithHooks(llm.Hooks{BeforeRequest: watch, AfterHeaders: watch, OnChunks: watch, OnError: watch, OnEnd: watch}))
	var sofar llm.Accumulator
	err := c.ChatStream(background, ask("text=one two&request_id=req_5"), func(*llm.ChatCompletionChunk) error { return nil }, llm.WithAccumulator(&sofar))
	if err != nil || sofar.Text() != "one two" || fmt.Sprint(stages) != "[before_request after_headers on_chunks on_end]" {
		t.Error(err, sofar.Text(), stages)
	}
	if end == nil || end.Response.Text() != "one two" || end.Error != nil || end.Seconds <= 0 || !end.Stream {
		t.Errorf("%+v", end)
	}
	stages = nil
	if _, err := c.Chat(background, ask("status=500&request_id=req_5")); !errors.Is(err, llm.ErrServer) || fmt.Sprint(stages) != "[before_request on_error on_end]" {
		t.Error(err, stages)
	}
	if end.Error == nil || end.Error.Status != 500 || end.Stream {
		t.Errorf("%+v", end)
	}
	if err := c.ChatStream(background, ask("text=hi"), nil, llm.WithHooks(llm.Hooks{})); !errors.Is(err, llm.ErrInvalidRequest) {
		t.Error("hooks of a call:", err)
	}
}

func TestHooksChangeRefuseAndAnswer(t *testing.T) {
	stream := func(hooks llm.Hooks, behaviour string) (string, error) {
		var text strings.Builder
		err := client(llm.WithHooks(hooks)).ChatStream(background, ask(behaviour), func(chunk *llm.ChatCompletionChunk) error {
			for _, choice := range chunk.Choices {
				if choice.Delta.Content != nil {
					text.WriteString(*choice.Delta.Content)
				}
			}
			return nil
		})
		return text.String(), err
	}
	if text, err := stream(llm.Hooks{BeforeRequest: func(event *llm.HookEvent) error {
		event.Request.Model = "openai/demo?text=changed&id=go-hooked"
		event.Request.User = "me"
		return nil
	}}, "text=as it was"); err != nil || text != "changed" {
		t.Error(text, err)
	}
	if body, _ := json.Marshal(saw(t, "go-hooked", "done")["body"]); !strings.Contains(string(body), `"user":"me"`) {
		t.Errorf("the mock saw %s", body)
	}
	answer := &llm.ChatCompletion{ID: "kept", Model: "m", Choices: []llm.Choice{{
		Message: llm.NewTextMessage(llm.RoleAssistant, "from elsewhere"), FinishReason: llm.FinishReasonStop,
	}}}
	elsewhere := func(event *llm.HookEvent) error {
		event.Response = answer
		return nil
	}
	if text, err := stream(llm.Hooks{BeforeRequest: elsewhere}, "status=500"); err != nil || text != "from elsewhere" {
		t.Error(text, err)
	}
	if text, err := stream(llm.Hooks{OnError: elsewhere}, "status=500"); err != nil || text != "from elsewhere" {
		t.Error(text, err)
	}
	if text, err := stream(llm.Hooks{OnChunks: func(event *llm.HookEvent) error {
		for i := range event.Chunks {
			for j := range event.Chunks[i].Choices {
				if content := event.Chunks[i].Choices[j].Delta.Content; content != nil {
					*content = strings.ToUpper(*content)
				}
			}
		}
		return nil
	}}, "text=one two"); err != nil || text != "ONE TWO" {
		t.Error(text, err)
	}
	for _, test := range []struct {
		hooks     llm.Hooks
		behaviour string
		kind      llm.ErrorKind
		says      string
	}{
		{llm.Hooks{BeforeRequest: func(*llm.HookEvent) error { return errors.New("not today") }}, "text=hi", llm.ErrPermission, "not today"},
		{llm.Hooks{AfterHeaders: func(*llm.HookEvent) error { return fmt.Errorf("too busy: %w", llm.ErrOverloaded) }}, "text=hi", llm.ErrOverloaded, "too busy"},
		{llm.Hooks{OnChunks: func(*llm.HookEvent) error { return &llm.Error{Kind: llm.ErrContentPolicy, Message: "not this"} }}, "text=hi", llm.ErrContentPolicy, "not this"},
		{llm.Hooks{OnError: func(event *llm.HookEvent) error { return event.Error }}, "status=503", llm.ErrOverloaded, ""},
		{llm.Hooks{OnError: func(*llm.HookEvent) error { return llm.ErrNotFound }}, "status=503", llm.ErrNotFound, "not_found"},
		{llm.Hooks{BeforeRequest: func(*llm.HookEvent) error { panic("mine") }}, "text=hi", llm.ErrPanic, "mine"},
	} {
		if _, err := stream(test.hooks, test.behaviour); !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v, should be %s with %q", err, test.kind, test.says)
		}
	}
	// Several are asked in order, each given what the one before made of it.
	text, err := "", error(nil)
	err = client(llm.WithHooks(llm.Hooks{BeforeRequest: func(event *llm.HookEvent) error {
		event.Request.Model = "openai/demo?text=first"
		return nil
	}}), llm.WithHooks(llm.Hooks{BeforeRequest: func(event *llm.HookEvent) error {
		event.Request.Model += "%20second"
		return nil
	}})).ChatStream(background, ask(""), func(chunk *llm.ChatCompletionChunk) error {
		for _, choice := range chunk.Choices {
			if choice.Delta.Content != nil {
				text += *choice.Delta.Content
			}
		}
		return nil
	})
	if err != nil || text != "first second" {
		t.Error(text, err)
	}
}

func TestEveryHookIsToldOfFailuresAndEnds(t *testing.T) {
	ended := make(chan string, 3)
	var seen []string
	hooks := func(name string, change func(error) error, leave func() error) llm.Option {
		return llm.WithHooks(llm.Hooks{
			OnError: func(event *llm.HookEvent) error {
				seen = append(seen, name+" "+string(event.Error.Kind))
				return change(event.Error)
			},
			OnEnd: func(*llm.HookEvent) error {
				ended <- name
				return leave()
			},
		})
	}
	c := client(
		hooks("first", func(err error) error { return fmt.Errorf("for a customer: %w", err) }, func() error { return errors.New("mine") }),
		hooks("second", func(error) error { return llm.ErrNotFound }, func() error { panic("mine") }),
		hooks("third", func(err error) error { return err }, func() error { return nil }),
	)
	_, err := c.Chat(background, ask("status=503"))
	if !errors.Is(err, llm.ErrNotFound) || fmt.Sprint(seen) != "[first overloaded second overloaded third not_found]" {
		t.Error(err, seen)
	}
	for _, name := range []string{"first", "second", "third"} {
		if told := <-ended; told != name {
			t.Errorf("%s was told for %s", told, name)
		}
	}
	wrapped := client(hooks("only", func(err error) error { return fmt.Errorf("for a customer: %w", err) }, func() error { return nil }))
	if _, err := wrapped.Chat(background, ask("status=503")); !errors.Is(err, llm.ErrOverloaded) || !strings.Contains(err.Error(), "for a customer") {
		t.Error(err)
	}
}

func TestACallDoesNotWaitForAHookThatEndedItsGoroutine(t *testing.T) {
	c := client(llm.WithHooks(llm.Hooks{BeforeRequest: func(*llm.HookEvent) error {
		runtime.Goexit()
		return nil
	}}))
	if _, err := c.Chat(background, ask("text=hi")); !errors.Is(err, llm.ErrPanic) {
		t.Error(err)
	}
}

func TestAHookMayTakeItsTimeWithoutAThread(t *testing.T) {
	const many = 200
	before := statusOf(t, "Threads:")
	release, asked := make(chan struct{}), make(chan struct{}, many)
	c := client(llm.WithHooks(llm.Hooks{BeforeRequest: func(*llm.HookEvent) error {
		asked <- struct{}{}
		<-release
		return nil
	}}))
	var ended sync.WaitGroup
	for range many {
		ended.Add(1)
		go func() {
			defer ended.Done()
			if answer, err := c.Chat(background, ask("text=hi")); err != nil || answer.Text() != "hi" {
				t.Error(err)
			}
		}()
	}
	for range many {
		<-asked
	}
	if threads := statusOf(t, "Threads:") - before; threads >= 40 {
		t.Errorf("%d hooks wait on %d threads more", many, threads)
	}
	// Other calls go on meanwhile.
	if text, err := collect(t, ask("text=meanwhile")); err != nil || text != "meanwhile" {
		t.Error(text, err)
	}
	close(release)
	ended.Wait()
}

func TestHooksGoWithTheirClient(t *testing.T) {
	const many = 50
	gone := make(chan struct{}, many)
	for range many {
		held := new([1 << 10]byte)
		runtime.SetFinalizer(held, func(*[1 << 10]byte) { gone <- struct{}{} })
		c := client(llm.WithHooks(llm.Hooks{BeforeRequest: func(*llm.HookEvent) error {
			held[0]++
			return nil
		}}))
		if _, err := c.Chat(background, ask("text=hi")); err != nil || held[0] != 1 {
			t.Error(err)
		}
		c.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); len(gone) < many; runtime.Gosched() {
		runtime.GC()
		if time.Now().After(deadline) {
			t.Fatalf("the hooks of %d clients are still held", many-len(gone))
		}
	}
}

func TestTheConfigurationOfCallsReachesTheEngine(t *testing.T) {
	c := client(llm.WithCache(10, time.Minute), llm.WithCallLog(), llm.WithHedgeAfter(10*time.Second),
		llm.WithLimits(llm.Limit{Provider: "openai", Concurrency: 2, RequestsPerMinute: 1000, TokensPerMinute: 1000000}))
	for range 3 {
		answer, err := c.Chat(background, ask("text=kept&id=go-cache"))
		if err != nil || answer.Text() != "kept" {
			t.Error(answer, err)
		}
	}
	if asked := requests(t, "go-cache"); asked != 1 {
		t.Errorf("the mock was asked %d times", asked)
	}
	pool := llm.NewClient(llm.WithKeyPool("openai", "test-key-bad", "test-key-good"), llm.WithProviderBaseURL("openai", mock+"/v1"), llm.WithMaxRetries(2))
	for range 4 {
		if _, err := pool.Chat(background, ask("text=hi&id=go-pool&expect_key=test-key-good")); err != nil {
			t.Error(err)
		}
	}
	if asked := requests(t, "go-pool"); asked != 5 {
		t.Errorf("the refused key was used again: %d requests", asked)
	}
}

// requests is how many requests with this id the mock has seen.
func requests(t *testing.T, id string) int {
	t.Helper()
	_, body := mockAsk(t, "GET", "/_mock/log?id="+id)
	var log []any
	if err := json.Unmarshal(body, &log); err != nil {
		t.Fatal(err)
	}
	return len(log)
}
