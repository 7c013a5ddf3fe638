package literllm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	llm "github.com/kreuzberg-dev/liter-llm/packages/go"
)

// atOnce is ten times what is promised, for a noisy machine.
const atOnce = time.Second

const counted = "one two three four five six seven eight nine ten eleven twelve"

// recovery is what a row of the recovery table expects.
type recovery struct {
	Kind         llm.ErrorKind
	Text         string
	Tools        []string
	Event        string
	Reason       llm.ErrorKind
	Mode         string
	Kept         *int
	Legs         int
	Causes       []llm.ErrorKind
	Partial      *string
	PartialTools *int `json:"partial_tools"`
}

func TestFailuresAreRecoveredFromAsTheTableSays(t *testing.T) {
	var table []struct {
		Name   string
		Models []string
		Mode   string
		Format string
		Config map[string]any
		// CancelAfter is the number of the route after whose answer the call is cancelled.
		CancelAfter *int `json:"cancel_after"`
		Expect      recovery
	}
	if err := json.Unmarshal(read(t, conformance+"/recovery.json"), &table); err != nil {
		t.Fatal(err)
	}
	secure, stop := startMock("--tls")
	defer stop()
	wrong := 0
	for number, row := range table {
		passed := t.Run(row.Name, func(t *testing.T) {
			request := &llm.ChatCompletionRequest{
				Messages:           []llm.Message{llm.NewTextMessage(llm.RoleUser, "Count")},
				StreamFallbackMode: row.Mode,
			}
			var models, ids []string
			for at, route := range row.Models {
				ids = append(ids, fmt.Sprintf("go-row-%d-%d", number, at))
				models = append(models, routeModel(route, ids[at]))
			}
			request.Model, request.FallbackModels = models[0], models[1:]
			if row.Format != "" {
				request.ResponseFormat = map[string]string{"type": row.Format}
			}
			client := recoveryClient(secure, row.Config)
			if row.CancelAfter != nil {
				row.Expect.checkCancel(t, client, request, ids, *row.CancelAfter)
			} else {
				row.Expect.check(t, client, request)
			}
		})
		outcome := "ok"
		if !passed {
			outcome = "wrong"
			wrong++
		}
		fmt.Printf("row: go|%s|%s\n", outcome, row.Name)
	}
	fmt.Printf("table: recovery, %d scenarios through go, %d wrong\n", len(table), wrong)
}

// recoveryClient knows the hosts that the table's routes name.
func recoveryClient(secure string, config map[string]any) *llm.Client {
	options := []llm.Option{
		llm.WithProviderKey("openai", "test-key-1234"), llm.WithProviderBaseURL("openai", mock+"/v1"), llm.WithCooldown(0),
		llm.WithHost(map[string]any{"name": "refused", "base_url": "http://127.0.0.1:9/v1"}),
		llm.WithHost(map[string]any{"name": "unknown_host", "base_url": "http://no-such-host.invalid/v1"}),
		llm.WithHost(map[string]any{"name": "untrusted", "base_url": secure + "/v1"}),
		llm.WithHost(map[string]any{"name": "no_key", "base_url": "http://127.0.0.1:9/v1", "key_vars": []string{"LITERLLM_TEST_NO_SUCH_KEY"}}),
	}
	for name, value := range config {
		options = append(options, llm.WithConfig(name, value))
	}
	return llm.NewClient(options...)
}

// routeModel is a route of the table as a model's name, and as the mock's log names its requests.
func routeModel(route, id string) string {
	if route == "@unknown_provider" {
		return "nowhere/demo"
	}
	if host, ok := strings.CutPrefix(route, "@"); ok {
		return host + "/demo"
	}
	return fmt.Sprintf("openai/demo?id=%s&%s", id, strings.ReplaceAll(route, "{T}", strings.ReplaceAll(counted, " ", "%20")))
}

func (r recovery) check(t *testing.T, client *llm.Client, request *llm.ChatCompletionRequest) {
	var chunks []*llm.ChatCompletionChunk
	var accumulated llm.Accumulator
	err := client.ChatStream(background, request, func(chunk *llm.ChatCompletionChunk) error {
		chunks = append(chunks, chunk)
		return nil
	}, llm.WithAccumulator(&accumulated))
	if r.Kind != "" {
		r.checkError(t, err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	answer, should := accumulated.Completion(), strings.ReplaceAll(r.Text, "{T}", counted)
	if text := shown(chunks); text != should || answer.Text() != should {
		t.Errorf("%q was shown, %q is the answer", text, answer.Text())
	}
	if r.Tools != nil {
		var arguments []string
		for _, call := range answer.Choices[0].Message.ToolCalls {
			arguments = append(arguments, call.Function.Arguments)
		}
		if strings.Join(arguments, "\n") != strings.Join(r.Tools, "\n") {
			t.Errorf("tool calls %q", arguments)
		}
	}
	last := &llm.LegEvent{}
	for _, chunk := range chunks {
		if leg := chunk.Leg(); leg != nil {
			last = leg
		}
	}
	if r.Event != "" && last.Event != r.Event || r.Reason != "" && last.Reason != r.Reason || r.Mode != "" && last.Mode != r.Mode ||
		r.Kept != nil && last.Kept != *r.Kept {
		t.Errorf("the last leg: %+v", last)
	}
	if r.Legs != 0 && len(answer.Meta.Attempts) != r.Legs {
		t.Errorf("attempts %+v", answer.Meta.Attempts)
	}
	isOneStream(t, chunks)
}

// checkCancel cancels the call when the route with that number has answered; those after it are never asked.
func (r recovery) checkCancel(t *testing.T, client *llm.Client, request *llm.ChatCompletionRequest, ids []string, last int) {
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- client.ChatStream(ctx, request, func(*llm.ChatCompletionChunk) error { return nil })
	}()
	saw(t, ids[last], "done")
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, ctx.Err()) {
			t.Errorf("%v is not the context's", err)
		}
		r.checkError(t, err)
	case <-time.After(atOnce):
		t.Fatal("the call goes on")
	}
	for at, id := range ids {
		var seen []struct{ Outcome string }
		_, body := mockAsk(t, http.MethodGet, "/_mock/log?id="+id)
		if err := json.Unmarshal(body, &seen); err != nil {
			t.Fatal(err)
		}
		if asked := at <= last; asked && (len(seen) != 1 || seen[0].Outcome == "open") || !asked && len(seen) != 0 {
			t.Errorf("the mock saw %s", body)
		}
	}
}

func (r recovery) checkError(t *testing.T, err error) {
	var failure *llm.Error
	if !errors.Is(err, r.Kind) || !errors.As(err, &failure) || failure.Kind != r.Kind {
		t.Fatal(err)
	}
	if r.Causes != nil {
		var kinds []llm.ErrorKind
		for _, cause := range failure.Causes {
			kinds = append(kinds, cause.Kind)
		}
		if fmt.Sprint(kinds) != fmt.Sprint(r.Causes) {
			t.Errorf("causes %v", kinds)
		}
	}
	if r.Partial != nil && failure.Partial.Text() != *r.Partial {
		t.Errorf("partial %q", failure.Partial.Text())
	}
	if r.PartialTools != nil && (failure.Partial == nil || len(failure.Partial.Choices[0].Message.ToolCalls) != *r.PartialTools) {
		t.Errorf("partial %+v", failure.Partial)
	}
}

// isOneStream checks that the chunks are those of one answer, whatever happened.
func isOneStream(t *testing.T, chunks []*llm.ChatCompletionChunk) {
	if len(chunks) == 0 {
		t.Fatal("no chunk")
	}
	roles, finishes, first := 0, 0, chunks[0]
	for _, chunk := range chunks {
		if chunk.ID != first.ID || chunk.Model != first.Model || chunk.Created != first.Created {
			t.Errorf("its identity changes: %+v", chunk)
		}
		for _, choice := range chunk.Choices {
			if choice.Delta.Role != "" {
				roles++
			}
			if choice.FinishReason != "" {
				finishes++
			}
		}
	}
	if roles != 1 || finishes != 1 {
		t.Errorf("%d role chunks, %d finish chunks", roles, finishes)
	}
}

// shown is what a consumer that minds resets has in the end.
func shown(chunks []*llm.ChatCompletionChunk) string {
	var text strings.Builder
	for _, chunk := range chunks {
		if leg := chunk.Leg(); leg != nil && leg.Event == "reset" {
			text.Reset()
		}
		for _, choice := range chunk.Choices {
			if choice.Delta.Content != nil {
				text.WriteString(*choice.Delta.Content)
			}
		}
	}
	return text.String()
}
