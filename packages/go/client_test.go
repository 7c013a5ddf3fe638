package literllm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	llm "github.com/kreuzberg-dev/liter-llm/packages/go"
)

var background = context.Background()

func collect(t *testing.T, request *llm.ChatCompletionRequest, options ...llm.Option) (string, error) {
	t.Helper()
	var text strings.Builder
	err := client().ChatStream(background, request, func(chunk *llm.ChatCompletionChunk) error {
		for _, choice := range chunk.Choices {
			if choice.Delta.Content != nil {
				text.WriteString(*choice.Delta.Content)
			}
		}
		return nil
	}, options...)
	return text.String(), err
}

func TestEveryFieldOfTheChunkIsNamed(t *testing.T) {
	// A field that the engine gains is added here, and named by the type: what is not named is in Extra.
	everything := `{"object":"chat.completion.chunk","id":"c","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"a",` +
		`"refusal":"b","reasoning_content":"c","tool_calls":[{"index":0,"id":"i","type":"function","function":{"name":"n","arguments":"{}","new":1},"new":2}],` +
		`"function_call":{"name":"f","arguments":""},"thinking_blocks":[{"type":"thinking","thinking":"t","signature":"s"}],"reasoning_details":[{"x":1}],` +
		`"annotations":[{"type":"url_citation","url_citation":{"url":"u","title":"t","start_index":0,"end_index":1}}],"audio":{"id":"a","data":"d"},"new":3},` +
		`"logprobs":{"content":[]},"finish_reason":"stop","native_finish_reason":"end","new":4}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,` +
		`"prompt_tokens_details":{"cached_tokens":1}},"system_fingerprint":"f","service_tier":"s",` +
		`"literllm":{"event":"resumed","attempt":2,"provider":"p","model":"m","reason":"server","mode":"prefill","kept":3},"new":5}`
	var chunk llm.ChatCompletionChunk
	if err := json.Unmarshal([]byte(everything), &chunk); err != nil {
		t.Fatal(err)
	}
	same(t, "a chunk there and back", everything, &chunk)
	choice := &chunk.Choices[0]
	delta, call := &choice.Delta, &choice.Delta.ToolCalls[0]
	for at, extra := range []llm.Extra{call.Function.Extra, call.Extra, delta.Extra(), choice.Extra(), chunk.Extra()} {
		same(t, "what is not named", fmt.Sprintf(`{"new":%d}`, at+1), extra)
	}
	same(t, "what few chunks say", `["f","s","resumed","end",{"content":[]},"b","f","s",1,"u","d"]`, []any{
		chunk.SystemFingerprint(), chunk.ServiceTier(), chunk.Leg().Event, choice.NativeFinishReason(), choice.Logprobs(), delta.Refusal(),
		delta.FunctionCall().Name, delta.ThinkingBlocks()[0].Signature, len(delta.ReasoningDetails()), delta.Annotations()[0].URLCitation.URL,
		delta.Audio().Data,
	})
	var none llm.ChatCompletionChunk
	same(t, "a chunk that says nothing", `["",null,null]`, []any{none.ServiceTier(), none.Leg(), none.Extra()})
}

// same compares a value with JSON text.
func same(t *testing.T, what, should string, value any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var is, wanted any
	if err := json.Unmarshal(text, &is); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(should), &wanted); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(is, wanted) {
		t.Errorf("%s is %s, should be %s", what, text, should)
	}
}

func TestARequestIsWrittenAsOpenAIDoes(t *testing.T) {
	same(t, "a request", `{"model":["openai/a","openai/b"],"messages":[{"role":"system","content":"Be brief"},{"role":"user","content":[`+
		`{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]},`+
		`{"role":"tool","content":"4","tool_call_id":"call_1"}],"temperature":0.2,"max_tokens":9,"stop":["END"],"tools":[{"type":"function",`+
		`"function":{"name":"f","description":"d","parameters":{"type":"object"}}}],"tool_choice":{"type":"function","function":{"name":"f"}},`+
		`"response_format":{"type":"json_object"},"top_k":4}`,
		llm.ChatCompletionRequest{
			Model: "openai/a", FallbackModels: []string{"openai/b"},
			Messages: []llm.Message{
				llm.NewTextMessage(llm.RoleSystem, "Be brief"),
				llm.NewPartsMessage(llm.RoleUser, llm.TextPart("What is this?"), llm.ImagePart("data:image/png;base64,AA==")),
				llm.NewToolMessage("call_1", "4"),
			},
			Temperature: llm.Ptr(0.2), MaxTokens: llm.Ptr[int64](9), Stop: []string{"END"},
			Tools:          []llm.Tool{llm.NewFunctionTool("f", "d", map[string]any{"type": "object"})},
			ToolChoice:     llm.ToolChoiceFunction("f"),
			ResponseFormat: llm.JSONObject(),
			Extra:          llm.Extra{"top_k": json.RawMessage("4")},
		})
}

func TestAnAnswerIsWholeAndCanBeSentBack(t *testing.T) {
	request := ask(`text=Hello&usage=9,3,4,2&tool=f:{"x":1}`)
	var sofar llm.Accumulator
	text, err := collect(t, request, llm.WithAccumulator(&sofar))
	if err != nil || text != "Hello" {
		t.Fatal(text, err)
	}
	answer := sofar.Completion()
	if sofar.Text() != "Hello" || answer.Usage.PromptTokens != 9 || *answer.Usage.PromptTokensDetails.CachedTokens != 4 {
		t.Errorf("%+v", answer)
	}
	if calls := sofar.Message().ToolCalls; len(calls) != 1 || calls[0].Function.Arguments != `{"x":1}` {
		t.Errorf("%+v", calls)
	}
	if answer.Choices[0].FinishReason != llm.FinishReasonToolCalls || answer.Meta.Provider != "openai" {
		t.Errorf("%+v", answer)
	}
	request.Messages = append(request.Messages, sofar.Message(), llm.NewToolMessage(sofar.Message().ToolCalls[0].ID, "2"))
	request.Model = "openai/demo?text=Bye"
	whole, err := client().Chat(background, request)
	if err != nil || whole.Text() != "Bye" {
		t.Fatal(whole, err)
	}
	request.Model, request.StreamOptions = "openai/demo?text=Bye&usage=1,2", &llm.StreamOptions{IncludeUsage: true}
	var usage *llm.Usage
	err = client().ChatStream(background, request, func(chunk *llm.ChatCompletionChunk) error {
		if chunk.Usage != nil {
			usage = chunk.Usage
		}
		return nil
	})
	if err != nil || usage == nil || usage.TotalTokens != 3 {
		t.Error(usage, err)
	}
}

func TestTheAnswerSoFarCanBeReadAtAnyMoment(t *testing.T) {
	var sofar llm.Accumulator
	if sofar.Completion() != nil || sofar.Text() != "" {
		t.Error("something before anything")
	}
	chunks := 0
	err := client().ChatStream(background, ask("text=one two three&reasoning=hm&withhold=4&id=go-sofar"), func(*llm.ChatCompletionChunk) error {
		if chunks++; chunks == 4 {
			// Also by another goroutine.
			read := make(chan string)
			go func() { read <- sofar.Text() }()
			if text := <-read; text != "one two" || sofar.Completion().Choices[0].FinishReason != "" || *sofar.Message().ReasoningContent != "hm" {
				t.Errorf("so far %q, %+v", text, sofar.Completion())
			}
			mockAsk(t, "POST", "/_mock/release?id=go-sofar&n=all")
		}
		return nil
	}, llm.WithAccumulator(&sofar))
	if err != nil || sofar.Text() != "one two three" || sofar.Completion().Choices[0].FinishReason != llm.FinishReasonStop {
		t.Error(err, sofar.Text())
	}
	if answer, err := client().Chat(background, ask("text=whole"), llm.WithAccumulator(&sofar)); err != nil || sofar.Text() != "whole" || answer.Text() != "whole" {
		t.Error(err, sofar.Text())
	}
}

func TestErrorsAreOfTheirKindAndHaveTheirFields(t *testing.T) {
	_, err := collect(t, ask("status=429&retry_after=7&error_code=too_fast&request_id=req_9&error_message=slow down"))
	var failure *llm.Error
	if !errors.Is(err, llm.ErrRateLimited) || errors.Is(err, llm.ErrServer) || !errors.As(err, &failure) {
		t.Fatal(err)
	}
	if failure.Status != 429 || failure.RetryAfter != 7*time.Second || failure.RequestID != "req_9" || failure.Code != "too_fast" ||
		failure.Provider != "openai" || !failure.Retryable || failure.Body == "" || failure.Partial != nil ||
		!strings.Contains(failure.Error(), "slow down") {
		t.Errorf("%+v", failure)
	}
	var sofar llm.Accumulator
	_, err = collect(t, ask("text=one two three&cut=3"), llm.WithAccumulator(&sofar))
	if !errors.Is(err, llm.ErrTruncated) || !errors.As(err, &failure) || failure.Partial.Text() != "one two" || sofar.Text() != "one two" {
		t.Errorf("%+v, so far %q", err, sofar.Text())
	}
	if err := llm.NewClient(llm.WithConfig("api_keey", "x")).ChatStream(background, ask(""), nil); !errors.Is(err, llm.ErrInvalidRequest) {
		t.Error(err)
	}
	if _, err := client().Chat(background, nil); !errors.Is(err, llm.ErrInvalidRequest) {
		t.Error(err)
	}
	for _, broken := range []string{"", "1,2", "{"} {
		request := ask("text=hi")
		request.Messages[0].ReasoningDetails = []json.RawMessage{json.RawMessage(broken)}
		if _, err := client().Chat(background, request); !errors.Is(err, llm.ErrInvalidRequest) {
			t.Errorf("%q: %v", broken, err)
		}
	}
	closed := client()
	closed.Close()
	closed.Close()
	if _, err := closed.Chat(background, ask("text=hi")); !errors.Is(err, llm.ErrInvalidRequest) {
		t.Error(err)
	}
}

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

func TestOptionsReachTheEngine(t *testing.T) {
	err := client(llm.WithFirstTokenTimeout(200*time.Millisecond), llm.WithHeader("x-mock", "stall=0")).
		ChatStream(background, ask("id=go-options"), func(*llm.ChatCompletionChunk) error { return nil })
	if !errors.Is(err, llm.ErrTimeout) {
		t.Error(err)
	}
	_, err = collect(t, ask("text=one&stall=2"), llm.WithIdleTimeout(200*time.Millisecond), llm.WithHeader("x-of", "call"))
	if !errors.Is(err, llm.ErrTimeout) {
		t.Error(err)
	}
	every := []llm.Option{
		llm.WithAPIKey("k"), llm.WithBaseURL("http://127.0.0.1:9"), llm.WithProvider("openai"), llm.WithProviderSettings("vertex_ai", map[string]string{"project": "p"}),
		llm.WithConnectTimeout(time.Second), llm.WithTimeout(0), llm.WithRetryDelays(time.Millisecond, time.Second), llm.WithProxy(""),
		llm.WithUserAgent("mine/1"), llm.WithHTTP1Only(), llm.WithDropUnsupported(), llm.WithMaxEventBytes(1 << 20), llm.WithTraceContent(),
		llm.WithHost(map[string]any{"name": "mine", "base_url": mock + "/v1"}), llm.WithRootCertificates(),
	}
	answer, err := client(every...).Chat(background, ask("text=hi"))
	if err != nil || answer.Text() != "hi" {
		t.Error(answer, err)
	}
}
