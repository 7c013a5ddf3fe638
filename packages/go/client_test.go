package literllm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
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
